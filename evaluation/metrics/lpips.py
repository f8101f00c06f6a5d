"""LPIPS maps as the challenge computes them: AlexNet, version 0.1, spatial.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018.
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
from ntire_sr.core.errors import NtireSrError, WrongValue
from ntire_sr.evaluation.metrics.winograd import WinogradConvolution

# Mean and standard deviation of ImageNet for inputs in [-1, 1], as the lpips package rounds them.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
SMALLEST_NORM = 1e-10  # added to the length of a feature vector before division, as the lpips package does
# AlexNet needs this many pixels for its second pooling to have an output.
SMALLEST_PX = 31
CACHED_FLOATS = 1 << 17  # numbers per chunk of feature vectors on a CPU, so that it fits the cache
PIECE_ROWS = 32  # rows per chunk of an image, for the same reason


class Features(NamedTuple):
    """Features of an image."""

    vectors: list[Tensor]  # vectors of length 1 at all locations: five layers (h * w, C)
    deepest: Tensor  # (1, 256, h, w): the last layer's maps, not normalised


class Comparison(NamedTuple):
    """An image compared with another one whose features are known."""

    coarse: list[Tensor]  # five maps (1, 1, h, w) whose enlarged sum is the LPIPS map
    deepest: Tensor  # (1, 256, h, w): the last layer's maps, not normalised


class Lpips(nn.Module):
    """LPIPS with AlexNet, from its two sets of weights.

    Args:
        trunk: `features.{0,3,6,8,10}.{weight,bias}` of torchvision's AlexNet.
        linear: weights of the five linear layers, (1, C, 1, 1) each, not negative.
    """

    def __init__(self, trunk: dict[str, Tensor], linear: list[Tensor]):
        super().__init__()
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(3, 64, 11, stride=4, padding=2),
                nn.Conv2d(64, 192, 5, padding=2),
                nn.Conv2d(192, 384, 3, padding=1),
                nn.Conv2d(384, 256, 3, padding=1),
                nn.Conv2d(256, 256, 3, padding=1),
            ]
        )
        indices = (0, 3, 6, 8, 10)
        names = [(index, part) for index in range(5) for part in ("weight", "bias")]
        self.convolutions.load_state_dict(
            {f"{i}.{part}": trunk[f"features.{indices[i]}.{part}"] for i, part in names}
        )
        for index, layer in enumerate(linear):
            self.register_buffer(f"linear{index}", layer)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)
        self.to(memory_format=torch.channels_last)
        # Tiles of 6 would be a tenth faster, but S_n of small images would be twice as far from the official
        # digits. This is a plain list, not a ModuleList, because these convolutions stay on the CPU.
        self.on_processor = [WinogradConvolution(layer, 4) for layer in self.convolutions[1:]]

    def normalised(self, image: Tensor) -> Tensor:
        """The normalised input of AlexNet: (1, 3, H, W) uint8 to float32, channels_last.

        Raises:
            WrongType, WrongValue: the image is no such tensor; one of float in [0, 1] would be taken for a black
                one, and of a batch only the first image would count.
        """
        check_8bit("image", image, single=True)
        if image.shape[1] != 3 or min(image.shape[2:]) < SMALLEST_PX:
            raise WrongValue(
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
        for piece, source in zip(
            result.split(PIECE_ROWS), pixels.view(height, -1).split(PIECE_ROWS), strict=True
        ):
            piece.copy_(source).mul_(scale).add_(shift)
        return result.view(1, height, width, 3).permute(0, 3, 1, 2)

    def layers(self, image: Tensor) -> Iterator[Tensor]:
        """The outputs of AlexNet's five convolutions after their ReLU, one after another.

        Args:
            image: (1, 3, H, W), uint8, H and W at least 31.

        Yields:
            (1, C, h, w), channels_last; C is 64, 192, 384, 256, 256.
        """
        maps = self.normalised(image)
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
        found = []
        for maps in self.layers(image):
            vectors = _vectors(maps).clone()
            for piece in _pieces(vectors):
                piece.div_(_length(piece))
            found.append(vectors)
        return Features(found, maps)

    def compare(
        self,
        features: list[Tensor],
        image: Tensor,
        sums: list[Tensor] | None = None,
    ) -> Comparison:
        """Distances of an image to one whose features are known, layer by layer.

        Args:
            features: vectors of the other image, of the same size.
            image: (1, 3, H, W), uint8.
            sums: tensors of the shapes of `features`, to which the differences of the features are added, here
                while they are still in the CPU's cache.
        """
        found = []
        for index, maps in enumerate(self.layers(image)):
            vectors = _vectors(maps)
            weights = getattr(self, f"linear{index}").flatten()
            distance = vectors.new_empty(len(vectors))
            parts = [_pieces(vectors), _pieces(features[index]), _pieces(distance, vectors.shape[1])]
            parts.append(_pieces(sums[index]) if sums else [None] * len(parts[0]))
            scratch = torch.empty_like(parts[0][0])
            for piece, other, result, total in zip(*parts, strict=True):
                difference = torch.div(piece, _length(piece), out=scratch[: len(piece)]).sub_(other)
                if total is not None:
                    total.add_(difference)
                torch.mv(difference.square_(), weights, out=result)
            found.append(distance.view(1, 1, *maps.shape[2:]))
        return Comparison(found, maps)

    def weighted_squares(self, vectors: list[Tensor], like: list[Tensor]) -> list[Tensor]:
        """Squared lengths under LPIPS' weights: layers (h * w, C) to maps of the shapes of `like`."""
        return [
            torch.mv(layer.square(), getattr(self, f"linear{index}").flatten()).view_as(like[index])
            for index, layer in enumerate(vectors)
        ]

    @torch.inference_mode()
    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """LPIPS map of two images: (1, 3, H, W) uint8 each -> (1, 1, H, W), 0 or more, lower is closer."""
        reference = LpipsReference(self, one, pairs=False)
        return reference.map_of(reference.compare(other))


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
            WrongType, WrongValue: it is no such tensor, or of another size than the HR image.
        """
        if sr.shape[2:] != self.size:
            raise WrongValue(f"sr is {described(sr)}, the HR image has {self.size}", "images of one size")
        return self.lpips.compare(self.features.vectors, sr, self.sums)

    def map_of(self, comparison: Comparison) -> Tensor:
        """The LPIPS map of a sample: (1, 1, H, W), 0 or more, lower is closer."""
        return enlarged(comparison.coarse, self.size)


def enlarged(coarse: list[Tensor], size: tuple[int, int]) -> Tensor:
    """The sum of the layers' maps, each enlarged bilinearly: (1, 1, h, w) each -> (1, 1, H, W)."""
    by_shape: dict[tuple[int, ...], Tensor] = {}
    for layer in coarse:  # maps of one size are added before they are enlarged
        known = by_shape.get(tuple(layer.shape))
        by_shape[tuple(layer.shape)] = layer if known is None else known + layer
    whole = [
        functional.interpolate(layer, size=size, mode="bilinear", align_corners=False)
        for layer in by_shape.values()
    ]
    for further in whole[1:]:
        whole[0].add_(further)
    return whole[0]


