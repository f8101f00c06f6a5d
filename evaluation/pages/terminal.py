"""Tables of a score and of a comparison for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
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

NAME_WIDTH = 16  # of a method's name above its column; longer names are wrapped


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


def print_comparison(
    comparison: Comparison,
    console: Console,
    published: bool = False,
    not_ranked: Mapping[str, str] | None = None,
) -> None:
    """Print the figures of all methods, S_n for every n, paired differences and warnings.

    Args:
        comparison: the compared methods.
        console: where to print.
        published: whether to print the methods among the published results, too.
        not_ranked: name -> reason of the entries of a leaderboard that are not ranked.
    """
    names = [method.name for method in comparison.methods]
    _print_methods(comparison, not_ranked, console)
    if comparison.samples > 1:
        _print_curves(comparison, names, console)
    _print_pairs(comparison, names, console)
    if published:
        rows, caveat = comparison.published(), published_caveat(comparison)
        _print_published(comparison.scale, published_table(comparison.scale, rows, caveat), console)
    _print_notes(comparison.notes, console)


def _print_methods(comparison: Comparison, not_ranked: Mapping[str, str] | None, console: Console) -> None:
    content = method_table(comparison, not_ranked)
    columns = [(column["label"], column["description"]) for column in content["columns"]]
    rows = [[Text(cell["text"], "bold" if cell["best"] else "") for cell in cells] for cells in content["rows"]]
    _print_by_method(comparison_title(comparison), content["names"], columns, rows, console)
    for reason in content["reasons"]:
        console.print(Text(reason), soft_wrap=True)


def _print_curves(comparison: Comparison, names: Sequence[str], console: Console) -> None:
    label, curves = diversity_curves(comparison)
    columns = [(f"S_{n + 1}", "") for n in range(max(map(len, curves)))]
    rows = [[Text(format_number(value, 2)) for value in curve] for curve in curves]
    _print_by_method(f"{label} in %, higher is better", names, columns, rows, console)


def _print_by_method(
    title: str,
    names: Sequence[str],
    columns: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[Text]],
    console: Console,
) -> None:
    """Print a table with a row per method; where the console is too narrow for it, with a column per method.

    Args:
        title: of the table.
        names: of the methods.
        columns: label and description of each figure.
        rows: the cells of each method; may be shorter than `columns`.
        console: where to print.
    """
    described = any(description for _, description in columns)
    table = Table(title=title, show_footer=described)
    table.add_column("method")
    for label, description in columns:
        table.add_column(Text(label), justify="right", footer=Text(description))
    for name, cells in zip(names, rows, strict=True):
        table.add_row(Text(name), *cells)
    if _fits(table, console):
        console.print(table)
        return

    def turned(methods: range) -> Table:
        table = Table(title=title)
        table.add_column("figure")
        for at in methods:
            table.add_column(Text(names[at]), justify="right", overflow="fold", max_width=NAME_WIDTH)
        if described:
            table.add_column("")
        for at, (label, description) in enumerate(columns):
            cells = (rows[method][at] if at < len(rows[method]) else Text("") for method in methods)
            table.add_row(Text(label), *cells, *([Text(description)] if described else []))
        return table

    first = 0
    while first < len(names):
        last = first + 1  # a table has one method at least
        while last < len(names) and _fits(turned(range(first, last + 1)), console):
            last += 1
        console.print(turned(range(first, last)))
        first = last


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
    if _fits(table, console):
        console.print(table)
        return
    console.print("Differences, image by image", style="italic")
    for figure in pair_table(comparison):
        for row in figure["rows"]:
            a, b = (names[row[side]] for side in "ab")
            favoured = ", ".join(map(str, row["favoured"]))
            winner = "undecided" if row["winner"] is None else f"in favour of {names[row['winner']]}"
            text = f"{figure['label']}: {a} - {b} {row['difference']} ({row['interval']}), images {favoured}: {winner}"
            console.print(text, markup=False, highlight=False)


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


def _fits(table: Table, console: Console) -> bool:
    """Whether the console shows the table without cutting or wrapping any text."""
    wide = console.options.update(max_width=10_000)
    return Measurement.get(console, wide, table).maximum <= console.width


def _table(title: str, headings: Sequence[str], left: Sequence[str] | set[str]) -> Table:
    """A table whose columns are aligned at the right, but for those in `left`."""
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in left else "right")
    return table


def _print_notes(notes: Sequence[str], console: Console) -> None:
    for note in notes:
        console.print(note, style="bold yellow", markup=False)
