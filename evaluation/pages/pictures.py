"""Pictures of whole images and of a detail, encoded as data URLs that fit into a budget.

Photographs are JPEG and maps are PNG, both as data URLs, so that the page needs no other file. Whole
images are downscaled and never upsampled; the detail is cropped and never resampled, because only unscaled
pixels show whether an image looks real.
"""

import base64
import io
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ntire_sr.challenge.downscale import crop_size, downscale_8bit
from ntire_sr.challenge.pixels import to_array, to_tensor
from ntire_sr.core.threads import map_in_threads

PAGE_BYTES = 18_000_000  # upper limit for all pictures of a page
LONGEST_PX = 640  # longest side of a whole image
DETAIL_PX = 256  # side of the detail
SMALLEST_PX = 32  # longest side below which the budget may not shrink a whole image
QUALITY = 90  # JPEG quality of whole images
DETAIL_QUALITY = 92
SHRINK = 0.9  # factor per step of fitting pictures into the budget


@dataclass(frozen=True)
class Picture:
    """One picture before it is encoded: (H, W, 3) uint8, or (H, W) uint8 indices into `colours`."""

    key: str
    label: str
    caption: str
    whole: np.ndarray
    detail: np.ndarray
    pixelated: bool = False  # whether it is shown without interpolation
    colours: tuple[str, ...] | None = None  # "#rrggbb"; None for a picture of three channels
    legend: dict[str, Any] | None = None


@dataclass(frozen=True)
class Detail:
    """A rectangle of the cropped HR image that is shown unscaled, in its pixels."""

    left: int
    top: int
    width: int
    height: int

    def cut(self, image: np.ndarray, crop: tuple[int, int]) -> np.ndarray:
        """Crop this rectangle from an image that shows the HR crop of (height, width) at any resolution."""
        rows, columns = (
            slice(int(start * size / whole), max(1, round((start + side) * size / whole)))
            for start, side, size, whole in (
                (self.top, self.height, image.shape[0], crop[0]),
                (self.left, self.width, image.shape[1], crop[1]),
            )
        )
        return np.ascontiguousarray(image[rows, columns])


class Target:
    """The image that some pictures show, cropped at the top left.

    Args:
        image: the HR image, or another of its size, (H, W, 3) uint8.
        scale: HR pixels per LR pixel along an axis.
        crop: height and width of the crop; None for the challenge's, to multiples of 8.
    """

    def __init__(self, image: np.ndarray, scale: int, crop: tuple[int, int] | None = None):
        self.height, self.width = self.crop = crop or crop_size(*image.shape[:2])
        self.whole = crop is not None
        self.image = self.crop_image(image)
        self.scale = scale
        self.size = f"{self.width} x {self.height} pixels"

    def crop_image(self, image: np.ndarray) -> np.ndarray:
        """The part of an image that the crop keeps: the top left."""
        return np.ascontiguousarray(image[: self.height, : self.width])

    def picture_hr(self, detail: Detail) -> Picture:
        """The picture of the HR image."""
        cropped = "" if self.whole else " after the crop to multiples of 8"
        caption = f"HR: the photograph, {self.size}{cropped}"
        return self.picture("hr", "HR", caption, self.image, detail)

    def picture_lr(self, detail: Detail) -> Picture:
        """The picture of the LR image."""
        lr = to_array(downscale_8bit(to_tensor(self.image), self.scale))
        size = f"{lr.shape[1]} x {lr.shape[0]} pixels"
        caption = f"LR: the official downscale by {self.scale}, {size}, shown without interpolation"
        return self.picture("lr", "LR", caption, lr, detail, pixelated=True)

    def picture(
        self, key: str, label: str, caption: str, image: np.ndarray, detail: Detail, pixelated: bool = False
    ) -> Picture:
        """A picture of an image that shows the crop at any resolution."""
        whole, part = downscale(image, LONGEST_PX), detail.cut(image, self.crop)
        return Picture(key, label, caption, whole, part, pixelated=pixelated)

    def entry(
        self, name: str, pictures: list[Picture], detail: Detail, notes: list[str], budget_bytes: int
    ) -> dict[str, Any]:
        """The encoded pictures with name and sizes, see `gallery.picture_image`.

        Raises:
            ValueError: no picture fits into the budget.
        """
        encoded, shown, inner = encode_pictures(pictures, detail, self.scale, budget_bytes)
        return {
            "name": name,
            "scale": self.scale,
            "width": self.width,
            "height": self.height,
            "shown": shown,
            "detail": {"left": inner.left, "top": inner.top, "width": inner.width, "height": inner.height},
            "notes": notes,
            "pictures": encoded,
        }


def choose_detail(deviation: np.ndarray | None, crop: tuple[int, int], scale: int) -> Detail:
    """The rectangle with the largest mean deviation, on the grid of LR pixels; the centre without a deviation."""
    sides = [min(DETAIL_PX, side) for side in crop]
    starts = [(side - part) / 2 for side, part in zip(crop, sides, strict=True)]
    if deviation is not None:
        factors = [size / side for size, side in zip(deviation.shape, crop, strict=True)]
        rows, columns = (max(1, round(part * factor)) for part, factor in zip(sides, factors, strict=True))
        sums = cv2.integral(deviation.astype(np.float64))
        windows = (
            sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
        )
        corner = np.unravel_index(windows.argmax(), windows.shape)
        starts = [int(at) / factor for at, factor in zip(corner, factors, strict=True)]
    top, left = (
        min(round(start / scale) * scale, side - part)
        for start, side, part in zip(starts, crop, sides, strict=True)
    )
    return Detail(left, top, sides[1], sides[0])


