"""Titles, verdicts and warnings of scores and comparisons, which the terminal and the pages show alike."""

import math
from typing import Any

from ntire_sr.challenge.downscale import REQUIRED_DB
from ntire_sr.challenge.published import CAVEAT
from ntire_sr.core.errors import condense, plural
from ntire_sr.evaluation.metrics.lpips import LpipsValues
from ntire_sr.evaluation.metrics.pixels import PixelValues
from ntire_sr.evaluation.metrics.quality import QualityValues
from ntire_sr.evaluation.scoring.comparison import Comparison
from ntire_sr.evaluation.scoring.summary import ScoreSummary
from ntire_sr.samples.manifest import Manifest


def score_title(score: ScoreSummary) -> str:
    """Number of images and samples, and the scale."""
    return f"{plural(len(score.images), 'image')} x {plural(score.samples, 'sample')}, scale {score.scale}"


def comparison_title(comparison: Comparison) -> str:
    """Number of methods and images, and the scale."""
    images = plural(len(comparison.names), "image")
    return f"{plural(len(comparison.methods), 'method')}, {images}, scale {comparison.scale}"


def score_verdict(score: ScoreSummary) -> str:
    """Whether all samples have 45 dB or more."""
    among = "" if score.complete else " that is there"
    if score.passes:
        return f"PASS: every sample{among} has {REQUIRED_DB:.0f} dB or more"
    verb = "is" if score.under_required == 1 else "are"
    return f"FAIL: {plural(score.under_required, 'sample')} {verb} under {REQUIRED_DB:.0f} dB"


def score_notes(score: ScoreSummary, lpips_missing: str | None) -> list[str]:
    """Warnings about what is missing or undefined.

    Args:
        score: the score.
        lpips_missing: why LPIPS was not measured; None if it was.
    """
    notes = []
    if not score.complete:
        total = (len(score.images) + score.missing_images) * score.samples
        notes.append(
            f"INCOMPLETE: {score.missing_samples} of {total} samples are missing "
            f"({plural(score.missing_images, 'image')} without any); all figures are over what is there. "
            + "; ".join(condense(score.missing, most=10))
        )
    undefined = sum(
        any(map(math.isnan, image.of(LpipsValues).scores + image.of(PixelValues).scores))
        for image in score.images
    )
    if undefined:
        notes.append(
            f"A sample equals its HR image in {plural(undefined, 'image')}: S_n is undefined there, and left out of its mean."
        )
    for name in score.quality:
        values = [value for image in score.images for value in image.of(QualityValues).realism.get(name, [])]
        count = sum(value is None for value in values)
        if count:
            notes.append(
                f"{name} is undefined for {count} of {plural(len(values), 'sample')}, which its mean leaves out."
            )
    notes += score.reasons
    if lpips_missing:
        notes.append(f"LPIPS was not measured: {lpips_missing}")
    return notes


def describe_manifest(manifest: Manifest | None) -> str:
    """Model and settings that drew the samples; empty without a manifest."""
    if manifest is None:
        return ""
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


def explain_calibration(score: ScoreSummary) -> list[tuple[str, str, str]]:
    """(label, value, explanation) of each calibration ratio that is defined."""
    summary: dict[str, Any] = score.summary()
    explanations = []
    for name in ("LPIPS", "pixels"):
        ratio = summary[f"r_{name}"]
        if math.isnan(ratio):
            continue
        if abs(ratio - 1) <= 0.1:
            explanation = "samples differ from each other about as much as from the HR image, as they should"
        elif ratio < 1:
            explanation = "samples differ less from each other than from the HR image: too little spread"
        else:
            explanation = "samples differ more from each other than from the HR image: too much spread"
        explanations.append((f"r ({name})", f"{ratio:.3f}", explanation))
    return explanations


def published_caveat(comparison: Comparison) -> str:
    """Limits of the comparison with published results, and the methods without a place among them."""
    summaries = zip(comparison.methods, comparison.summaries(), strict=True)
    left_out = [method.name for method, summary in summaries if summary.standing is None]
    return CAVEAT + (f" Without S_10 no place: {', '.join(left_out)}." if left_out else "")
