"""The registry of models, and the files that hold their weights."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ntire_sr import __version__
from ntire_sr.core.downscale import SCALES
from ntire_sr.core.errors import Failure, WrongUse, require, suggestion
from ntire_sr.core.files import atomic_write, failure_from_os_error, sha256_file
from ntire_sr.core.manifest import ModelCode
from ntire_sr.core.settings import convert, make_from_file
from ntire_sr.models import bicubic, srgan_training, stochastic_training
from ntire_sr.models.interfaces import ModelSpec, NoSettings
from ntire_sr.models.own_network import EXAMPLE, build_network, installed_models
from ntire_sr.models.shipped import TRUNK, shipped_weights, with_trunk

MODELS: dict[str, ModelSpec] = {
    model.name: model for model in (bicubic.MODEL, srgan_training.MODEL, stochastic_training.MODEL)
}
FORMAT = "ntire-sr weights"
SHIPPED_MODEL = stochastic_training.MODEL.name  # the package holds weights of it, see MODEL_CARD.md


def model_spec(name: str) -> ModelSpec:
    """The registry's entry.

    Raises:
        WrongUse: there is no such model; the error suggests a similar name.
    """
    require(name in MODELS, f"unknown model {name!r}", suggestion(name, MODELS))
    return MODELS[name]


@dataclass(frozen=True)
class LoadedModel:
    """A generator that is ready to sample, and where its weights come from."""

    model: ModelSpec
    generator: Any
    scale: int
    settings: Any
    weights: Path | None
    weights_sha256: str | None
    facts: dict[str, Any]  # about the training: step, steps, features, seed
    hyper_parameters: dict[str, Any]  # the settings as the weights' file holds them
    code: ModelCode | None = None  # of a network from outside the package


def save_weights(
    path: Path, model: str, scale: int, settings: Any, tensors: dict[str, torch.Tensor], facts: dict[str, Any]
) -> None:
    """Write a generator's weights and all that is needed to build it to a safetensors file, atomically."""
    metadata = {
        "format": FORMAT,
        "version": __version__,
        "model": model,
        "scale": str(scale),
        "settings": json.dumps(asdict(settings)),
        "facts": json.dumps(facts),
    }
    atomic_write(path, save(tensors, metadata))


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
            ListedModel(model.name, "ntire-sr", weights if model.trainer else "needs none", model.summary)
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
        WrongUse: there is no such model or file, or they do not belong together.
        Failure: the file is damaged, or the network from outside is.
    """
    if model is None or model in MODELS:
        loaded = load_generator(weights or model or SHIPPED_MODEL, scale, device)
        require(
            model in (None, loaded.model.name),
            f"{weights} holds weights of {loaded.model.name}, not of {model}",
            f"--model {loaded.model.name}, or other weights",
        )
        return loaded
    names = [*MODELS, *installed_models()]
    own = model in names or ":" in model or model.endswith(".py")
    require(own, f"unknown model {model!r}", f"{suggestion(model, names)}; or a network of your own, {EXAMPLE}")
    path = Path(weights) if weights is not None else None
    require(path is None or path.is_file(), f"there are no weights at {path}", "check the path")
    network = build_network(model, path, scale or 4, device)
    generator = network.generator
    spec = ModelSpec(
        name=network.label,
        summary="a network from outside the package",
        deterministic=generator.deterministic,
        settings=NoSettings,
        presets={},
        build=lambda scale, settings: generator,
    )
    digest = sha256_file(path) if path else None
    return LoadedModel(spec, generator, generator.scale, NoSettings(), path, digest, {}, {}, network.code)


def load_generator(weights: str | Path, scale: int | None, device: torch.device) -> LoadedModel:
    """A generator from a weights file, or by name: a model without weights, or one whose weights come
    with the package.

    Args:
        weights: path of a file that `save_weights` wrote, or the model's name.
        scale: 4 or 8; None takes that of the file, or 4 for a name.
        device: where to compute.

    Raises:
        WrongUse: there is no such file or model, or the file is for another scale.
        Failure: the file is damaged, or was not written by `save_weights`.
    """
    if str(weights) in MODELS:
        model, chosen = MODELS[str(weights)], scale or 4
        if model.trainer is None:
            generator = model.build(chosen, model.settings()).to(device).eval()
            return LoadedModel(model, generator, chosen, model.settings(), None, None, {}, {})
        shipped = shipped_weights(model.name, chosen)
        if shipped is None:
            raise WrongUse(
                f"no weights of {model.name} for scale {chosen} come with the package",
                "give --weights FILE, made by `ntire-sr train`",
            )
        path = shipped
    else:
        path = Path(weights)
    if not path.is_file():
        raise WrongUse(
            f"there are no weights at {path}",
            f"run `ntire-sr train` first, or give --weights FILE, --weights {SHIPPED_MODEL} for the weights that come with the "
            f"package, or --weights {bicubic.MODEL.name} for the model without any",
        )
    metadata, tensors = read_weights(path)
    if metadata["model"] not in MODELS:
        raise Failure(
            f"{path} holds weights of {metadata['model']!r}, a model that this version of ntire-sr does not know",
            "use the version that it was trained with",
        )
    model = MODELS[metadata["model"]]
    trained = int(metadata["scale"])
    if scale not in (None, trained):
        raise WrongUse(
            f"{path} was trained for scale {trained}, not {scale}", f"use --scale {trained}, or other weights"
        )
    try:
        settings = make_from_file(model.settings, json.loads(metadata["settings"]))
    except WrongUse as error:
        raise Failure(
            f"the settings inside {path} are damaged ({error.message})", "train it again with this version"
        ) from error
    # built on the meta device first: a file may state sizes far above those of the tensors it holds
    with torch.device("meta"):
        promised = model.build(trained, settings).state_dict()
    if {n: v.shape for n, v in promised.items()} != {n: v.shape for n, v in tensors.items()}:
        raise Failure(
            f"the tensors of {path} do not fit the model {model.name}", "train it again with this version"
        )
    generator = model.build(trained, settings)
    generator.load_state_dict(tensors)
    generator = generator.to(device).eval().requires_grad_(False)
    return LoadedModel(
        model,
        generator,
        trained,
        settings,
        path,
        sha256_file(path),
        json.loads(metadata["facts"]),
        json.loads(metadata["settings"]),
    )


def needs_trunk(path: Path) -> bool:
    """Whether a weights file leaves its trunk to the package, see `shipped.with_trunk`."""
    with safe_open(path, framework="pt") as file:
        facts, names = json.loads((file.metadata() or {}).get("facts", "{}")), file.keys()
        return "trunk_sha256" in facts and not any(name.startswith(TRUNK) for name in names)


def read_weights(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """The metadata and tensors of a file that `save_weights` wrote, checked; with the package's trunk if it is built on that.

    Raises:
        Failure: it cannot be read, is damaged, was not written by `save_weights`, or holds values that are
            not finite.
    """
    remedy = "give a file made by `ntire-sr train`"
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except OSError as error:
        raise failure_from_os_error(error, f"cannot read {path}") from error
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise Failure(f"{path} is no readable safetensors file ({error})", remedy) from error
    if metadata.get("format") != FORMAT:
        raise Failure(f"{path} does not hold weights of ntire-sr", remedy)
    try:
        convert("scale", metadata["scale"], int)
        for name in ("settings", "facts"):
            if not isinstance(json.loads(metadata[name]), dict):
                raise ValueError(f"{name} is no dictionary")
        metadata["model"]
    except (KeyError, ValueError, RecursionError, WrongUse) as error:
        raise Failure(f"the description inside {path} is damaged ({error})", remedy) from error
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise Failure(f"{path} holds values that are not finite numbers", "use an earlier checkpoint's weights")
    return metadata, with_trunk(path, tensors, json.loads(metadata["facts"]).get("trunk_sha256"))
