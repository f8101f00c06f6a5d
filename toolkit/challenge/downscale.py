"""The challenge's downscale D, as an exact 8-bit operation and as a pair of matrices.

D is MATLAB's antialiased bicubic `imresize(image, 1 / scale)` on uint8: the kernel has a = -0.5 and
is stretched by the scale, borders are mirrored with the edge pixel repeated, the output has
ceil(size / scale) pixels, and each of the two passes (rows first) is clipped and rounded to 8 bits.
Without clipping and rounding D is linear and separable: `lr = A_h @ hr @ A_w.T`.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from ntire_sr.challenge.image_checks import check_8bit, check_sizes
from ntire_sr.core.device import full_float32

SCALES = (4, 8)
CROP_MULTIPLE = 8  # the official script crops HR sides to multiples of this, in both tracks
REQUIRED_DB = 45.0  # LR-PSNR that the challenge requires of every sample
BLOCK = 8  # LR pixels per matrix product of the 8-bit downscale, along an axis


def lr_size(hr_px: int, scale: int) -> int:
    """Length of one LR axis: ceil(hr_px / scale), as MATLAB rounds it."""
    return math.ceil(hr_px / scale)


def crop_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the top-left crop of an HR image that the official script measures.

    >>> crop_size(70, 83)
    (64, 80)
    """
    return height // CROP_MULTIPLE * CROP_MULTIPLE, width // CROP_MULTIPLE * CROP_MULTIPLE


def mirrored(size: int, before: int, after: int) -> Tensor:
    """Indices that extend an axis by mirroring with the edge repeated (MATLAB's 'symmetric').

    >>> mirrored(3, 2, 4).tolist()
    [1, 0, 0, 1, 2, 2, 1, 0, 0]
    """
    index = torch.arange(-before, size + after) % (2 * size)
    return torch.where(index < size, index, 2 * size - 1 - index)


def downscale(image: Tensor, scale: int) -> Tensor:
    """D without clipping and rounding, differentiable.

    Args:
        image: (N, C, H, W), floating, any range.
        scale: HR pixels per LR pixel along an axis, 1 or more.

    Returns:
        (N, C, ceil(H / scale), ceil(W / scale)), the same range, float64 for float64 and else float32.
    """
    with full_float32(image.device):
        image = image if image.dtype == torch.float64 else image.float()
        rows, columns = (_matrix_on(size, scale, image.device, image.dtype) for size in image.shape[2:])
        return rows @ image @ columns.T


def downscale_8bit(image: Tensor, scale: int) -> Tensor:
    """D exactly as the challenge computes it.

    At scales 4 and 8 all sums are exact in float32, in any order: the weights are multiples of 2^-12 and
    2^-16, and 128 is subtracted from the pixels first, so that no partial sum has more than 24 bits.

    Args:
        image: (N, C, H, W), uint8.
        scale: HR pixels per LR pixel along an axis.

    Returns:
        (N, C, ceil(H / scale), ceil(W / scale)), uint8, equal to the official script's bit for bit.

    Raises:
        ArgumentTypeError, ArgumentValueError: the image has another type or shape; one of float in [0, 1] would become black.
    """
    check_8bit("image", image)
    with full_float32(image.device):
        return _downscale_8bit(image, scale)


