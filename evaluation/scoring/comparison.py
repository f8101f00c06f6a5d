"""The comparison of several scores over the images that all have: figures, intervals, paired differences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from ntire_sr._version import __version__
from ntire_sr.challenge.published import CAVEAT, Row, ranked
from ntire_sr.core.errors import plural, shorten
from ntire_sr.evaluation.metrics import registry
from ntire_sr.evaluation.metrics.base import compute_merged
from ntire_sr.evaluation.metrics.declarations import Figure, mean
from ntire_sr.evaluation.metrics.lr_psnr import LrValues
from ntire_sr.evaluation.metrics.registry import quality_metric
from ntire_sr.evaluation.scoring.columns import MethodColumn, compared_figures, shared_quality_metrics
from ntire_sr.evaluation.scoring.load_scores import Method, MethodImage, common_digests
from ntire_sr.evaluation.scoring.paired import Interval, PairedDifference, bootstrap_interval, paired_difference
from ntire_sr.evaluation.scoring.summary import ScoreSummary

UNDEFINED = (math.nan, math.nan)


@dataclass(frozen=True)
class Value:
    """A figure of one method."""

    value: float  # nan: undefined or not measured
    interval: Interval = UNDEFINED  # 95 % bootstrap interval over images


@dataclass(frozen=True)
class Comparison:
    """Methods side by side. Lists of images have one order: that of the first method."""

    methods: tuple[Method, ...]
    scale: int
    samples: int  # n of the compared S_n
    names: list[str]  # of the common HR images
    images: tuple[tuple[MethodImage, ...], ...]  # of each method
    figures: tuple[Figure[Any], ...]
    values: dict[str, list[Value]]  # key of a figure or column -> value of each method
    pairs: dict[
        str, list[tuple[int, int, PairedDifference]]
    ]  # key of a figure -> (method a, method b, difference)
    notes: list[str]  # what a reader must know: other versions, settings, images
    first_columns: tuple[
        Figure[Any], ...
    ] = ()  # further figures of the methods before the others, see `with_columns`
    columns: tuple[Figure[Any], ...] = ()  # and after them

    @property
    def with_lpips(self) -> bool:
        """Whether LPIPS was measured for at least one method."""
        return any(method.lpips for method in self.methods)

    @property
    def all_figures(self) -> tuple[Figure[Any], ...]:
        """The figures of the scores and the added ones."""
        return (*self.first_columns, *self.figures, *self.columns)

    def with_columns(
        self, columns: Sequence[MethodColumn] = (), first: Sequence[MethodColumn] = ()
    ) -> "Comparison":
        """This comparison with further figures per method, after the others and before them (`first`)."""
        added = {
            column.figure.name: [
                Value(column.values.get(method.name, math.nan), column.intervals.get(method.name, UNDEFINED))
                for method in self.methods
            ]
            for column in (*first, *columns)
        }
        return replace(
            self,
            first_columns=(*(column.figure for column in first), *self.first_columns),
            columns=(*self.columns, *(column.figure for column in columns)),
            values=self.values | added,
        )

    def per_image(self, figure: Figure[Any]) -> list[list[float]]:
        """The figure of each method's images, S_n at the compared number of samples."""
        return [[figure.of_image(image.score, self.samples) for image in images] for images in self.images]

    def curves(self) -> list[dict[str, list[float]]]:
        """S_1, S_2, ... of each method by the name of the curve, each over the images where all methods have it.

        A method without so many samples of any image does not count among these.
        """
        curves: list[dict[str, list[float]]] = [{} for _ in self.methods]
        for figure in registry.figures():
            if not figure.curve or figure.compute_curve is None:
                continue
            # the values of each method's images, one per number of samples
            values = [
                [figure.compute_curve(image.score.of(figure.values)) for image in images]
                for images in self.images
            ]
            lengths = [
                method.samples if any(of) else 0 for method, of in zip(self.methods, values, strict=True)
            ]
            for curve in curves:
                curve[figure.curve] = []
            for n in range(max(lengths)):
                column = [[curve[n] if len(curve) > n else math.nan for curve in of] for of in values]
                means = [mean(row) for row in over_common_images(column)[0]]
                for at, length in enumerate(lengths):
                    if n < length:
                        curves[at][figure.curve].append(means[at])
        return curves

    def summaries(self) -> list[ScoreSummary]:
        """Each method's score over the common images."""
        return [_summary(method, images) for method, images in zip(self.methods, self.images, strict=True)]

    def published(self) -> list[Row]:
        """The published results of the track, and the methods that have ten samples among them."""
        places = zip(self.methods, (summary.standing for summary in self.summaries()), strict=True)
        return ranked(
            self.scale, [replace(place.ours.entry, team=method.name) for method, place in places if place]
        )

    def best(self, key: str, lower_is_better: bool | None) -> set[int]:
        """The methods whose figure is best, unless all have the same value."""
        values = {at: value.value for at, value in enumerate(self.values[key]) if not math.isnan(value.value)}
        if lower_is_better is None or len(set(values.values())) < 2:
            return set()
        best = min(values.values()) if lower_is_better else max(values.values())
        return {at for at, value in values.items() if value == best}

    def as_json(self) -> dict[str, Any]:
        """All figures, for scripts: the content of `compare.json` and of `--json`."""
        return {
            "version": __version__,
            "scale": self.scale,
            "samples": self.samples,
            "notes": self.notes,
            "figures": {
                figure.name: {
                    "label": figure.label,
                    "unit": figure.unit,
                    "lower_is_better": figure.lower_is_better,
                    "direction": figure.direction,
                }
                for figure in self.all_figures
            },
            "methods": [
                {
                    "name": method.name,
                    "score": str(method.folder),
                    "version": method.version,
                    "samples": method.samples,
                    **{figure.name: self.values[figure.name][at].value for figure in self.all_figures},
                    "intervals": {
                        figure.name: self.values[figure.name][at].interval for figure in self.all_figures
                    },
                    "curves": curves,
                }
                for at, (method, curves) in enumerate(zip(self.methods, self.curves(), strict=True))
            ],
            "pairs": [
                {
                    "figure": figure.name,
                    "a": self.methods[a].name,
                    "b": self.methods[b].name,
                    "images": paired.images,
                    "difference": paired.difference,
                    "interval": paired.interval,
                    "a_favoured": paired.a_favoured,
                    "b_favoured": paired.b_favoured,
                    "equal": paired.equal,
                    "favours": self.favoured(figure, a, b, paired),
                }
                for figure in self.figures
                for a, b, paired in self.pairs.get(figure.name, [])
            ],
            "published_2021": {
                "caveat": CAVEAT,
                "rows": [
                    {
                        "team": row.entry.team,
                        "LPIPS": row.entry.lpips,
                        "S_10": row.entry.diversity,
                        "LRPSNR": row.entry.lr_psnr_db,
                        "MOR": row.entry.mor,
                        "rank_by_S_10": row.by_diversity,
                        "rank_by_LPIPS": row.by_lpips,
                    }
                    for row in self.published()
                ],
            },
            "images": [
                {
                    "name": name,
                    **{
                        figure.name: [values[at] for values in self.per_image(figure)]
                        for figure in self.figures
                        if figure.per_image
                    },
                }
                for at, name in enumerate(self.names)
            ],
        }

    def favoured(self, figure: Figure[Any], a: int, b: int, paired: PairedDifference) -> str | None:
        """The name of the method that the interval is in favour of; None if it holds 0."""
        side = paired.favours(bool(figure.lower_is_better))
        return None if side is None else self.methods[a if side == "a" else b].name


