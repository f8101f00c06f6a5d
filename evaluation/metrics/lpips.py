"""LPIPS of the samples of one image: mean, diversity S_n and calibration; samples are not kept.

LPIPS is a perceptual distance to the HR image (Zhang et al., CVPR 2018). `diversity` explains S_n, `calibration` the
ratio r. The mean distance between all pairs of samples follows from two running sums:

    mean over pairs |x_i - x_j|^2 = 2 / (n - 1) (sum |x_i|^2 - |sum x_i|^2 / n).
"""

import math
from functools import partial
from typing import Any

import msgspec
import torch
from torch import Tensor

from ntire_sr.evaluation.metrics.base import ImageMetric, Reference, Sample
from ntire_sr.evaluation.metrics.calibration import CALIBRATION, calibration_ratio, ratio_of_image
from ntire_sr.evaluation.metrics.declarations import Figure, NonNegative, Output, Values, mean
from ntire_sr.evaluation.metrics.diversity import SCORE, RunningDiversity, columns_of_first, diversity_scores
from ntire_sr.evaluation.metrics.lpips_network import upsampled_sum
from ntire_sr.evaluation.metrics.maps import shrink_map


class LpipsValues(Values, frozen=True):
    """LPIPS in the record of an image; lower is better. Lists are empty if it was not measured."""

    lpips: list[NonNegative] = msgspec.field(default_factory=list)  # mean over the pixels of each sample
    # the same of the best mosaic of the first 1, 2, ... samples
    lpips_mosaics: list[NonNegative] = msgspec.field(default_factory=list)
    lpips_pairs: NonNegative | None = None  # mean over all pairs of samples; None for one sample

    @property
    def scores(self) -> list[float]:
        """S_1 ... S_n in per cent, higher is better."""
        return diversity_scores(self.lpips, self.lpips_mosaics)

    @property
    def mean(self) -> float:
        """Mean over all samples; nan if it was not measured."""
        return mean(self.lpips)


_figure = partial(Figure[LpipsValues], values=LpipsValues, needs_lpips=True)
_distance = partial(_figure, direction="lower", digits=4)


class LpipsMetric(ImageMetric[LpipsValues]):
    """LPIPS of samples that are added one by one and not kept.

    Args:
        reference: the HR image, made with an LPIPS network.
    """

    values = LpipsValues
    needs_lpips = True
    figures = (
        _distance(
            name="LPIPS_mean",
            label="LPIPS, mean",
            short="LPIPS",
            compute_image=lambda values: values.mean,
            outputs=~Output(0),
        ),
        _distance(
            name="LPIPS_best_sample",
            label="LPIPS, best sample of each image",
            short="LPIPS best",
            compute_image=lambda values: min(values.lpips, default=math.nan),
            outputs=Output.TABLE | Output.IMAGES,
        ),
        _distance(
            name="LPIPS_worst_sample",
            label="LPIPS, worst sample of each image",
            short="LPIPS worst",
            compute_image=lambda values: max(values.lpips, default=math.nan),
            outputs=Output.TABLE | Output.IMAGES,
        ),
        _figure(
            name="score",
            label="Diversity S_{samples} (LPIPS)",
            short="S_{samples}",
            **SCORE,
            compute_curve=lambda values: values.scores,
            curve="LPIPS_score",
            outputs=~Output(0),
        ),
        _figure(
            name="r_LPIPS",
            label="Calibration r (LPIPS)",
            short="r (LPIPS)",
            **CALIBRATION,
            compute_images=lambda images: calibration_ratio(
                [values.lpips_pairs for values in images if values.lpips],
                [values.mean for values in images if values.lpips],
            ),
            outputs=Output.TABLE | Output.COMPARE,
        ),
    )

    def __init__(self, reference: Reference):
        assert reference.lpips
        self.reference = reference.lpips
        self.diversity = RunningDiversity()
        self.count = 0
        self.distances: list[Tensor] = []  # sum over samples of the small maps of each layer
        self._small: list[Tensor] = []

    def update(self, sample: Sample) -> None:
        """Add one more sample."""
        comparison = sample.lpips
        lpips_map = self.reference.map_of(comparison)
        self.diversity.update(lpips_map)
        self._small.append(shrink_map(lpips_map)[0, 0].cpu())
        self.count += 1
        if not self.distances:
            self.distances = [layer.clone() for layer in comparison.layers]
        else:
            for total, layer in zip(self.distances, comparison.layers, strict=True):
                total.add_(layer)

    @property
    def mean_pair_distance(self) -> float:
        """Mean LPIPS over all pairs of samples; nan for one sample."""
        if self.count < 2 or self.reference.sums is None:
            return math.nan
        squared_sums = self.reference.lpips.weighted_squares(self.reference.sums, self.distances)
        pairs = [
            (distance - squared_sum / self.count) * (2 / (self.count - 1))
            for distance, squared_sum in zip(self.distances, squared_sums, strict=True)
        ]
        # rounding may give a negative value for equal samples
        return max(0.0, upsampled_sum(pairs, self.reference.size).mean().item())

    def compute(self) -> LpipsValues:
        """LPIPS of each sample, of the best mosaics, and between samples; lower is better."""
        pairs = self.mean_pair_distance
        return LpipsValues(
            lpips=self.diversity.means,
            lpips_mosaics=self.diversity.mosaics,
            lpips_pairs=None if math.isnan(pairs) else pairs,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Small maps of LPIPS.

        `lpips` (h, w) is the mean over samples; `best` (h, w) is the position of the sample with the lowest LPIPS
        there, at most 255.
        """
        stack = torch.stack(self._small)
        # a byte is enough: the report has far fewer colours
        return {"lpips": stack.mean(0).half(), "best": stack.argmin(0).clamp(max=255).byte()}

    @classmethod
    def json_of_image(cls, values: LpipsValues) -> dict[str, Any]:
        """LPIPS of the image and of each sample, S_1 ... S_n, and r."""
        return {
            "LPIPS_mean": values.mean,
            "score": values.scores[-1] if values.lpips else math.nan,
            "LPIPS_of_samples": values.lpips,
            "LPIPS_scores": values.scores,
            "r_LPIPS": ratio_of_image(values.lpips_pairs, values.mean),
        }

    @classmethod
    def columns_of_first(cls, values: LpipsValues, n: int) -> dict[str, float]:
        """Mean, best mosaic, difference and S_n of LPIPS."""
        return columns_of_first("LPIPS", values.lpips, values.lpips_mosaics, n)
