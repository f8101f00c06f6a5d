"""A comparison for human readers: tables in the terminal, and one HTML page with charts and pictures."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ntire_sr.challenge.published import CAVEAT, RESULTS_2021, Entry
from ntire_sr.core.errors import plural
from ntire_sr.core.files import atomic_write, make_folder, write_json
from ntire_sr.evaluation.pages.charts import Point, curves, plot
from ntire_sr.evaluation.pages.comparison_gallery import Gallery
from ntire_sr.evaluation.pages.page import fill
from ntire_sr.evaluation.pages.report import print_published, published_on_page
from ntire_sr.evaluation.scoring.columns import Figure
from ntire_sr.evaluation.scoring.comparison import Comparison, Value
from ntire_sr.evaluation.scoring.paired import Interval, PairedDifference
from ntire_sr.evaluation.scoring.summary import CHALLENGE_SAMPLES

HOW = (
    "Intervals are 95 % bootstrap intervals over the images. A difference is the mean over images of a - b; where "
    "its interval holds 0, the images do not decide between the two. Of many pairs and figures, one in twenty "
    "misses by chance."
)


def title(comparison: Comparison) -> str:
    """A line with the number of methods and images and the scale."""
    images = plural(len(comparison.names), "image")
    return f"{plural(len(comparison.methods), 'method')}, {images}, scale {comparison.scale}"


def number(value: float, digits: int, sign: bool = False) -> str:
    """A figure as text; - where it is undefined.

    >>> number(0.12345, 3), number(0.5, 1, sign=True), number(math.nan, 1)
    ('0.123', '+0.5', '-')
    """
    if math.isnan(value):
        return "-"
    return (f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}").replace("inf", "∞")


def interval(ends: Interval, digits: int, sign: bool = False) -> str:
    """An interval as text; empty where it is undefined."""
    return (
        ""
        if any(map(math.isnan, ends))
        else f"{number(ends[0], digits, sign)} to {number(ends[1], digits, sign)}"
    )


def print_comparison(comparison: Comparison, console: Console, published: bool = False) -> None:
    """Print the tables: figures of all methods, S_n for every n, paired differences, published rows if asked for."""
    every = comparison.all_figures
    table = Table(title=title(comparison))
    table.add_column("method")
    for figure in every:
        table.add_column(Text(figure.label), justify="right", footer=Text(figure.says))
    best = [comparison.best(figure.key, figure.lower_is_better) for figure in every]
    for at, method in enumerate(comparison.methods):
        cells = [
            Text(number(comparison.values[figure.key][at].value, figure.digits), "bold" if at in top else "")
            for figure, top in zip(every, best, strict=True)
        ]
        table.add_row(Text(method.name), *cells)
    table.show_footer = True
    console.print(table)
    label, lines = _lines(comparison)
    if comparison.samples > 1:
        grown = Table(title=f"{label} in %, higher is better")
        for heading in ("method", *(f"S_{n + 1}" for n in range(max(map(len, lines))))):
            grown.add_column(heading, justify="left" if heading == "method" else "right")
        for method, line in zip(comparison.methods, lines, strict=True):
            grown.add_row(Text(method.name), *(number(value, 2) for value in line))
        console.print(grown)
    pairs = Table(title="Differences, image by image")
    for heading in ("figure", "a", "b", "a - b", "95 % interval", "images for a, b, equal", "in favour of"):
        pairs.add_column(heading, justify="right" if heading in ("a - b", "95 % interval") else "left")
    for figure in comparison.figures:
        for a, b, found in comparison.pairs.get(figure.key, []):
            row = _pair(comparison, figure, a, b, found)
            names = [comparison.methods[each].name for each in (a, b)]
            words = [row["difference"], row["interval"], row["counts"], row["favours"] or "undecided"]
            pairs.add_row(*(Text(word) for word in (figure.label, *names, *words)))
        pairs.add_section()
    console.print(pairs)
    if published:
        print_published(comparison.scale, comparison.published(), _caveat(comparison), console)
    for note in comparison.notes:
        console.print(note, style="bold yellow", markup=False)


def write_comparison(comparison: Comparison, gallery: Gallery, out: Path, published: bool = False) -> Path:
    """Write `compare.json` and the page `compare.html`, which needs no other file; returns the page's path."""
    make_folder(out)
    write_json(out / "compare.json", comparison.as_json())
    atomic_write(out / "compare.html", render_comparison(comparison, gallery, published))
    return out / "compare.html"


def render_comparison(comparison: Comparison, gallery: Gallery, published: bool = False) -> str:
    """The whole page as HTML text."""
    label, lines = _lines(comparison)
    names = [method.name for method in comparison.methods]
    first = comparison.figures[0]
    shown = [each["key"] for entry in gallery.entries[:1] for each in entry["pictures"] if "samples" in each]
    pictured = {image: at for at, image in enumerate(gallery.images)}
    page = {
        "title": title(comparison),
        "how": HOW,
        "notes": [*comparison.notes, *gallery.notes],
        "names": names,
        "figures": [{"label": each.label, "says": each.says} for each in comparison.all_figures],
        "methods": [_method_cells(comparison, at) for at in range(len(names))],
        "pairs": [
            {"label": figure.label, "says": figure.says, "rows": rows}
            for figure in comparison.figures
            if (rows := [_pair(comparison, figure, *pair) for pair in comparison.pairs.get(figure.key, [])])
        ],
        "plot": _plot(comparison),
        "curves_label": label,
        "curves": curves(lines, names, " %") if comparison.samples > 1 else None,
        "caveat": CAVEAT,
        "published": published_on_page(comparison.scale, comparison.published(), _caveat(comparison))
        if published
        else None,
        "groups": [{"label": f.label, "says": f.says} for f in comparison.figures if f.of_image],
        "columns": _columns(comparison),
        "images": [
            {"name": name, "values": values, "pictured": pictured.get(at)}
            for at, (name, values) in enumerate(zip(comparison.names, _image_values(comparison), strict=True))
        ],
        "gallery": gallery.entries,
    }
    left, right = [*shown, "hr", "hr"][:2]  # the first two methods that have pictures
    start = {"sort": f"{first.key}/apart", "left": left, "right": right, "grid": True}
    return fill("compare.html.j2", page, start)


