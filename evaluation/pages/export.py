"""The table of a comparison as CSV and as LaTeX."""

import csv
import io
import math
import re

from ntire_sr.evaluation.pages.tables import method_table
from ntire_sr.evaluation.scoring.comparison import Comparison

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "∞": r"$\infty$"}


def comparison_csv(comparison: Comparison) -> str:
    """One row per method: its name, and for each figure the value and the ends of its 95 % interval.

    Undefined values are empty; numbers have full precision, with a decimal point.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [figure.name for figure in comparison.all_figures]
    writer.writerow(["method", *(column for name in names for column in (name, f"{name}_low", f"{name}_high"))])
    for at, method in enumerate(comparison.methods):
        values = [comparison.values[name][at] for name in names]
        numbers = [number for value in values for number in (value.value, *value.interval)]
        writer.writerow([method.name, *("" if math.isnan(number) else repr(number) for number in numbers)])
    return text.getvalue()


def comparison_latex(comparison: Comparison) -> str:
    """A `tabular` of the methods and their figures, the best of each column in bold; needs the package booktabs."""
    content = method_table(comparison)
    arrows = {True: r" $\downarrow$", False: r" $\uparrow$", None: ""}
    headings = [f"{escape_latex(f.label)}{arrows[f.lower_is_better]}" for f in comparison.all_figures]
    lines = [
        "% needs \\usepackage{booktabs}; arrows point to better values",
        f"\\begin{{tabular}}{{l{'r' * len(headings)}}}",
        "\\toprule",
        " & ".join(["Method", *headings]) + r" \\",
        "\\midrule",
    ]
    for method, cells in zip(comparison.methods, content["rows"], strict=True):
        texts = [escape_latex(cell["text"]) for cell in cells]
        shown = [
            f"\\textbf{{{text}}}" if cell["best"] else text for text, cell in zip(texts, cells, strict=True)
        ]
        lines.append(" & ".join([escape_latex(method.name), *shown]) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def escape_latex(text: str) -> str:
    r"""Text that LaTeX prints as it is.

    >>> escape_latex("S_n in %")
    'S\\_n in \\%'
    """
    return re.sub(r"[\\~^∞&%$#_{}]", lambda match: _LATEX.get(match[0], f"\\{match[0]}"), text)