def _downscale_8bit(image: Tensor, scale: int) -> Tensor:
    count, channels, *size = image.shape
    height, width = (lr_size(side, scale) for side in size)
    # Away from the border each LR pixel has the same weights, so a pass is one small matrix for BLOCK
    # pixels that moves along the axis. Mirroring comes first; the last block may extend beyond the image.
    band = _band_on(scale, image.device)
    taps, step = band.shape[1], BLOCK * scale
    blocks = [-(-side // BLOCK) for side in (height, width)]
    before = -_first_tap(scale)
    rows, columns = (
        _mirrored_on(side, before, (number - 1) * step + taps - before - side, image.device)
        for side, number in zip(size, blocks, strict=True)
    )
    pixels = image.permute(0, 2, 3, 1).contiguous().index_select(1, rows)
    across = _band_of_pixels_on(scale, channels, image.device)
    lr = image.new_empty(count, blocks[0], BLOCK, width, channels)
    # on a CPU block by block, so that the data of one block stay in its cache
    at_once = 1 if image.device.type == "cpu" else blocks[0]
    for first in range(0, blocks[0], at_once):
        last = min(first + at_once, blocks[0])
        strip = pixels[:, first * step : (last - 1) * step + taps].flatten(2).float().sub_(128)
        strip = strip.unfold(1, taps, step).transpose(2, 3).reshape(-1, taps, size[1] * channels)
        strip = torch.bmm(band.expand(len(strip), BLOCK, taps), strip).clamp_(-128, 127).round_()
        strip = strip.view(-1, size[1], channels).index_select(1, columns).flatten(1)
        strip = (strip.unfold(1, taps * channels, step * channels) @ across).clamp_(-128, 127).round_()
        strip = strip.view(count, last - first, BLOCK, -1, channels)
        lr[:, first:last] = strip[:, :, :, :width].add_(128).to(torch.uint8)
    return lr.flatten(1, 2)[:, :height].permute(0, 3, 1, 2)


def psnr_db(mean_squared_error: float) -> float:
    """Peak signal-to-noise ratio of 8-bit images in dB; `inf` for an error of 0.

    >>> round(psnr_db(1.0), 2)
    48.13
    """
    return math.inf if mean_squared_error == 0 else 10 * math.log10(255**2 / mean_squared_error)


def lr_squared_error(sr: Tensor, lr: Tensor, scale: int) -> float:
    """Mean squared difference, in squared grey levels, of the downscaled SR and the LR image.

    Args:
        sr: (1, 3, H, W), uint8.
        lr: (1, 3, ceil(H / scale), ceil(W / scale)), uint8.

    Raises:
        ArgumentTypeError, ArgumentValueError: a tensor has the wrong type or shape. A batch is refused, since only one figure is returned.
    """
    check_8bit("sr", sr, single=True)
    check_8bit("lr", lr, single=True)
    check_sizes(sr, lr, scale)
    return (downscale_8bit(sr, scale).double() - lr.double()).square().mean().item()


def lr_psnr_db(sr: Tensor, lr: Tensor, scale: int) -> float:
    """LR-PSNR in dB of one 8-bit SR image against the LR image it must downscale to; higher is better.

    The challenge requires 45 dB or more. Shapes as in `lr_squared_error`.
    """
    return psnr_db(lr_squared_error(sr, lr, scale))


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -0.5 (IEEE Trans. ASSP 29, 1981, eq. 15)."""
    x = x.abs()
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return torch.where(x <= 1, near, torch.where(x <= 2, far, torch.zeros_like(x)))


def _first_tap(scale: int) -> int:
    """First tap of LR pixel 0's kernel, in HR pixels; that of LR pixel k lies k * scale further on."""
    return math.floor((scale - 1) / 2 - 2 * scale)


def _weights(scale: int) -> Tensor:
    """The kernel's 4 * scale + 2 weights from `_first_tap` on, float64, sum 1 (the outermost may be 0)."""
    centre = (scale - 1) / 2
    taps = _first_tap(scale) + torch.arange(4 * scale + 2, dtype=torch.float64)
    weights = _cubic((taps - centre) / scale)
    return weights / weights.sum()


@lru_cache(maxsize=8)
def downscale_matrix(size: int, scale: int) -> Tensor:
    """The matrix A of one linear pass of D: (ceil(size / scale), size), float64, rows summing to 1."""
    with torch.inference_mode(False):  # the cached matrix must be usable in training, too
        rows = lr_size(size, scale)
        weights = _weights(scale)
        taps = _first_tap(scale) + scale * torch.arange(rows)[:, None] + torch.arange(len(weights))
        folded = taps % (2 * size)
        folded = torch.where(folded < size, folded, 2 * size - 1 - folded)
        matrix = torch.zeros(rows, size, dtype=torch.float64)
        return matrix.scatter_add_(1, folded, weights.expand(rows, -1))


# Constants stay on their device: a training that copied them there at every step would wait for a GPU each time.
@lru_cache(maxsize=16)
def _matrix_on(size: int, scale: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """`downscale_matrix` on a device."""
    with torch.inference_mode(False):
        return downscale_matrix(size, scale).to(device, dtype)


@lru_cache(maxsize=16)
def _band_on(scale: int, device: torch.device) -> Tensor:
    """`_band` on a device, float32."""
    with torch.inference_mode(False):
        return _band(scale).to(device, torch.float32)


@lru_cache(maxsize=16)
def _band_of_pixels_on(scale: int, channels: int, device: torch.device) -> Tensor:
    """`_band`, transposed, for all channels of a pixel at once: both sides times `channels`; on a device, float32."""
    with torch.inference_mode(False):
        return torch.kron(_band(scale).T.contiguous(), torch.eye(channels)).to(device, torch.float32)


@lru_cache(maxsize=16)
def _mirrored_on(size: int, before: int, after: int, device: torch.device) -> Tensor:
    """`mirrored` on a device."""
    with torch.inference_mode(False):
        return mirrored(size, before, after).to(device)


@lru_cache(maxsize=8)
def _band(scale: int) -> Tensor:
    """One linear pass of D for BLOCK neighbouring LR pixels: (BLOCK, (BLOCK - 1) * scale + 4 * scale + 2)."""
    with torch.inference_mode(False):
        weights = _weights(scale)
        band = torch.zeros(BLOCK, (BLOCK - 1) * scale + len(weights), dtype=torch.float64)
        for row in range(BLOCK):
            band[row, row * scale : row * scale + len(weights)] = weights
        return band
