"""The score for people: a table in the terminal and one HTML page with pictures."""

import base64
import math
from pathlib import Path

import cv2
import jinja2
import numpy as np
from rich.console import Console
from rich.table import Table

from ntire_sr import __version__
from ntire_sr.evaluation.run import Score
from ntire_sr.files import write_whole
from ntire_sr.images import encode_png, read_image, to_array, to_tensor
from ntire_sr.manifest import Manifest
from ntire_sr.resize import REQUIRED_DB, downscale_8bit

PICTURED_IMAGES = 4
PICTURED_SAMPLES = 3
PICTURE_PX = 224
BRIGHTEST_LEVELS = 16  # standard deviation that is shown brightest


def rows(score: Score) -> list[tuple[str, str, str]]:
    """(what, value, direction and unit) of every figure that the summary holds."""
    summary, n = score.summary(), score.samples

    def figure(name: str, digits: int) -> str:
        value = summary[name]
        if not math.isnan(value):
            return f"{value:.{digits}f}"
        missing = name in ("LPIPS_mean", "score") and math.isnan(summary["LPIPS_mean"])
        return "not measured" if missing else "undefined: a sample equals its HR image"

    table = [
        ("LPIPS, mean", figure("LPIPS_mean", 4), "lower is better"),
        (f"Diversity S_{n} (LPIPS)", figure("score", 3), "%, higher is better"),
        (f"Diversity S_{n} (MSE)", figure("MSE_score", 3), "%, higher is better"),
        ("LR-PSNR, mean", figure("LRPSNR_mean", 2), "dB, higher is better"),
        ("LR-PSNR of the mean error", figure("LRPSNR_of_mean_error", 2), "dB, higher is better"),
        ("LR-PSNR, worst per image, mean", figure("LRPSNR_worst", 2), "dB, higher is better"),
        ("LR-PSNR, worst single sample", figure("LRPSNR_worst_sample", 2), "dB, higher is better"),
        (
            f"Samples under {REQUIRED_DB:.0f} dB",
            f"{summary['samples_under_45_dB']} of {n * len(score.images)}",
            "lower is better, 0 asked for",
        ),
    ]
    if "images_scored_uncropped" in summary:
        images = f"uncropped ({summary['images_scored_uncropped']} images)"
        table += [
            (
                f"LR-PSNR, worst single sample, {images}",
                figure("LRPSNR_worst_sample_uncropped", 2),
                "dB, higher is better",
            ),
            (
                f"LR-PSNR of the mean error, {images}",
                figure("LRPSNR_of_mean_error_uncropped", 2),
                "dB, higher is better",
            ),
        ]
    return table


def verdict(score: Score) -> str:
    """Pass or fail at 45 dB, in a sentence."""
    if score.passes:
        return f"PASS: every sample has {REQUIRED_DB:.0f} dB or more"
    count = score.under_required
    return f"FAIL: {count} {'sample is' if count == 1 else 'samples are'} under {REQUIRED_DB:.0f} dB"


def print_table(score: Score, console: Console) -> None:
    """The summary in the terminal."""
    table = Table(title=f"{len(score.images)} images x {score.samples} samples, scale {score.scale}")
    for heading in ("measure", "value", ""):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    for row in rows(score):
        table.add_row(*row)
    console.print(table)
    console.print(verdict(score), style="bold green" if score.passes else "bold red")


def deviation_picture(samples: list[np.ndarray]) -> np.ndarray:
    """Standard deviation over samples, (H, W, 3) uint8 each, as colours: from black for 0 to the brightest for BRIGHTEST_LEVELS."""
    spread = np.stack(samples).astype(np.float32).std(0).mean(-1)
    levels = np.clip(spread * (255 / BRIGHTEST_LEVELS), 0, 255).round().astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)


def pictures(hr: Path, samples: list[Path], scale: int) -> list[tuple[str, np.ndarray]]:
    """Captioned pictures of the image's centre: LR, HR, a few samples, standard deviation over all."""
    target = read_image(hr)
    drawn = [read_image(path) for path in samples]
    height, width = (
        min(side, *(image.shape[axis] for image in drawn)) // 8 * 8
        for axis, side in enumerate(target.shape[:2])
    )
    lr = to_array(downscale_8bit(to_tensor(target[:height, :width]), scale))
    lr = lr.repeat(scale, 0).repeat(scale, 1)
    top, left = (max(0, (side - PICTURE_PX) // 2 // 8 * 8) for side in (height, width))

    def centre(image: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(
            image[top : min(top + PICTURE_PX, height), left : min(left + PICTURE_PX, width)]
        )

    shown = [("LR", centre(lr)), ("HR", centre(target))]
    shown += [(f"sample {k}", centre(image)) for k, image in enumerate(drawn[:PICTURED_SAMPLES])]
    if len(drawn) > 1:
        shown.append((f"deviation of {len(drawn)}", deviation_picture([centre(image) for image in drawn])))
    return shown


def write_report(
    path: Path,
    score: Score,
    pairs: list[tuple[Path, list[Path]]],
    manifest: Manifest | None,
    lpips_missing: str | None,
) -> None:
    """Write one HTML page that needs no other file.

    Args:
        path: of the page.
        score: what was measured.
        pairs: HR images with their samples, for pictures of the first few.
        manifest: of the folder of samples, where it has one.
        lpips_missing: why LPIPS was not measured, where it was not.
    """
    environment = jinja2.Environment(loader=jinja2.PackageLoader("ntire_sr.evaluation", "."), autoescape=True)
    shown = []
    for (hr, samples), image in list(zip(pairs, score.images, strict=True))[:PICTURED_IMAGES]:
        encoded = [
            (caption, base64.b64encode(encode_png(picture)).decode(), picture.shape)
            for caption, picture in pictures(hr, samples, score.scale)
        ]
        shown.append((image, encoded))
    page = environment.get_template("report.html.j2").render(
        score=score,
        rows=rows(score),
        verdict=verdict(score),
        shown=shown,
        manifest=manifest,
        lpips_missing=lpips_missing,
        version=__version__,
        picture_px=PICTURE_PX,
        brightest=BRIGHTEST_LEVELS,
    )
    write_whole(path, page)
