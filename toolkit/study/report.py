"""The results of a study for human readers: tables in the terminal, and one HTML page with pictures."""

import base64
import io
import math
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ntire_sr._version import __version__
from ntire_sr.core.errors import plural, printable
from ntire_sr.core.files import atomic_write
from ntire_sr.samples.image_files import read_png
from ntire_sr.study.folder import HR, StudyFolder
from ntire_sr.study.standings import PlaceStanding, Standing, StudyResults

PRINTED_PLACES = 5  # in the terminal; the page has all
PICTURED_PLACES = 30  # on the page
WEBP_QUALITY = 90
COLUMNS = ("MOR", "95 % interval", "first", "strength", "S_10", "final rank")


def heading(results: StudyResults) -> str:
    """A line with the numbers of methods, raters and answers."""
    return (
        f"{plural(len(results.study.methods), 'method')} and HR, {plural(results.kept, 'rater')}, "
        f"{plural(results.answers, 'ranking')}"
    )


def cells(standing: Standing) -> list[str]:
    """The row of one method in the table of results: a text per column, empty for unknown values."""
    interval = (
        f"{_text(standing.mor.low)} to {_text(standing.mor.high)}" if not math.isnan(standing.mor.low) else ""
    )
    first = "" if math.isnan(standing.first_share) else f"{100 * standing.first_share:.0f} %"
    return [
        _text(standing.mor.value),
        interval,
        first,
        *map(_text, (standing.strength, standing.diversity, standing.final)),
    ]


def _known_columns(results: StudyResults) -> list[int]:
    """Numbers of the `COLUMNS` that are known of any candidate."""
    return [
        index for index in range(len(COLUMNS)) if any(cells(standing)[index] for standing in results.standings)
    ]


def agreement(results: StudyResults) -> str:
    """A sentence on how far raters agree."""
    if math.isnan(results.agreement):
        return "Agreement: not known; it takes two raters who rank all candidates of a place"
    return f"Agreement: Kendall's W {results.agreement:.2f}, the mean over places (1: all raters agree, 0: none do)"


def _text(value: float | None, digits: int = 2) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def print_results(results: StudyResults, console: Console) -> None:
    """Print the tables to the terminal."""
    table = Table(title=f"{heading(results)}: mean opinion rank, lower is better")
    table.add_column("candidate")
    shown = _known_columns(results)
    for index in shown:
        table.add_column(COLUMNS[index], justify="right")
    for standing in results.standings:
        values = cells(standing)
        table.add_row(
            _plain(standing.name),
            *(values[index] for index in shown),
            style="dim" if standing.name == HR else None,
        )
    console.print(table)
    names = results.study.names
    won = Table(title="Wins of the row against the column")
    for name in ("", *names):
        won.add_column(_plain(name), justify="right" if name else "left")
    for i, name in enumerate(names):
        won.add_row(_plain(name), *(_won(results, i, j) for j in range(len(names))))
    console.print(won)
    people = Table(title="Raters")
    for name in ("rater", "mode", "rankings", "checks failed", "seconds each", ""):
        people.add_column(name, justify="left" if name in ("rater", "mode", "") else "right")
    for rater in results.raters:
        people.add_row(
            _plain(rater.name), rater.mode, str(rater.answers), f"{rater.failed} of {rater.checks}",
            _text(rater.seconds, 1), "" if rater.kept else "left out",
        )  # fmt: skip
    console.print(people)
    console.print(agreement(results), markup=False)
    for place in results.places[:PRINTED_PLACES]:
        if not math.isnan(place.agreement):
            console.print(f"disputed: {printable(_where(place))}, W {place.agreement:.2f}", markup=False)
    for note in results.notes:
        console.print(f"note: {printable(note)}", style="yellow", markup=False)


def _plain(text: str) -> Text:
    return Text(printable(text))


def _where(place: PlaceStanding) -> str:
    return f"{place.place.image} at {place.place.left}, {place.place.top}"


def _won(results: StudyResults, i: int, j: int) -> str:
    if i == j or not results.met[i, j]:
        return ""
    return f"{results.wins[i, j]:g} of {results.met[i, j]:g}"


def write_page(path: Path, results: StudyResults, folder: StudyFolder) -> None:
    """Write one HTML page that needs no other file.

    Args:
        path: path of the page.
        results: the results.
        folder: of the study, for its pictures.
    """
    names, shown = results.study.names, _known_columns(results)
    size = len(names)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ntire_sr.study", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    html = environment.get_template("results.html.j2").render(
        version=__version__,
        heading=heading(results),
        agreement=agreement(results),
        notes=results.notes,
        columns=[COLUMNS[index] for index in shown],
        hr=HR,
        standings=[
            {
                "name": standing.name,
                "cells": [cells(standing)[index] for index in shown],
                "bar": _bar(standing, size),
            }
            for standing in results.standings
        ],
        ticks=[{"rank": rank, "left": _share(rank, size)} for rank in range(1, size + 1)],
        names=names,
        wins=[
            {
                "name": name,
                "cells": [
                    {"text": _won(results, i, j), "share": _win_share(results, i, j)} for j in range(size)
                ],
            }
            for i, name in enumerate(names)
        ],
        raters=[
            {
                "name": rater.name,
                "cells": [
                    rater.mode,
                    rater.answers,
                    f"{rater.failed} of {rater.checks}",
                    _text(rater.seconds, 1),
                ],
                "kept": rater.kept,
            }
            for rater in results.raters
        ],
        places=[_pictured(place, folder) for place in results.places[:PICTURED_PLACES]],
        more=len(results.places) - PICTURED_PLACES,
        side=results.study.size,
        style=Markup((Path(__file__).parent / "results.css").read_text(encoding="utf-8")),
    )
    atomic_write(path, html)


def _share(rank: float, size: int) -> float:
    """The position of a rank on an axis from 1 to `size`, in per cent of its length."""
    return round(100 * (rank - 1) / max(size - 1, 1), 2)


def _bar(standing: Standing, size: int) -> dict[str, float] | None:
    if math.isnan(standing.mor.value):
        return None
    low, high = (
        standing.mor.value if math.isnan(end) else end for end in (standing.mor.low, standing.mor.high)
    )
    left = _share(low, size)
    return {"at": _share(standing.mor.value, size), "left": left, "width": round(_share(high, size) - left, 2)}


def _win_share(results: StudyResults, i: int, j: int) -> float | None:
    return None if i == j or not results.met[i, j] else round(float(results.wins[i, j] / results.met[i, j]), 2)


def _pictured(place: PlaceStanding, folder: StudyFolder) -> dict[str, Any]:
    order = sorted(place.mor, key=lambda name: (math.isnan(place.mor[name]), place.mor[name]))
    return {
        "where": _where(place),
        "says": f"{plural(place.answers, 'ranking')}"
        + ("" if math.isnan(place.agreement) else f", W {place.agreement:.2f}"),
        "candidates": [
            {
                "name": name,
                "rank": _text(place.mor[name]),
                "picture": _picture(folder, place.place.candidates[name]),
            }
            for name in order
        ],
    }


def _picture(folder: StudyFolder, digest: str) -> str:
    """A picture as the address of a page's image, lossy."""
    content = io.BytesIO()
    Image.fromarray(read_png(folder.picture(digest))).save(content, "WEBP", quality=WEBP_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"
