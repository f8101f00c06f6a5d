"""NIQE: the distance between local statistics of an image and those of good photographs.

Mittal, Soundararajan and Bovik, "Making a 'completely blind' image quality analyzer", IEEE Signal
Processing Letters 20(3), 2013. No reference is needed; lower is better, photographs have about 2 to 5.

Conventions are those of super-resolution papers: BT.601 luma between 16 and 235, rounded; blocks of
96 x 96 without overlap, from the top left; border pixels repeated. With the published model of pristine
photographs, `baboon` of Set14 has 5.7296, as the authors' MATLAB release is reported to give.

Limits: light JPEG compression lowers NIQE (mean of the 24 Kodak photographs 2.60; at quality 90
2.32, at quality 50 2.65), and single images may prefer a little blur, so trust means over many images.

One difference is deliberate: where an image is flat, a pixel minus its local mean is exactly 0 here. In the
release it is a rounding error of either sign, on which the number of negative values then depends.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ntire_sr.challenge.downscale import downscale_matrix, mirrored
from ntire_sr.challenge.pixels import in_planes, to_tensor
from ntire_sr.core.errors import NtireSrError, UsageError, ValidationErrors
from ntire_sr.core.files import atomic_write, error_from_os_error, sha256_bytes, sha256_file
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.evaluation.metrics.base import LoadedMetric, QualityMetric
from ntire_sr.samples.image_files import read_image

BLOCK = 96  # side of a block in pixels; half of it at the second scale
FEATURES = 36  # 18 at each of two scales
SHARP_SHARE = 0.75  # blocks sharper than this share of the image's sharpest one make the pristine model
PRISTINE_FILE = Path(__file__).with_name("niqe_pristine.safetensors")

_LUMA = (65_481, 128_553, 24_966)  # weights of R, G and B; `luma` divides by 255,000 and adds the offset 16
_SIGMA = 7 / 6  # standard deviation of the 7 x 7 Gaussian window, in pixels
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # (rows, columns) to the second pixel of a product
# Differences from the local mean under this many grey levels are rounding errors in flat regions.
_FLAT = 1e-9


@dataclass(frozen=True)
class Pristine:
    """The Gaussian fitted to block features of good photographs, and which photographs those were."""

    mean: Tensor  # (36,), float64
    covariance: Tensor  # (36, 36), float64
    photographs: int = 0  # photographs with sharp blocks; 0 if unknown
    blocks: int = 0  # sharp blocks of all photographs
    sha256: str = ""  # SHA-256 of the photographs' sorted file digests, one a line
    description: str = ""  # which photographs, and their licence


def luma(image: Tensor) -> Tensor:
    """Rounded BT.601 luma: (1, 3, H, W) uint8 RGB -> (1, 1, H, W), float64, integers from 16 to 235."""
    image = in_planes(image)
    red, green, blue = (image[:, i : i + 1].int() * _LUMA[i] for i in range(3))  # integers: exact
    return (red + green + blue).double().div_(255_000).add_(16).round_()


def block_features(image: Tensor) -> Tensor:
    """The 36 features of every complete block, in row-major order of the blocks.

    Args:
        image: (1, 3, H, W), uint8 RGB.

    Returns:
        (blocks, 36), float64. Features of flat blocks are nan; an image with a side under 96 pixels has
        no block.
    """
    return _features_and_sharpness(luma(image))[0]


def niqe(image: Tensor, pristine: Pristine) -> float:
    """NIQE of an image, 0 or more, lower is better.

    It is nan if a side has less than 96 pixels or all blocks are flat. This is not an error, so that one
    small image does not stop the evaluation of a folder.

    Args:
        image: (1, 3, H, W), uint8 RGB.
        pristine: the model from `load_pristine()`, or one that was fitted to your own photographs.
    """
    return distance(block_features(image), pristine)


def distance(features: Tensor, pristine: Pristine) -> float:
    """Distance of an image's Gaussian to the pristine one (eq. 10 of the paper).

    With means m, p and covariances C, P it is

        sqrt((m - p)^T ((C + P) / 2)^+ (m - p))

    The mean of a feature ignores nan values; the covariance ignores blocks with a nan feature, and is 0 for a
    single block.

    Args:
        features: (blocks, F).
        pristine: a model of F features.
    """
    features = features.double().cpu()
    whole = features[~features.isnan().any(1)]
    if len(whole) == 0:
        return math.nan
    covariance = torch.cov(whole.T).reshape(pristine.covariance.shape) if len(whole) > 1 else 0.0
    away = features.nanmean(0) - pristine.mean
    inverse = torch.linalg.pinv((pristine.covariance + covariance) / 2, hermitian=True)
    return math.sqrt(max(0.0, (away @ inverse @ away).item()))


def _features_and_sharpness(grey: Tensor) -> tuple[Tensor, Tensor]:
    """Features (blocks, 36) and mean local deviation (blocks,) from luma (1, 1, H, W)."""
    height, width = (side // BLOCK * BLOCK for side in grey.shape[2:])
    if height == 0 or width == 0:
        return grey.new_zeros(0, FEATURES), grey.new_zeros(0)
    # features do not depend on a constant offset, and smaller numbers have smaller rounding errors
    grey = grey[0, 0, :height, :width] - 128
    first, sharpness = _one_scale(grey, BLOCK)
    second, _ = _one_scale(_half(grey), BLOCK // 2)
    return torch.cat([first, second], 1), sharpness


def _one_scale(grey: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Features (blocks, 18) and sharpness (blocks,) of an image (H, W) with multiples of `side` as sides."""
    padded = torch.nn.functional.pad(grey[None, None], (3, 3, 3, 3), mode="replicate")[0, 0]
    moments, sharpness = [], []
    # one row of blocks at a time, which fits the CPU's cache
    for top in range(0, grey.shape[0], side):
        normalised, deviation = _mscn(padded[top : top + side + 6])
        blocks = normalised.unflatten(1, (-1, side)).movedim(1, 0).contiguous()
        products = [blocks * blocks.roll(shift, (1, 2)) for shift in _NEIGHBOURS]
        moments.append(torch.stack([_moments(values) for values in (blocks, *products)], 1))
        sharpness.append(deviation.unflatten(1, (-1, side)).mean((0, 2)))
    return _features(torch.cat(moments)), torch.cat(sharpness)


