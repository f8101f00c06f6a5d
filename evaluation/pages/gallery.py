"""The report's pictures of one image: LR, HR and samples, and maps of how the samples differ."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ntire_sr.evaluation.pages.pictures import Picture, Place, Target, detail_place, sample_number
from ntire_sr.samples.image_files import read_image

SHOWN_SAMPLES = 10
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
        NtireSrError: a file cannot be read.
        ValueError: no picture fits into the budget.
    """
    target = Target(hr, scale)
    place = detail_place(maps.deviation, target.crop, scale)
    pictures = target.pictures(place)
    numbers = [sample_number(position, path) for position, path in enumerate(samples)]
    for number, path in list(zip(numbers, samples, strict=True))[:SHOWN_SAMPLES]:
        caption = f"Sample {number}: {path.name}, {target.size}"
        sample = target.cropped(read_image(path))
        pictures.append(target.picture(str(number), f"sample {number}", caption, sample, place))
    pictures += _map_pictures(maps, numbers, place, target.crop)
    return target.entry(name, pictures, place, _notes(maps, len(samples)), budget_bytes)


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


def _map_pictures(maps: Maps, numbers: list[int], place: Place, crop: tuple[int, int]) -> list[Picture]:
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
        pictures.append(Picture(key, label, caption, levels, detail, colours=ramp, legend=legend))

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
            Picture("best", "best sample", caption, chosen, place.cut(chosen, crop), True, PALETTE, legend)
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
