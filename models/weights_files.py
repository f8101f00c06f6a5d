"""Reading and writing weights files: safetensors with the model's name, scale, settings and origin."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ntire_sr._version import __version__
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.files import atomic_write, error_from_os_error
from ntire_sr.core.settings import convert
from ntire_sr.models.earlier_names import with_current_names
from ntire_sr.models.package_weights import TRUNK, with_trunk

FORMAT = "ntire-sr weights"


def save_weights(
    path: Path, model: str, scale: int, settings: Any, tensors: dict[str, torch.Tensor], facts: dict[str, Any]
) -> None:
    """Write a generator's weights and everything that is needed to build it to a safetensors file, atomically."""
    metadata = {
        "format": FORMAT,
        "version": __version__,
        "model": model,
        "scale": str(scale),
        "settings": json.dumps(asdict(settings)),
        "facts": json.dumps(facts),
    }
    atomic_write(path, save(tensors, metadata))


def needed_trunk(path: Path) -> str | None:
    """The digest of the trunk that a weights file takes from the package, see `package_weights.with_trunk`; or None."""
    with safe_open(path, framework="pt") as file:
        facts, names = json.loads((file.metadata() or {}).get("facts", "{}")), file.keys()
        contained = any(name.startswith(TRUNK) for name in names)
        return None if contained else facts.get("trunk_sha256")


def trained_model(path: Path) -> str | None:
    """The name of the model whose weights `save_weights` wrote to a file; None for any other file."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError, ValueError, RuntimeError):
        return None
    return metadata.get("model") if metadata.get("format") == FORMAT else None


def read_weights(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Read and check the metadata and tensors of a file that `save_weights` wrote.

    A file without its trunk gets the package's. Tensors of earlier versions of `stochastic` get today's names.

    Raises:
        NtireSrError: it cannot be read, is damaged, was not written by `save_weights`, or holds values that are
            not finite.
    """
    remedy = "give a file made by `ntire-sr train`"
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except OSError as error:
        raise error_from_os_error(error, f"cannot read {path}") from error
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise NtireSrError(f"{path} is no readable safetensors file ({error})", remedy) from error
    if metadata.get("format") != FORMAT:
        raise NtireSrError(f"{path} does not hold weights of ntire-sr", remedy)
    try:
        convert("scale", metadata["scale"], int)
        for name in ("settings", "facts"):
            if not isinstance(json.loads(metadata[name]), dict):
                raise ValueError(f"{name} is no dictionary")
        metadata["model"]
    except (KeyError, ValueError, RecursionError, UsageError) as error:
        raise NtireSrError(f"the description inside {path} is damaged ({error})", remedy) from error
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise NtireSrError(
            f"{path} holds values that are not finite numbers", "use an earlier checkpoint's weights"
        )
    if metadata["model"] == "stochastic":  # a network from outside may have layers of these names
        tensors = with_current_names(tensors)
    return metadata, with_trunk(path, tensors, json.loads(metadata["facts"]).get("trunk_sha256"))