def downscale(image: np.ndarray, longest_px: int, smooth: bool = True) -> np.ndarray:
    """Downscale an image to a longest side of `longest_px`; smaller images stay as they are."""
    factor = longest_px / max(image.shape[:2])
    if factor >= 1:
        return np.ascontiguousarray(image)
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smooth else cv2.INTER_NEAREST)


def encode_pictures(
    pictures: list[Picture], detail: Detail, scale: int, budget_bytes: int
) -> tuple[list[dict[str, Any]], list[int], Detail]:
    """Encode pictures in threads, and shrink the whole images, later also the detail, until they fit.

    Returns:
        The encoded pictures, [width, height] of the first whole picture, and the detail.
    """
    steps = _shrink_steps()
    step = 0
    while step < len(steps):
        longest_px, part = steps[step]
        inner = _middle(detail, part, scale)
        encode = partial(_encode, longest_px=longest_px, detail=detail, inner=inner)
        encoded = list(map_in_threads(encode, pictures, "encode"))
        if sum(len(picture["whole"]) + len(picture["detail"]) for picture in encoded) <= budget_bytes:
            first = downscale(pictures[0].whole, longest_px)
            return encoded, [first.shape[1], first.shape[0]], inner
        step += 1
        while (
            step < len(steps)
            and _least_bytes(pictures, encoded, steps[step], (longest_px, part)) > budget_bytes
        ):
            step += 1
    raise ValueError(f"{len(pictures)} pictures do not fit into {budget_bytes} bytes at any size")


def _shrink_steps() -> list[tuple[int, float]]:
    """(longest side of whole images in pixels, share of the detail's sides) from the largest to the smallest."""
    steps, longest, part = [], float(LONGEST_PX), 1.0
    while longest >= SMALLEST_PX:
        steps.append((int(longest), part))
        longest *= SHRINK
        if longest < LONGEST_PX / 2:
            part *= SHRINK
    return steps


def _least_bytes(
    pictures: list[Picture], encoded: list[dict[str, Any]], step: tuple[int, float], before: tuple[int, float]
) -> float:
    """Bytes that the pictures need at least at a step, from their encoding at an earlier step.

    A smaller picture has more bytes per pixel, so the share of pixels gives a lower bound.
    """

    def share(picture: Picture) -> float:
        longest = max(picture.whole.shape[:2])
        return (min(longest, step[0]) / min(longest, before[0])) ** 2

    detail_share = (step[1] / before[1]) ** 2
    return sum(
        len(entry["whole"]) * share(picture) + len(entry["detail"]) * detail_share
        for picture, entry in zip(pictures, encoded, strict=True)
    )


def _middle(detail: Detail, part: float, scale: int) -> Detail:
    """The middle of a rectangle, with its sides times `part`, on the grid of LR pixels."""
    if part == 1:
        return detail
    width, height = (max(scale, int(side * part / scale) * scale) for side in (detail.width, detail.height))
    left, top = (
        start + (side - less) // 2 // scale * scale
        for start, side, less in ((detail.left, detail.width, width), (detail.top, detail.height, height))
    )
    return Detail(left, top, width, height)


def _encode(picture: Picture, longest_px: int, detail: Detail, inner: Detail) -> dict[str, Any]:
    """Encode a picture; its detail covers `detail` and is cropped to `inner`."""
    whole = downscale(picture.whole, longest_px, smooth=picture.colours is None)
    within = Detail(inner.left - detail.left, inner.top - detail.top, inner.width, inner.height)
    part = within.cut(picture.detail, (detail.height, detail.width))
    if picture.colours is None:
        urls = [_jpeg(whole, QUALITY), _jpeg(part, DETAIL_QUALITY)]
    else:
        urls = [_png(levels, picture.colours) for levels in (whole, part)]
    return {
        "key": picture.key,
        "label": picture.label,
        "caption": picture.caption,
        "whole": urls[0],
        "detail": urls[1],
        "pixelated": picture.pixelated,
        "legend": picture.legend,
    }


def _jpeg(image: np.ndarray, quality: int) -> str:
    """(H, W, 3) uint8 as a data URL, without chroma subsampling."""
    # with OpenCV: Pillow's buffer for optimised files is too small for pictures that are mostly noise
    options = {
        cv2.IMWRITE_JPEG_QUALITY: quality,
        cv2.IMWRITE_JPEG_OPTIMIZE: 1,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    }
    done, content = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [word for pair in options.items() for word in pair]
    )
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(content.tobytes()).decode()


def _png(levels: np.ndarray, colours: tuple[str, ...]) -> str:
    """(H, W) uint8 indices of colours as a data URL of a PNG with a palette."""
    image = Image.fromarray(levels)
    image.putpalette(bytes.fromhex("".join(colour[1:] for colour in colours)))
    content = io.BytesIO()
    image.save(content, "PNG")  # with optimize=True a tenth smaller at most, but ten times slower
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