def _half(grey: Tensor) -> Tensor:
    """The bicubic downscale by 2 of `ntire_sr.challenge.downscale`, not rounded: (H, W), even -> (H / 2, W / 2)."""
    taps = downscale_matrix(16, 2)[4, 5:13].tolist()  # weights of a row far from the border
    height, width = grey.shape
    padded = grey[mirrored(height, 3, 3).to(grey.device)][:, mirrored(width, 3, 3).to(grey.device)]
    rows = []
    for top in range(0, height, BLOCK):
        part = padded[top : top + BLOCK + 6]
        for axis in (0, 1):
            part = _filter(part, taps, axis, stride=2)
        rows.append(part)
    return torch.cat(rows)


def _mscn(padded: Tensor) -> tuple[Tensor, Tensor]:
    """Mean-subtracted, contrast-normalised coefficients (eq. 1 to 3) and the local standard deviation.

    Args:
        padded: (H + 6, W + 6), grey levels.

    Returns:
        Coefficients and deviation, (H, W) each; the deviation in grey levels.
    """
    mean = _smooth(padded)
    deviation = (_smooth(padded.square()) - mean.square()).abs_().sqrt_()
    away = padded[3:-3, 3:-3] - mean
    away.masked_fill_(away.abs() < _FLAT, 0)
    return away / (deviation + 1), deviation


def _smooth(padded: Tensor) -> Tensor:
    """The Gaussian mean over 7 x 7 pixels: (H + 6, W + 6) -> (H, W)."""
    taps = [math.exp(-((i - 3) ** 2) / (2 * _SIGMA**2)) for i in range(7)]
    taps = [tap / sum(taps) for tap in taps]
    return _filter(_filter(padded, taps, 0), taps, 1)


