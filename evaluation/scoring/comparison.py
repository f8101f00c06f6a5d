"""The comparison of several scores over the images that all have: figures, intervals, paired differences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from ntire_sr._version import __version__
from ntire_sr.challenge.published import CAVEAT, Row, ranked
from ntire_sr.core.errors import UsageError, plural, shorten
from ntire_sr.evaluation.metrics.base import compute_merged
from ntire_sr.evaluation.metrics.quality import proxy_called
from ntire_sr.evaluation.scoring.columns import Figure, MethodColumn, figures_of, mean, shared_proxies
from ntire_sr.evaluation.scoring.load_scores import Method, MethodImage, common_digests
from ntire_sr.evaluation.scoring.opinion import Opinions, final_ranks
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
    figures: tuple[Figure, ...]
    values: dict[str, list[Value]]  # key of a figure or column -> value of each method
    pairs: dict[
        str, list[tuple[int, int, PairedDifference]]
    ]  # key of a figure -> (method a, method b, difference)
    notes: list[str]  # what a reader must know: other versions, settings, images
    columns: tuple[Figure, ...] = ()  # further figures of the methods, see `with_columns`

    @property
    def with_lpips(self) -> bool:
        """Whether LPIPS was measured for one method at least."""
        return any(method.lpips for method in self.methods)

    @property
    def all_figures(self) -> tuple[Figure, ...]:
        """Those of the scores, and those that were added."""
        return (*self.figures, *self.columns)

    def with_columns(self, columns: Sequence[MethodColumn]) -> "Comparison":
        """The same with further figures per method."""
        added = {
            column.figure.key: [
                Value(column.values.get(method.name, math.nan), column.intervals.get(method.name, UNDEFINED))
                for method in self.methods
            ]
            for column in columns
        }
        return replace(
            self, columns=(*self.columns, *(column.figure for column in columns)), values=self.values | added
        )

    def with_opinions(self, opinions: Opinions) -> "Comparison":
        """The same with each method's mean opinion rank in a study, and the final rank among those that it has.

        A method is the study's by the digest of its samples, else by its name.

        Raises:
            UsageError: the study has none of the methods.
        """
        of_samples = {each.samples_sha256: each for each in opinions.methods}
        of_name = {each.name: each for each in opinions.methods}
        known = {
            method.name: found
            for method in self.methods
            if (found := of_samples.get(method.samples_sha256) or of_name.get(method.name))
        }
        if not known:
            raise UsageError(
                f"the study has none of these methods, but {', '.join(of_name)}",
                "give the methods the study's names, or score the samples that it shows",
            )
        mor = {name: found.mor for name, found in known.items() if found.mor is not None}
        diversity = dict(
            zip((method.name for method in self.methods), self.values.get("score", ()), strict=False)
        )
        s_n = {name: diversity[name].value for name in mor if name in diversity}
        every = len(s_n) > 1 and not any(math.isnan(value) for value in s_n.values())
        intervals = {
            name: (found.low, found.high)
            for name, found in known.items()
            if found.low is not None and found.high is not None
        }
        columns = [MethodColumn(Figure("MOR", "MOR", "", True, 2), mor, intervals)]
        if every:
            ranks = final_ranks(s_n, {name: mor[name] for name in s_n})
            columns.append(MethodColumn(Figure("final_rank", "final rank", "", True, 1), ranks))
        return self.with_columns(columns)

    def per_image(self, figure: Figure) -> list[list[float]]:
        """The figure of each method's images."""
        assert figure.of_image
        return [[figure.of_image(image.score) for image in images] for images in self.images]

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
        """The methods whose figure is best, if not all are alike."""
        known = {at: each.value for at, each in enumerate(self.values[key]) if not math.isnan(each.value)}
        if lower_is_better is None or len(set(known.values())) < 2:
            return set()
        top = min(known.values()) if lower_is_better else max(known.values())
        return {at for at, value in known.items() if value == top}

    def as_json(self) -> dict[str, Any]:
        """Everything, for scripts: the content of `compare.json` and of `--json`."""
        every = self.all_figures
        return {
            "version": __version__,
            "scale": self.scale,
            "samples": self.samples,
            "notes": self.notes,
            "figures": {
                each.key: {"label": each.label, "unit": each.unit, "lower_is_better": each.lower_is_better}
                for each in every
            },
            "methods": [
                {
                    "name": method.name,
                    "score": str(method.folder),
                    "version": method.version,
                    "samples": method.samples,
                    **{each.key: self.values[each.key][at].value for each in every},
                    "intervals": {each.key: self.values[each.key][at].interval for each in every},
                    "curves": {"LPIPS_score": summary.lpips_curve, "MSE_score": summary.mse_curve},
                }
                for at, (method, summary) in enumerate(zip(self.methods, self.summaries(), strict=True))
            ],
            "pairs": [
                {
                    "figure": figure.key,
                    "a": self.methods[a].name,
                    "b": self.methods[b].name,
                    "images": found.images,
                    "difference": found.difference,
                    "interval": found.interval,
                    "a_favoured": found.a_favoured,
                    "b_favoured": found.b_favoured,
                    "equal": found.equal,
                    "favours": self.favoured(figure, a, b, found),
                }
                for figure in self.figures
                for a, b, found in self.pairs.get(figure.key, [])
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
                        each.key: [line[at] for line in self.per_image(each)]
                        for each in self.figures
                        if each.of_image
                    },
                }
                for at, name in enumerate(self.names)
            ],
        }

    def favoured(self, figure: Figure, a: int, b: int, found: PairedDifference) -> str | None:
        """The name of the method that the interval is in favour of; None if it holds 0."""
        side = found.favours(bool(figure.lower_is_better))
        return None if side is None else self.methods[a if side == "a" else b].name


