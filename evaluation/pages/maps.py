"""Pictures of the maps of one image: how its samples differ, and where LPIPS is high or low."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ntire_sr.evaluation.pages.pictures import Detail, Picture
from ntire_sr.evaluation.scoring.records import Records

SHOWN_SAMPLES = 10  # samples of an image that are pictured, and have a colour in the map of the best sample
LEVELS = 32  # colours of a sequential map: fewer compress better, more cannot be told apart
DEVIATION_LIMITS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)  # upper ends of colour scales, grey levels
LPIPS_LIMITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
# One colour per pictured sample: nine of P. Tol's "muted" scheme, which colour-blind readers can also tell
# apart, and an orange. All further samples share the last colour.
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


def load_maps(records: Records, index: int, key: str) -> Maps:
    """The maps in the record of an image; each is None if it was not measured."""
    record = records.load(index, key)
    tensors = record.tensors if record else {}
    deviation, best, lpips = (tensors.get(name) for name in ("deviation", "best", "lpips"))
    return Maps(
        None if deviation is None else deviation.float().numpy(),
        None if best is None else best.numpy(),
        None if lpips is None else lpips.float().numpy(),
    )


def picture_maps(maps: Maps, numbers: Sequence[int], detail: Detail, crop: tuple[int, int]) -> list[Picture]:
    """Pictures of those maps that were measured, as indices of colours.

    Args:
        maps: the maps.
        numbers: numbers of all samples.
        detail: the part of the image that is shown unscaled.
        crop: height and width of the HR image cropped to multiples of 8.
    """
    pictures = []
    samples = f"{len(numbers)} samples" if len(numbers) != 1 else "the only sample"
    if maps.deviation is not None:
        pictures.append(picture_deviation(maps.deviation, len(numbers), detail, crop))
    if maps.best is not None:
        caption = f"Which of {samples} has the lowest LPIPS at each place; share of the area per sample"
        image = np.minimum(maps.best, SHOWN_SAMPLES)
        legend = {"samples": _shares(image, numbers)}
        part = detail.cut(image, crop)
        pictures.append(Picture("best", "best sample", caption, image, part, True, PALETTE, legend))
    if maps.lpips is not None:
        caption = f"LPIPS at each place, mean over {samples}; lower is better"
        limit = _limit(maps.lpips, LPIPS_LIMITS)
        image, colours = colour_levels(maps.lpips, limit), _colour_ramp(cv2.COLORMAP_VIRIDIS)
        legend = _sequential_legend(f"≥ {limit:g}", colours)
        part = detail.cut(image, crop)
        pictures.append(Picture("lpips", "LPIPS", caption, image, part, False, colours, legend))
    return pictures


def picture_deviation(deviation: np.ndarray, samples: int, detail: Detail, crop: tuple[int, int]) -> Picture:
    """The picture of a standard deviation in grey levels.

    Args:
        deviation: (h, w), covers the crop at any resolution.
        samples: number of samples.
        detail, crop: as in `picture_maps`.
    """
    of = f"{samples} samples" if samples != 1 else "the only sample"
    caption = f"Standard deviation over {of}, mean over RGB, in grey levels of 255"
    limit = _limit(deviation, DEVIATION_LIMITS)
    image, colours = colour_levels(deviation, limit), _colour_ramp(cv2.COLORMAP_INFERNO)
    legend = _sequential_legend(f"≥ {limit:g} grey levels", colours)
    return Picture("deviation", "deviation", caption, image, detail.cut(image, crop), False, colours, legend)


def picture_difference(
    number: int, difference: np.ndarray, largest: float, detail: Detail, crop: tuple[int, int]
) -> Picture:
    """The picture of a sample's difference to the mean of all samples: red where it is brighter, blue where darker.

    Args:
        number: of the sample.
        difference: (h, w) in grey levels, mean over RGB.
        largest: the largest absolute difference of all samples of the image, without outliers.
        detail, crop: as in `picture_maps`.
    """
    limit = next((bound for bound in DEVIATION_LIMITS if largest <= bound), DEVIATION_LIMITS[-1])
    image, colours = colour_levels(difference + limit, 2 * limit), _diverging_ramp()
    legend = {
        "low": f"≤ -{limit:g}",
        "high": f"≥ {limit:g} grey levels",
        "colours": [*colours[:: LEVELS // 8], colours[-1]],
    }
    caption = f"Sample {number} less the mean of all, mean over RGB: red is brighter, blue darker"
    part = detail.cut(image, crop)
    return Picture(f"difference/{number}", f"sample {number}", caption, image, part, False, colours, legend)


def map_notes(maps: Maps, samples: int) -> list[str]:
    """Notes on maps and samples of an image that are not shown."""
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


def _sequential_legend(high: str, colours: Sequence[str]) -> dict[str, Any]:
    return {"low": "0", "high": high, "colours": [*colours[:: LEVELS // 8], colours[-1]]}


def _shares(best: np.ndarray, numbers: Sequence[int]) -> list[dict[str, str]]:
    """The legend of `best`: each pictured sample, then all further samples together."""
    shown, further = numbers[:SHOWN_SAMPLES], numbers[SHOWN_SAMPLES:]
    labels = [str(number) for number in shown]
    if further:
        labels.append(f"{further[0]} to {further[-1]}" if len(further) > 1 else str(further[0]))
    areas = np.bincount(best.ravel(), minlength=len(PALETTE)) / best.size * 100
    return [
        {"label": label, "colour": PALETTE[at], "share": f"{areas[at]:.1f} %"}
        for at, label in enumerate(labels)
    ]


def _limit(values: np.ndarray, limits: tuple[float, ...]) -> float:
    """The smallest of `limits` that 99 % of the values do not exceed: few limits keep images comparable."""
    percentile = float(np.percentile(values, 99))
    return next((limit for limit in limits if percentile <= limit), limits[-1])


def colour_levels(values: np.ndarray, limit: float) -> np.ndarray:
    """Indices of colours, 0 to LEVELS - 1, for values of 0 to `limit`; larger values get the last one.

    >>> colour_levels(np.array([0.0, 4.0, 8.0, 99.0]), limit=8.0).tolist()
    [0, 16, 31, 31]
    """
    return np.clip(values * ((LEVELS - 1) / limit), 0, LEVELS - 1).round().astype(np.uint8)


def _diverging_ramp() -> tuple[str, ...]:
    """LEVELS colours from blue over white to red."""
    blue, white, red = np.array(((33, 102, 172), (247, 247, 247), (178, 24, 43)), float)
    shares = np.linspace(-1, 1, LEVELS)[:, None]
    colours = white + np.abs(shares) * (np.where(shares < 0, blue, red) - white)
    return tuple("#{:02x}{:02x}{:02x}".format(*colour) for colour in colours.round().astype(int))


def _colour_ramp(colour_map: int) -> tuple[str, ...]:
    """LEVELS colours of one of OpenCV's sequential colour maps, from low to high."""
    steps = np.linspace(0, 255, LEVELS).round().astype(np.uint8)[:, None]  # an image one pixel wide
    return tuple(
        f"#{red:02x}{green:02x}{blue:02x}"
        for blue, green, red in cv2.applyColorMap(steps, colour_map).reshape(-1, 3)
    )
