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

SCALES = (4, 8)
CROP_MULTIPLE = 8  # the official script crops HR sides to multiples of this, in both tracks
REQUIRED_DB = 45.0  # LR-PSNR that the challenge asks of every sample


def lr_size(hr_px: int, scale: int) -> int:
    """Length of one LR axis: ceil(hr_px / scale), as MATLAB rounds it."""
    return math.ceil(hr_px / scale)


def mirrored(size: int, before: int, after: int) -> Tensor:
    """Indices that extend an axis by mirroring with the edge repeated (MATLAB's 'symmetric').

    >>> mirrored(3, 2, 4).tolist()
    [1, 0, 0, 1, 2, 2, 1, 0, 0]
    """
    index = torch.arange(-before, size + after) % (2 * size)
    return torch.where(index < size, index, 2 * size - 1 - index)


def _reduce_axis(image: Tensor, scale: int, axis: int) -> Tensor:
    """One pass of D along axis 2 or 3, not rounded: (N, C, H, W) -> ceil(H / scale) or ceil(W / scale)."""
    size = image.shape[axis]
    # interpolate renormalises its kernel at the border instead of mirroring, so the mirrored pixels
    # are put there first; 4 * scale covers the kernel's half width of 2 * scale, and the total is
    # made a multiple of the scale so that the sampling grid stays MATLAB's.
    before, after = 4 * scale, 4 * scale + -size % scale
    padded = image.index_select(axis, mirrored(size, before, after).to(image.device))
    width = image.shape[3]
    if axis == 2 and width == 1:
        # torch 2.13 leaves out the rows pass of images that are one pixel wide (wrong numbers, no error)
        padded = padded.expand(-1, -1, -1, 2)
    factor = (1 / scale, 1.0) if axis == 2 else (1.0, 1 / scale)
    reduced = torch.nn.functional.interpolate(
        padded, scale_factor=factor, mode="bicubic", antialias=True, align_corners=False
    )
    reduced = reduced.narrow(axis, before // scale, lr_size(size, scale))
    return reduced if axis == 3 else reduced[..., :width]


def downscale(image: Tensor, scale: int) -> Tensor:
    """D without clipping and rounding, differentiable.

    Args:
        image: (N, C, H, W), floating, any range.
        scale: reduction factor, 1 or more.

    Returns:
        (N, C, ceil(H / scale), ceil(W / scale)), the same range.
    """
    return _reduce_axis(_reduce_axis(image, scale, 2), scale, 3)


def downscale_8bit(image: Tensor, scale: int) -> Tensor:
    """D exactly as the challenge computes it.

    Args:
        image: (N, C, H, W), uint8.
        scale: reduction factor.

    Returns:
        (N, C, ceil(H / scale), ceil(W / scale)), uint8, equal to the official script's bit for bit.
    """
    rows = _reduce_axis(image.float(), scale, 2).clamp(0, 255).round()
    return _reduce_axis(rows, scale, 3).clamp(0, 255).round().to(torch.uint8)


def psnr_db(mean_squared_error: float) -> float:
    """Peak signal-to-noise ratio of 8-bit images in dB; `inf` where nothing differs.

    >>> round(psnr_db(1.0), 2)
    48.13
    """
    return math.inf if mean_squared_error == 0 else 10 * math.log10(255**2 / mean_squared_error)


def lr_squared_error(sr: Tensor, lr: Tensor, scale: int) -> float:
    """Mean squared difference, in squared grey levels, of the downscaled SR and the LR image.

    Args:
        sr: (1, 3, H, W), uint8.
        lr: (1, 3, ceil(H / scale), ceil(W / scale)), uint8.
    """
    return (downscale_8bit(sr, scale).double() - lr.double()).square().mean().item()


def lr_psnr_db(sr: Tensor, lr: Tensor, scale: int) -> float:
    """LR-PSNR in dB of one 8-bit SR image against the LR image it must reduce to; higher is better.

    The challenge asks for 45 dB or more. Shapes as in `lr_squared_error`.
    """
    return psnr_db(lr_squared_error(sr, lr, scale))


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -0.5 (IEEE Trans. ASSP 29, 1981, eq. 15)."""
    x = x.abs()
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return torch.where(x <= 1, near, torch.where(x <= 2, far, torch.zeros_like(x)))


@lru_cache(maxsize=64)
def reduction_matrix(size: int, scale: int) -> Tensor:
    """The matrix A of one linear pass of D: (ceil(size / scale), size), float64, rows summing to 1."""
    with torch.inference_mode(False):  # what is kept must serve training too
        return _reduction_matrix(size, scale)


def _reduction_matrix(size: int, scale: int) -> Tensor:
    rows = lr_size(size, scale)
    centre = (torch.arange(rows, dtype=torch.float64) + 0.5) * scale - 0.5
    first = torch.floor(centre - 2 * scale).long()
    taps = first[:, None] + torch.arange(4 * scale + 2)
    weight = _cubic((taps - centre[:, None]) / scale)
    weight = weight / weight.sum(1, keepdim=True)
    folded = taps % (2 * size)
    folded = torch.where(folded < size, folded, 2 * size - 1 - folded)
    return torch.zeros(rows, size, dtype=torch.float64).scatter_add_(1, folded, weight)
