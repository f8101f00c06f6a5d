"""From a model's name, a weights file or a network from outside the package to a generator that can sample."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ntire_sr.challenge.downscale import SCALES
from ntire_sr.core.errors import NtireSrError, UsageError, require, suggestion
from ntire_sr.core.files import sha256_file
from ntire_sr.core.settings import convert, field_types, make_from_file, with_earlier_values
from ntire_sr.models.adapter import ModelAdapter, StderrRedirect, adapt
from ntire_sr.models.checkpoints import is_checkpoint, load_checkpoint
from ntire_sr.models.external import EXAMPLE, UserCode, import_code, installed_models, names_network
from ntire_sr.models.interfaces import ModelSpec
from ntire_sr.models.package_weights import shipped_weights
from ntire_sr.models.registry import MODELS, SHIPPED_MODEL
from ntire_sr.models.trainable import check_tensors
from ntire_sr.models.weights_files import read_weights, trained_model
from ntire_sr.samples.manifest import ModelCode

DEFAULT_SCALE = 4  # of a model that is given by name without a scale


@dataclass(frozen=True)
class LoadedModel:
    """A generator that is ready to sample, and what it was made from."""

    name: str
    deterministic: bool  # True: all samples of an image are equal
    generator: Any  # an `interfaces.Generator`
    scale: int
    weights: Path | None = None
    weights_sha256: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)  # about the training: step, steps, features, seed
    hyper_parameters: dict[str, Any] = field(
        default_factory=dict
    )  # the settings as the weights file holds them
    code: ModelCode | None = None  # of a network from outside the package

    @property
    def is_external(self) -> bool:
        """Whether the network is from outside the package: a user's code, or another program's weights file."""
        return isinstance(self.generator, ModelAdapter)

    @property
    def description(self) -> str:
        """Name, weights file, digest and training steps in one line."""
        if self.weights is None:
            return self.name
        shipped = self.weights == shipped_weights(self.name, self.scale)
        included = "that come with the package: " if shipped else ""
        steps = "" if self.is_external and not self.facts else f", {self.facts.get('step', '?')} steps"
        trained = self.facts.get("code_sha256")
        changed = self.code is not None and trained not in (None, self.code.sha256)
        note = "; its code has changed since the training" if changed else ""
        return (
            f"{self.name}, weights {included}{self.weights} ({(self.weights_sha256 or '')[:12]}{steps}){note}"
        )


def load_model(
    source: str | Path | None,
    scale: int | None,
    device: torch.device,
    *,
    weights: str | Path | None = None,
) -> LoadedModel:
    """Load a model. Every command and the Python interface resolve names, files and networks here.

    Args:
        source: name of a model (see `registry.list_models`), path of a weights file that `save_weights` or another
            program wrote (see `checkpoints`), or a network from outside the package: FILE.py:FUNCTION, MODULE:FUNCTION or an installed network's name. None
            takes `weights`, or without them the weights that come with the package. Code from outside the package
            runs only if `source` names it.
        scale: 4 or 8; None takes that of the weights file, or 4 for a name.
        device: where to compute.
        weights: for the name of a model, or None: a weights file of it, or a model's name for the weights that come
            with the package. For a network from outside: the weights file of its training, or any file that it reads.

    Raises:
        UsageError: the model or file does not exist, or they do not belong together.
        NtireSrError: the weights file is damaged, or the network from outside fails.
    """
    require(scale in (None, *SCALES), f"scale {scale} is not supported", " or ".join(map(str, SCALES)))
    if source is not None and str(source) not in MODELS and names_network(str(source)):
        return _load_network(str(source), weights, scale, device)
    if source is not None and weights is None:
        return _load_own(source, scale, device)
    if source is not None and str(source) not in MODELS:
        raise _not_found(source)
    loaded = _load_own(weights or SHIPPED_MODEL, scale, device)
    require(
        source is None or str(source) == loaded.name,
        f"{weights} holds weights of {loaded.name}, not of {source}",
        f"{loaded.name} as the model, or other weights",
    )
    return loaded


def _not_found(source: str | Path) -> UsageError:
    """The error about a word that is neither a model nor a weights file."""
    likely = suggestion(str(source), [*MODELS, *installed_models()])
    return UsageError(
        f"there are no weights at {source}, and no model has this name",
        f"{likely}; a weights file (run `ntire-sr train` first); or a network such as {EXAMPLE}",
    )


def load_object(
    network: Any, scale: int | None, device: torch.device | None
) -> tuple[LoadedModel, torch.device]:
    """A network that exists already, as a model and with the device that it draws on.

    Args:
        network: any object with the methods of a network from outside the package. It is not changed, and it draws with
            the weights that it has at that time.
        scale: 4 or 8; None for 4.
        device: device to move a torch module to; None for the one that it is on, the CPU for other objects.

    Raises:
        NtireSrError: `network` has no method `sample`, or an attribute with an impossible value.
        UsageError: it does not support the scale.
    """
    require(scale in (None, *SCALES), f"scale {scale} is not supported", " or ".join(map(str, SCALES)))
    if isinstance(network, nn.Module) and device is not None:
        network.to(device)
    parameters = network.parameters() if isinstance(network, nn.Module) else iter(())
    device = device or next((parameter.device for parameter in parameters), torch.device("cpu"))
    generator = adapt(network, type(network).__name__, scale or DEFAULT_SCALE, device, StderrRedirect())
    model = LoadedModel(generator.label, generator.deterministic, generator, generator.scale)
    return model, device


def _load_network(
    source: str, weights: str | Path | None, scale: int | None, device: torch.device
) -> LoadedModel:
    """Build a network from outside the package, with the weights of its training or those that it reads itself."""
    path = Path(weights) if weights is not None else None
    require(path is None or path.is_file(), f"there are no weights at {path}", "check the path")
    code = import_code(source)
    saved: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    if path is not None and trained_model(path) not in (None, *MODELS):
        metadata, tensors = read_weights(path)
        scale = _trained_scale(path, metadata, scale)
        saved, facts = json.loads(metadata["settings"]), json.loads(metadata["facts"])
        network = code.build(scale, None, device, _network_settings(path, code, saved))
        check_tensors(network, tensors, code.label)
        network.load_state_dict(tensors)
        generator = code.adapt(network, scale, device)
        generator.stated_scales = (scale,)
    else:
        scale = scale or DEFAULT_SCALE
        hint = "give --weights FILE, if the network needs one; else " if path is None else ""
        generator = code.adapt(code.build(scale, path, device, hint=hint), scale, device)
    return LoadedModel(
        name=code.label,
        deterministic=generator.deterministic,
        generator=generator,
        scale=scale,
        weights=path,
        weights_sha256=sha256_file(path) if path else None,
        facts=facts,
        hyper_parameters=saved,
        code=code.record(generator.parameter_count),
    )


def _network_settings(path: Path, code: UserCode, saved: dict[str, Any]) -> Any:
    """The settings that a network was trained with; one that it did not have then has its default."""
    kinds = field_types(type(code.settings))
    try:
        values = {name: convert(name, saved[name], kind) for name, kind in kinds.items() if name in saved}
    except UsageError as error:
        raise NtireSrError(
            f"the settings inside {path} are not those of {code.label} ({error.message})",
            "the code that was trained",
        ) from error
    return code.make_settings(values)


def _trained_scale(path: Path, metadata: dict[str, str], scale: int | None) -> int:
    """The scale of a weights file, which must be `scale` if that is given."""
    trained = int(metadata["scale"])
    require(
        scale in (None, trained),
        f"{path} was trained for scale {trained}, not {scale}",
        f"scale {trained}, or other weights",
    )
    return trained


def _load_own(source: str | Path, scale: int | None, device: torch.device) -> LoadedModel:
    """Load one of the package's models, by its name or by a weights file."""
    model = MODELS.get(str(source))
    if model is None:
        if not Path(source).is_file():
            raise _not_found(source)
        return _load_file(Path(source), scale, device)
    scale = scale or DEFAULT_SCALE
    if not model.needs_weights:
        generator = model.build(scale, model.architecture()).to(device).eval()
        return LoadedModel(model.name, model.deterministic, generator, scale)
    path = shipped_weights(model.name, scale)
    if path is None:
        raise UsageError(
            f"no weights of {model.name} for scale {scale} come with the package",
            "a weights file that `ntire-sr train` wrote",
        )
    return _load_file(path, scale, device)