def compare(methods: Sequence[Method]) -> Comparison:
    """Compare scores over the HR images that all have.

    Args:
        methods: two or more, from `load_scores.read_methods`.
    """
    digests = common_digests(methods)
    images = tuple(_common(method, digests) for method in methods)
    samples = min((m.samples for m in methods if m.samples > 1), default=1)
    quality, left_out = shared_quality_metrics(methods)
    figures = compared_figures(methods, samples, quality)
    values: dict[str, list[Value]] = {}
    pairs: dict[str, list[tuple[int, int, PairedDifference]]] = {}
    for figure in figures:
        if not figure.paired:
            values[figure.name] = [
                Value(_value_of_images(figure, method, images_of_method))
                for method, images_of_method in zip(methods, images, strict=True)
            ]
            continue
        per_image = [[figure.of_image(image.score, samples) for image in of_method] for of_method in images]
        per_image, count = over_common_images(per_image)
        if count < len(images[0]):
            left_out.append(
                f"{figure.label} is over {count} of {plural(len(images[0]), 'image')}: those where it is defined for all "
                "methods that have it."
            )
        values[figure.name] = [Value(mean(of_method), bootstrap_interval(of_method)) for of_method in per_image]
        pairs[figure.name] = [
            (a, b, paired_difference(per_image[a], per_image[b], bool(figure.lower_is_better)))
            for a, b in combinations(range(len(methods)), 2)
        ]
    return Comparison(
        methods=tuple(methods),
        scale=methods[0].scale,
        samples=samples,
        names=[image.score.name for image in images[0]],
        images=images,
        figures=figures,
        values=values,
        pairs=pairs,
        notes=_notes(methods, images, samples, left_out),
    )


