"""The table of a comparison as CSV and as LaTeX."""

import csv
import io
import math
import re
from collections.abc import Mapping

from ntire_sr.core.files import csv_cell
from ntire_sr.evaluation.pages.tables import method_table
from ntire_sr.evaluation.scoring.comparison import Comparison

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "∞": r"$\infty$"}


def comparison_csv(comparison: Comparison | None, not_ranked: Mapping[str, str] | None = None) -> str:
    """One row per method: its name, and for each figure the value and the ends of its 95 % interval.

    Undefined values are empty; numbers have full precision, with a decimal point.

    Args:
        comparison: the methods; None if there are none.
        not_ranked: name -> reason of the entries of a leaderboard that are not ranked, in a further column; those
            without figures get a row as well.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [figure.name for figure in comparison.all_figures] if comparison else []
    columns = [column for name in names for column in (name, f"{name}_low", f"{name}_high")]
    further = [] if not_ranked is None else ["not_ranked"]
    writer.writerow(["method", *columns, *further])
    rest = dict(not_ranked or {})
    for at, method in enumerate(comparison.methods if comparison else ()):
        values = [comparison.values[name][at] for name in names]
        numbers = [number for value in values for number in (value.value, *value.interval)]
        reason = [rest.pop(method.name, "")] if further else []
        writer.writerow(
            [
                csv_cell(method.name),
                *("" if math.isnan(number) else repr(number) for number in numbers),
                *reason,
            ]
        )
    for name, reason in rest.items():
        writer.writerow([csv_cell(name), *("" for _ in columns), reason])
    return text.getvalue()


def comparison_latex(comparison: Comparison | None, not_ranked: Mapping[str, str] | None = None) -> str:
    """A `tabular` of the methods and their figures, the best of each column in bold; needs the package booktabs.

    Args:
        comparison: the methods; None if there are none.
        not_ranked: name -> reason of the entries of a leaderboard that are not ranked, in a cell across all figures: in
            the entry's row if it has no figures, otherwise below its row.
    """
    reasons = dict(not_ranked or {})
    arrows = {True: r" $\downarrow$", False: r" $\uparrow$", None: ""}
    figures = comparison.all_figures if comparison else ()
    headings = [f"{escape_latex(f.label)}{arrows[f.lower_is_better]}" for f in figures] or ["Figures"]
    lines = [
        "% needs \\usepackage{booktabs}; arrows point to better values",
        f"\\begin{{tabular}}{{l{'r' * len(headings)}}}",
        "\\toprule",
        " & ".join(["Method", *headings]) + r" \\",
        "\\midrule",
    ]

    def reason_row(name: str, reason: str) -> str:
        text = escape_latex(f"not ranked: {_one_line(reason)}")
        return f"{escape_latex(name)} & \\multicolumn{{{len(headings)}}}{{p{{0.6\\linewidth}}}}{{{text}}} \\\\"

    rows = method_table(comparison)["rows"] if comparison else []
    for method, cells in zip(comparison.methods if comparison else (), rows, strict=True):
        texts = [escape_latex(cell["text"]) for cell in cells]
        shown = [
            f"\\textbf{{{text}}}" if cell["best"] else text for text, cell in zip(texts, cells, strict=True)
        ]
        lines.append(" & ".join([escape_latex(method.name), *shown]) + r" \\")
        if method.name in reasons:
            lines.append(reason_row("", reasons.pop(method.name)))
    lines += [reason_row(name, reason) for name, reason in reasons.items()]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _one_line(text: str) -> str:
    return " ".join(text.split())


def escape_latex(text: str) -> str:
    r"""Text that LaTeX prints as it is.

    >>> escape_latex("S_n in %")
    'S\\_n in \\%'
    """
    return re.sub(r"[\\~^∞&%$#_{}]", lambda match: _LATEX.get(match[0], f"\\{match[0]}"), text)
