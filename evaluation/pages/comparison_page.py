"""The page of a comparison."""

from collections.abc import Mapping
from pathlib import Path

from ntire_sr.core.files import make_folder, write_json
from ntire_sr.evaluation.pages.charts import curve_chart
from ntire_sr.evaluation.pages.gallery import Gallery
from ntire_sr.evaluation.pages.image_table import comparison_figures, image_table
from ntire_sr.evaluation.pages.page import Page, write_page
from ntire_sr.evaluation.pages.quality_plot import quality_plot
from ntire_sr.evaluation.pages.sentences import comparison_title, published_caveat
from ntire_sr.evaluation.pages.tables import diversity_curves, method_table, pair_table, published_table
from ntire_sr.evaluation.scoring.comparison import Comparison


def write_comparison(comparison: Comparison, gallery: Gallery, out: Path, published: bool = False) -> Path:
    """Write `compare.json` and the page `compare.html`, which needs no other file; returns the page's path."""
    make_folder(out)
    write_json(out / "compare.json", comparison.as_json())
    write_page(out / "compare.html", comparison_page(comparison, gallery, published))
    return out / "compare.html"


def comparison_page(
    comparison: Comparison,
    gallery: Gallery,
    published: bool = False,
    not_ranked: Mapping[str, str] | None = None,
) -> Page:
    """Content of the page of a comparison.

    Args:
        comparison: the compared methods.
        gallery: pictures of some images.
        published: whether to show the methods among the published results, too.
        not_ranked: name -> reason of the entries of a leaderboard that are not ranked.
    """
    names = [method.name for method in comparison.methods]
    label, curves = diversity_curves(comparison)
    plot = rows = None
    if comparison.with_lpips:
        lpips, diversity = comparison.values["LPIPS_mean"], comparison.values["score"]
        plot = quality_plot(names, lpips, diversity, comparison.samples, comparison.scale)
    if published:
        rows = published_table(comparison.scale, comparison.published(), published_caveat(comparison))
    left, right = [*gallery.methods, "hr", "hr"][:2]  # the first two methods that have pictures
    return Page(
        command="compare",
        title=comparison_title(comparison),
        methods=names,
        notes=[*comparison.notes, *gallery.notes],
        method_table=method_table(comparison, not_ranked),
        plot=plot,
        curves=[curve_chart(label, curves, names)] if comparison.samples > 1 else [],
        pairs=pair_table(comparison),
        published=rows,
        images=image_table(comparison_figures(comparison), names, comparison.names, gallery.images),
        gallery=gallery.entries,
        left=left,
        right=right,
        grid=True,
        result_files=["compare.json"],
    )