def _vectors(maps: Tensor) -> Tensor:
    """(1, C, h, w), channels_last, as (h * w, C), without a copy where possible."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _length(vectors: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vectors, dim=1, keepdim=True).add_(SMALLEST_NORM)


def _pieces(values: Tensor, channels: int | None = None) -> tuple[Tensor, ...]:
    """Rows in chunks that fit the cache of a CPU; all rows in one chunk on other devices."""
    at_once = CACHED_FLOATS // (channels or values.shape[1]) if values.device.type == "cpu" else len(values)
    return values.split(at_once)


def load_lpips(given: str | Path | None = None, device: str | torch.device = "cpu") -> Lpips:
    """Load LPIPS, with the trunk's weights from `given` or found as `ntire_sr.core.pretrained` describes.

    Raises:
        NotFound: the trunk's weights are missing and cannot be fetched.
        NtireSrError: their file lacks a tensor of AlexNet.
    """
    path = pretrained.find(pretrained.ALEXNET, given)
    tensors = pretrained.load(pretrained.ALEXNET, path)
    try:
        return Lpips(tensors, pretrained.lpips_linear_layers()).to(device)
    except KeyError as error:
        raise NtireSrError(
            f"{path} lacks the tensor {error} of AlexNet", f"fetch {pretrained.ALEXNET.address}"
        ) from error
