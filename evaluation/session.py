"""One scoring from folders to files: what the `score` command and the demonstration call."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ntire_sr.config import require
from ntire_sr.device import choose_device
from ntire_sr.errors import Failure
from ntire_sr.evaluation.lpips import load_lpips
from ntire_sr.evaluation.report import write_report
from ntire_sr.evaluation.run import Score, find_pairs, score_folder, write_score
from ntire_sr.layout import DEFAULT_SAMPLES
from ntire_sr.manifest import load_manifest
from ntire_sr.pretrained import NotFound


@dataclass(frozen=True)
class Measured:
    """A score and where it was written."""

    score: Score
    out: Path
    report: Path
    lpips_missing: str | None  # why LPIPS was not measured, where it was not


def measure(
    hr: Path,
    sr: Path,
    out: Path,
    scale: int | None = None,
    samples: int | None = None,
    device: str = "auto",
    lpips_weights: Path | None = None,
    without_lpips: str | None = None,
    done: Callable[[int, int], None] | None = None,
) -> Measured:
    """Score a folder of samples and write the tables and the report.

    Args:
        hr, sr, out: folders of HR images, of samples, and for the results.
        scale, samples: as asked for; none: the manifest's, or 4 and 10.
        device: auto, cpu or cuda.
        lpips_weights: AlexNet's file; none: looked up.
        without_lpips: measure LR-PSNR and the diversity of MSE only, for this reason; none: LPIPS too.
        done: called with (images measured, images in all).
    """
    manifest = load_manifest(sr)
    drawn_at = manifest.settings.scale if manifest else None
    require(
        scale is None or drawn_at in (None, scale),
        f"{sr} was drawn at scale {drawn_at}, not {scale}",
        f"--scale {drawn_at}",
    )
    scale = scale or drawn_at or 4
    samples = samples or (manifest.samples if manifest else DEFAULT_SAMPLES)
    pairs = find_pairs(hr, sr, samples, scale, manifest)
    chosen = choose_device(device)
    lpips = None
    if without_lpips is None:
        try:
            lpips = load_lpips(lpips_weights, chosen)
        except NotFound as error:
            raise Failure(error.message, f"{error.remedy}; or score --without-lpips") from error
    score = score_folder(pairs, scale, lpips, chosen, (lambda count: done(count, len(pairs))) if done else None)
    write_score(score, out)
    report = out / "report.html"
    write_report(report, score, pairs, manifest, without_lpips)
    return Measured(score, out, report, without_lpips)
