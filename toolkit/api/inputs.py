"""The forms of images that the Python interface takes and returns.

Images are (H, W, 3) uint8, as numpy arrays or tensors, batches of them (N, H, W, 3), or tensors (N, 3, H, W) of uint8
or of a floating type in [0, 1]. A float image is rounded to 8 bits where 8-bit images are needed.
"""

import operator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ntire_sr.challenge.downscale import lr_size
from ntire_sr.challenge.image_checks import described, form_without_values
from ntire_sr.challenge.pixels import in_planes, to_8bit, to_unit
from ntire_sr.core.errors import ArgumentTypeError, ArgumentValueError

# an image or a batch; the result has the form of the input
Image = TypeVar("Image", NDArray[np.uint8], Tensor)
AnyImage: TypeAlias = "NDArray[np.uint8] | Tensor"
# a number for a single image, (N,) for a batch
Figures: TypeAlias = "np.float64 | NDArray[np.float64]"
Flags: TypeAlias = "np.bool_ | NDArray[np.bool_]"

WANTED = (
    "(H, W, 3) uint8 as numpy array or tensor, several as (N, H, W, 3), or a tensor (N, 3, H, W) of uint8 or of "
    "float in [0, 1]"
)


@dataclass(frozen=True)
class Images:
    """Input images in planes (see `in_planes`), and the form in which they were given."""

    name: str  # of the argument
    pixels: Tensor  # (N, 3, H, W), uint8, or float32 or float64 in [0, 1], on the device of the input
    single: bool  # one image without an axis for N, whose figures are plain numbers
    channels_last: bool
    array: bool  # a numpy array; False: a tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "pixels", in_planes(self.pixels))

    @property
    def levels(self) -> Tensor:
        """(N, 3, H, W) uint8: float is rounded, never truncated."""
        return self.pixels if self.pixels.dtype == torch.uint8 else to_8bit(self.pixels)

    @property
    def unit(self) -> Tensor:
        """(N, 3, H, W), floating, in [0, 1]."""
        return to_unit(self.pixels) if self.pixels.dtype == torch.uint8 else self.pixels

    @property
    def size(self) -> str:
        """Width and height as text for messages."""
        return f"{self.pixels.shape[3]} x {self.pixels.shape[2]} pixels"

    def as_given(self, images: Tensor) -> Any:
        """Images, (N, 3, H', W') uint8, in the form of the input."""
        if self.channels_last:
            images = images.permute(0, 2, 3, 1).contiguous()
        return self.plain(images[0] if self.single else images)

    def maps_as_given(self, maps: Tensor) -> Any:
        """Maps, (N, H', W'), as numpy array or tensor; (H', W') for a single image."""
        return self.plain(maps[0] if self.single else maps)

    def plain(self, values: Tensor) -> Any:
        """A tensor, converted to a numpy array if the input was one."""
        return values.cpu().numpy() if self.array else values

    def figures(self, values: list[float]) -> Figures:
        """A figure per image: (N,) float64; a number for a single image."""
        return np.float64(values[0]) if self.single else np.array(values, dtype=np.float64)

    def flags(self, values: list[bool]) -> Flags:
        """A bool per image: (N,); a single bool for a single image."""
        return np.bool_(values[0]) if self.single else np.array(values, dtype=np.bool_)


def take(name: str, image: Any, in_unit: bool = True) -> Images:
    """Read images of any form that the interface takes.

    Args:
        name: name of the argument, for the error.
        image: the argument.
        in_unit: whether values of a floating type are checked to be in [0, 1].

    Raises:
        ArgumentTypeError: it is neither array nor tensor, or has an unsupported dtype.
        ArgumentValueError: it has other axes, no pixels, or values outside of [0, 1].
    """
    if isinstance(image, np.ndarray):
        return _taken(name, image, _tensor_of(name, image), array=True)
    if isinstance(image, Tensor):
        if form := form_without_values(image):
            remedy = "image.to_dense()" if form.startswith("sparse") else "a tensor that holds its pixels"
            raise _refused(name, image, ArgumentTypeError, remedy)
        if image.dtype == torch.uint8:
            return _taken(name, image, image, array=False)
        if image.is_floating_point():
            if image.ndim != 4 or image.shape[1] != 3:
                raise _refused(name, image, ArgumentValueError, "image.permute(2, 0, 1)[None] of (H, W, 3)")
            _check_pixels(name, image)
            # 16 bits would be rounded once more before they are rounded to levels
            image = image if image.dtype == torch.float64 else image.float()
            if in_unit:
                _check_range(name, image)
            return Images(name, image, single=False, channels_last=False, array=False)
        raise _refused(name, image, ArgumentTypeError, "image.to(torch.uint8) for grey levels from 0 to 255")
    raise _refused(name, image, ArgumentTypeError, "numpy.asarray(image), or numpy.stack(images) for a list")


