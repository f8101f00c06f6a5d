"""Signs that an image was made from another LR image, is mirrored, has swapped channels or another range.

Projection hides these mistakes: afterwards any image has 45 dB or more. So images are compared before it, after the
downscale. The bounds come from 18 photographs (Kodak and 6 of a validation set) at both scales. Bicubic images with
noise, blur, JPEG artefacts, other contrast or colours, or shifted by up to 3 LR pixels had 14 dB or more, and at most
4.4 dB more with a changed LR image than with their own. Mirrored, turned, negative and BGR images and those in
[-1, 1] had at least 9.3 dB more with the LR image that was changed in the same way.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ntire_sr.challenge.downscale import psnr_db

GAIN_DB = 6.0  # an explanation has to fit so much better than the LR image itself
FITS_DB = 20.0  # and at least so well: noise of an untrained network fits some change of the LR image by chance
FAR_DB = 12.0  # under it an image is called far from its LR image, also without an explanation
OTHER_DB = 20.0  # under it an image may belong to another LR image, so that it is worth reading all of these
FLAT, VARIED = 2.0, 8.0  # standard deviations in grey levels: of one colour, and of an image that is not
GREY, COLOURED = 0.5, 3.0  # mean differences of the channels in grey levels: without colours, and with colours
SIDE = 16  # side of the small images that stand for other images


@dataclass(frozen=True)
class Mismatch:
    """What is wrong with an image that does not fit its LR image."""

    text: str  # continues a sentence that begins with the image's name
    is_mistake: bool  # whether it is explained; otherwise the image is only far from its LR image


@dataclass
class OtherImages:
    """Small versions of all LR images of a folder, to find the one that an image fits best."""

    names: list[str] = field(default_factory=list)
    small: list[Tensor] = field(default_factory=list)

    def add(self, name: str, lr: Tensor) -> None:
        """Add an LR image, (1, 3, h, w) uint8."""
        self.names.append(name)
        self.small.append(_small(lr))

    def best(self, reduced: Tensor, lr: Tensor) -> tuple[str, float]:
        """Name of the image that `reduced` fits best, and by how many dB better than `lr`; both at a small size."""
        if not self.names:
            return "", -float("inf")
        small = _small(reduced)
        errors = (torch.cat(self.small) - small).square().mean(dim=(1, 2, 3))
        best = int(errors.argmin())
        own = float((_small(lr) - small).square().mean())
        return self.names[best], psnr_db(float(errors[best])) - psnr_db(own) if own else -float("inf")


def find_mismatch(reduced: Tensor, lr: Tensor, others: OtherImages | None = None) -> Mismatch | None:
    """Why an image does not fit its LR image; None if it does.

    >>> lr = torch.arange(192, dtype=torch.uint8).view(1, 3, 8, 8)
    >>> find_mismatch(lr.flip(3), lr).text
    'looks mirrored (34.9 dB with its LR image as it is, inf dB so)'

    Args:
        reduced: the image after the downscale, (1, 3, h, w) uint8.
        lr: its LR image, of the same shape.
        others: LR images that it may belong to instead.
    """
    own = _psnr(reduced, lr)
    if _deviation(reduced) < FLAT and _deviation(lr) > VARIED:
        return Mismatch("has one colour everywhere, which its LR image has not", True)
    if _colour(reduced) < GREY and _colour(lr) > COLOURED:
        return Mismatch("is grey, and its LR image has colours", True)
    values = {name: _psnr(reduced, changed) for name, changed in _changed(lr).items()}
    best = max(values, key=lambda name: values[name])
    name, gain = others.best(reduced, lr) if others else ("", -float("inf"))
    if gain >= GAIN_DB and values[best] - own < gain:
        return Mismatch(f"fits {name} better than its own LR image, with which it has {own:.1f} dB", True)
    if values[best] - own >= GAIN_DB and values[best] >= FITS_DB:
        return Mismatch(
            f"looks {best} ({own:.1f} dB with its LR image as it is, {values[best]:.1f} dB so)", True
        )
    if own < FAR_DB:
        return Mismatch(f"is far from its LR image: {own:.1f} dB", False)
    return None


def _changed(lr: Tensor) -> dict[str, Tensor]:
    """The LR image with each of the usual mistakes."""
    changed = {
        "mirrored": lr.flip(3),
        "upside down": lr.flip(2),
        "turned by 180 degrees": lr.flip((2, 3)),
        "with red and blue swapped (BGR)": lr.flip(1),
        "negative": 255 - lr,
        "in the range -1 to 1 instead of 0 to 1": (2 * lr.int() - 255).clamp(0, 255),
    }
    if lr.shape[2] == lr.shape[3]:
        changed |= {
            "turned by 90 degrees": lr.rot90(1, (2, 3)),
            "turned by 270 degrees": lr.rot90(3, (2, 3)),
            "with rows and columns swapped": lr.transpose(2, 3),
        }
    return changed


def _small(image: Tensor) -> Tensor:
    return interpolate(image.float(), (SIDE, SIDE), mode="area")


def _psnr(first: Tensor, second: Tensor) -> float:
    return psnr_db(float((first.float() - second.float()).square().mean()))


def _deviation(image: Tensor) -> float:
    """Largest standard deviation of a channel, in grey levels."""
    return float(image.float().std(dim=(2, 3)).max())


def _colour(image: Tensor) -> float:
    """Mean difference of neighbouring channels, in grey levels."""
    return float(image.float().diff(dim=1).abs().mean())
