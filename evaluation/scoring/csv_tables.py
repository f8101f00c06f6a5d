"""The official tables of a score: `measure.csv`, `measure_full.csv` and the means of their columns."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ntire_sr.core.files import atomic_write
from ntire_sr.evaluation.metrics import registry
from ntire_sr.evaluation.metrics.declarations import Output, mean
from ntire_sr.evaluation.scoring.summary import ScoreSummary

OFFICIAL_COLUMNS = ("LPIPS_mean", "LRPSNR_worst", "LRPSNR_mean", "score")


def write_tables(score: ScoreSummary, out: Path) -> None:
    """Write the four tables into the folder `out`.

    `measure.csv` and `measure_full.csv` have a row per image, `measure_mean.csv` and `measure_full_mean.csv` the
    means of their columns. If samples are missing, a column holds how many were measured, and the means end with
    the numbers of missing samples and images.
    """
    missing: dict[str, float] = {}
    if not score.complete:
        missing = {"samples_missing": score.missing_samples, "images_missing": score.missing_images}
    for name, rows in (("measure", rows_of_images(score)), ("measure_full", rows_of_all_counts(score))):
        columns = list(dict.fromkeys(column for row in rows for column in row))
        table = [[row.get(column, math.nan) for column in columns] for row in rows]
        means = dict(zip(columns, map(mean, zip(*table, strict=True)), strict=True)) | missing
        counts = [] if score.complete else [len(image.numbers) for image in score.images]
        header = ["", *columns, *(["samples"] if counts else [])]
        lines = [
            [image.index, *map(_text, values), *counts[at : at + 1]]
            for at, (image, values) in enumerate(zip(score.images, table, strict=True))
        ]
        atomic_write(out / f"{name}.csv", _csv([header, *lines]))
        mean_lines = [[column, _text(value)] for column, value in means.items()]
        atomic_write(out / f"{name}_mean.csv", _csv([["", "0"], *mean_lines]))


def rows_of_images(score: ScoreSummary) -> list[Mapping[str, float]]:
    """The figures of each image, the official ones first and in the official order."""
    columns = [figure for figure in score.figures if Output.CSV in figure.outputs]
    columns.sort(key=lambda figure: _official_position(figure.name))
    return [{figure.name: figure.of_image(image) for figure in columns} for image in score.images]


def rows_of_all_counts(score: ScoreSummary) -> list[Mapping[str, float]]:
    """The figures of each image for its first 1, 2, ... samples."""
    return [
        {
            f"{name}_n{n}": value
            for n in range(1, len(image.numbers) + 1)
            for metric in registry.METRICS
            for name, value in metric.columns_of_first(image.of(metric.values), n).items()
        }
        for image in score.images
    ]


def _official_position(column: str) -> int:
    return OFFICIAL_COLUMNS.index(column) if column in OFFICIAL_COLUMNS else len(OFFICIAL_COLUMNS)


def _text(value: float) -> str:
    """A number with all its digits; nothing for nan, as the official tables have it."""
    return "" if math.isnan(value) else repr(float(value))


def _csv(lines: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
