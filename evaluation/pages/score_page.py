"""The page of a score."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from ntire_sr.challenge.published import CAVEAT
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.evaluation.metrics.lpips import LpipsValues
from ntire_sr.evaluation.metrics.pixels import PixelValues
from ntire_sr.evaluation.pages.charts import curve_chart, rank_chart
from ntire_sr.evaluation.pages.gallery import PICTURED_IMAGES, MethodSamples, picture_image
from ntire_sr.evaluation.pages.image_table import image_table, score_figures
from ntire_sr.evaluation.pages.maps import load_maps
from ntire_sr.evaluation.pages.page import Page, write_page
from ntire_sr.evaluation.pages.pictures import PAGE_BYTES
from ntire_sr.evaluation.pages.quality_plot import quality_plot
from ntire_sr.evaluation.pages.sentences import (
    describe_manifest,
    explain_calibration,
    score_notes,
    score_title,
    score_verdict,
)
from ntire_sr.evaluation.pages.tables import published_table, summary_rows
from ntire_sr.evaluation.scoring.comparison import Value
from ntire_sr.evaluation.scoring.matching import SampleGroup
from ntire_sr.evaluation.scoring.records import Records
from ntire_sr.evaluation.scoring.summary import CHALLENGE_SAMPLES, ScoreSummary
from ntire_sr.samples.manifest import Manifest

NAME = "this score"  # of the only method


def write_score_page(
    path: Path,
    score: ScoreSummary,
    groups: Sequence[SampleGroup],
    records: Records,
    manifest: Manifest | None,
    lpips_missing: str | None,
    progress: Progress = SILENT,
) -> None:
    """Write the page of a score, one HTML file that needs no other file.

    The 10 images with the highest LPIPS are pictured, or those with the highest MSE if LPIPS was not measured.

    Args:
        path: path of the page.
        score: the measured values.
        groups: HR images with their samples.
        records: records of the images, with the maps.
        manifest: manifest of the samples; None if they have none.
        lpips_missing: why LPIPS was not measured; None if it was.
        progress: reports how many images were pictured.
    """
    pictured = _worst_images(score)[:PICTURED_IMAGES]
    by_index = {group.index: group for group in groups}
    keys = score.origin.keys if score.origin else {}
    gallery = []
    budget = PAGE_BYTES // max(1, len(pictured))
    with progress.task("picture", len(pictured)) as advance:
        for image in (score.images[position] for position in pictured):
            group = by_index[image.index]
            samples = MethodSamples(list(zip(group.numbers, group.samples, strict=True)))
            maps = load_maps(records, image.index, keys[image.index])
            gallery.append(picture_image(group.hr, group.hr.name, score.scale, [samples], budget, maps))
            advance()
    write_page(path, _page(score, pictured, gallery, manifest, lpips_missing))


def _worst_images(score: ScoreSummary) -> list[int]:
    """Positions of the images, the worst first."""

    def error(position: int) -> float:
        image = score.images[position]
        return fmean(image.of(LpipsValues).lpips or image.of(PixelValues).mse)

    return sorted(range(len(score.images)), key=error, reverse=True)


def _page(
    score: ScoreSummary,
    pictured: list[int],
    gallery: list[dict],
    manifest: Manifest | None,
    lpips_missing: str | None,
) -> Page:
    summary, standing = score.summary(), score.standing
    plot = None
    if standing and score.samples == CHALLENGE_SAMPLES:
        lpips, diversity = Value(summary["LPIPS_mean"]), Value(summary["score"])
        plot = quality_plot([NAME], [lpips], [diversity], score.samples, score.scale)
    return Page(
        command="score",
        title=score_title(score),
        methods=[NAME],
        drawn_by=describe_manifest(manifest),
        passes=score.passes,
        verdict=score_verdict(score),
        notes=score_notes(score, lpips_missing),
        summary=summary_rows(score),
        calibration=explain_calibration(score),
        plot=plot,
        curves=[
            curve_chart(figure.title({"samples": "n"}), [curve])
            for figure in score.figures
            if figure.curve and (curve := score.curves()[figure.curve])
        ],
        ranks=rank_chart(score.rank_histogram) if score.samples > 1 and score.rank_histogram else None,
        published=published_table(score.scale, standing.rows, CAVEAT) if standing else None,
        images=image_table(score_figures(score), [NAME], [image.name for image in score.images], pictured),
        gallery=gallery,
        result_files=["score.json", "measure.csv", "measure_mean.csv"],
    )
