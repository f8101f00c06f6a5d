"""`ntire-sr doctor`: versions, devices and pretrained files of this machine."""

import importlib.metadata
import os
import platform

import torch

from ntire_sr import __version__
from ntire_sr.core import pretrained
from ntire_sr.core.errors import Failure

PACKAGES = ("numpy", "opencv-python-headless", "scikit-image", "lpips", "pandas", "safetensors", "pillow")


def examine() -> dict[str, str]:
    """Versions, devices, threads and paths of the pretrained files, as text by name."""
    facts = {
        "ntire-sr": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "torch": torch.__version__,
    }
    for package in PACKAGES:
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            facts[package] = "not installed"
    facts["processors"] = f"{os.cpu_count()}, torch uses {torch.get_num_threads()} threads"
    facts["GPU"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "none that torch can use"
    for network in (pretrained.ALEXNET, pretrained.SQUEEZENET, pretrained.VGG19):
        facts[network.name] = f"{network.purpose}: {_state(network)}"
    facts["cache folder"] = str(pretrained.cache_folder())
    return facts


def _state(network: pretrained.Pretrained) -> str:
    try:
        found = pretrained.locate(network)
        if found is None:
            return f"not found; will be fetched from {network.address}"
        pretrained.load(network, found[1])
        return f"{found[1]} ({found[0]})"
    except Failure as failure:
        return f"unusable: {failure.message}"
