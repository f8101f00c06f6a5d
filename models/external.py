"""Networks from outside the package: finds the code that a user names, builds the network, and records the code.

Such code runs only because the user named it on the command line or in a call. What a manifest or an archive says about
a network is only compared with it afterwards.
"""

import importlib
import inspect
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass, replace
from functools import reduce
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import torch
from torch import nn

from ntire_sr.core.errors import NtireSrError, UsageError, require, suggestion
from ntire_sr.core.files import error_from_os_error, sha256_file
from ntire_sr.core.seeding import global_seed
from ntire_sr.models.adapter import ModelAdapter, StderrRedirect, adapt, guard_user_code
from ntire_sr.models.interfaces import NoSettings
from ntire_sr.samples.manifest import ModelCode

GROUP = "ntire_sr.models"  # the group of entry points in which installed packages name their networks
EXAMPLE = "my_net.py:build, or package.module:build"
_PREFIX = "ntire_sr_model_"  # of the module names under which files run


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


def network_name(model: str) -> str:
    """The name that finds a network from outside the package again from any folder.

    Args:
        model: `FILE.py:FUNCTION`, `MODULE:FUNCTION`, or the name of an installed package's network.

    Returns:
        `FILE.py:FUNCTION` with the file's whole path, or `MODULE:FUNCTION`.

    Raises:
        UsageError: it names no function.
    """
    point = installed_models().get(model)
    place, _, function = (f"{point.module}:{point.attr}" if point else model).rpartition(":")
    example = f"{model}:build, with the name of its function" if model.endswith(".py") else EXAMPLE
    require(bool(place) and _is_dotted_name(function), f"{model} names no function", example)
    return f"{Path(place).resolve() if place.endswith('.py') else place}:{function}"


def network_label(model: str) -> str:
    """The name of a model in manifests, weights files and messages: without the folder of its file.

    >>> network_label("/home/me/nets/my_net.py:build"), network_label("stochastic")
    ('my_net.py:build', 'stochastic')
    """
    return Path(model).name if ".py:" in model else model


def check_file(model: str, trained_in: Path) -> None:
    """Check that the file of a network that a run has trained still exists.

    Args:
        model: the network as the run's config.json names it.
        trained_in: the run folder.

    Raises:
        UsageError: it does not.
    """
    file = model.rpartition(":")[0]
    require(
        not file.endswith(".py") or Path(file).is_file(),
        f"{trained_in} has trained {model}, and the file {file} does not exist",
        f"bring it back; generate also takes another place, as --model FILE.py:FUNCTION with --weights {trained_in / 'weights.safetensors'}",
    )


@dataclass(frozen=True)
class UserCode:
    """Code from outside the package that has been imported, and its function that builds a network."""

    name: str  # see `network_name`
    label: str  # see `network_label`
    module: ModuleType
    function: Callable[..., Any]
    settings: (
        Any  # the network's settings, with their defaults: a data class of the code; NoSettings() without any
    )
    redirect: StderrRedirect  # takes what it prints

    def build(
        self,
        scale: int,
        weights: Path | None,
        device: torch.device,
        settings: Any = None,
        seed: int = 0,
        hint: str = "",
    ) -> Any:
        """Call the function.

        Args:
            scale: 4 or 8.
            weights: weights file for the function; None if none was given.
            device: where to compute.
            settings: of the network; None for the defaults.
            seed: of the global random generators, from which initial weights are drawn.
            hint: start of the remedy if the code raises an error.

        Raises:
            NtireSrError: the code raised an error.
        """
        arguments = [scale, weights, device]
        if not isinstance(self.settings, NoSettings):
            arguments.append(self.settings if settings is None else settings)
        with guard_user_code(self.label, "while it was built", self.redirect, hint), global_seed(seed, device):
            return self.function(*arguments)

    def make_settings(self, values: Mapping[str, Any]) -> Any:
        """The network's settings with these values, by name, and its defaults for the others.

        Raises:
            NtireSrError: the code refuses a value.
        """
        with guard_user_code(self.label, "when its settings were made", self.redirect):
            return replace(self.settings, **values)

    def adapt(self, network: Any, scale: int, device: torch.device) -> ModelAdapter:
        """A network that the function built, as a generator that draws samples."""
        if isinstance(network, nn.Module):
            network = network.to(device).eval().requires_grad_(False)
        return adapt(network, self.label, scale, device, self.redirect)

    def record(self, parameters: int | None) -> ModelCode:
        """The record of the code; call it after `build`, which may import further files."""
        root, files = source_files(self.module)
        digests = {name: sha256_file(path) for name, path in sorted(files.items())}
        return ModelCode(str(root), digests, parameters)


def import_code(model: str) -> UserCode:
    """Run the code that `model` names, without building its network.

    Raises:
        UsageError: the file, module or function does not exist.
        NtireSrError: the code raised an error.
    """
    name = network_name(model)
    place, _, function_name = name.rpartition(":")
    given = model.rpartition(":")[0]
    redirect, label = StderrRedirect(), network_label(name)
    with guard_user_code(label, "when it was imported", redirect):
        module = _run_file(Path(given)) if place.endswith(".py") else _import(place)
    function = _function(module, function_name, label)
    return UserCode(name, label, module, function, _settings_of(function, label, redirect), redirect)


def _settings_of(function: Callable[..., Any], label: str, redirect: StderrRedirect) -> Any:
    """The default settings of a network: those of the data class that annotates the parameter `settings`.

    Raises:
        NtireSrError: a setting has no default, or the parameter has neither a data class nor a default.
    """
    try:
        parameter = inspect.signature(function).parameters.get("settings")
    except (TypeError, ValueError):  # of a function that is not written in Python
        parameter = None
    if parameter is None or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return NoSettings()
    record = parameter.annotation
    with guard_user_code(label, "when its settings were made", redirect):
        if isinstance(record, str):  # from __future__ import annotations
            record = get_type_hints(function)["settings"]
        if not (isinstance(record, type) and is_dataclass(record)):
            if parameter.default is not parameter.empty:
                return NoSettings()
            raise NtireSrError(
                f"{label}: its parameter settings is not annotated with a data class",
                "settings: Settings, where Settings is a data class with a default for each setting, or no such parameter",
            )
        return parameter.default if isinstance(parameter.default, record) else record()


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
    require(callable(function), f"{label} is not a function", "a function build(scale, weights, device)")
    return function


def _run_file(path: Path) -> ModuleType:
    """Run a file as a module, with its folder on Python's path as for a script.

    It is compiled from its text and never read from a bytecode cache, which may be outdated."""
    require(path.is_file(), f"the file {path} does not exist", EXAMPLE)
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
