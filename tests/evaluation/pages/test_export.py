"""Tables of comparisons as CSV and LaTeX."""

import csv
import math

import pytest
from scores import write_images, write_method

from ntire_sr.evaluation.pages.export import comparison_csv, comparison_latex, escape_latex
from ntire_sr.evaluation.scoring.comparison import compare
from ntire_sr.evaluation.scoring.load_scores import read_methods

NAMES = ["0801.png", "0802.png", "0803.png"]


@pytest.fixture
def methods(tmp_path):
    hr = write_images(tmp_path / "HR", NAMES)
    named = []
    for name, lpips in (('a "quoted", name', 0.1), ("100 %_b & {c}", 0.2)):
        values = {image: [lpips + 0.01 * at] * 10 for at, image in enumerate(NAMES)}
        named.append((name, write_method(tmp_path / f"m{len(named)}", hr, values)))
    return named


def test_csv_holds_all_values_in_full(methods):
    comparison = compare(read_methods(methods))
    rows = list(csv.DictReader(comparison_csv(comparison).splitlines()))
    assert [row["method"] for row in rows] == [name for name, _ in methods]
    for at, row in enumerate(rows):
        for figure in comparison.all_figures:
            value = comparison.values[figure.name][at]
            texts = [row[figure.name], row[f"{figure.name}_low"], row[f"{figure.name}_high"]]
            for text, number in zip(texts, (value.value, *value.interval), strict=True):
                assert (text == "") if math.isnan(number) else (float(text) == number)


def test_latex_escapes_names_and_marks_the_best(methods):
    text = comparison_latex(compare(read_methods(methods)))
    assert r"100 \%\_b \& \{c\} &" in text and r"\textbf{0.1100}" in text
    assert text.count(r"\\") == 3 and r"LPIPS $\downarrow$" in text
    assert escape_latex("a\\b~^") == r"a\textbackslash{}b\textasciitilde{}\textasciicircum{}"


def test_compare_writes_both_files(methods, ntire_sr_command, tmp_path):
    result = ntire_sr_command(
        "compare", *(f"{name}={path}" for name, path in methods), "--csv", tmp_path / "t.csv", "--latex", tmp_path / "t.tex"
    )  # fmt: skip
    assert result.code == 0, result.err
    comparison = compare(read_methods(methods))
    assert (tmp_path / "t.csv").read_text() == comparison_csv(comparison)
    assert (tmp_path / "t.tex").read_text() == comparison_latex(comparison)
