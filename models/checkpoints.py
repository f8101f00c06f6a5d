"""Pretrained networks of other programs, from their weights files: RRDBNets, and with spandrel many others.

Such a network is deterministic: it draws one image, as a baseline for samplers. An RRDBNet (ESRGAN, BSRGAN,
Real-ESRGAN) is read here. Everything else is opened by spandrel (https://github.com/chaiNNer-org/spandrel), which
recognises the architecture by the names of the tensors. Nothing but tensors is unpickled.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.pretrained import read_tensors
from ntire_sr.models.adapter import ModelAdapter, StderrRedirect, adapt, guard_user_code
from ntire_sr.models.rrdb import TRUNK_RECEPTIVE_FIELD, RrdbDecoder, RrdbTrunk, read_rrdb
from ntire_sr.models.weights_files import FORMAT

INSTALL = "pip install 'ntire-sr[spandrel]', which opens SwinIR, DAT, HAT and many other networks"
DECODER_RECEPTIVE_FIELD = 2  # LR pixels: two convolutions at full size, one at half of it, nearest neighbours


class RrdbNetwork(nn.Module):
    """An x4 RRDBNet with its own decoder, see `rrdb`; the interface of networks from outside the package.

    Args:
        tensors: of the whole network, from `rrdb.read_rrdb`.
        blocks: number of residual-in-residual groups.
    """

    scales, deterministic = (4,), True
    trunk_receptive_field, sample_receptive_field = TRUNK_RECEPTIVE_FIELD, DECODER_RECEPTIVE_FIELD

    def __init__(self, tensors: dict[str, Tensor], blocks: int):
        super().__init__()
        self.lr_layers, self.decoder = RrdbTrunk(blocks), RrdbDecoder()
        for part in (self.lr_layers, self.decoder):
            part.load_state_dict({name: tensors[name] for name in part.state_dict()})
        self.to(memory_format=torch.channels_last)

    def trunk(self, lr: Tensor) -> Tensor:
        """(1, 3, h, w) in [0, 1] to (1, 64, h, w)."""
        return self.lr_layers(lr)

    def sample(self, trunk: Tensor, lr: Tensor, latents: Any) -> Tensor:
        """The image, (1, 3, 4 * h, 4 * w), about [0, 1]; `lr` and `latents` are not used."""
        return self.decoder(trunk)


class SpandrelNetwork:
    """A network that spandrel opened, of any architecture; the whole image at once.

    Args:
        descriptor: spandrel's ImageModelDescriptor.
    """

    deterministic = True

    def __init__(self, descriptor: Any):
        self.scales = (descriptor.scale,)
        self.parameters = descriptor.model.parameters
        self._descriptor = descriptor

    def sample(self, lr: Tensor, generator: torch.Generator) -> Tensor:
        """The image, (1, 3, scale * h, scale * w) in [0, 1]; spandrel pads to the sides that the network needs."""
        return self._descriptor(lr)


def is_checkpoint(path: Path) -> bool:
    """Whether a weights file is of another program: tensors that `weights_files.save_weights` did not write."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") != FORMAT
    except (SafetensorError, OSError):
        return path.suffix != ".safetensors"  # a damaged safetensors file is reported by its reader


def load_checkpoint(path: Path, scale: int | None, device: torch.device) -> ModelAdapter:
    """Build the network of another program's weights file.

    Args:
        path: .pth or .safetensors file of tensors, also inside `params_ema`, `state_dict` and the like.
        scale: 4 or 8; None for the network's.
        device: where to compute.

    Returns:
        The network; its label is the name of its architecture.

    Raises:
        NtireSrError: the file cannot be read.
        UsageError: the network is not known, or is for another scale.
    """
    tensors = read_tensors(path, nested=True)
    redirect = StderrRedirect()
    try:
        network: Any = RrdbNetwork(*read_rrdb(path))
        name = "RRDBNet"
    except NtireSrError as error:
        name, network = _open_with_spandrel(path, tensors, device, redirect, reason=error.message)
    try:
        return adapt(network, name, scale or network.scales[0], device, redirect)
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.remedy) from error


def _open_with_spandrel(
    path: Path, tensors: dict[str, Tensor], device: torch.device, redirect: StderrRedirect, reason: str
) -> tuple[str, SpandrelNetwork]:
    """(name of the architecture, network); `reason` is why the file is no RRDBNet."""
    try:
        import spandrel
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that does not fit torch
        absent = isinstance(error, ModuleNotFoundError) and error.name == "spandrel"
        raise UsageError(
            f"{path} holds no weights of ntire-sr; {reason}{'' if absent else f'; spandrel cannot be imported ({error})'}",
            INSTALL if absent else "install a torchvision that fits this torch, which spandrel needs",
        ) from error
    try:
        with guard_user_code("spandrel", f"while it opened {path}", redirect):
            descriptor = spandrel.ModelLoader(device=device).load_from_state_dict(tensors)
    except NtireSrError as error:
        if not isinstance(error.__cause__, spandrel.UnsupportedModelError):
            raise NtireSrError(error.message, "check that the file is whole, or use another one") from error
        raise UsageError(
            f"{path} holds no weights of ntire-sr, and no network that spandrel {spandrel.__version__} knows",
            "a network from outside the package with its code: --model my_net.py:build --weights FILE",
        ) from error
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or descriptor.scale not in (4, 8):
        actual = f"scale {descriptor.scale}" if hasattr(descriptor, "scale") else type(descriptor).__name__
        raise UsageError(
            f"{path} holds a {descriptor.architecture.name} of {actual}", "a network of scale 4 or 8"
        )
    return descriptor.architecture.name, SpandrelNetwork(descriptor.eval())