def _filter(image: Tensor, taps: list[float], axis: int, stride: int = 1) -> Tensor:
    """Every `stride`-th output of a symmetric filter along an axis of (H, W), without padding."""
    size = (image.shape[axis] - len(taps)) // stride + 1
    part = [slice(i, i + (size - 1) * stride + 1, stride) for i in range(len(taps))]
    shifted = [image[index] if axis == 0 else image[:, index] for index in part]
    half = len(taps) // 2
    total = shifted[half] * taps[half] if len(taps) % 2 else torch.zeros_like(shifted[0])
    for i in range(half):
        total.add_(shifted[i] + shifted[-1 - i], alpha=taps[i])
    return total


def _features(moments: Tensor) -> Tensor:
    """The 18 features of one scale from moments (blocks, 5, 5) of the coefficients and of four products.

    They are shape and mean scale of the coefficients, then shape, mean, left and right scale of the products
    with each of four neighbours, which wrap around inside the block.
    """
    shape, left, right = _parameters(moments)
    mean = (right - left) * torch.exp(torch.lgamma(2 / shape) - torch.lgamma(1 / shape))
    coefficients = torch.stack([shape[:, 0], (left + right)[:, 0] / 2], 1)
    products = torch.stack([shape, mean, left, right], 2)[:, 1:]
    return torch.cat([coefficients, products.flatten(1)], 1)


@lru_cache(maxsize=1)
def _shapes() -> tuple[Tensor, Tensor]:
    """Shapes 0.2 to 10 in steps of 0.001, and their ratios (E|x|)^2 / E x^2, which grow with the shape."""
    with torch.inference_mode(False):
        shape = torch.arange(200, 10001, dtype=torch.float64) / 1000
        log_ratio = 2 * torch.lgamma(2 / shape) - torch.lgamma(1 / shape) - torch.lgamma(3 / shape)
        return shape, log_ratio.exp()


def _moments(samples: Tensor) -> Tensor:
    """Moments (N, 5) of N sets (N, ...).

    They are number and sum of squares of the negative values, the same of the positive values, and the squared ratio
    of mean magnitude and root mean square over all values.
    """
    flat = samples.flatten(1)
    positive, negative = flat.clamp(min=0), flat.clamp(max=0)
    left_square, right_square = negative.square().sum(1), positive.square().sum(1)
    magnitude = positive.sum(1) - negative.sum(1)
    ratio = magnitude.square() / (flat.shape[1] * (left_square + right_square))
    return torch.stack([(flat < 0).sum(1), left_square, (flat > 0).sum(1), right_square, ratio], 1)


