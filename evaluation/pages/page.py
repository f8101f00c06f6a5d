"""The HTML pages: one file with style, script and pictures inside, which loads nothing else."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ntire_sr._version import __version__
from ntire_sr.core.files import json_safe
from ntire_sr.evaluation.pages.charts import FRAME, PLOT, curves

SCRIPTS = ("page.js", "table.js", "charts.js", "viewer.js")
# what a report begins with: the column that sorts, and the pictures of the viewer
REPORT_START = {"sort": "lpips", "left": "hr", "right": "0", "grid": False}


def render(page: dict[str, Any]) -> str:
    """The whole report as HTML text.

    Args:
        page: its content. All texts are plain; the template escapes them.

            title        title of the page, such as "24 images x 10 samples, scale 4"
            drawn_by     a line about the model, or None
            passes       whether the challenge's requirement is met; `verdict` says so in a sentence
            notes        warnings: sentences on what is missing
            summary      [[what, value, unit and direction], ...], values as text
            curves       [{label, unit, direction, values: [a value per n = 1, 2, ...; None if undefined]}]
            calibration  [{label, value: text, says: its meaning in words}]
            published    {caveat, columns: [text], rows: [{cells: [text], ours, under: bool}]}, or None;
                         `under` marks teams under the required LR-PSNR
            columns      columns of the table of images: [{key, label, lower_is_better, digits}]; the optional
                         `required` is the least allowed value, and lower values are marked
            images       [{name, values: {key: number, None or "inf"}, pictured: index in `gallery` or None}]
            gallery      results of `gallery.picture_image`
    """
    page = json_safe(page)
    drawn = [curves([curve["values"]], unit=f" {curve['unit']}".rstrip()) for curve in page["curves"]]
    return fill("report.html.j2", {**page, "drawn": drawn}, REPORT_START)


def fill(template: str, page: dict[str, Any], start: dict[str, Any]) -> str:
    """A page from its template and its content, with the style and the scripts that all pages share.

    Args:
        template: name of the template, which extends `base.html.j2`.
        page: content. Its `columns`, `images` and `gallery` go to the scripts, too.
        start: sort: key of the column that the table of images is sorted by at first; left, right, grid: what
            the viewer shows at first.
    """
    folder = Path(__file__).parent
    # read as text, so that line ends are always \n, as in the script that the browser compares with its digest
    style, *scripts = ((folder / name).read_text(encoding="utf-8") for name in ("page.css", *SCRIPTS))
    script = "\n".join(scripts)
    page = json_safe(page)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ntire_sr.evaluation.pages", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(
        page={**page, "version": __version__},
        frame=FRAME,
        plot_frame=PLOT,
        data={"start": start, **{name: page[name] for name in ("columns", "images", "gallery")}},
        style=Markup(style),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
