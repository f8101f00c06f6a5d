"""The report's pictures of one image: LR, HR and samples, and maps of how the samples differ.

Pictures are JPEG and maps are PNG, both as data URLs, so that the page needs no other file. Whole
images are downscaled and never enlarged; the detail is cropped and never resampled, because only unscaled
pixels show whether an image looks real.
"""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ntire_sr.core.downscale import CROP_MULTIPLE, downscale_8bit
from ntire_sr.core.images import read_image, to_array, to_tensor
from ntire_sr.core.layout import parse_sample_name

LONGEST_PX = 640  # longest side of a whole image
DETAIL_PX = 256  # side of the detail
SMALLEST_PX = 32  # longest side below which the budget may not shrink a whole image
SHOWN_SAMPLES = 10
QUALITY = 90  # JPEG quality of whole images
DETAIL_QUALITY = 92
SHRINK = 0.9  # factor per step of fitting pictures into the budget
LEVELS = 32  # colours of a sequential map: fewer compress better, more cannot be told apart
DEVIATION_TOPS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)  # upper ends of colour scales, grey levels
LPIPS_TOPS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
# One colour per pictured sample: nine of P. Tol's "muted" scheme, which colour-blind readers can tell
# apart, too, and an orange. All further samples share the last colour.
PALETTE = (
    *("#332288", "#88ccee", "#44aa99", "#117733", "#ddcc77", "#999933", "#cc6677", "#882255", "#aa4499"),
    *("#ee7733", "#a0a0a0"),
)


@dataclass(frozen=True)
class Maps:
    """The scorer's maps over all samples of one image, (h, w) each, the long side 640 px or less.

    A map covers the HR image cropped to multiples of 8 at the top left. All values are finite.
    """

    deviation: np.ndarray | None  # float, grey levels: standard deviation over samples, mean over RGB
    best: np.ndarray | None  # uint8, position in the list of samples of the one with the lowest local LPIPS
    lpips: np.ndarray | None  # float, mean over samples of the LPIPS map; lower is better


@dataclass(frozen=True)
class _Picture:
    """One picture before it is encoded: (H, W, 3) uint8, or (H, W) uint8 indices into `colours`."""

    key: str
    label: str
    caption: str
    whole: np.ndarray
    detail: np.ndarray
    pixelated: bool = False  # enlarged without interpolation
    colours: tuple[str, ...] | None = None  # "#rrggbb"; None for a picture of three channels
    legend: dict[str, Any] | None = None


@dataclass(frozen=True)
class _Place:
    """A rectangle of the cropped HR image, in its pixels."""

    left: int
    top: int
    width: int
    height: int

    def cut(self, image: np.ndarray, crop: tuple[int, int]) -> np.ndarray:
        """Crop this rectangle from an image that shows the HR crop of (height, width) at any resolution."""
        rows, columns = (
            slice(int(start * have / whole), max(1, round((start + side) * have / whole)))
            for start, side, have, whole in (
                (self.top, self.height, image.shape[0], crop[0]),
                (self.left, self.width, image.shape[1], crop[1]),
            )
        )
        return np.ascontiguousarray(image[rows, columns])


