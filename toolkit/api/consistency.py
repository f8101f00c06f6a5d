"""Downscaling, LR-PSNR and the projection onto LR images, for images of any form.

Functions take the forms that `ntire_sr.api.inputs` describes, and return images in the form of the input.
"""

from typing import Any

import torch
from torch import Tensor

from ntire_sr.api.inputs import AnyImage, Figures, Flags, Image, take, take_lr, take_pair, whole_number
from ntire_sr.challenge import downscale as challenge_downscale
from ntire_sr.challenge import projection
from ntire_sr.challenge.downscale import REQUIRED_DB, lr_psnr_db
from ntire_sr.core.errors import ArgumentTypeError


def downscale(hr: Image, scale: int) -> Image:
    """The LR image of an HR image, as the challenge computes it.

    For uint8 it is bit-exact: MATLAB's bicubic `imresize`, rounded after each of its two passes. For float tensors it
    is the same without clipping and rounding: linear, differentiable, and for any range.

    >>> from skimage.data import astronaut
    >>> lr = downscale(astronaut()[80:176, 160:288], 4)
    >>> lr.shape, lr[12, 20].tolist()
    ((24, 32, 3), [166, 127, 99])

    Args:
        hr: (H, W, 3) or (N, H, W, 3) uint8, or a tensor (N, 3, H, W), uint8 or floating.
        scale: HR pixels per LR pixel along an axis; 4 or 8 in the challenge.

    Returns:
        The same with sides of ceil(side / scale) pixels.

    Raises:
        ValueError, TypeError: `hr` is not as described.
    """
    images, scale = take("hr", hr, in_unit=False), whole_number("scale", scale, 1)
    lr: Any
    if images.pixels.is_floating_point():
        lr = challenge_downscale.downscale(images.pixels, scale)
    else:
        lr = images.as_given(challenge_downscale.downscale_8bit(images.pixels, scale))
    result: Image = lr
    return result


def lr_psnr(sr: AnyImage, lr: AnyImage, scale: int) -> Figures:
    """LR-PSNR in dB: PSNR of the downscaled SR image against the LR image; higher is better.

    The challenge requires 45 or more; it is `inf` where both are equal. Float images are rounded to 8 bits first.

    >>> from skimage.data import astronaut
    >>> lr = downscale(astronaut()[80:176, 160:288], 4)
    >>> nearest = lr.repeat(4, axis=0).repeat(4, axis=1)
    >>> round(float(lr_psnr(nearest, lr, 4)), 2)
    37.21

    Args:
        sr: (H, W, 3) or (N, H, W, 3) uint8, or a tensor (N, 3, H, W), uint8 or float in [0, 1].
        lr: the LR image of each in one of these forms, or a single one for all; sides are ceil(side / scale).
        scale: HR pixels per LR pixel along an axis.

    Returns:
        A number for an image (H, W, 3), else (N,) float64 with a figure per image.

    Raises:
        ValueError, TypeError: an image is not as described, or they do not belong together.
    """
    scale = whole_number("scale", scale, 1)
    taken, paired = take_pair(sr, lr, scale)
    pairs = zip(taken.levels.split(1), paired.levels.split(1), strict=True)
    return taken.figures([lr_psnr_db(sr_image, lr_image, scale) for sr_image, lr_image in pairs])


def project(sr: Image, lr: AnyImage, scale: int) -> tuple[Image, Figures, Flags]:
    """The 8-bit images near `sr` whose downscale is `lr`, to 50 dB or more if that is possible.

    Each image of a batch is projected and measured separately. If an LR image is the downscale of no 8-bit image, the
    closest image found is returned, and feasible is False.

    >>> from skimage.data import astronaut
    >>> lr = downscale(astronaut()[80:176, 160:288], 4)
    >>> nearest = lr.repeat(4, axis=0).repeat(4, axis=1)
    >>> image, db, feasible = project(nearest, lr, 4)
    >>> image.shape, round(float(db)), bool(feasible)
    ((96, 128, 3), 56, True)

    Args:
        sr: (H, W, 3) or (N, H, W, 3) uint8, or a tensor (N, 3, H, W), uint8 or float in [0, 1].
        lr: the LR image of each in one of these forms, or a single one for all; sides are ceil(side / scale). Float
            is rounded to 8 bits.
        scale: HR pixels per LR pixel along an axis.

    Returns:
        The projected images, uint8, in the form of `sr`; the LR-PSNR of each in dB; and for each, whether its LR image
        is the downscale of an 8-bit image, with 45 dB or more. The latter two are a number and a bool for an image
        (H, W, 3), else (N,).

    Raises:
        ValueError, TypeError: an image is not as described, or they do not belong together.
    """
    scale = whole_number("scale", scale, 1)
    taken, paired = take_pair(sr, lr, scale)
    results, feasible = [], []
    for sr_image, lr_image in zip(taken.unit.split(1), paired.levels.split(1), strict=True):
        result = projection.project_uint8(sr_image, lr_image, scale)
        results.append(result)
        size = (sr_image.shape[2], sr_image.shape[3])
        feasible.append(result.lr_psnr_db >= REQUIRED_DB or projection.is_feasible(lr_image, scale, size)[0])
    images = torch.cat([result.image for result in results])
    return (
        taken.as_given(images),
        taken.figures([result.lr_psnr_db for result in results]),
        taken.flags(feasible),
    )


def project_float(sr: Tensor, lr: AnyImage, scale: int) -> Tensor:
    """The images nearest to `sr` whose downscale, before clipping and rounding, is exactly `lr`.

    It is differentiable in `sr`, and in `lr` if that is float, so it can be the last layer of a network in training. The
    values are not clipped, so the LR-PSNR of the result in 8 bits may be lower; use `project` for images to store.

    >>> import torch
    >>> sr = torch.full((1, 3, 32, 32), 0.5, requires_grad=True)
    >>> projected = project_float(sr, torch.full((1, 3, 8, 8), 0.25), 4)
    >>> round(projected.mean().item(), 4)
    0.25
    >>> projected.square().sum().backward()
    >>> round(sr.grad.abs().max().item(), 4)  # no gradient in what the LR image determines
    0.0

    Args:
        sr: tensor (N, 3, H, W), floating; a network's output about [0, 1]; the range is not checked.
        lr: the LR image of each, a tensor (N, 3, h, w) in [0, 1], or uint8 in any form, or a single one for all;
            sides are ceil(side / scale). On a GPU the range check of float LR images synchronises; uint8 needs no check.
        scale: HR pixels per LR pixel along an axis.

    Returns:
        Like `sr`, float64 for float64 and else float32, also under autocast.

    Raises:
        ValueError, TypeError: an image is not as described, or they do not belong together.
    """
    taken, scale = take("sr", sr, in_unit=False), whole_number("scale", scale, 1)
    if not taken.pixels.is_floating_point():
        raise ArgumentTypeError(
            "sr is of uint8; expected a tensor (N, 3, H, W) of float, about [0, 1]",
            "ntire_sr.project for 8-bit images",
        )
    return projection.project(taken.pixels, take_lr(lr, taken, scale).unit, scale)
