"""The HTML page of the report: one file with style, script and pictures inside, which loads nothing else."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ntire_sr import __version__
from ntire_sr.core.files import json_safe

# plot area in a drawing of 340 x 190 units; the curve keeps `margin` from its left and right sides
CHART = {"left": 40.0, "right": 330.0, "top": 22.0, "bottom": 156.0, "margin": 16.0}


def render(page: dict[str, Any]) -> str:
    """The whole page as HTML text.

    Args:
        page: its content. All texts are plain; the template escapes them.

            title        title of the page, such as "24 images x 10 samples, scale 4"
            drawn_by     a line about the model, or None
            passes       whether the challenge's requirement is met; `verdict` says so in a sentence
            notes        warnings: sentences on what is missing
            summary      [[what, value, unit and direction], ...], values as text
            curves       [{label, unit, direction, values: [a value per n = 1, 2, ...; None if undefined]}]
            calibration  [{label, value: text, says: its meaning in words}]
            published    {caveat, columns: [text], rows: [{cells: [text], ours, under: bool}]}, or None;
                         `under` marks teams under the required LR-PSNR
            columns      columns of the table of images: [{key, label, lower_is_better, digits}]; the optional
                         `required` is the least allowed value, and lower values are marked
            images       [{name, values: {key: number, None or "inf"}, pictured: index in `gallery` or None}]
            gallery      results of `gallery.picture_image`
    """
    folder = Path(__file__).parent
    # read as text, so that line ends are always \n, as in the script that the browser compares with its digest
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    page = json_safe(page)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ntire_sr.evaluation", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2").render(
        page={**page, "version": __version__},
        charts=[chart(curve["values"]) for curve in page["curves"]],
        frame=CHART,
        data={name: page[name] for name in ("columns", "images", "gallery")},
        style=Markup(style),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def chart(values: list[float | None]) -> dict[str, Any]:
    """Positions of the points and axis ticks of a curve over n = 1, 2, ... in its drawing.

    >>> drawn = chart([0.0, 5.0, None, 10.0])
    >>> [(point["n"], point["x"], point["y"], point["text"]) for point in drawn["points"]]
    [(1, 56.0, 156.0, '0'), (2, 142.0, 89.0, '5'), (4, 314.0, 22.0, '10')]
    >>> drawn["ticks"]
    [(156.0, '0'), (89.0, '5'), (22.0, '10')]
    """
    known = [(n, float(value)) for n, value in enumerate(values, start=1) if _is_finite(value)]
    low, high, step = _round_range([value for _, value in known])
    height, width = CHART["bottom"] - CHART["top"], CHART["right"] - CHART["left"] - 2 * CHART["margin"]

    def y(value: float) -> float:
        return round(CHART["bottom"] - (value - low) / (high - low) * height, 1)

    marks = [low + at * step for at in range(round((high - low) / step) + 1)]
    return {
        "points": [
            {
                "n": n,
                "x": round(CHART["left"] + CHART["margin"] + (n - 1) / max(1, len(values) - 1) * width, 1),
                "y": y(value),
                "text": f"{value:.3g}",
            }
            for n, value in known
        ],
        "ticks": [(y(mark), f"{mark:.4g}") for mark in marks],
    }


def _is_finite(value: float | str | None) -> bool:
    return value is not None and not isinstance(value, str)


def _round_range(values: list[float]) -> tuple[float, float, float]:
    """(low, high, step) of an axis: a range around the values, two to five round steps long."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if 0.0 <= low < high / 2:
        low = 0.0  # start the axis at zero if the values are near it
    if low == high:
        low, high = low - 0.5, high + 0.5
    for exponent in range(-6, 9):
        for digit in (1, 2, 5):
            step = digit * 10.0**exponent
            if (high - low) / step <= 4:
                return low // step * step, -(-high // step) * step, step
    return low, high, (high - low) / 2