def _load_file(path: Path, scale: int | None, device: torch.device) -> LoadedModel:
    """Build the generator that a weights file describes, with its weights."""
    if is_checkpoint(path):
        network = load_checkpoint(path, scale, device)
        return LoadedModel(
            name=network.label,
            deterministic=network.deterministic,
            generator=network,
            scale=network.scale,
            weights=path,
            weights_sha256=sha256_file(path),
        )
    metadata, tensors = read_weights(path)
    if "code_sha256" in json.loads(metadata["facts"]):
        raise UsageError(
            f"{path} holds weights of {metadata['model']}, a network from outside of ntire-sr, whose code runs only where "
            "it is named",
            f'--model FILE.py:FUNCTION with the file that was trained, in Python load("{metadata["model"]}", weights=...)',
        )
    if metadata["model"] not in MODELS:
        raise NtireSrError(
            f"{path} holds weights of {metadata['model']!r}, a model that this version of ntire-sr does not know",
            "use the version that it was trained with",
        )
    model, trained_scale = MODELS[metadata["model"]], _trained_scale(path, metadata, scale)
    settings = json.loads(metadata["settings"])
    architecture = _architecture(path, model, settings)
    # built on the meta device first: a file may state sizes far above those of the tensors it holds
    with torch.device("meta"):
        expected = model.build(trained_scale, architecture).state_dict()
    if {n: v.shape for n, v in expected.items()} != {n: v.shape for n, v in tensors.items()}:
        raise NtireSrError(
            f"the tensors of {path} do not fit the model {model.name}", "train it again with this version"
        )
    generator = model.build(trained_scale, architecture)
    generator.load_state_dict(tensors)
    return LoadedModel(
        name=model.name,
        deterministic=model.deterministic,
        generator=generator.to(device).eval().requires_grad_(False),
        scale=trained_scale,
        weights=path,
        weights_sha256=sha256_file(path),
        facts=json.loads(metadata["facts"]),
        hyper_parameters=settings,
    )


def _architecture(path: Path, model: ModelSpec, settings: dict[str, Any]) -> Any:
    """The sizes of the network, from the settings in a weights file."""
    try:
        saved = with_earlier_values(model.architecture, settings)
        names = field_types(model.architecture).keys() & saved.keys()
        return make_from_file(model.architecture, {name: saved[name] for name in names})
    except UsageError as error:
        raise NtireSrError(
            f"the settings inside {path} are damaged ({error.message})", "train it again with this version"
        ) from error