def _parameters(moments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fit asymmetric generalised Gaussians to moments (Lasmar, Stitou and Berthoumieu, ICIP 2009).

    (..., 5) to shape (2 is Gaussian, 1 Laplacian), left and right scale, (...) each. They are nan for sets without
    negative or without positive values.
    """
    left_count, left_square, right_count, right_square, ratio = moments.unbind(-1)
    left, right = (left_square / left_count).sqrt(), (right_square / right_count).sqrt()
    skew = left / right
    ratio = ratio * (skew**3 + 1) * (skew + 1) / (skew.square() + 1).square()
    shapes, ratios = (values.to(ratio) for values in _shapes())
    above = torch.searchsorted(ratios, ratio.contiguous()).clamp(1, len(ratios) - 1)
    nearest = torch.where(ratio - ratios[above - 1] <= ratios[above] - ratio, above - 1, above)
    shape = torch.where(ratio.isnan(), ratio, shapes[nearest])
    spread = torch.exp((torch.lgamma(1 / shape) - torch.lgamma(3 / shape)) / 2)
    return shape, left * spread, right * spread


def fit(
    images: Iterable[Path],
    description: str = "",
    sharp_share: float = SHARP_SHARE,
    progress: Progress = SILENT,
) -> Pristine:
    """Fit a pristine model to the sharp blocks of photographs (section II.D of the paper).

    Images with a side under 96 pixels have no block and are not counted.

    Args:
        images: paths of image files.
        description: which photographs, and their licence; saved with the model.
        sharp_share: a block counts when its sharpness is above this share of the image's maximum.
        progress: reports how many images have been read.

    Raises:
        ValidationErrors: images cannot be read; all of them are listed.
        UsageError: there are not more sharp blocks than features.
    """
    sharp_blocks: list[Tensor] = []
    digests: list[str] = []
    problems: list[str] = []
    paths = list(images)
    with progress.task("fit", len(paths)) as advance:
        for path in paths:
            try:
                features, sharpness = _features_and_sharpness(luma(to_tensor(read_image(path))))
                digest = sha256_file(path)
            except NtireSrError as failure:
                problems.append(failure.message)
            else:
                if len(features):
                    sharp = features[sharpness > sharp_share * sharpness.max()]
                    sharp_blocks.append(sharp[~sharp.isnan().any(1)])
                    digests.append(digest)
            advance()
    if problems:
        raise ValidationErrors("photographs for NIQE", problems, "replace or remove these files")
    blocks = torch.cat(sharp_blocks) if sharp_blocks else torch.zeros(0, FEATURES)
    if len(blocks) <= FEATURES:
        raise UsageError(
            f"{len(digests)} photographs of {BLOCK} x {BLOCK} pixels or more have {len(blocks)} sharp blocks; "
            f"more than {FEATURES} are needed",
            "give more photographs, or larger ones",
        )
    return Pristine(
        mean=blocks.mean(0),
        covariance=torch.cov(blocks.T),
        photographs=len(digests),
        blocks=len(blocks),
        sha256=sha256_bytes("\n".join(sorted(digests)).encode()),
        description=description,
    )


def save_pristine(path: Path, pristine: Pristine) -> None:
    """Write a model to a safetensors file, atomically."""
    facts = {
        "block": str(BLOCK),
        "photographs": str(pristine.photographs),
        "blocks": str(pristine.blocks),
        "sha256": pristine.sha256,
        "description": pristine.description,
    }
    tensors = {"mean": pristine.mean.contiguous(), "covariance": pristine.covariance.contiguous()}
    atomic_write(path, save(tensors, facts))


def load_pristine(path: Path = PRISTINE_FILE) -> Pristine:
    """Read a model that `save_pristine` wrote; by default the one that comes with this package.

    Raises:
        NtireSrError: the file cannot be read, or is not such a model.
    """
    remedy = "make it again with ntire-sr fit-niqe"
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except OSError as error:
        raise error_from_os_error(error, f"cannot read {path}") from error
    except SafetensorError as error:
        raise NtireSrError(f"{path} is not a readable NIQE model ({error})", remedy) from error
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    if shapes != {"mean": (FEATURES,), "covariance": (FEATURES, FEATURES)}:
        raise NtireSrError(f"{path} holds {shapes}, not the mean and covariance of {FEATURES} features", remedy)
    if facts.get("block") != str(BLOCK):
        raise NtireSrError(f"{path} is of blocks of {facts.get('block')} pixels, not {BLOCK}", remedy)
    if not all(value.is_floating_point() and value.isfinite().all() for value in tensors.values()):
        raise NtireSrError(f"{path} holds numbers that are not finite", remedy)
    return Pristine(
        mean=tensors["mean"].double(),
        covariance=tensors["covariance"].double(),
        photographs=int(facts.get("photographs", 0)),
        blocks=int(facts.get("blocks", 0)),
        sha256=facts.get("sha256", ""),
        description=facts.get("description", ""),
    )


def _load(device: torch.device, model: Path | None) -> LoadedMetric:
    path = model or PRISTINE_FILE
    pristine = load_pristine(path)
    return LoadedMetric(sha256_file(path), lambda image, _: niqe(image, pristine))


NIQE = QualityMetric(name="niqe", label="NIQE", direction="lower", needs_reference=False, load=_load)
