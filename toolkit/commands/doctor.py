"""`ntire-sr doctor`: versions, devices and pretrained files of this machine."""

import importlib
import importlib.metadata
import platform
from typing import TYPE_CHECKING

import click

from ntire_sr._version import __version__
from ntire_sr.commands.command import Command
from ntire_sr.commands.output import Output, output_options
from ntire_sr.core.errors import NtireSrError, plural
from ntire_sr.core.machine import memory_bytes, processors

if TYPE_CHECKING:
    from ntire_sr.core.pretrained import Pretrained

# name of the library -> module that provides it
MODULES = {
    "torch": "torch",
    "numpy": "numpy",
    "opencv": "cv2",
    "scikit-image": "skimage",
    "scipy": "scipy",
    "safetensors": "safetensors",
    "pillow": "PIL",
}


@click.command(cls=Command, examples=("ntire-sr doctor",))
@output_options
def doctor(output: Output) -> None:
    """Show versions, devices, threads and pretrained files."""
    facts = examine()
    output.json(facts)
    width = max(map(len, facts))
    for name, value in facts.items():
        output.say(f"{name:<{width}}  {value}")


def examine() -> dict[str, str]:
    """Return versions, devices, threads and paths of the pretrained files, as text by name."""
    import torch

    from ntire_sr.core import pretrained

    facts = {"ntire-sr": __version__, "python": f"{platform.python_version()} on {platform.platform()}"}
    for name, module in MODULES.items():
        facts[name] = _module_version(module)
    try:
        facts["lpips"] = importlib.metadata.version("lpips")  # only its weights are read: it is never imported
    except importlib.metadata.PackageNotFoundError:
        facts["lpips"] = "not installed"
    facts["processors"] = f"{processors()}, torch uses {plural(torch.get_num_threads(), 'thread')}"
    memory = memory_bytes()
    facts["memory"] = f"{memory / 1e9:.1f} GB" if memory else "unknown"
    facts["GPU"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "none that torch can use"
    for network in (pretrained.ALEXNET, pretrained.SQUEEZENET, pretrained.VGG19):
        facts[network.name] = f"{network.purpose}: {_state(network)}"
    facts["cache folder"] = str(pretrained.cache_folder())
    return facts


def _module_version(name: str) -> str:
    """Return the version of the module that is imported, whichever installed package provides it."""
    try:
        return str(importlib.import_module(name).__version__)
    except ImportError as error:
        return f"cannot be imported: {error}"


def _state(network: "Pretrained") -> str:
    """Return where the file of a pretrained network is, or why it cannot be used."""
    from ntire_sr.core import pretrained

    try:
        located = pretrained.locate(network)
        if located is None:
            return f"not on this machine; will be fetched from {network.address}"
        origin, path = located
        pretrained.load(network, path)
        return f"{path} ({origin})"
    except NtireSrError as failure:
        return f"unusable: {failure.message}"
