"""Feature extractors phi for training losses: pretrained classifiers, and a filter bank without weights.

Each takes (N, 3, H, W) in about [0, 1] and returns a list of maps, finest first, each (N, C, h, w). The
channel vector of each location has about unit length, so that all layers have the same weight.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr.core import pretrained
from ntire_sr.core.errors import NtireSrError, require, suggestion
from ntire_sr.core.progress import SILENT, Progress

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def unit_normalised(maps: Tensor, floor: float = 1e-6) -> Tensor:
    """Each location's channel vector divided by its Euclidean norm (plus `floor`, for vectors of zeros)."""
    # the root of zero has no derivative, so the floor stands inside as well
    return maps / ((maps.square().sum(1, keepdim=True) + floor**2).sqrt() + floor)


def feature_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """L1 distance between two lists of feature maps, lower is closer.

    A layer's distance is the sum over the C channels divided by sqrt(C), averaged over locations. The result is the
    mean over layers. The L1 distance of two vectors of unit length is at most sqrt(C) * 2, so that every layer lies
    in [0, 2].

    Args:
        first, second: two lists of (N, C, h, w), of equal shapes.

    Returns:
        A scalar, 0 or more.
    """
    distances = [(a - b).abs().sum(1).mean() / a.shape[1] ** 0.5 for a, b in zip(first, second, strict=True)]
    return torch.stack(distances).mean()


class _Classifier(nn.Module):
    """The convolutional part of a torchvision classifier, with the outputs of some of its layers."""

    def __init__(self, features: nn.Sequential, taps: tuple[int, ...]):
        super().__init__()
        self.features = features[: taps[-1] + 1].to(memory_format=torch.channels_last)
        self.taps = taps
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = ((image - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        features = []
        for index, layer in enumerate(self.features):
            maps = layer(maps)
            if index in self.taps:
                features.append(unit_normalised(maps))
        return features


class _Fire(nn.Module):
    """SqueezeNet's fire module (Iandola et al., 2016)."""

    def __init__(self, inputs: int, squeezed: int, expanded: int):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x).relu()
        return torch.cat((self.expand1x1(x), self.expand3x3(x)), 1).relu()


def _squeezenet1_1() -> _Classifier:
    def pool() -> nn.Module:
        return nn.MaxPool2d(3, stride=2, ceil_mode=True)

    layers = nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), pool(),
        _Fire(64, 16, 64), _Fire(128, 16, 64), pool(),
        _Fire(128, 32, 128), _Fire(256, 32, 128), pool(),
        _Fire(256, 48, 192), _Fire(384, 48, 192), _Fire(384, 64, 256), _Fire(512, 64, 256),
    )  # fmt: skip
    return _Classifier(layers, taps=(1, 4, 7, 10, 12))


def _vgg19() -> _Classifier:
    layers: list[nn.Module] = []
    inputs = 3
    for width, depth in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(depth):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        layers.append(nn.MaxPool2d(2))
    return _Classifier(nn.Sequential(*layers), taps=(3, 8, 17, 26, 35))


