"""The figures that `compare` shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ntire_sr.core.errors import shorten
from ntire_sr.evaluation.metrics import registry
from ntire_sr.evaluation.metrics.declarations import Figure, Output
from ntire_sr.evaluation.scoring.load_scores import Method
from ntire_sr.evaluation.scoring.paired import Interval


@dataclass(frozen=True)
class MethodColumn:
    """A further figure per method that is not in the scores, such as the mean opinion rank of a study.

    `Comparison.with_columns` adds it to the table, the page and the JSON.
    """

    figure: Figure[Any]  # without a computation
    values: Mapping[str, float]  # by the method's name; a method that is not there is left blank
    intervals: Mapping[str, Interval] = field(default_factory=dict)


def compared_figures(methods: Sequence[Method], n: int, quality: Sequence[str]) -> tuple[Figure[Any], ...]:
    """The figures of the table in its order, with their short labels.

    Args:
        methods: the methods.
        n: number of samples of the compared S_n.
        quality: names of the quality metrics that all methods have.
    """
    with_lpips = {bool(method.lpips) for method in methods}

    def is_shown(figure: Figure[Any]) -> bool:
        if Output.COMPARE not in figure.outputs:
            return False
        if figure.instead_of:
            return False in with_lpips
        return not figure.needs_lpips or True in with_lpips

    return tuple(
        replace(figure, label=figure.title({"samples": n}, short=True))
        for figure in registry.figures(quality)
        if is_shown(figure)
    )


def shared_quality_metrics(methods: Sequence[Method]) -> tuple[list[str], list[str]]:
    """The quality metrics that all methods measured with the same version, and why others are left out."""
    names = dict.fromkeys(name for method in methods for name in method.quality)
    shared, notes = [], []
    for name in names:
        lacking = [method.name for method in methods if name not in method.quality]
        versions = {method.quality[name] for method in methods if name in method.quality}
        if lacking:
            notes.append(f"{name} is left out: it was not measured for {shorten(lacking)}.")
        elif len(versions) > 1:
            notes.append(f"{name} is left out: its model or library is not the same for all methods.")
        else:
            shared.append(name)
    return shared, notes
