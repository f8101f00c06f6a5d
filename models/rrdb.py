"""RRDBNet, the generator of ESRGAN (Wang et al., ECCV workshops 2018), and its weights in other programs' files.

Most pretrained x4 networks that draw photo-realistic textures are RRDBNets: ESRGAN, RealSR, BSRGAN, Real-ESRGAN.
`stochastic` can be built on their trunk, which is everything at LR size. Its decoder is initialised from theirs: two
upsamplings and two convolutions. Input and output are RGB in [0, 1]; convolutions pad with zeros.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr.core.errors import NtireSrError, shorten
from ntire_sr.core.pretrained import read_tensors

CHANNELS, GROWTH = 64, 32  # of every published RRDBNet that this module reads
SLOPE = 0.2  # slope of leaky ReLUs for negative values
RESIDUAL_SCALE = 0.2  # factor of the residuals of dense blocks and their groups
# Receptive-field radius of the trunk for tiles, in LR pixels. The convolutions of 23 blocks have 347, but on
# photographs everything that is more than 40 pixels away changes no pixel of the image by more than .6 grey levels.
TRUNK_RECEPTIVE_FIELD = 48

# names in files of ESRGAN's first code (a flat nn.Sequential) and of its second -> BasicSR's names
_RENAMED = (
    (r"model\.0\.", "conv_first."),
    (r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3."),
    (r"model\.1\.sub\.\d+\.(?=weight|bias)", "conv_body."),
    (r"model\.3\.", "conv_up1."),
    (r"model\.6\.", "conv_up2."),
    (r"model\.8\.", "conv_hr."),
    (r"model\.10\.", "conv_last."),
    (r"RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2."),
    (r"trunk_conv\.", "conv_body."),
    (r"upconv1\.", "conv_up1."),
    (r"upconv2\.", "conv_up2."),
    (r"HRconv\.", "conv_hr."),
)


def dense_residual(x: Tensor, layers: Iterable[nn.Module], last: nn.Module) -> Tensor:
    """A residual dense block: each layer sees the maps of all layers before it."""
    maps = x
    for layer in layers:
        maps = torch.cat((maps, functional.leaky_relu_(layer(maps), SLOPE)), 1)
    return torch.add(x, last(maps), alpha=RESIDUAL_SCALE)


class DenseBlock(nn.Module):
    """Residual dense block with BasicSR's names; receptive-field radius 5 pixels."""

    def __init__(self, channels: int = CHANNELS, growth: int = GROWTH):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, growth, 3, padding=1)
        self.conv2 = nn.Conv2d(channels + growth, growth, 3, padding=1)
        self.conv3 = nn.Conv2d(channels + 2 * growth, growth, 3, padding=1)
        self.conv4 = nn.Conv2d(channels + 3 * growth, growth, 3, padding=1)
        self.conv5 = nn.Conv2d(channels + 4 * growth, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return dense_residual(x, (self.conv1, self.conv2, self.conv3, self.conv4), self.conv5)


class ResidualInResidual(nn.Module):
    """Three dense blocks inside another residual; receptive-field radius 15 pixels."""

    def __init__(self, channels: int = CHANNELS, growth: int = GROWTH):
        super().__init__()
        self.rdb1 = DenseBlock(channels, growth)
        self.rdb2 = DenseBlock(channels, growth)
        self.rdb3 = DenseBlock(channels, growth)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.rdb3(self.rdb2(self.rdb1(x))), alpha=RESIDUAL_SCALE)


class RrdbTrunk(nn.Module):
    """The layers of RRDBNet at LR size: (N, 3, h, w) in [0, 1] to (N, 64, h, w).

    Args:
        blocks: number of residual-in-residual groups, 23 in most published networks.
    """

    def __init__(self, blocks: int):
        super().__init__()
        self.conv_first = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.body = nn.Sequential(*(ResidualInResidual() for _ in range(blocks)))
        self.conv_body = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        lr = lr.to(self.conv_first.weight.dtype)
        maps = self.conv_first(lr.contiguous(memory_format=torch.channels_last))
        return maps + self.conv_body(self.body(maps))


class RrdbDecoder(nn.Module):
    """The layers of RRDBNet after its trunk: (N, 64, h, w) to (N, 3, 4 * h, 4 * w) in about [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_up1 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv_up2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv_hr = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv_last = nn.Conv2d(CHANNELS, 3, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        for layer in (self.conv_up1, self.conv_up2):
            maps = functional.leaky_relu_(layer(functional.interpolate(maps, scale_factor=2)), SLOPE)
        return self.conv_last(functional.leaky_relu_(self.conv_hr(maps), SLOPE))


def read_rrdb(path: Path) -> tuple[dict[str, Tensor], int]:
    """The tensors of an x4 RRDBNet under BasicSR's names, and its number of residual-in-residual groups.

    Reads `.safetensors` and `.pth` (only tensors are unpickled), with the names of BasicSR or of either version of
    ESRGAN's code, as training programs save them, see `pretrained.read_tensors`.

    Raises:
        NtireSrError: the file cannot be read, lacks tensors, or has some of other shapes; they are named.
    """
    tensors = with_basicsr_names(read_tensors(path, nested=True))
    blocks = 1 + max((int(m[1]) for name in tensors if (m := re.match(r"body\.(\d+)\.", name))), default=-1)
    remedy = (
        "give the file of an x4 RRDBNet (ESRGAN, BSRGAN, Real-ESRGAN x4plus) with 64 channels and growth 32"
    )
    if blocks == 0:
        raise NtireSrError(f"{path} holds no RRDBNet: no tensor is named like those of its body", remedy)
    expected = expected_shapes(blocks)
    missing = [name for name in expected if name not in tensors]
    if missing:
        raise NtireSrError(f"{path} lacks {shorten(missing)} of an RRDBNet of {blocks} blocks", remedy)
    differing = [
        f"{name} {tuple(tensors[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if tuple(tensors[name].shape) != shape
    ]
    if differing:
        raise NtireSrError(f"{path} has tensors of other shapes: {shorten(differing)}", remedy)
    return {name: tensors[name] for name in expected}, blocks


def with_basicsr_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of an RRDBNet from either version of ESRGAN's code to BasicSR's names.

    >>> list(with_basicsr_names({"model.1.sub.3.RDB2.conv1.0.bias": torch.zeros(1), "HRconv.weight": torch.zeros(1)}))
    ['body.3.rdb2.conv1.bias', 'conv_hr.weight']
    """
    renamed = {}
    for name, value in tensors.items():
        for pattern, new in _RENAMED:
            changed, count = re.subn(f"^{pattern}", new, name)
            if count:
                name = changed
                break
        renamed[name] = value
    return renamed


def expected_shapes(blocks: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor of an RRDBNet with `blocks` residual-in-residual groups."""
    with torch.device("meta"):
        state = {**RrdbTrunk(blocks).state_dict(), **RrdbDecoder().state_dict()}
    return {name: tuple(value.shape) for name, value in state.items()}
