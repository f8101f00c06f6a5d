"""`ntire-sr doctor`: versions, devices and pretrained files of this machine."""

import importlib
import importlib.metadata
import os
import platform

import torch

from ntire_sr._version import __version__
from ntire_sr.core import pretrained
from ntire_sr.core.errors import NtireSrError

MODULES = {
    "numpy": "numpy",
    "opencv": "cv2",
    "scikit-image": "skimage",
    "scipy": "scipy",
    "pandas": "pandas",
    "safetensors": "safetensors",
    "pillow": "PIL",
}


def examine() -> dict[str, str]:
    """Versions, devices, threads and paths of the pretrained files, as text by name."""
    facts = {
        "ntire-sr": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "torch": torch.__version__,
    }
    for name, module in MODULES.items():
        facts[name] = _module_version(module)
    try:
        facts["lpips"] = importlib.metadata.version("lpips")  # only its weights are read: it is never imported
    except importlib.metadata.PackageNotFoundError:
        facts["lpips"] = "not installed"
    facts["processors"] = f"{os.cpu_count()}, torch uses {torch.get_num_threads()} threads"
    facts["GPU"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "none that torch can use"
    for network in (pretrained.ALEXNET, pretrained.SQUEEZENET, pretrained.VGG19):
        facts[network.name] = f"{network.purpose}: {_state(network)}"
    facts["cache folder"] = str(pretrained.cache_folder())
    return facts


def _module_version(name: str) -> str:
    """Version of the module that is imported, whatever packages that provide it are installed."""
    try:
        return str(importlib.import_module(name).__version__)
    except ImportError as error:
        return f"cannot be imported: {error}"


def _state(network: pretrained.Pretrained) -> str:
    try:
        found = pretrained.locate(network)
        if found is None:
            return f"not found; will be fetched from {network.address}"
        pretrained.load(network, found[1])
        return f"{found[1]} ({found[0]})"
    except NtireSrError as failure:
        return f"unusable: {failure.message}"
