"""The table of images of a page, with a column per figure and method."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ntire_sr.evaluation.metrics.declarations import Figure, Output
from ntire_sr.evaluation.scoring.comparison import Comparison
from ntire_sr.evaluation.scoring.summary import ScoreSummary


@dataclass(frozen=True)
class ImageFigure:
    """A figure that each image has."""

    key: str
    label: str
    unit: str
    lower_is_better: bool | None
    digits: int
    values: Sequence[Sequence[float]]  # for each method, a value per image; nan if it is undefined
    required: float | None = None  # lower values are marked

    @property
    def description(self) -> str:
        """Unit and direction."""
        direction = {True: "lower is better", False: "higher is better", None: ""}[self.lower_is_better]
        return ", ".join(filter(None, (self.unit, direction)))


@dataclass(frozen=True)
class ImageTable:
    """The table of images, with a column per figure and method."""

    columns: list[
        dict[str, Any]
    ]  # key, label, figure, unit, description, group, method, lower_is_better, digits, required
    rows: list[
        dict[str, Any]
    ]  # name, values by key of the column, position of its pictures in the gallery or None
    groups: list[
        dict[str, str]
    ]  # label and description of each figure of several methods; empty for one method
    sort: str  # key of the column that sorts at first


def image_table(
    figures: Sequence[ImageFigure], methods: Sequence[str], images: Sequence[str], pictured: Sequence[int]
) -> ImageTable:
    """Make the table of images.

    Several methods have a column each per figure, and one more for the largest difference between two of them.

    Args:
        figures: the figures; the first one sorts at first.
        methods: names of the methods.
        images: names of the images.
        pictured: positions of the images in the gallery, in its order.
    """
    several = len(methods) > 1
    columns: list[dict[str, Any]] = []
    values: list[dict[str, float]] = [{} for _ in images]
    for figure in figures:
        shared = {
            "figure": figure.label,
            "unit": figure.unit,
            "description": figure.description,
            "group": figure.label if several else "",
            "digits": figure.digits,
            "required": figure.required,
        }
        lines = {f"{figure.key}/{at}" if several else figure.key: line for at, line in enumerate(figure.values)}
        for at, key in enumerate(lines):
            label = methods[at] if several else ", ".join(filter(None, (figure.label, figure.unit)))
            columns.append(
                {"key": key, "label": label, "method": at, "lower_is_better": figure.lower_is_better, **shared}
            )
        if several:
            key = f"{figure.key}/difference"
            lines[key] = [_largest_difference(row) for row in zip(*figure.values, strict=True)]
            columns.append(
                {"key": key, "label": "difference", "method": None, "lower_is_better": True, **shared}
                | {"required": None}
            )
        for key, line in lines.items():
            for image, value in enumerate(line):
                values[image][key] = value
    places: Mapping[int, int] = {image: place for place, image in enumerate(pictured)}
    return ImageTable(
        columns,
        [{"name": name, "values": values[at], "pictured": places.get(at)} for at, name in enumerate(images)],
        [{"label": figure.label, "description": figure.description} for figure in figures] if several else [],
        f"{figures[0].key}/difference" if several else figures[0].key,
    )


def _largest_difference(values: Sequence[float]) -> float:
    """The largest difference of two of these values; nan with fewer than two, or if all are infinite."""
    defined = [value for value in values if not math.isnan(value)]
    if len(defined) < 2 or all(map(math.isinf, defined)):
        return math.nan
    return max(defined) - min(defined)


def score_figures(score: ScoreSummary) -> list[ImageFigure]:
    """The figures in the table of images of a score."""
    summary = score.summary()
    figures = [
        _image_figure(
            figure,
            figure.title({"samples": score.samples}, short=True),
            [[figure.of_image(image) for image in score.images]],
        )
        for figure in score.figures
        if Output.IMAGES in figure.outputs
        and figure.per_image
        and (score.with_lpips or not figure.needs_lpips)
        and (figure.name in summary or not figure.optional)
    ]
    if not score.complete:
        counts = [len(image.numbers) for image in score.images]
        figures.append(ImageFigure("samples", "samples", "", False, 0, [counts]))
    return figures


def comparison_figures(comparison: Comparison) -> list[ImageFigure]:
    """The figures in the table of images of a comparison."""
    return [
        _image_figure(figure, figure.label, comparison.per_image(figure))
        for figure in comparison.figures
        if figure.per_image
    ]


def _image_figure(figure: Figure[Any], label: str, values: Sequence[Sequence[float]]) -> ImageFigure:
    return ImageFigure(
        figure.name, label, figure.unit, figure.lower_is_better, figure.digits, values, figure.required
    )
