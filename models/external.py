"""Networks from outside the package: finding what `--model` names, running it, and recording its code.

Code runs here for one reason: the user named it on the command line or in a call. What a manifest or an archive
says about a network is compared with it afterwards and never followed.
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
EXAMPLE = "--model my_net.py:build, or --model package.module:build"
_PREFIX = "ntire_sr_model_"  # of the names under which files run as modules


@dataclass(frozen=True)
class OwnNetwork:
    """A network from outside the package, ready to sample, and what it was made from."""

    label: str  # how the manifest names it: my_net.py:build, or package.module:build
    generator: ModelAdapter
    code: ModelCode


def installed_models() -> dict[str, EntryPoint]:
    """Name -> entry point of the networks of installed packages; none of them is imported."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def build_network(model: str, weights: Path | None, scale: int, device: torch.device) -> OwnNetwork:
    """Run the code that `model` names, and build its network.

    Args:
        model: `FILE.py:FUNCTION`, `MODULE:FUNCTION`, or the name of an installed package's network.
        weights: weights file for the function; None if none was given.
        scale: 4 or 8.
        device: where to compute.

    Raises:
        UsageError: there is no such file, module or function, or the network does not draw this scale.
        NtireSrError: the code raised an error, or returned something that is no network.
    """
    point = installed_models().get(model)
    place, _, function = (f"{point.module}:{point.attr}" if point else model).rpartition(":")
    named = bool(place) and all(part.isidentifier() for part in function.split("."))
    example = f"--model {model}:build, with the name of its function" if model.endswith(".py") else EXAMPLE
    require(named, f"--model {model} names no function", example)
    aside = StderrRedirect()
    label = f"{Path(place).name if place.endswith('.py') else place}:{function}"
    with guard_user_code(label, "when it was imported", aside):
        module = _run_file(Path(place)) if place.endswith(".py") else _import(place)
    build = _function(module, function, label)
    # a network that is given no weights draws its initial ones: the same every time
    hint = "give --weights FILE, if the network needs one; else " if weights is None else ""
    with guard_user_code(label, "in its building", aside, hint), global_seed(0, device):
        generator = adapt(build(scale, weights, device), label, scale, device, aside)
    root, files = source_files(module)
    digests = {name: sha256_file(path) for name, path in sorted(files.items())}
    return OwnNetwork(label, generator, ModelCode(str(root), digests, generator.parameter_count))


def _function(module: ModuleType, name: str, label: str) -> Callable[..., Any]:
    try:
        found = reduce(getattr, name.split("."), module)
    except AttributeError:
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UsageError(
            f"{label}: there is no function {name!r} in {module.__file__}",
            suggestion(name, known) if known else "a function build(scale, weights, device)",
        ) from None
    require(callable(found), f"{label} is no function", "a function build(scale, weights, device)")
    return found


def _run_file(path: Path) -> ModuleType:
    """Run a file as a module, its folder on Python's path as that of a script is.

    It is compiled from its text, never taken from a cache beside it, which may be of an earlier text."""
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
    """Let modules that an earlier file imported from its folder be imported anew: another file's own may have their names."""
    for module in [each for name, each in sys.modules.items() if name.startswith(_PREFIX)]:
        root, files = source_files(module)
        for name in {Path(file).with_suffix("").as_posix() for file in files}:
            sys.modules.pop(name.removesuffix("/__init__").replace("/", "."), None)
        sys.modules.pop(module.__name__, None)
        if str(root) in sys.path:
            sys.path.remove(str(root))


def _import(name: str) -> ModuleType:
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.append(str(Path.cwd()))  # behind what is installed
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
    """The Python files that a network consists of: its module's own, and those that were imported from the same folder.

    Of what is installed this is the package alone; everything beside it is another's.

    Returns:
        The folder that they are imported from, and the files by their path in it.
    """
    file = Path(str(module.__file__))
    if module.__name__.startswith(_PREFIX):
        root, own = file.parent, file.name
    else:
        own = f"{module.__name__.replace('.', '/')}{'/__init__' if hasattr(module, '__path__') else ''}.py"
        root = file.parents[own.count("/")]
        if root / own != file:  # an import hook found it
            root, own = file.parent, file.name
    installed = {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib", "stdlib")}
    package = own.split("/")[0] if root in installed else None
    found = {own: file}
    for name, other in list(sys.modules.items()):
        path, top = getattr(other, "__file__", None), name.split(".")[0]
        if not isinstance(path, str) or top == "ntire_sr" or package not in (None, top, f"{top}.py"):
            continue
        for each in (f"{name.replace('.', '/')}.py", f"{name.replace('.', '/')}/__init__.py"):
            if Path(path) == root / each:
                found[each] = Path(path)
    return root, found
