"""Checks of images in memory, so that a wrong type, shape or batch is an error and never a wrong figure.

They read no pixel, so they cost microseconds and wait for no GPU.
"""

from typing import Any

import torch
from torch import Tensor

from ntire_sr.core.errors import ArgumentTypeError, ArgumentValueError


def described(image: Any) -> str:
    """Type, shape and range of an argument, for errors.

    >>> described(torch.zeros(2, 3, 8, 8)), described("0801.png")
    ('a tensor (2, 3, 8, 8) of float32', 'a str')
    """
    shape = getattr(image, "shape", None)
    if shape is None:
        name = type(image).__name__
        return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"
    form = form_without_values(image) if isinstance(image, Tensor) else ""
    kind = f"a {form and form + ' '}tensor" if isinstance(image, Tensor) else "an array"
    dtype = str(image.dtype).removeprefix("torch.")
    return f"{kind} {tuple(shape)} of {dtype}"


def form_without_values(tensor: Tensor) -> str:
    """The form of a tensor that does not hold one value per element, and so cannot be an image; else empty.

    >>> form_without_values(torch.zeros(2, 2)), form_without_values(torch.zeros(2, 2).to_sparse())
    ('', 'sparse_coo')
    """
    if tensor.is_meta:
        return "meta"
    if tensor.is_nested:
        return "nested"
    if tensor.is_quantized:
        return "quantized"
    return "" if tensor.layout is torch.strided else str(tensor.layout).removeprefix("torch.")


def check_8bit(name: str, image: Tensor, single: bool = False) -> None:
    """Raise an error unless an image is (N, C, H, W) uint8.

    Args:
        name: name of the argument, for the error.
        image: the image.
        single: whether N must be 1.

    Raises:
        ArgumentTypeError: it is of another type, such as float in [0, 1].
        ArgumentValueError: it has other axes, or is a batch where a single image is wanted.
    """
    if image.dtype != torch.uint8:
        raise ArgumentTypeError(
            f"{name} is {described(image)}, not of uint8", "samples.image_files.to_8bit for float in [0, 1]"
        )
    _check_axes(name, image, single)


def check_float(name: str, image: Tensor, single: bool = False) -> None:
    """Raise an error unless an image is (N, C, H, W) of a floating type; see `check_8bit`."""
    if not image.is_floating_point():
        raise ArgumentTypeError(
            f"{name} is {described(image)}, not floating", "samples.image_files.to_unit for uint8"
        )
    _check_axes(name, image, single)


def _check_axes(name: str, image: Tensor, single: bool) -> None:
    if image.ndim != 4:
        raise ArgumentValueError(
            f"{name} is {described(image)}, not (N, 3, H, W)", "image[None] for a single one"
        )
    if single and len(image) != 1:
        raise ArgumentValueError(
            f"{name} is {described(image)}, not a single image", "one image at a time, image[n : n + 1]"
        )


def check_sizes(sr: Tensor, lr: Tensor, scale: int) -> None:
    """Raise an error unless `sr` downscales to the size of `lr`, image by image: sides are ceil(side / scale).

    Raises:
        ArgumentValueError: numbers of images or sides do not fit.
    """
    height, width = (-(-side // scale) for side in sr.shape[2:])
    if (*sr.shape[:2], height, width) != tuple(lr.shape):
        raise ArgumentValueError(
            f"sr is {described(sr)} and lr {described(lr)}: at scale {scale} such an sr belongs to an lr of "
            f"{(*sr.shape[:2], height, width)}",
            "the LR image that belongs to it, or its own scale",
        )
