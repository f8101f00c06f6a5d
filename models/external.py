"""Networks from outside the package: finds the code that a user names, builds the network, and records its code.

Such code runs only because the user named it on the command line or in a call. What a manifest or an archive says about
a network is only compared with it afterwards.
"""

import importlib
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ntire_sr.core.errors import UsageError, require, suggestion
from ntire_sr.core.files import error_from_os_error, sha256_file
from ntire_sr.core.seeding import global_seed
from ntire_sr.models.adapter import ModelAdapter, StderrRedirect, adapt, guard_user_code
from ntire_sr.samples.manifest import ModelCode

GROUP = "ntire_sr.models"  # the group of entry points in which installed packages name their networks
EXAMPLE = "my_net.py:build, or package.module:build"
_PREFIX = "ntire_sr_model_"  # of the module names under which files run


@dataclass(frozen=True)
class ExternalNetwork:
    """A network from outside the package, ready to sample, and its code."""

    label: str  # its name in the manifest: my_net.py:build, or package.module:build
    generator: ModelAdapter
    code: ModelCode


def installed_models() -> dict[str, EntryPoint]:
    """Name -> entry point of the networks of installed packages; none of them is imported."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def names_network(word: str) -> bool:
    """Whether a word has the form of a network from outside the package, or is an installed one's name.

    >>> [names_network(word) for word in ("my_net.py:build", "package.module:build", "stochastic", "runs/w.safetensors")]
    [True, True, False, False]
    """
    if word.endswith(".py") or ".py:" in word or word in installed_models():
        return True
    _, colon, function = word.rpartition(":")
    return bool(colon) and _is_dotted_name(function) and not Path(word).is_file()


def build_network(model: str, weights: Path | None, scale: int, device: torch.device) -> ExternalNetwork:
    """Run the code that `model` names, and build its network.

    Args:
        model: `FILE.py:FUNCTION`, `MODULE:FUNCTION`, or the name of an installed package's network.
        weights: weights file for the function; None if none was given.
        scale: 4 or 8.
        device: where to compute.

    Raises:
        UsageError: there is no such file, module or function, or the network does not support the scale.
        NtireSrError: the code raised an error, or did not return a network.
    """
    point = installed_models().get(model)
    place, _, function = (f"{point.module}:{point.attr}" if point else model).rpartition(":")
    example = f"{model}:build, with the name of its function" if model.endswith(".py") else EXAMPLE
    require(bool(place) and _is_dotted_name(function), f"{model} names no function", example)
    redirect = StderrRedirect()
    label = f"{Path(place).name if place.endswith('.py') else place}:{function}"
    with guard_user_code(label, "when it was imported", redirect):
        module = _run_file(Path(place)) if place.endswith(".py") else _import(place)
    build = _function(module, function, label)
    hint = "give --weights FILE, if the network needs one; else " if weights is None else ""
    # a fixed seed: a network without weights has the same initial weights every time
    with guard_user_code(label, "while it was built", redirect, hint), global_seed(0, device):
        generator = adapt(build(scale, weights, device), label, scale, device, redirect)
    root, files = source_files(module)
    digests = {name: sha256_file(path) for name, path in sorted(files.items())}
    return ExternalNetwork(label, generator, ModelCode(str(root), digests, generator.parameter_count))


def _is_dotted_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _function(module: ModuleType, name: str, label: str) -> Callable[..., Any]:
    try:
        function = reduce(getattr, name.split("."), module)
    except AttributeError:
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UsageError(
            f"{label}: there is no function {name!r} in {module.__file__}",
            suggestion(name, functions) if functions else "a function build(scale, weights, device)",
        ) from None
    require(callable(function), f"{label} is no function", "a function build(scale, weights, device)")
    return function


def _run_file(path: Path) -> ModuleType:
    """Run a file as a module, with its folder on Python's path as for a script.

    It is compiled from its text and never read from a bytecode cache, which may be outdated."""
    require(path.is_file(), f"there is no file {path}", EXAMPLE)
    path = path.resolve()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise error_from_os_error(error, f"cannot read {path}") from error
    _forget_earlier_files()
    sys.path.insert(0, str(path.parent))
    importlib.invalidate_caches()
    module = ModuleType(_PREFIX + path.stem)
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    exec(compile(content, str(path), "exec"), module.__dict__)
    return module


def _forget_earlier_files() -> None:
    """Remove the modules that an earlier file imported from its folder: the next file's modules may have their names."""
    for module in [module for name, module in sys.modules.items() if name.startswith(_PREFIX)]:
        root, files = source_files(module)
        for name in {Path(file).with_suffix("").as_posix() for file in files}:
            sys.modules.pop(name.removesuffix("/__init__").replace("/", "."), None)
        sys.modules.pop(module.__name__, None)
        if str(root) in sys.path:
            sys.path.remove(str(root))


def _import(name: str) -> ModuleType:
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.append(str(Path.cwd()))  # after installed packages
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise UsageError(
                f"there is no module {error.name}, neither installed nor in {Path.cwd()}", EXAMPLE
            ) from error
        raise


def source_files(module: ModuleType) -> tuple[Path, dict[str, Path]]:
    """The Python files of a network: its module's file, and the imported files of the same folder.

    For a module in site-packages, only the files of that package count.

    Returns:
        The folder that they are imported from, and the files by their path in it.
    """
    file = Path(str(module.__file__))
    if module.__name__.startswith(_PREFIX):
        root, main = file.parent, file.name
    else:
        main = f"{module.__name__.replace('.', '/')}{'/__init__' if hasattr(module, '__path__') else ''}.py"
        root = file.parents[main.count("/")]
        if root / main != file:  # an import hook loaded it
            root, main = file.parent, file.name
    installed = {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib", "stdlib")}
    package = main.split("/")[0] if root in installed else None
    files = {main: file}
    for name, imported in list(sys.modules.items()):
        path, top = getattr(imported, "__file__", None), name.split(".")[0]
        if not isinstance(path, str) or top == "ntire_sr" or package not in (None, top, f"{top}.py"):
            continue
        for relative in (f"{name.replace('.', '/')}.py", f"{name.replace('.', '/')}/__init__.py"):
            if Path(path) == root / relative:
                files[relative] = Path(path)
    return root, files