def compare(methods: Sequence[Method]) -> Comparison:
    """Compare scores over the HR images that all have.

    Args:
        methods: two or more, as `methods.read_methods` gives them.
    """
    digests = common_digests(methods)
    images = tuple(_common(method, digests) for method in methods)
    samples = min((m.samples for m in methods if m.samples > 1), default=1)
    proxies, left_out = shared_proxies(methods)
    figures = figures_of(methods, samples, proxies)
    values: dict[str, list[Value]] = {}
    pairs: dict[str, list[tuple[int, int, PairedDifference]]] = {}
    summaries = [_summary(method, own).summary() for method, own in zip(methods, images, strict=True)]
    for figure in figures:
        if figure.of_image is None or not figure.paired:
            values[figure.key] = [
                Value(_data_set_value(figure, method, own, summary))
                for method, own, summary in zip(methods, images, summaries, strict=True)
            ]
            continue
        lines = [[figure.of_image(image.score) for image in own] for own in images]
        values[figure.key] = [Value(mean(line), bootstrap_interval(line)) for line in lines]
        pairs[figure.key] = [
            (a, b, paired_difference(lines[a], lines[b], bool(figure.lower_is_better)))
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


def _common(method: Method, digests: Sequence[str]) -> tuple[MethodImage, ...]:
    by_digest = {image.hr_sha256: image for image in reversed(method.images)}
    return tuple(by_digest[digest] for digest in digests)


def _summary(method: Method, images: Sequence[MethodImage]) -> ScoreSummary:
    return ScoreSummary([image.score for image in images], method.samples, method.scale)


def _data_set_value(
    figure: Figure, method: Method, images: Sequence[MethodImage], summary: Mapping[str, Any]
) -> float:
    """A figure of all images together."""
    if figure.key in summary:
        return float(summary[figure.key])
    proxy = proxy_called(figure.key)
    assert proxy.data_set
    results = [method.result(image) for image in images]
    return compute_merged(proxy.data_set, (result.tensors for result in results if result))


def _notes(
    methods: Sequence[Method], images: Sequence[Sequence[MethodImage]], n: int, left_out: list[str]
) -> list[str]:
    common, notes = len(images[0]), []
    versions = dict.fromkeys(method.version for method in methods)
    if len(versions) > 1:
        said = ", ".join(f"{method.name} {method.version}" for method in methods)
        notes.append(f"The scores were written by several versions of ntire-sr, which measure alike: {said}.")
    beyond = [f"{len(m.images) - common} of {m.name}" for m in methods if len(m.images) > common]
    if beyond:
        notes.append(
            f"Only the {plural(common, 'image')} that all methods have {'is' if common == 1 else 'are'} compared; "
            f"left out: {', '.join(beyond)}."
        )
    if len({method.samples for method in methods}) > 1:
        said = ", ".join(f"{method.name} {method.samples}" for method in methods)
        note = f"Samples per image differ: {said}. Means are over all samples of each"
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
        for method, own in zip(methods, images, strict=True)
        if (count := sum(image.score.lr.under_required for image in own))
    ]
    if under:
        notes.append(f"Samples under the 45 dB that the challenge asks for: {', '.join(under)}.")
    if common < 10:
        notes.append(f"{plural(common, 'image')}: so few make the intervals too narrow.")
    return [*notes, *left_out]
