"""LR consistency by construction: the nearest image whose downscale is the given LR image.

The linear part of the challenge's downscale is `D x = A_h x A_w^T`. Every solution of `D x = y` is
`x + A_h^+ (y - D x) (A_w^+)^T` for some x, and this one is the nearest to x (A^+ is the Moore-Penrose
pseudo-inverse). CEM (Bahat & Michaeli, CVPR 2020) and DDNM (Wang et al., ICLR 2023) take the same step
with truncated kernels; here it is exact, also at the border, for any image size.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ntire_sr.challenge.downscale import REQUIRED_DB, downscale_matrix, lr_psnr_db
from ntire_sr.challenge.image_checks import check_8bit, check_float, check_sizes
from ntire_sr.challenge.pixels import in_planes, to_8bit, to_unit
from ntire_sr.core.device import full_float32

TARGET_DB = 50.0  # rounds are added until the 8-bit image reaches this LR-PSNR
MAX_ROUNDS = 256
# From this round on, a gain below STALL_DB from doubling the rounds means that the target cannot be reached.
STALL_AFTER = 64
STALL_DB = 0.5


@lru_cache(maxsize=8)
def _matrices(
    size: int, scale: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """A and A^+ of one axis, computed in float64."""
    with torch.inference_mode(False):  # the cached tensors must be usable in training too
        matrix = downscale_matrix(size, scale)
        inverse = torch.linalg.pinv(matrix)
        return matrix.to(device, dtype), inverse.to(device, dtype)


def project(sr: Tensor, lr: Tensor, scale: int) -> Tensor:
    """The image nearest to `sr` whose downscale, before clipping and rounding, is exactly `lr`.

    Differentiable; always in full float32 (TF32 would leave 78 dB, bfloat16 59 dB), or in float64.

    Args:
        sr: (N, 3, scale * h, scale * w), floating, any range.
        lr: (N, 3, h, w), floating, the same range.

    Returns:
        Like `sr`, float64 for float64 and else float32, not clipped.

    Raises:
        ArgumentTypeError, ArgumentValueError: a tensor has the wrong type or shape, or their sizes do not match.
    """
    check_float("sr", sr)
    check_float("lr", lr)
    check_sizes(sr, lr, scale)
    with full_float32(sr.device):
        dtype = torch.float64 if sr.dtype == torch.float64 else torch.float32
        sr, lr = sr.to(dtype), lr.to(dtype)
        a_h, a_h_inverse = _matrices(sr.shape[2], scale, sr.device, dtype)
        a_w, a_w_inverse = _matrices(sr.shape[3], scale, sr.device, dtype)
        missing = lr - a_h @ sr @ a_w.T
        return sr + a_h_inverse @ missing @ a_w_inverse.T


@dataclass(frozen=True)
class ProjectionResult:
    """An 8-bit image and the LR-PSNR of its downscale."""

    image: Tensor  # (1, 3, H, W), uint8
    lr_psnr_db: float
    rounds: int


@torch.no_grad()
def project_uint8(
    sr: Tensor, lr: Tensor, scale: int, target_db: float = TARGET_DB, max_rounds: int = MAX_ROUNDS
) -> ProjectionResult:
    """The 8-bit image near `sr` whose official downscale is `lr`, to at least `target_db` if possible.

    Clipping to [0, 1] undoes part of a projection, so both alternate until the *rounded* image
    reaches the target. Two things make this converge where plain alternation stalls under 50 dB (text,
    saturated blocks):

    * the residual is computed with the clipping that D does between and after its passes, so that the
      projection does not correct a bicubic overshoot that D clips anyway;
    * Nesterov's extrapolation (1983) reduces 1000 rounds on saturated images to about 100.

    Photographs need 4 rounds. If the downscale of no 8-bit image is `lr`, progress stalls, and the best
    rounded image so far is returned; the caller decides what its `lr_psnr_db` means.

    Args:
        sr: (1, 3, scale * h, scale * w), float, about [0, 1].
        lr: (1, 3, h, w), uint8.
        scale: 4 or 8.
        target_db: LR-PSNR, measured on the rounded image with the official 8-bit downscale, to stop at.
        max_rounds: upper bound of the number of projections.

    Returns:
        The image, its LR-PSNR in dB (higher is better, `inf` if its downscale is exactly `lr`) and
        the number of rounds.

    Raises:
        ArgumentTypeError, ArgumentValueError: a tensor has the wrong type or shape. A batch is refused, since only one
            figure is returned.
    """
    check_float("sr", sr, single=True)
    check_8bit("lr", lr, single=True)
    check_sizes(sr, lr, scale)
    y = to_unit(in_planes(lr))
    a_h, a_h_inverse = _matrices(sr.shape[2], scale, sr.device)
    a_w, a_w_inverse = _matrices(sr.shape[3], scale, sr.device)
    best = ProjectionResult(to_8bit(sr), -math.inf, 0)
    check_at = 4
    # in fresh planes: the kernels of products are chosen by how the image lies in memory
    x = before = sr.float().clone(memory_format=torch.contiguous_format)
    with full_float32(sr.device):
        for done in range(1, max_rounds + 1):
            downscaled = ((a_h @ x).clamp(0, 1) @ a_w.T).clamp(0, 1)
            clipped = (x + a_h_inverse @ (y - downscaled) @ a_w_inverse.T).clamp(0, 1)
            x = clipped + (done - 1) / (done + 2) * (clipped - before)
            before = clipped
            if done in (check_at, max_rounds):
                check_at *= 2
                rounded = to_8bit(clipped)
                reached = lr_psnr_db(rounded, lr, scale)
                stalled = done >= STALL_AFTER and reached < best.lr_psnr_db + STALL_DB
                if reached > best.lr_psnr_db:
                    best = ProjectionResult(rounded, reached, done)
                if reached >= target_db or stalled:
                    break
    return best


def is_feasible(lr: Tensor, scale: int, size: tuple[int, int] | None = None) -> tuple[bool, float]:
    """Whether the projection finds an 8-bit image whose LR-PSNR is at least 45 dB, and its LR-PSNR in dB.

    Starts from the bicubically upsampled LR image. For an LR image that was never the downscale of an image (binary
    text, a checkerboard of single pixels) the LR-PSNR stays far under 45 dB.

    Args:
        lr: (1, 3, h, w), uint8.
        scale: HR pixels per LR pixel along an axis.
        size: height and width of the image to find; None for those of `lr` times the scale.
    """
    start = bicubic_upsample(to_unit(in_planes(lr)), scale)
    if size:
        start = start[:, :, : size[0], : size[1]]
    best = project_uint8(start, lr, scale).lr_psnr_db
    return best >= REQUIRED_DB, best


def bicubic_upsample(lr: Tensor, scale: int) -> Tensor:
    """Bicubic upsampling: (N, 3, h, w) to (N, 3, scale * h, scale * w), same range, not clipped."""
    return torch.nn.functional.interpolate(lr, scale_factor=scale, mode="bicubic", align_corners=False)
