"""The HTML page of a score or a comparison: one file with style, scripts and pictures, which loads nothing else."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ntire_sr._version import __version__
from ntire_sr.core.files import atomic_write, json_safe
from ntire_sr.evaluation.pages.charts import CURVES_FRAME, PLOT_FRAME
from ntire_sr.evaluation.pages.image_table import ImageTable

STYLES = ("page.css", "viewer.css")
SCRIPTS = ("page.js", "table.js", "charts.js", "legend.js", "viewer.js")


@dataclass(frozen=True, kw_only=True)
class Page:
    """Content of the page of one method (a score) or of several (a comparison).

    All texts are plain; the template escapes them. A section without content is left out.
    """

    command: str  # "score" or "compare"
    title: str  # such as "24 images x 10 samples, scale 4"
    methods: Sequence[str]  # names of the methods
    images: ImageTable
    result_files: Sequence[str]  # files with all values, next to the page
    drawn_by: str = ""  # model and settings that drew the samples
    passes: bool | None = None  # whether the challenge's LR-PSNR is reached; None to leave the verdict out
    verdict: str = ""  # the same as a sentence
    notes: Sequence[str] = ()  # warnings
    summary: Sequence[tuple[str, str, str]] = ()  # (label, value, unit and direction) of each figure
    calibration: Sequence[tuple[str, str, str]] = ()  # (label, value, explanation)
    method_table: Mapping[str, Any] | None = None  # `tables.method_table`
    plot: Mapping[str, Any] | None = None  # `quality_plot.quality_plot`
    curves: Sequence[Mapping[str, Any]] = ()  # `charts.curve_chart`
    ranks: Mapping[str, Any] | None = None  # `charts.rank_chart`
    pairs: Sequence[Mapping[str, Any]] = ()  # `tables.pair_table`
    published: Mapping[str, Any] | None = None  # `tables.published_table`
    gallery: Sequence[Mapping[str, Any]] = ()  # `gallery.picture_image`
    left: str = "hr"  # key of the left picture in the viewer at first
    right: str = "0"  # key of the right picture
    grid: bool = False  # whether the viewer shows all pictures side by side at first


def render(page: Page) -> str:
    """The whole page as HTML text."""
    columns, rows = json_safe(page.images.columns), json_safe(page.images.rows)
    start = {"sort": page.images.sort, "left": page.left, "right": page.right, "grid": page.grid}
    return render_template(
        "page.html.j2",
        SCRIPTS,
        data={"start": start, "columns": columns, "images": rows, "gallery": json_safe(page.gallery)},
        page=page,
        rows=rows,
        several=len(page.methods) > 1,
    )


def render_template(template: str, scripts: Sequence[str], data: Any, **values: Any) -> str:
    """A whole page as HTML text.

    Args:
        template: name of a template of this folder that extends `layout.html.j2`.
        scripts: names of its scripts, of which `page.js` comes first.
        data: what the scripts read; must be JSON.
        values: what the template reads.
    """
    import jinja2  # takes .2 s to import: only when a page is written
    from markupsafe import Markup

    # read as text, so that line ends are always \n, as in the script that the browser compares with its digest
    style, script = ("\n".join(map(_read, names)) for names in (STYLES, scripts))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ntire_sr.evaluation.pages", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(
        **values,
        version=__version__,
        curves_frame=CURVES_FRAME,
        plot_frame=PLOT_FRAME,
        data=data,
        style=Markup(style),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def write_page(path: Path, page: Page) -> None:
    """Write the page to a file."""
    atomic_write(path, render(page))


def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
