"""LPIPS maps as the challenge computes them: AlexNet, version 0.1, spatial.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018. With x_l(p) the
feature vector of layer l at location p, divided by its length, and w_l the weights of its channels,

    LPIPS(p) = sum_l upsample(sum_c w_lc (x_lc(p) - y_lc(p))^2).

Values equal those of the `lpips` package within float32's precision. It is faster because the features of
the HR image are computed once for all samples, without gradients, and because on a CPU the convolutions
need fewer multiplications (see `winograd`) and all that follows them runs in chunks that fit its cache.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr.challenge.image_checks import check_8bit, described
from ntire_sr.core import pretrained
from ntire_sr.core.errors import ArgumentValueError, NtireSrError
from ntire_sr.evaluation.metrics.winograd import WinogradConvolution

# Mean and standard deviation of ImageNet for inputs in [-1, 1], as the lpips package rounds them.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
SMALLEST_NORM = 1e-10  # added to the length of a feature vector before division, as the lpips package does
# AlexNet needs this many pixels for its second pooling to have an output.
SMALLEST_PX = 31
CACHED_FLOATS = 1 << 17  # numbers per chunk of feature vectors on a CPU, so that it fits the cache
CHUNK_ROWS = 32  # rows per chunk of an image, for the same reason
# Convolutions of AlexNet: input and output channels, side of the kernel, stride, padding.
CONVOLUTIONS = (
    (3, 64, 11, 4, 2),
    (64, 192, 5, 1, 2),
    (192, 384, 3, 1, 1),
    (384, 256, 3, 1, 1),
    (256, 256, 3, 1, 1),
)
TRUNK_INDICES = (0, 3, 6, 8, 10)  # of the convolutions among the layers of torchvision's AlexNet


class Features(NamedTuple):
    """Features of an image."""

    vectors: list[Tensor]  # vectors of length 1 at all locations: five layers (h * w, C)
    deepest: Tensor  # (1, 256, h, w): the last layer's maps, not normalised


class Comparison(NamedTuple):
    """Distances of an image to another one, layer by layer."""

    layers: list[Tensor]  # five maps (1, 1, h, w) whose upsampled sum is the LPIPS map
    deepest: Tensor  # (1, 256, h, w): the last layer's maps of the image, not normalised


class Lpips(nn.Module):
    """LPIPS with AlexNet, from its two sets of weights.

    Args:
        trunk: `features.{0,3,6,8,10}.{weight,bias}` of torchvision's AlexNet.
        linear: weights of the five linear layers, (1, C, 1, 1) each, not negative.
    """

    def __init__(self, trunk: dict[str, Tensor], linear: list[Tensor]):
        super().__init__()
        convolutions = [
            nn.Conv2d(channels, features, side, stride, padding)
            for channels, features, side, stride, padding in CONVOLUTIONS
        ]
        for convolution, index in zip(convolutions, TRUNK_INDICES, strict=True):
            convolution.load_state_dict(
                {part: trunk[f"features.{index}.{part}"] for part in ("weight", "bias")}
            )
            convolution.weight.data = convolution.weight.data.contiguous(memory_format=torch.channels_last)
        self.convolutions = nn.ModuleList(convolutions)
        for index, weights in enumerate(linear):
            self.register_buffer(f"linear{index}", weights)
        self.eval().requires_grad_(False)
        # Tiles of 6 would be a tenth faster, but S_n of small images would be twice as far from the official
        # digits. This is a plain list, not a ModuleList, because these convolutions stay on the CPU.
        self.on_processor = [WinogradConvolution(layer, 4) for layer in convolutions[1:]]

    def weights(self, layer: int) -> Tensor:
        """Weights of the channels of a layer, from 0 to 4: (C,), 0 or more."""
        return self.get_buffer(f"linear{layer}").flatten()

    def layers(self, image: Tensor) -> Iterator[Tensor]:
        """The outputs of AlexNet's five convolutions after their ReLU, one after another.

        Args:
            image: (1, 3, H, W), uint8, H and W at least 31.

        Yields:
            (1, C, h, w), channels_last; C is 64, 192, 384, 256, 256.
        """
        maps = network_input(image)
        for index, convolution in enumerate(self.convolutions):
            if index in (1, 2):
                maps = functional.max_pool2d(maps, 3, stride=2)
            if index and self.on_processor and maps.device.type == "cpu":
                maps = self.on_processor[index - 1](maps)
            else:
                maps = convolution(maps).relu_()
            yield maps

    def features(self, image: Tensor) -> Features:
        """The features of an image, (1, 3, H, W) uint8."""
        layers = []
        for maps in self.layers(image):
            vectors = _vectors(maps).clone()
            for rows in _chunks(vectors):
                vectors[rows].div_(_length(vectors[rows]))
            layers.append(vectors)
        return Features(layers, maps)

    def compare(self, image: Tensor, reference: list[Tensor], sums: list[Tensor] | None = None) -> Comparison:
        """Distances of an image to one whose features are known, layer by layer.

        Args:
            image: (1, 3, H, W), uint8.
            reference: `Features.vectors` of the other image, of the same size.
            sums: tensors of the shapes of `reference`, to which the differences of the features are added, here
                while they are still in the CPU's cache.
        """
        layers = []
        for index, maps in enumerate(self.layers(image)):
            vectors, weights = _vectors(maps), self.weights(index)
            distances = vectors.new_empty(len(vectors))
            for rows in _chunks(vectors):
                difference = torch.div(vectors[rows], _length(vectors[rows])).sub_(reference[index][rows])
                if sums is not None:
                    sums[index][rows].add_(difference)
                torch.mv(difference.square_(), weights, out=distances[rows])
            layers.append(distances.view(1, 1, *maps.shape[2:]))
        return Comparison(layers, maps)

    def weighted_squares(self, vectors: list[Tensor], like: list[Tensor]) -> list[Tensor]:
        """Squared lengths under LPIPS' weights: layers (h * w, C) to maps of the shapes of `like`."""
        return [
            torch.mv(layer.square(), self.weights(index)).view_as(like[index])
            for index, layer in enumerate(vectors)
        ]

    @torch.inference_mode()
    def forward(self, hr: Tensor, sr: Tensor) -> Tensor:
        """LPIPS map of two images: (1, 3, H, W) uint8 each -> (1, 1, H, W), 0 or more, lower is closer."""
        reference = LpipsReference(self, hr, pairs=False)
        return reference.map_of(reference.compare(sr))


