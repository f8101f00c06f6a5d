"""Tables of a score and of a comparison for the terminal."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ntire_sr.challenge.downscale import REQUIRED_DB
from ntire_sr.challenge.published import CAVEAT
from ntire_sr.evaluation.pages.sentences import (
    comparison_title,
    published_caveat,
    score_notes,
    score_title,
    score_verdict,
)
from ntire_sr.evaluation.pages.tables import (
    diversity_curves,
    format_number,
    method_table,
    pair_table,
    published_table,
    summary_rows,
)
from ntire_sr.evaluation.scoring.comparison import Comparison
from ntire_sr.evaluation.scoring.summary import ScoreSummary


def print_score(score: ScoreSummary, console: Console, lpips_missing: str | None = None) -> None:
    """Print the summary of a score, its place among the published results, warnings and the verdict."""
    table = _table(score_title(score), ("measure", "value", ""), left=("measure", ""))
    for row in summary_rows(score):
        table.add_row(*row)
    console.print(table)
    if score.standing:
        _print_published(score.scale, published_table(score.scale, score.standing.rows, CAVEAT), console)
    _print_notes(score_notes(score, lpips_missing), console)
    console.print(score_verdict(score), style="bold green" if score.passes else "bold red")


def print_comparison(comparison: Comparison, console: Console, published: bool = False) -> None:
    """Print the figures of all methods, S_n for every n, paired differences and warnings.

    Args:
        comparison: the compared methods.
        console: where to print.
        published: whether to print the methods among the published results, too.
    """
    names = [method.name for method in comparison.methods]
    _print_methods(comparison, names, console)
    if comparison.samples > 1:
        _print_curves(comparison, names, console)
    _print_pairs(comparison, names, console)
    if published:
        rows, caveat = comparison.published(), published_caveat(comparison)
        _print_published(comparison.scale, published_table(comparison.scale, rows, caveat), console)
    _print_notes(comparison.notes, console)


def _print_methods(comparison: Comparison, names: Sequence[str], console: Console) -> None:
    content = method_table(comparison)
    table = Table(title=comparison_title(comparison), show_footer=True)
    table.add_column("method")
    for column in content["columns"]:
        table.add_column(Text(column["label"]), justify="right", footer=Text(column["description"]))
    for name, cells in zip(names, content["rows"], strict=True):
        table.add_row(Text(name), *(Text(cell["text"], "bold" if cell["best"] else "") for cell in cells))
    console.print(table)


def _print_curves(comparison: Comparison, names: Sequence[str], console: Console) -> None:
    label, curves = diversity_curves(comparison)
    headings = ("method", *(f"S_{n + 1}" for n in range(max(map(len, curves)))))
    table = _table(f"{label} in %, higher is better", headings, left=("method",))
    for name, curve in zip(names, curves, strict=True):
        table.add_row(Text(name), *(format_number(value, 2) for value in curve))
    console.print(table)


def _print_pairs(comparison: Comparison, names: Sequence[str], console: Console) -> None:
    headings = ("figure", "a", "b", "a - b", "95 % interval", "images for a, b, equal", "in favour of")
    table = _table("Differences, image by image", headings, left=set(headings) - {"a - b", "95 % interval"})
    for figure in pair_table(comparison):
        for row in figure["rows"]:
            favoured = ", ".join(map(str, row["favoured"]))
            winner = "undecided" if row["winner"] is None else names[row["winner"]]
            pair = (names[row["a"]], names[row["b"]])
            cells = (figure["label"], *pair, row["difference"], row["interval"], favoured, winner)
            table.add_row(*map(Text, cells))
        table.add_section()
    console.print(table)


def _print_published(scale: int, content: dict[str, Any], console: Console) -> None:
    """Print the published table of a track; rows of ours are bold."""
    columns = content["columns"]
    table = _table(f"Published results of 2021, x{scale}", columns, left=("team",))
    for row in content["rows"]:
        cells = list(row["cells"])
        cells[columns.index("LR-PSNR")] += "*" if row["under"] else ""
        style = "bold" if row["ours"] else "dim" if row["under"] else None
        table.add_row(*map(Text, cells), style=style)
    console.print(table)
    console.print(f"* under {REQUIRED_DB:.0f} dB. {content['caveat']}", markup=False)


def _table(title: str, headings: Sequence[str], left: Sequence[str] | set[str]) -> Table:
    """A table whose columns are aligned at the right, but for those in `left`."""
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in left else "right")
    return table


def _print_notes(notes: Sequence[str], console: Console) -> None:
    for note in notes:
        console.print(note, style="bold yellow", markup=False)