def _lines(comparison: Comparison) -> tuple[str, list[list[float]]]:
    """What the curves are of, and S_1, S_2, ... of each method."""
    summaries = comparison.summaries()
    if comparison.with_lpips:
        return "S_n (LPIPS)", [summary.lpips_curve for summary in summaries]
    return "S_n (MSE)", [summary.mse_curve for summary in summaries]


def _method_cells(comparison: Comparison, at: int) -> list[dict[str, Any]]:
    def cell(figure: Figure) -> dict[str, Any]:
        found: Value = comparison.values[figure.key][at]
        return {
            "text": number(found.value, figure.digits),
            "interval": interval(found.interval, figure.digits),
            "best": at in comparison.best(figure.key, figure.lower_is_better),
        }

    return [cell(figure) for figure in comparison.all_figures]


def _pair(comparison: Comparison, figure: Figure, a: int, b: int, found: PairedDifference) -> dict[str, Any]:
    favours = comparison.favoured(figure, a, b, found)
    return {
        "a": a,
        "b": b,
        "difference": number(found.difference, figure.digits, sign=True),
        "interval": interval(found.interval, figure.digits, sign=True) or "-",
        "counts": f"{found.a_favoured}, {found.b_favoured}, {found.equal}",
        "favoured": [found.a_favoured, found.b_favoured, found.equal],
        "favours": favours,
        "winner": None
        if favours is None
        else next(at for at in (a, b) if comparison.methods[at].name == favours),
    }


def _plot(comparison: Comparison) -> dict[str, Any] | None:
    """LPIPS against S_n: the methods, then the published entries where n is theirs."""
    if not comparison.with_lpips:
        return None
    said, points, who = [], [], []
    for at, method in enumerate(comparison.methods):
        x, y = comparison.values["LPIPS_mean"][at], comparison.values["score"][at]
        if math.isfinite(x.value) and math.isfinite(y.value):
            points.append(Point(f"{at + 1} {method.name}", x.value, y.value, x.interval, y.interval))
            who.append(at)
            said.append(_point_says(method.name, comparison.samples, x, y))
    others: list[Entry] = []
    if comparison.samples == CHALLENGE_SAMPLES:
        others = [entry for entry in RESULTS_2021[comparison.scale] if entry.diversity is not None]
    for entry in others:
        points.append(Point(entry.team, entry.lpips, entry.diversity or 0.0))
        said.append(f"{entry.team}, published: LPIPS {entry.lpips:.3f}, S_10 {entry.diversity:.2f} %")
    drawn = plot(points)
    for at, point in enumerate(drawn["points"]):
        point["says"], point["method"] = said[at], who[at] if at < len(who) else None
    return {**drawn, "n": comparison.samples, "published": bool(others)}


def _point_says(name: str, n: int, x: Value, y: Value) -> str:
    parts = [
        f"{label} {number(found.value, digits)}{unit}"
        + (f" ({interval(found.interval, digits)})" if interval(found.interval, digits) else "")
        for label, found, digits, unit in (("LPIPS", x, 4, ""), (f"S_{n}", y, 2, " %"))
    ]
    return f"{name}: {', '.join(parts)}"


def _caveat(comparison: Comparison) -> str:
    summaries = zip(comparison.methods, comparison.summaries(), strict=True)
    left_out = [method.name for method, summary in summaries if summary.standing is None]
    return CAVEAT + (f" Without S_10 no place: {', '.join(left_out)}." if left_out else "")


def _columns(comparison: Comparison) -> list[dict[str, Any]]:
    """Columns of the table of images: each figure of each method, and how far the methods are apart."""
    found = []
    for figure in comparison.figures:
        if figure.of_image is None:
            continue
        shared = {"group": figure.label, "digits": figure.digits}
        found += [
            {
                "key": f"{figure.key}/{at}",
                "label": method.name,
                "method": at,
                "lower_is_better": figure.lower_is_better,
                **shared,
            }
            for at, method in enumerate(comparison.methods)
        ]
        found.append(
            {"key": f"{figure.key}/apart", "label": "apart", "method": None, "lower_is_better": True, **shared}
        )
    return found


def _image_values(comparison: Comparison) -> list[dict[str, float]]:
    values: list[dict[str, float]] = [{} for _ in comparison.names]
    for figure in comparison.figures:
        if figure.of_image is None:
            continue
        lines = comparison.per_image(figure)
        for image, own in enumerate(zip(*lines, strict=True)):
            values[image] |= {f"{figure.key}/{at}": value for at, value in enumerate(own)}
            values[image][f"{figure.key}/apart"] = _apart(own)
    return values


def _apart(own: Sequence[float]) -> float:
    known = [value for value in own if not math.isnan(value)]
    return max(known) - min(known) if len(known) > 1 and not all(map(math.isinf, known)) else math.nan