class FilterBank(nn.Module):
    """A fixed multi-scale pyramid of oriented filters; needs no file.

    At each of `levels` octaves, quadrature pairs of Gabor filters at four orientations are applied to
    luminance and two colour differences. Each pair's local energy is concatenated to the responses; it
    separates texture from flat areas whatever its phase. A constant added in the normalisation keeps noise in
    flat areas from being amplified to unit length.

    The first maps are those of masks of 3 x 3 pixels (Laws, "Textured image segmentation", 1980): the masks
    with a second difference, which respond to stripes of one pixel, the finest pattern there is. The Gabor
    filters of the first octave respond to such stripes with a 46th of the strength that they have for their
    own frequency, and in a classifier whose first layer has a stride of 2 the stripes are aliased. A generator
    that is rewarded for diversity in those features alone fills edges with stripes.

    Args:
        levels: number of octaves.
        size: side of a filter in pixels, odd.
        colour: whether to include the colour differences, which are two thirds of the work.
    """

    FLOOR = 0.1

    def __init__(self, levels: int = 3, size: int = 7, colour: bool = True):
        super().__init__()
        self.levels = levels
        opponent = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [0.5, 0.5, -1.0]]) / 3
        opponent = opponent if colour else opponent[:1]
        self.register_buffer("opponent", opponent.view(-1, 3, 1, 1), persistent=False)
        self.register_buffer("filters", self._gabor_pairs(size), persistent=False)
        self.register_buffer("finest", self._laws_masks(), persistent=False)

    @staticmethod
    def _laws_masks() -> Tensor:
        """(5, 1, 3, 3): the masks with a second difference along one axis or both, of unit norm."""
        level, edge, spot = (
            torch.tensor(values) / math.hypot(*values)
            for values in ((1.0, 2.0, 1.0), (-1.0, 0.0, 1.0), (-1.0, 2.0, -1.0))
        )
        pairs = ((spot, level), (level, spot), (spot, edge), (edge, spot), (spot, spot))
        return torch.stack([torch.outer(down, across) for down, across in pairs])[:, None]

    @staticmethod
    def _gabor_pairs(size: int) -> Tensor:
        """(8, 1, size, size): even and odd filters of unit norm and zero mean at four orientations."""
        axis = torch.arange(size, dtype=torch.float32) - size // 2
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        window = torch.exp(-(x**2 + y**2) / (2 * (size / 4) ** 2))
        kernels = []
        for turn in range(4):
            along = x * math.cos(turn * math.pi / 4) + y * math.sin(turn * math.pi / 4)
            for wave in (torch.cos(along * math.pi / 2), torch.sin(along * math.pi / 2)):
                kernel = window * wave
                kernel = kernel - window * (kernel.sum() / window.sum())
                kernels.append(kernel / kernel.norm())
        return torch.stack(kernels)[:, None]

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = functional.conv2d(image, self.opponent)
        features = [self._unit(self._filtered(maps, self.finest))]
        for _ in range(self.levels):
            if min(maps.shape[2:]) <= self.filters.shape[-1] // 2:
                break
            responses = self._filtered(maps, self.filters)
            energy = (responses.unflatten(1, (-1, 2)).square().sum(2) + 1e-8).sqrt()
            features.append(self._unit(torch.cat((responses, energy), 1)))
            if min(maps.shape[2:]) < 2:
                break
            maps = functional.avg_pool2d(maps, 2)
        return features

    @staticmethod
    def _filtered(maps: Tensor, filters: Tensor) -> Tensor:
        """Convolves each channel with each filter: (N, C, h, w) to (N, C * filters, h, w)."""
        padded = functional.pad(maps, (filters.shape[-1] // 2,) * 4, mode="reflect")
        # one convolution over all colour planes is far faster than a grouped one
        planes = functional.conv2d(padded.flatten(0, 1)[:, None], filters)
        return planes.unflatten(0, maps.shape[:2]).flatten(1, 2)

    def _unit(self, maps: Tensor) -> Tensor:
        return maps / (maps.square().sum(1, keepdim=True) + self.FLOOR**2).sqrt()


NETWORKS = {"squeezenet1_1": (pretrained.SQUEEZENET, _squeezenet1_1), "vgg19": (pretrained.VGG19, _vgg19)}
CHOICES = ("auto", "filters", *NETWORKS)


def classifier(name: str, path: Path) -> nn.Module:
    """The frozen features of a pretrained classifier from a file whose checksum is verified."""
    network, build = NETWORKS[name]
    tensors = pretrained.load(network, path)
    features = build()
    wanted = features.state_dict().keys()
    try:
        features.load_state_dict({key: tensors[key] for key in wanted})
    except (KeyError, RuntimeError) as error:
        raise NtireSrError(f"{path} lacks tensors of {name} ({error})", f"fetch {network.address}") from error
    return features.eval().requires_grad_(False)


def build_features(choice: str, path: str | None = None, progress: Progress = SILENT) -> tuple[nn.Module, str]:
    """The extractor that the setting `features` asks for.

    Args:
        choice: `filters`, the name of a network, or `auto`, which is SqueezeNet.
        path: file of the network's weights; None for the one in the package, or a download of VGG-19's.
        progress: reports a download.

    Returns:
        The frozen extractor and its name in a manifest.

    Raises:
        NotFound: VGG-19 is not on this machine and cannot be downloaded.
    """
    require(choice in CHOICES, f"features {choice!r} is unknown", suggestion(choice, CHOICES))
    if choice == "filters":
        return FilterBank(), "filters"
    name = "squeezenet1_1" if choice == "auto" else choice
    return classifier(name, pretrained.find(NETWORKS[name][0], path, progress)), name
