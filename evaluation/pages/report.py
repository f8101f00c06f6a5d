"""The score for human readers: tables in the terminal and one HTML page with pictures."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ntire_sr.challenge.downscale import REQUIRED_DB
from ntire_sr.challenge.published import CAVEAT, COLUMNS, RESULTS_2021, Row
from ntire_sr.core.errors import plural
from ntire_sr.core.files import atomic_write
from ntire_sr.evaluation.metrics.quality import proxy_called
from ntire_sr.evaluation.pages.gallery import Maps, picture_image
from ntire_sr.evaluation.pages.page import render
from ntire_sr.evaluation.pages.pictures import PAGE_BYTES
from ntire_sr.evaluation.scoring.matching import SampleGroup
from ntire_sr.evaluation.scoring.records import ImageScore, Records
from ntire_sr.evaluation.scoring.summary import ScoreSummary, known_values
from ntire_sr.samples.manifest import Manifest

PICTURED_IMAGES = 10


def rows(score: ScoreSummary) -> list[tuple[str, str, str]]:
    """(label, value, direction and unit) of every value in the summary."""
    summary, n = score.summary(), score.samples

    def figure(name: str, digits: int) -> str:
        value = summary[name]
        if not math.isnan(value):
            return f"{value:.{digits}f}"
        if not score.with_lpips and ("LPIPS" in name or name == "score"):
            return "not measured"
        if name.startswith("r_"):
            return "undefined: it takes two samples"
        return "undefined: a sample equals its HR image" if "score" in name else "undefined"

    db = "dB, higher is better"
    table = [
        ("LPIPS, mean", figure("LPIPS_mean", 4), "lower is better"),
        ("LPIPS, best sample of each image", figure("LPIPS_best_sample", 4), "lower is better"),
        ("LPIPS, worst sample of each image", figure("LPIPS_worst_sample", 4), "lower is better"),
        (f"Diversity S_{n} (LPIPS)", figure("score", 3), "%, higher is better"),
        (f"Diversity S_{n} (MSE)", figure("MSE_score", 3), "%, higher is better"),
        ("Calibration r (LPIPS)", figure("r_LPIPS", 3), "1 is calibrated, lower: too alike"),
        ("Calibration r (pixels)", figure("r_pixels", 3), "1 is calibrated, lower: too alike"),
        ("LR-PSNR, mean", figure("LRPSNR_mean", 2), db),
        ("LR-PSNR of the mean error", figure("LRPSNR_of_mean_error", 2), db),
        ("LR-PSNR, worst per image, mean", figure("LRPSNR_worst", 2), db),
        ("LR-PSNR, worst single sample", figure("LRPSNR_worst_sample", 2), db),
        (
            f"Samples under {REQUIRED_DB:.0f} dB",
            f"{score.under_required} of {score.counted}",
            "lower is better, 0 asked for",
        ),
    ]
    if "images_scored_uncropped" in summary:
        images = f"uncropped ({summary['images_scored_uncropped']} images)"
        table += [
            (f"LR-PSNR, worst single sample, {images}", figure("LRPSNR_worst_sample_uncropped", 2), db),
            (f"LR-PSNR of the mean error, {images}", figure("LRPSNR_of_mean_error_uncropped", 2), db),
        ]
    for name in score.realism:
        proxy = proxy_called(name)
        value = figure(name, 3)
        if f"{name}_of_HR" in summary:
            value += f" (HR {figure(f'{name}_of_HR', 3)})"
        table.append((proxy.label, value, f"{proxy.says}; a proxy"))
    return table + _opinion_rows(score)


def _opinion_rows(score: ScoreSummary) -> list[tuple[str, str, str]]:
    found, method = score.opinions, score.opinion
    if found is None or method is None:
        return []
    value = "not known" if method.mor is None else f"{method.mor:.2f}"
    if method.low is not None and method.high is not None:
        value += f" ({method.low:.2f} to {method.high:.2f})"
    among = f"{plural(found.candidates, 'candidate')}, {plural(found.raters, 'rater')}"
    final = "not known: it takes S_10 of every method" if score.final_rank is None else f"{score.final_rank:g}"
    return [
        ("Mean opinion rank (MOR)", value, f"lower is better; {among}"),
        (
            "Final rank",
            final,
            f"mean of the ranks in S_10 and MOR among {plural(len(found.methods), 'method')}",
        ),
    ]


def verdict(score: ScoreSummary) -> str:
    """A sentence that says whether all samples have 45 dB or more."""
    among = "" if score.complete else " that is there"
    if score.passes:
        return f"PASS: every sample{among} has {REQUIRED_DB:.0f} dB or more"
    verb = "is" if score.under_required == 1 else "are"
    return f"FAIL: {plural(score.under_required, 'sample')} {verb} under {REQUIRED_DB:.0f} dB"


def title(score: ScoreSummary) -> str:
    """A line with the number of images and samples and the scale."""
    return f"{plural(len(score.images), 'image')} x {plural(score.samples, 'sample')}, scale {score.scale}"


def notes(score: ScoreSummary, lpips_missing: str | None) -> list[str]:
    """Sentences with what a reader must know before trusting the values."""
    found = []
    if not score.complete:
        total = (len(score.images) + score.missing_images) * score.samples
        found.append(
            f"INCOMPLETE: {score.missing_samples} of {total} samples are missing "
            f"({plural(score.missing_images, 'image')} without any); all figures are over what is there. "
            + "; ".join(score.missing)
        )
    undefined = sum(any(map(math.isnan, image.lpips_scores + image.mse_scores)) for image in score.images)
    if undefined:
        found.append(
            f"A sample equals its HR image in {plural(undefined, 'image')}: S_n is undefined there, and left out of its mean."
        )
    if lpips_missing:
        found.append(f"LPIPS was not measured: {lpips_missing}")
    return found


def print_table(score: ScoreSummary, console: Console, lpips_missing: str | None = None) -> None:
    """Print the summary and the place among the published results to the terminal."""
    table = Table(title=title(score))
    for heading in ("measure", "value", ""):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    for row in rows(score):
        table.add_row(*row)
    console.print(table)
    place = score.standing
    if place:
        print_published(score.scale, place.rows, CAVEAT, console)
    for note in notes(score, lpips_missing):
        console.print(note, style="bold yellow", markup=False)
    console.print(verdict(score), style="bold green" if score.passes else "bold red")


def print_published(scale: int, rows: Sequence[Row], caveat: str, console: Console) -> None:
    """Print the published table of a track with rows of ours among it, which are bold."""
    table = Table(title=f"Published results of 2021, x{scale}")
    for heading in COLUMNS:
        table.add_column(heading, justify="left" if heading == "team" else "right")
    for row in rows:
        cells = row.cells
        cells[COLUMNS.index("LR-PSNR")] += "*" if row.entry.under else ""
        style = "bold" if _is_ours(row, scale) else "dim" if row.entry.under else None
        table.add_row(*map(Text, cells), style=style)
    console.print(table)
    console.print(f"* under {REQUIRED_DB:.0f} dB. {caveat}", markup=False)


def published_on_page(scale: int, rows: Sequence[Row], caveat: str) -> dict[str, Any]:
    """The published table of a track for a page, with rows of ours among it."""
    return {
        "caveat": caveat,
        "columns": COLUMNS,
        "rows": [{"cells": row.cells, "ours": _is_ours(row, scale), "under": row.entry.under} for row in rows],
    }


def _is_ours(row: Row, scale: int) -> bool:
    return row.entry not in RESULTS_2021[scale]


def drawn_by(manifest: Manifest | None) -> str | None:
    """A line about the model and settings that drew the samples; None without a manifest."""
    if manifest is None:
        return None
    settings = manifest.settings
    if settings.external:
        return f"{settings.model} (another program), projected by ntire-sr"
    parts = [settings.model, f"seed {settings.seed}"]
    if settings.weights_sha256:
        parts.append(f"weights {settings.weights_sha256[:12]}")
    if manifest.trained_steps:
        parts.append(f"{manifest.trained_steps} steps")
    if manifest.features:
        parts.append(f"training features: {manifest.features}")
    if not settings.projection:
        parts.append("without projection")
    return ", ".join(parts)


def worst_first(images: Sequence[ImageScore]) -> list[ImageScore]:
    """Images sorted by mean LPIPS, or by squared error if LPIPS was not measured, the worst first."""
    return sorted(images, key=lambda image: image.lpips_mean if image.lpips else image.mse_mean, reverse=True)


def write_report(
    path: Path,
    score: ScoreSummary,
    pairs: dict[int, SampleGroup],
    maps: dict[int, Maps],
    manifest: Manifest | None,
    lpips_missing: str | None,
) -> None:
    """Write one HTML page that needs no other file.

    Args:
        path: path of the page.
        score: the measured values.
        pairs: HR images with their samples, by index of the image.
        maps: maps of the images to show, by index of the image, in the order of the page.
        manifest: manifest of the samples; None if they have none.
        lpips_missing: why LPIPS was not measured; None if it was.
    """
    position = {index: at for at, index in enumerate(maps)}
    place = score.standing
    budget = PAGE_BYTES // PICTURED_IMAGES
    gallery = [
        picture_image(
            pairs[index].hr, list(pairs[index].samples), score.scale, kept, budget, pairs[index].hr.name
        )
        for index, kept in maps.items()
    ]
    page = {
        "title": title(score),
        "drawn_by": drawn_by(manifest),
        "passes": score.passes,
        "verdict": verdict(score),
        "notes": notes(score, lpips_missing),
        "summary": [list(row) for row in rows(score)],
        "curves": [
            {"label": f"S_n ({name})", "unit": "%", "direction": "higher is better", "values": curve}
            for name, curve in (("LPIPS", score.lpips_curve), ("MSE", score.mse_curve))
            if curve
        ],
        "calibration": _calibration(score),
        "published": place and published_on_page(score.scale, place.rows, CAVEAT),
        "columns": _columns(score),
        "images": [
            {"name": image.name, "values": _values(image, score), "pictured": position.get(image.index)}
            for image in score.images
        ],
        "gallery": gallery,
    }
    atomic_write(path, render(page))


def _columns(score: ScoreSummary) -> list[dict[str, Any]]:
    lpips = [
        {"key": "lpips", "label": "LPIPS mean", "lower_is_better": True, "digits": 4},
        {"key": "lpips_best", "label": "LPIPS best", "lower_is_better": True, "digits": 4},
        {"key": "lpips_worst", "label": "LPIPS worst", "lower_is_better": True, "digits": 4},
        {"key": "diversity", "label": f"S_{score.samples} LPIPS, %", "lower_is_better": False, "digits": 2},
    ]
    others = [
        {"key": "mse", "label": "MSE", "lower_is_better": True, "digits": 1},
        {"key": "mse_diversity", "label": f"S_{score.samples} MSE, %", "lower_is_better": False, "digits": 2},
        {
            "key": "worst_db",
            "label": "LR-PSNR worst, dB",
            "lower_is_better": False,
            "digits": 2,
            "required": REQUIRED_DB,
        },
        {"key": "mean_db", "label": "LR-PSNR mean, dB", "lower_is_better": False, "digits": 2},
    ]
    if not score.complete:
        others.append({"key": "samples", "label": "samples", "lower_is_better": False, "digits": 0})
    for name in score.realism:
        if name not in score.data_set:
            proxy = proxy_called(name)
            others.append(
                {"key": name, "label": proxy.label, "lower_is_better": proxy.direction == "lower", "digits": 3}
            )
    return [*(lpips if score.with_lpips else []), *others]


def _values(image: ImageScore, score: ScoreSummary) -> dict[str, Any]:
    values: dict[str, Any] = {
        "mse": image.mse_mean,
        "mse_diversity": image.mse_scores[-1],
        "worst_db": image.lr.worst_db,
        "mean_db": image.lr.mean_db,
        "samples": len(image.numbers),
    }
    if image.lpips:
        values |= {
            "lpips": image.lpips_mean,
            "lpips_best": min(image.lpips),
            "lpips_worst": max(image.lpips),
            "diversity": image.lpips_scores[-1],
        }
    for name, found in image.realism.items():
        known = known_values(found)
        values[name] = sum(known) / len(known) if known else None
    return {column["key"]: values.get(column["key"]) for column in _columns(score)}


def _calibration(score: ScoreSummary) -> list[dict[str, str]]:
    summary, found = score.summary(), []
    for name in ("LPIPS", "pixels"):
        r = summary[f"r_{name}"]
        if math.isnan(r):
            continue
        if abs(r - 1) <= 0.1:
            says = "samples lie about as far from one another as from the HR image, as they should"
        elif r < 1:
            says = "samples are more alike than the HR image is to them: too little spread"
        else:
            says = "samples differ more from one another than from the HR image: too much spread"
        found.append({"label": f"r ({name})", "value": f"{r:.3f}", "says": says})
    return found


def maps_of(records: Records, keys: dict[int, str], images: Sequence[ImageScore]) -> dict[int, Maps]:
    """The maps in the records of some images, by index of the image, in the order of `images`."""
    found = {}
    for image in images:
        kept = records.load(image.index, keys[image.index])
        tensors = kept.tensors if kept else {}
        deviation, best, lpips = (tensors.get(name) for name in ("deviation", "best", "lpips"))
        found[image.index] = Maps(
            None if deviation is None else deviation.float().numpy(),
            None if best is None else best.numpy(),
            None if lpips is None else lpips.float().numpy(),
        )
    return found
