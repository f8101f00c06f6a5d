"""All metrics. A new metric is one new file and one line here."""

from collections.abc import Sequence
from typing import Any

from ntire_sr.core.errors import UsageError, suggestion
from ntire_sr.evaluation.metrics import iqa
from ntire_sr.evaluation.metrics.base import ImageMetric, QualityMetric
from ntire_sr.evaluation.metrics.declarations import Figure, Values
from ntire_sr.evaluation.metrics.distortion import DistortionMetric
from ntire_sr.evaluation.metrics.frechet import PATCH_FRECHET
from ntire_sr.evaluation.metrics.lpips import LpipsMetric
from ntire_sr.evaluation.metrics.lr_psnr import LrPsnrMetric
from ntire_sr.evaluation.metrics.niqe import NIQE
from ntire_sr.evaluation.metrics.pixels import PixelMetric
from ntire_sr.evaluation.metrics.quality import QualityScores, quality_figures
from ntire_sr.evaluation.metrics.ranks import RankMetric
from ntire_sr.evaluation.metrics.spectrum import LOG_SPECTRAL

# measured for each image, in the order of tables
METRICS: tuple[type[ImageMetric[Any]], ...] = (
    LpipsMetric,
    PixelMetric,
    LrPsnrMetric,
    DistortionMetric,
    RankMetric,
    QualityScores,
)

# measured on request, with `--realism NAME`
QUALITY_METRICS: tuple[QualityMetric, ...] = (NIQE, LOG_SPECTRAL, PATCH_FRECHET, *iqa.QUALITY_METRICS)


def figures(quality: Sequence[str] = ()) -> tuple[Figure[Any], ...]:
    """The figures of all metrics and of these quality metrics, in the order of tables."""
    always = [figure for metric in METRICS for figure in metric.figures]
    return (*always, *(figure for name in quality for figure in quality_figures(quality_metric(name))))


def value_classes() -> tuple[type[Values], ...]:
    """The classes of the values that each image's record holds."""
    return tuple(metric.values for metric in METRICS)


def quality_metric(name: str) -> QualityMetric:
    """The quality metric with this name.

    Raises:
        UsageError: the name is not a registered metric.
    """
    by_name = {metric.name: metric for metric in QUALITY_METRICS}
    if name not in by_name:
        raise UsageError(
            f"unknown quality metric {name!r}",
            f"{suggestion(name, by_name)}; there are {', '.join(by_name)}",
        )
    return by_name[name]