def picture_image(
    hr: Path, samples: list[Path], scale: int, maps: Maps, budget_bytes: int, name: str
) -> dict[str, Any]:
    """All that the report shows of one image, ready for JSON. Each file is read once.

    Args:
        hr: the HR image.
        samples: its samples; the first 10 are pictured.
        scale: HR pixels per LR pixel along an axis.
        maps: maps over all samples.
        budget_bytes: upper limit for all pictures together in base64; they shrink until they fit.
        name: name of the image as the report shows it.

    Returns:
        name, scale; width, height: size of the cropped HR image, px; shown: [width, height] of its whole
        picture, px; detail: left, top, width, height of the detail in the HR image, px; notes: sentences
        on what is not shown; pictures: a list of dictionaries with the keys

            key       "lr", "hr", a sample's number "0", "1", ..., "deviation", "best" or "lpips"
            label     a word or two
            caption   a sentence
            whole     data URL of the whole image
            detail    data URL of the detail, unscaled (LR and maps: their own pixels in that area)
            pixelated whether it is enlarged without interpolation
            legend    None for photographs; for sequential maps {"low", "high": texts, "colours": list from
                      low to high}; for `best` {"samples": [{"label", "colour", "share": text in %}]}

    Raises:
        Failure: a file cannot be read.
        ValueError: no picture fits into the budget.
    """
    target = read_image(hr)
    height, width = (side // CROP_MULTIPLE * CROP_MULTIPLE for side in target.shape[:2])
    target = np.ascontiguousarray(target[:height, :width])
    crop = (height, width)
    place = _detail_place(maps.deviation, crop, scale)
    lr = to_array(downscale_8bit(to_tensor(target), scale))
    size = f"{width} x {height} pixels"

    def picture(key: str, label: str, caption: str, image: np.ndarray, pixelated: bool = False) -> _Picture:
        return _Picture(
            key, label, caption, _reduced(image, LONGEST_PX), place.cut(image, crop), pixelated=pixelated
        )

    lr_size = f"{lr.shape[1]} x {lr.shape[0]} pixels"
    pictures = [
        picture("lr", "LR", f"LR: the official downscale by {scale}, {lr_size}, enlarged unsmoothed", lr, True),
        picture("hr", "HR", f"HR: the photograph, {size} after the crop to multiples of 8", target),
    ]
    numbers = [_number(position, path) for position, path in enumerate(samples)]
    for number, path in list(zip(numbers, samples, strict=True))[:SHOWN_SAMPLES]:
        sample = read_image(path)[:height, :width]
        pictures.append(
            picture(str(number), f"sample {number}", f"Sample {number}: {path.name}, {size}", sample)
        )
    pictures += _map_pictures(maps, numbers, place, crop)
    encoded, shown, place = _within_budget(pictures, place, scale, budget_bytes)
    return {
        "name": name,
        "scale": scale,
        "width": width,
        "height": height,
        "shown": shown,
        "detail": {"left": place.left, "top": place.top, "width": place.width, "height": place.height},
        "notes": _notes(maps, len(samples)),
        "pictures": encoded,
    }


def _number(position: int, path: Path) -> int:
    """The sample number in a file name, or the position if the name has none."""
    parsed = parse_sample_name(path.name)
    return parsed.sample if parsed else position


def _notes(maps: Maps, samples: int) -> list[str]:
    notes = []
    if samples > SHOWN_SAMPLES:
        notes.append(
            f"The first {SHOWN_SAMPLES} of {samples} samples are pictured; the maps are over all {samples}."
        )
    if maps.deviation is None:
        notes.append(
            "A single sample has no deviation: that map is missing and the detail is the image's centre."
        )
    if maps.lpips is None and maps.best is None:
        notes.append("LPIPS was not measured: its map and the map of the best sample are missing.")
    return notes


def _detail_place(deviation: np.ndarray | None, crop: tuple[int, int], scale: int) -> _Place:
    """The detail: where the mean deviation is largest, or the centre without it, on the grid of LR pixels."""
    sides = [min(DETAIL_PX, side) for side in crop]
    starts = [(side - part) / 2 for side, part in zip(crop, sides, strict=True)]
    if deviation is not None:
        factors = [have / side for have, side in zip(deviation.shape, crop, strict=True)]
        rows, columns = (max(1, round(part * factor)) for part, factor in zip(sides, factors, strict=True))
        sums = cv2.integral(deviation.astype(np.float64))
        windows = (
            sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
        )
        found = np.unravel_index(windows.argmax(), windows.shape)
        starts = [int(at) / factor for at, factor in zip(found, factors, strict=True)]
    top, left = (
        min(round(start / scale) * scale, side - part)
        for start, side, part in zip(starts, crop, sides, strict=True)
    )
    return _Place(left, top, sides[1], sides[0])


def _map_pictures(maps: Maps, numbers: list[int], place: _Place, crop: tuple[int, int]) -> list[_Picture]:
    """Pictures of those maps that are not None, as indices of colours."""
    pictures = []

    def sequential(
        key: str, label: str, caption: str, values: np.ndarray, tops: tuple[float, ...], colours: int, unit: str
    ) -> None:
        top = _top(values, tops)
        levels, ramp = colour_levels(values, top), _ramp(colours)
        legend = {
            "low": "0",
            "high": f"≥ {top:g}{unit}",
            "colours": [*ramp[:: LEVELS // 8], ramp[-1]],
        }
        detail = place.cut(levels, crop)
        pictures.append(_Picture(key, label, caption, levels, detail, colours=ramp, legend=legend))

    count = f"{len(numbers)} samples" if len(numbers) != 1 else "the only sample"
    if maps.deviation is not None:
        caption = f"Standard deviation over {count}, mean over RGB, in grey levels of 255"
        sequential(
            "deviation",
            "deviation",
            caption,
            maps.deviation,
            DEVIATION_TOPS,
            cv2.COLORMAP_INFERNO,
            " grey levels",
        )
    if maps.best is not None:
        chosen = np.minimum(maps.best, SHOWN_SAMPLES)
        legend = {"samples": _shares(chosen, numbers)}
        caption = f"Which of {count} has the lowest LPIPS at each place; share of the area per sample"
        pictures.append(
            _Picture("best", "best sample", caption, chosen, place.cut(chosen, crop), True, PALETTE, legend)
        )
    if maps.lpips is not None:
        caption = f"LPIPS at each place, mean over {count}; lower is better"
        sequential("lpips", "LPIPS", caption, maps.lpips, LPIPS_TOPS, cv2.COLORMAP_VIRIDIS, "")
    return pictures


def _shares(chosen: np.ndarray, numbers: list[int]) -> list[dict[str, str]]:
    """The legend of `best`: each pictured sample, then all others together."""
    shown, others = numbers[:SHOWN_SAMPLES], numbers[SHOWN_SAMPLES:]
    labels = [str(number) for number in shown]
    if others:
        labels.append(f"{others[0]} to {others[-1]}" if len(others) > 1 else str(others[0]))
    areas = np.bincount(chosen.ravel(), minlength=len(PALETTE)) / chosen.size * 100
    return [
        {"label": label, "colour": PALETTE[at], "share": f"{areas[at]:.1f} %"}
        for at, label in enumerate(labels)
    ]


def _top(values: np.ndarray, tops: tuple[float, ...]) -> float:
    """The smallest of `tops` that 99 % of the values do not exceed: few tops keep images comparable."""
    wanted = float(np.percentile(values, 99))
    return next((top for top in tops if wanted <= top), tops[-1])


def colour_levels(values: np.ndarray, top: float) -> np.ndarray:
    """Indices of colours, 0 to LEVELS - 1, for values of 0 to `top`; larger values get the last one.

    >>> colour_levels(np.array([0.0, 4.0, 8.0, 99.0]), top=8.0).tolist()
    [0, 16, 31, 31]
    """
    return np.clip(values * ((LEVELS - 1) / top), 0, LEVELS - 1).round().astype(np.uint8)


def _ramp(colours: int) -> tuple[str, ...]:
    """LEVELS colours of one of OpenCV's sequential colour maps, from low to high."""
    steps = np.linspace(0, 255, LEVELS).round().astype(np.uint8)[:, None]  # an image one pixel wide
    return tuple(
        f"#{red:02x}{green:02x}{blue:02x}"
        for blue, green, red in cv2.applyColorMap(steps, colours).reshape(-1, 3)
    )


def _reduced(image: np.ndarray, longest_px: int, smooth: bool = True) -> np.ndarray:
    """The image downscaled to a longest side of `longest_px`; smaller images stay as they are."""
    factor = longest_px / max(image.shape[:2])
    if factor >= 1:
        return np.ascontiguousarray(image)
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smooth else cv2.INTER_NEAREST)


def _within_budget(
    pictures: list[_Picture], place: _Place, scale: int, budget_bytes: int
) -> tuple[list[dict[str, Any]], list[int], _Place]:
    """Encode; while that exceeds the budget, shrink the whole images step by step, then also the detail."""
    longest, part = float(LONGEST_PX), 1.0
    while longest >= SMALLEST_PX:
        inner = _middle(place, part, scale)
        encoded = [_encode(picture, int(longest), place, inner) for picture in pictures]
        if sum(len(picture["whole"]) + len(picture["detail"]) for picture in encoded) <= budget_bytes:
            hr = _reduced(next(picture for picture in pictures if picture.key == "hr").whole, int(longest))
            return encoded, [hr.shape[1], hr.shape[0]], inner
        longest *= SHRINK
        if longest < LONGEST_PX / 2:
            part *= SHRINK
    raise ValueError(f"{len(pictures)} pictures do not fit into {budget_bytes} bytes at any size")


def _middle(place: _Place, part: float, scale: int) -> _Place:
    """The middle of a rectangle, with its sides times `part`, on the grid of LR pixels."""
    if part == 1:
        return place
    width, height = (max(scale, int(side * part / scale) * scale) for side in (place.width, place.height))
    left, top = (
        start + (side - less) // 2 // scale * scale
        for start, side, less in ((place.left, place.width, width), (place.top, place.height, height))
    )
    return _Place(left, top, width, height)


def _encode(picture: _Picture, longest_px: int, place: _Place, inner: _Place) -> dict[str, Any]:
    """The picture as the page takes it; its detail covers `place` and is cropped to `inner`."""
    whole = _reduced(picture.whole, longest_px, smooth=picture.colours is None)
    within = _Place(inner.left - place.left, inner.top - place.top, inner.width, inner.height)
    detail = within.cut(picture.detail, (place.height, place.width))
    if picture.colours is None:
        urls = [_jpeg(whole, QUALITY), _jpeg(detail, DETAIL_QUALITY)]
    else:
        urls = [_png(levels, picture.colours) for levels in (whole, detail)]
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
    image.save(content, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
