"""Contents of the tables, which the terminal and the pages show alike: numbers are formatted here."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ntire_sr.challenge.published import COLUMNS, RESULTS_2021, Row
from ntire_sr.core.errors import plural
from ntire_sr.evaluation.metrics.declarations import Figure, Output
from ntire_sr.evaluation.scoring.comparison import Comparison
from ntire_sr.evaluation.scoring.paired import Interval, PairedDifference
from ntire_sr.evaluation.scoring.summary import ScoreSummary


def format_number(value: float, digits: int, sign: bool = False) -> str:
    """A number as text; "-" if it is undefined.

    >>> format_number(0.12345, 3), format_number(0.5, 1, sign=True), format_number(math.nan, 1)
    ('0.123', '+0.5', '-')
    """
    if math.isnan(value):
        return "-"
    return (f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}").replace("inf", "∞")


def format_interval(interval: Interval, digits: int, sign: bool = False) -> str:
    """An interval as text; empty if it is undefined."""
    if any(map(math.isnan, interval)):
        return ""
    return " to ".join(format_number(end, digits, sign) for end in interval)


# ---- one method


def summary_rows(score: ScoreSummary) -> list[tuple[str, str, str]]:
    """(label, value, unit and direction) of each figure of a score."""
    facts = score.summary() | {"counted": score.counted}
    return [
        (figure.title(facts), _value(figure, facts, score), figure.description)
        for figure in score.figures
        if Output.TABLE in figure.outputs and figure.name in facts
    ] + _opinion_rows(score)


def _value(figure: Figure[Any], facts: dict[str, Any], score: ScoreSummary) -> str:
    value = facts[figure.name]
    if not math.isnan(value):
        text = f"{value:.{figure.digits}f}"
        defined = facts.get("images_defined", {}).get(figure.name)
        if defined:
            text += f" (mean of {defined} of {plural(len(score.images), 'image')})"
        return f"{text} of {facts[figure.total]}" if figure.total else text
    if figure.needs_lpips and not score.with_lpips:
        return "not measured"
    return f"undefined: {figure.undefined}" if figure.undefined else "undefined"


def _opinion_rows(score: ScoreSummary) -> list[tuple[str, str, str]]:
    opinions, method = score.opinions, score.opinion
    if opinions is None or method is None:
        return []
    mor = "not known" if method.mor is None else f"{method.mor:.2f}"
    if method.low is not None and method.high is not None:
        mor += f" ({method.low:.2f} to {method.high:.2f})"
    among = f"{plural(opinions.candidates, 'candidate')}, {plural(opinions.raters, 'rater')}"
    final = "not known: it takes S_10 of every method" if score.final_rank is None else f"{score.final_rank:g}"
    methods = plural(len(opinions.methods), "method")
    return [
        ("Mean opinion rank (MOR)", mor, f"lower is better; {among}"),
        ("Final rank", final, f"mean of the ranks in S_10 and MOR among {methods}"),
    ]


# ---- several methods


def method_table(comparison: Comparison, not_ranked: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Build the table with a row per method and a column per figure.

    Args:
        comparison: the methods.
        not_ranked: name -> reason of the entries of a leaderboard that are not ranked; those without figures get a row
            of dashes after the methods.

    Returns:
        names: of the rows; reasons: a sentence per entry that is not ranked;
        columns: label and description of each figure; rows: for each method, a cell per figure with `text`,
        `interval` (text, may be empty) and `best`, whether the method is the best in this figure.
    """
    figures = comparison.all_figures
    best = {figure.name: comparison.best(figure.name, figure.lower_is_better) for figure in figures}

    def cell(figure: Figure[Any], method: int) -> dict[str, Any]:
        value = comparison.values[figure.name][method]
        return {
            "text": format_number(value.value, figure.digits),
            "interval": format_interval(value.interval, figure.digits),
            "best": method in best[figure.name],
        }

    measured = [method.name for method in comparison.methods]
    without_figures = [name for name in not_ranked or {} if name not in measured]
    dash = {"text": format_number(math.nan, 0), "interval": "", "best": False}
    return {
        "names": [*measured, *without_figures],
        "columns": [{"label": figure.label, "description": figure.description} for figure in figures],
        "rows": [
            *([cell(figure, at) for figure in figures] for at in range(len(measured))),
            *([dash for _ in figures] for _ in without_figures),
        ],
        "reasons": [f"{name} is not ranked: {reason}" for name, reason in (not_ranked or {}).items()],
    }


def pair_table(comparison: Comparison) -> list[dict[str, Any]]:
    """The paired differences: label and description of each figure, and `rows` with a row per pair of methods.

    A row has the positions `a` and `b` of the methods, `difference` and `interval` as text, `favoured`, the numbers of
    images in favour of a, of b and of neither, and `winner`, the position of the better method, None if undecided.
    """

    def row(figure: Figure[Any], a: int, b: int, difference: PairedDifference) -> dict[str, Any]:
        side = difference.favours(bool(figure.lower_is_better))
        return {
            "a": a,
            "b": b,
            "difference": format_number(difference.difference, figure.digits, sign=True),
            "interval": format_interval(difference.interval, figure.digits, sign=True) or "-",
            "favoured": [difference.a_favoured, difference.b_favoured, difference.equal],
            "winner": None if side is None else {"a": a, "b": b}[side],
        }

    return [
        {
            "label": figure.label,
            "description": figure.description,
            "rows": [row(figure, *pair) for pair in comparison.pairs[figure.name]],
        }
        for figure in comparison.figures
        if comparison.pairs.get(figure.name)
    ]


def published_table(scale: int, rows: Sequence[Row], caveat: str) -> dict[str, Any]:
    """The published results of a track with rows of ours among them.

    Returns:
        caveat; columns: headings; rows: cells as text, `ours`, and `under`, whether LR-PSNR is under the required one.
    """
    return {
        "caveat": caveat,
        "columns": COLUMNS,
        "rows": [
            {"cells": row.cells, "ours": row.entry not in RESULTS_2021[scale], "under": row.entry.under}
            for row in rows
        ],
    }


def diversity_curves(comparison: Comparison) -> tuple[str, list[list[float]]]:
    """What the curves show, and S_1, S_2, ... of each method; of MSE if LPIPS was not measured."""
    label, name = ("S_n (LPIPS)", "LPIPS_score") if comparison.with_lpips else ("S_n (MSE)", "MSE_score")
    return label, [curves[name] for curves in comparison.curves()]
