"""Tables of comparisons for the terminal."""

import io
import re

from rich.console import Console
from scores import write_images, write_method

from ntire_sr.evaluation.metrics.declarations import Figure, Values
from ntire_sr.evaluation.pages.tables import method_table
from ntire_sr.evaluation.pages.terminal import print_comparison
from ntire_sr.evaluation.scoring.columns import MethodColumn
from ntire_sr.evaluation.scoring.comparison import compare
from ntire_sr.evaluation.scoring.load_scores import read_methods

NAMES = ["0801.png", "0802.png", "0803.png"]
MARKUP = "[bold]b"  # rich must not interpret it
MOR = Figure(name="MOR", label="mean opinion rank", direction="lower", digits=2, values=Values)
COLUMN = MethodColumn(MOR, {"ours": 1.25, MARKUP: 2.5})


def comparison_of(folder, names):
    hr = write_images(folder / "HR", NAMES)
    methods = []
    for at, name in enumerate(names):
        values = {image: [0.1 * (at + 1) + 0.05 * place] * 10 for place, image in enumerate(NAMES)}
        methods.append((name, write_method(folder / f"method{at}", hr, values)))
    return compare(read_methods(methods))


def printed(comparison, width):
    console = Console(width=width, file=io.StringIO())
    print_comparison(comparison, console)
    return console.file.getvalue()


def test_narrow_terminal_shows_every_figure_whole(tmp_path):
    comparison = comparison_of(tmp_path, ["ours", "a method with a long name", "third", "fourth", "fifth"])
    wide, narrow = printed(comparison, 300), printed(comparison, 80)
    figures = [cell["text"] for row in method_table(comparison)["rows"] for cell in row]
    assert "…" not in narrow and max(map(len, narrow.splitlines())) <= 80
    for text in {*figures, "ours", "third", "fourth", "fifth"}:
        assert narrow.count(text) >= 1 and text in wide
    assert re.search(r"figure .* ours", narrow) and not re.search(r"figure .* ours", wide)


def test_comparison_prints_figures_pairs_and_published_rows(tmp_path):
    hr = write_images(tmp_path / "HR", NAMES)
    methods = []
    for name, lpips, samples in (("ours", 0.1, 10), (MARKUP, 0.2, 10), ("plain", 0.3, 1)):
        values = {image: [lpips + 0.05 * at] * samples for at, image in enumerate(NAMES)}
        methods.append((name, write_method(tmp_path / f"m{len(methods)}", hr, values)))
    console = Console(width=220, file=io.StringIO())
    print_comparison(compare(read_methods(methods)).with_columns([COLUMN]), console, published=True)
    text = console.file.getvalue()
    for words in (
        MARKUP,
        "mean opinion rank",
        "S_n (LPIPS) in %",
        "-0.1000 to -0.1000",
        "3, 0, 0",
        "undecided",
        "Deepest (NCSR)",
        "Without S_10 no place: plain.",
    ):
        assert words in text
