"""The registry of models, and generators by the name, weights file or network that a user gives."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ntire_sr.challenge.downscale import SCALES
from ntire_sr.core.errors import NtireSrError, UsageError, require, suggestion
from ntire_sr.core.files import sha256_file
from ntire_sr.core.settings import field_types, make_from_file, with_earlier_values
from ntire_sr.models import bicubic, srgan, stochastic_model
from ntire_sr.models.external import EXAMPLE, build_network, installed_models
from ntire_sr.models.interfaces import ModelSpec
from ntire_sr.models.package_weights import shipped_weights
from ntire_sr.models.weights_files import read_weights
from ntire_sr.samples.manifest import ModelCode

MODELS: dict[str, ModelSpec] = {
    model.name: model for model in (bicubic.MODEL, srgan.MODEL, stochastic_model.MODEL)
}
SHIPPED_MODEL = stochastic_model.MODEL.name  # the package holds weights of it, see MODEL_CARD.md


def model_spec(name: str) -> ModelSpec:
    """The registry's entry.

    Raises:
        UsageError: there is no such model; the error suggests a similar name.
    """
    require(name in MODELS, f"unknown model {name!r}", suggestion(name, MODELS))
    return MODELS[name]


@dataclass(frozen=True)
class LoadedModel:
    """A generator that is ready to sample, and where its weights come from."""

    name: str
    deterministic: bool  # True: all samples of an image are equal
    generator: Any
    scale: int
    weights: Path | None
    weights_sha256: str | None
    facts: dict[str, Any]  # about the training: step, steps, features, seed
    hyper_parameters: dict[str, Any]  # the settings as the weights' file holds them
    code: ModelCode | None = None  # of a network from outside the package


@dataclass(frozen=True)
class ListedModel:
    """One row of the list of models."""

    name: str
    origin: str  # the package that it comes with
    weights: str  # where its weights come from
    summary: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def list_models() -> list[ListedModel]:
    """The models of this package, and those that installed packages offer, whose code is not run."""
    found = []
    for model in MODELS.values():
        scales = [str(scale) for scale in SCALES if shipped_weights(model.name, scale)]
        weights = f"come with it for scale {' and '.join(scales)}" if scales else "from `ntire-sr train`"
        found.append(
            ListedModel(model.name, "ntire-sr", weights if model.needs_weights else "needs none", model.summary)
        )
    for name, point in installed_models().items():
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "?"
        hidden = f"; --model {point.value} names it, since {name} is ntire-sr's own" if name in MODELS else ""
        found.append(ListedModel(name, package, "--weights, if it takes any", point.value + hidden))
    return found


def load_model(
    model: str | None, weights: str | Path | None, scale: int | None, device: torch.device
) -> LoadedModel:
    """A generator as the options `--model` and `--weights` name it; without both the package's.

    Args:
        model: a name of the registry; or a network from outside the package, whose code is then run: see
            `own_network.build_network`. None takes the model of the weights.
        weights: see `load_generator`; of a network from outside, any file that it reads, or None.
        scale: 4 or 8; None takes that of the weights, or 4.
        device: where to compute.

    Raises:
        UsageError: there is no such model or file, or they do not belong together.
        NtireSrError: the file is damaged, or the network from outside is.
    """
    if model is None or model in MODELS:
        loaded = load_generator(weights or model or SHIPPED_MODEL, scale, device)
        require(
            model in (None, loaded.name),
            f"{weights} holds weights of {loaded.name}, not of {model}",
            f"--model {loaded.name}, or other weights",
        )
        return loaded
    names = [*MODELS, *installed_models()]
    own = model in names or ":" in model or model.endswith(".py")
    require(own, f"unknown model {model!r}", f"{suggestion(model, names)}; or a network of your own, {EXAMPLE}")
    path = Path(weights) if weights is not None else None
    require(path is None or path.is_file(), f"there are no weights at {path}", "check the path")
    network = build_network(model, path, scale or 4, device)
    generator = network.generator
    digest = sha256_file(path) if path else None
    return LoadedModel(
        network.label,
        generator.deterministic,
        generator,
        generator.scale,
        path,
        digest,
        facts={},
        hyper_parameters={},
        code=network.code,
    )


def load_generator(weights: str | Path, scale: int | None, device: torch.device) -> LoadedModel:
    """A generator from a weights file, or by name: a model without weights, or one whose weights come
    with the package.

    Args:
        weights: path of a file that `save_weights` wrote, or the model's name.
        scale: 4 or 8; None takes that of the file, or 4 for a name.
        device: where to compute.

    Raises:
        UsageError: there is no such file or model, or the file is for another scale.
        NtireSrError: the file is damaged, or was not written by `save_weights`.
    """
    if str(weights) in MODELS:
        model, chosen = MODELS[str(weights)], scale or 4
        if not model.needs_weights:
            generator = model.build(chosen, model.architecture()).to(device).eval()
            return LoadedModel(model.name, model.deterministic, generator, chosen, None, None, {}, {})
        shipped = shipped_weights(model.name, chosen)
        if shipped is None:
            raise UsageError(
                f"no weights of {model.name} for scale {chosen} come with the package",
                "give --weights FILE, made by `ntire-sr train`",
            )
        path = shipped
    else:
        path = Path(weights)
    if not path.is_file():
        raise UsageError(
            f"there are no weights at {path}",
            f"run `ntire-sr train` first, or give --weights FILE, --weights {SHIPPED_MODEL} for the weights that come with the "
            f"package, or --weights {bicubic.MODEL.name} for the model without any",
        )
    metadata, tensors = read_weights(path)
    if metadata["model"] not in MODELS:
        raise NtireSrError(
            f"{path} holds weights of {metadata['model']!r}, a model that this version of ntire-sr does not know",
            "use the version that it was trained with",
        )
    model = MODELS[metadata["model"]]
    trained = int(metadata["scale"])
    if scale not in (None, trained):
        raise UsageError(
            f"{path} was trained for scale {trained}, not {scale}", f"use --scale {trained}, or other weights"
        )
    try:
        saved = with_earlier_values(model.architecture, json.loads(metadata["settings"]))
        sizes = field_types(model.architecture).keys()
        architecture = make_from_file(model.architecture, {name: saved[name] for name in sizes & saved.keys()})
    except UsageError as error:
        raise NtireSrError(
            f"the settings inside {path} are damaged ({error.message})", "train it again with this version"
        ) from error
    # built on the meta device first: a file may state sizes far above those of the tensors it holds
    with torch.device("meta"):
        promised = model.build(trained, architecture).state_dict()
    if {n: v.shape for n, v in promised.items()} != {n: v.shape for n, v in tensors.items()}:
        raise NtireSrError(
            f"the tensors of {path} do not fit the model {model.name}", "train it again with this version"
        )
    generator = model.build(trained, architecture)
    generator.load_state_dict(tensors)
    generator = generator.to(device).eval().requires_grad_(False)
    return LoadedModel(
        model.name,
        model.deterministic,
        generator,
        trained,
        path,
        sha256_file(path),
        json.loads(metadata["facts"]),
        json.loads(metadata["settings"]),
    )