def over_common_images(per_image: list[list[float]]) -> tuple[list[list[float]], int]:
    """The values of the images where all methods have one, so that means are over the same images.

    Methods without any value do not count.

    >>> over_common_images([[1.0, math.nan, 3.0], [4.0, 5.0, 6.0], [math.nan, math.nan, math.nan]])
    ([[1.0, 3.0], [4.0, 6.0], [nan, nan]], 2)

    Args:
        per_image: for each method, the values of the images in one order; nan where one is undefined.

    Returns:
        The values, and the number of images that are left; all images if no method has a value.
    """
    measured = [row for row in per_image if not all(map(math.isnan, row))]
    keep = [at for at in range(len(per_image[0])) if not any(math.isnan(row[at]) for row in measured)]
    return [[row[at] for at in keep] for row in per_image], len(keep)


def _common(method: Method, digests: Sequence[str]) -> tuple[MethodImage, ...]:
    by_digest = {image.hr_sha256: image for image in reversed(method.images)}
    return tuple(by_digest[digest] for digest in digests)


def _summary(method: Method, images: Sequence[MethodImage]) -> ScoreSummary:
    return ScoreSummary([image.score for image in images], method.samples, method.scale)


def _value_of_images(figure: Figure[Any], method: Method, images: Sequence[MethodImage]) -> float:
    """A figure of all images together."""
    if not figure.data_set:
        return float(figure.of_images([image.score for image in images]))
    data_set = quality_metric(figure.name).data_set
    assert data_set
    results = [method.result(image) for image in images]
    return compute_merged(data_set, (result.tensors for result in results if result))


def _notes(
    methods: Sequence[Method], images: Sequence[Sequence[MethodImage]], n: int, left_out: list[str]
) -> list[str]:
    common, notes = len(images[0]), []
    versions = dict.fromkeys(method.version for method in methods)
    if len(versions) > 1:
        listed = ", ".join(f"{method.name} {method.version}" for method in methods)
        notes.append(f"The scores were written by several versions of ntire-sr, which measure alike: {listed}.")
    beyond = [f"{len(m.images) - common} of {m.name}" for m in methods if len(m.images) > common]
    if beyond:
        notes.append(
            f"Only the {plural(common, 'image')} that all methods have {'is' if common == 1 else 'are'} compared; "
            f"left out: {', '.join(beyond)}."
        )
    if len({method.samples for method in methods}) > 1:
        listed = ", ".join(f"{method.name} {method.samples}" for method in methods)
        note = f"Samples per image differ: {listed}. Means are over all samples of each"
        notes.append(note + (f"; S_{n} is of the first {n}." if n > 1 else "."))
    for method in methods:
        if method.missing:
            notes.append(
                f"{method.name} is INCOMPLETE: {plural(method.missing, 'sample')} were left out of its score."
            )
    unmeasured = [method.name for method in methods if not method.lpips]
    if unmeasured and len(unmeasured) < len(methods):
        notes.append(f"LPIPS was not measured for {shorten(unmeasured)}.")
    under = [
        f"{method.name} {count}"
        for method, of_method in zip(methods, images, strict=True)
        if (count := sum(image.score.of(LrValues).errors.under_required for image in of_method))
    ]
    if under:
        notes.append(f"Samples under the 45 dB that the challenge asks for: {', '.join(under)}.")
    if common < 10:
        notes.append(f"{plural(common, 'image')}: so few make the intervals too narrow.")
    return [*notes, *left_out]