def take_pair(sr: Any, lr: Any, scale: int) -> tuple[Images, Images]:
    """Read SR images and their LR images, on one device; a single LR image is repeated for all SR images.

    Raises:
        ArgumentTypeError, ArgumentValueError: one is no image, or they do not belong together.
    """
    taken = take("sr", sr)
    return taken, take_lr(lr, taken, scale)


def take_lr(lr: Any, sr: Images, scale: int) -> Images:
    """Read the LR images of SR images; see `take_pair`."""
    paired = repeat_to_match(sr, take("lr", lr))
    height, width = (lr_size(side, scale) for side in sr.pixels.shape[2:])
    if paired.pixels.shape[2:] != (height, width):
        raise ArgumentValueError(
            f"sr has {sr.size} and lr {paired.size}; at scale {scale} the lr of such an sr has {width} x {height}",
            "the lr that belongs to it, or its own scale",
        )
    return paired


def repeat_to_match(images: Images, reference: Images) -> Images:
    """Move a reference to the device of the images, and repeat a single one for all of them.

    Raises:
        ArgumentValueError: there are several references, but not as many as images.
    """
    count, given = len(images.pixels), len(reference.pixels)
    if given not in (1, count):
        raise ArgumentValueError(
            f"{images.name} has {count} images, {reference.name} {given}",
            f"as many of both, or a single {reference.name} for all",
        )
    return replace(reference, pixels=reference.pixels.to(images.pixels.device).expand(count, -1, -1, -1))


def whole_number(name: str, value: Any, least: int) -> int:
    """Check an integer argument of Python or numpy that is `least` or more.

    Raises:
        ArgumentTypeError: it is no integer.
        ArgumentValueError: it is less.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ArgumentTypeError(f"{name} is {value!r}, no integer", f"an integer, {least} or more") from None
    if number < least:
        raise ArgumentValueError(f"{name} is {number}", f"an integer, {least} or more")
    return number


def _tensor_of(name: str, image: NDArray[Any]) -> Tensor:
    if image.dtype != np.uint8:
        floating = np.issubdtype(image.dtype, np.floating)
        remedy = (
            "numpy.rint(image * 255).clip(0, 255).astype(numpy.uint8) for [0, 1]"
            if floating
            else "image.astype(numpy.uint8) for grey levels from 0 to 255"
        )
        raise _refused(name, image, ArgumentTypeError, remedy)
    image = np.ascontiguousarray(image)
    # a tensor must not share memory that may not be written, such as that of a PIL image
    return torch.from_numpy(image if image.flags.writeable else image.copy())


def _taken(name: str, given: Any, image: Tensor, array: bool) -> Images:
    """uint8 images with channels first or last."""
    shape = tuple(image.shape)
    last = len(shape) in (3, 4) and shape[-1] == 3
    first = len(shape) == 4 and shape[1] == 3 and not array
    if first and last:
        raise _refused(
            name, given, ArgumentValueError, "axes that are not both of length 3, to tell the channels by"
        )
    if not (first or last):
        remedy = (
            "image[None] of (3, H, W)"
            if len(shape) == 3 and shape[0] == 3 and not array
            else "image.transpose(1, 2, 0) of (3, H, W)"
            if len(shape) == 3 and shape[0] == 3
            else "torch.from_numpy(images) of (N, 3, H, W)"
            if len(shape) == 4 and shape[1] == 3
            else "an RGB image: repeat a grey channel three times, drop an alpha channel"
        )
        raise _refused(name, given, ArgumentValueError, remedy)
    _check_pixels(name, given)
    single = len(shape) == 3
    if single:
        image = image[None]
    return Images(name, image.permute(0, 3, 1, 2) if last else image, single, last, array)


def _check_pixels(name: str, image: Any) -> None:
    if 0 in image.shape:
        raise _refused(name, image, ArgumentValueError, "at least one image, of at least one pixel")


def _check_range(name: str, image: Tensor) -> None:
    low, high = (value.item() for value in image.detach().aminmax())
    if not (low >= 0 and high <= 1):  # also refuses nan
        raise ArgumentValueError(
            f"{name} is {described(image)} with values from {low:.4g} to {high:.4g}; expected float in [0, 1]",
            f"{name} / 255 for grey levels, ({name} + 1) / 2 for [-1, 1], {name}.clamp(0, 1) for values slightly outside",
        )


def _refused(
    name: str, image: Any, kind: "type[ArgumentTypeError] | type[ArgumentValueError]", remedy: str
) -> "ArgumentTypeError | ArgumentValueError":
    return kind(f"{name} is {described(image)}; expected {WANTED}", remedy)