class LpipsReference:
    """An HR image whose features are computed once and compared with those of all samples.

    Args:
        lpips: the network.
        hr: (1, 3, H, W), uint8.
        pairs: whether distances between samples are needed, too, which takes the memory of the features again.
    """

    def __init__(self, lpips: Lpips, hr: Tensor, pairs: bool):
        self.lpips, self.size = lpips, (hr.shape[2], hr.shape[3])
        self.features = lpips.features(hr)
        # sums over all samples of the differences of their features from these
        self.sums = [torch.zeros_like(layer) for layer in self.features.vectors] if pairs else None

    def compare(self, sr: Tensor) -> Comparison:
        """Compare a sample, (1, 3, H, W) uint8, with the HR image; once per sample, as it adds to `sums`.

        Raises:
            ArgumentTypeError, ArgumentValueError: it has another type or shape, or not the size of the HR image.
        """
        if sr.shape[2:] != self.size:
            raise ArgumentValueError(
                f"sr is {described(sr)}, the HR image has {self.size}", "images of one size"
            )
        return self.lpips.compare(sr, self.features.vectors, self.sums)

    def map_of(self, comparison: Comparison) -> Tensor:
        """The LPIPS map of a sample: (1, 1, H, W), 0 or more, lower is closer."""
        return upsampled_sum(comparison.layers, self.size)


def network_input(image: Tensor) -> Tensor:
    """The normalised input of AlexNet: (1, 3, H, W) uint8 to float32, channels_last.

    Raises:
        ArgumentTypeError, ArgumentValueError: the image has another type or shape; one of float in [0, 1] would be taken for a black
            one, and of a batch only the first image would count.
    """
    check_8bit("image", image, single=True)
    if image.shape[1] != 3 or min(image.shape[2:]) < SMALLEST_PX:
        raise ArgumentValueError(
            f"image is {described(image)}; LPIPS needs 3 channels and sides of {SMALLEST_PX} pixels",
            "a larger RGB image",
        )
    pixels = image[0].permute(1, 2, 0).contiguous()
    height, width = pixels.shape[:2]
    # (x * 2 / 255 - 1 - shift) / scale, on rows R G B R G B ... with the channels' constants as rows, too
    scale = torch.tensor([2 / 255 / scale for scale in SCALE], device=image.device).repeat(width)
    shift = torch.tensor([(-1 - a) / b for a, b in zip(SHIFT, SCALE, strict=True)], device=image.device)
    shift = shift.repeat(width)
    result = torch.empty(height, width * 3, device=image.device)
    for rows, source in zip(result.split(CHUNK_ROWS), pixels.view(height, -1).split(CHUNK_ROWS), strict=True):
        rows.copy_(source).mul_(scale).add_(shift)
    return result.view(1, height, width, 3).permute(0, 3, 1, 2)


def upsampled_sum(layers: list[Tensor], size: tuple[int, int]) -> Tensor:
    """The sum of the layers' maps, each upsampled bilinearly: (1, 1, h, w) each -> (1, 1, H, W)."""
    sums: dict[torch.Size, Tensor] = {}
    for layer in layers:  # maps of one size are added before they are upsampled
        sums[layer.shape] = sums[layer.shape] + layer if layer.shape in sums else layer
    total, *others = (
        functional.interpolate(layer, size=size, mode="bilinear", align_corners=False)
        for layer in sums.values()
    )
    for upsampled in others:
        total.add_(upsampled)
    return total


def _vectors(maps: Tensor) -> Tensor:
    """(1, C, h, w), channels_last, as (h * w, C), without a copy where possible."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _length(vectors: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return norms.add_(SMALLEST_NORM)


def _chunks(vectors: Tensor) -> Iterator[slice]:
    """Ranges of rows that fit the cache of a CPU; all rows at once on other devices."""
    count = len(vectors)
    rows = CACHED_FLOATS // vectors.shape[1] if vectors.device.type == "cpu" else count
    return (slice(first, first + rows) for first in range(0, count, rows))


def load_lpips(given: str | Path | None = None, device: str | torch.device = "cpu") -> Lpips:
    """Load LPIPS, with the trunk's weights from `given` or those of the package, see `ntire_sr.core.pretrained`.

    Raises:
        NtireSrError: their file cannot be read, or holds another network.
    """
    path = pretrained.find(pretrained.ALEXNET, given)
    tensors = pretrained.load(pretrained.ALEXNET, path)
    try:
        return Lpips(tensors, pretrained.lpips_linear_layers()).to(device)
    except KeyError as error:
        raise NtireSrError(
            f"{path} lacks the tensor {error} of AlexNet", f"leave out {pretrained.ALEXNET.option}"
        ) from error
