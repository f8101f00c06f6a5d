"""Conversion between 8-bit and [0, 1] images, arrays and tensors. The only module that rounds images to 8 bits."""

import numpy as np
import torch
from torch import Tensor

from ntire_sr.challenge.image_checks import check_8bit, described
from ntire_sr.core.errors import ArgumentTypeError


def to_tensor(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) uint8."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]


def to_array(image: Tensor) -> np.ndarray:
    """(1, 3, H, W) uint8 on any device to (H, W, 3) uint8.

    Raises:
        ArgumentTypeError, ArgumentValueError: it is no single 8-bit image.
    """
    check_8bit("image", image, single=True)
    return np.ascontiguousarray(image[0].permute(1, 2, 0).cpu().numpy())


def in_planes(image: Tensor) -> Tensor:
    """Return (N, C, H, W) with the same values and the strides of a new tensor: planes of rows, without gaps.

    Figures must not depend on how an image lies in memory, and kernels that differ in the last bits are chosen by
    strides. `Tensor.contiguous` leaves those of axes of length 1 as they are.
    """
    channels, height, width = image.shape[1:]
    planes = (channels * height * width, height * width, width, 1)
    return image if image.stride() == planes else image.clone(memory_format=torch.contiguous_format)


def to_unit(image: Tensor) -> Tensor:
    """uint8 to float32 in [0, 1].

    Raises:
        ArgumentTypeError: the image is of another type, such as float that may be in [0, 1] already.
    """
    if image.dtype != torch.uint8:
        raise ArgumentTypeError(
            f"image is {described(image)}, not of uint8", "the 8-bit image, or this one as it is"
        )
    return image.float() / 255


def to_8bit(image: Tensor) -> Tensor:
    """Any range around [0, 1] to uint8: clipped, then rounded to the nearest level, never truncated.

    Raises:
        ArgumentTypeError: the image is not floating, so that it cannot be in [0, 1].
    """
    if not image.is_floating_point():
        raise ArgumentTypeError(
            f"image is {described(image)}, not floating", "this image as it is, if it is of uint8"
        )
    return (image * 255).clamp(0, 255).round().to(torch.uint8)
