"""Calibration of the samples' spread: the ratio r = E d(SR_i, SR_j) / E d(HR, SR_i).

If samples follow the posterior, the HR image is one more sample, so that pairs of samples are on average
as far apart as a sample and the HR image: r = 1, whatever the distance d. Below 1 the samples are too
similar, above 1 too different. Both distances here are sums of squares (LPIPS sums those of normalised
features), so that the mean over all pairs follows from two running sums:

    mean over pairs |x_i - x_j|^2 = 2 / (n - 1) (sum |x_i|^2 - |sum x_i|^2 / n).
"""

import math
from typing import Any

from torch import Tensor

from ntire_sr.evaluation.metrics.base import Reference, Sample
from ntire_sr.evaluation.metrics.lpips import enlarged


class LpipsPairs:
    """Mean LPIPS between all pairs of samples of one image, without keeping samples: an `ImageMetric`.

    Args:
        reference: the HR image, made with an LPIPS network and `several=True`.
    """

    def __init__(self, reference: Reference):
        assert reference.lpips
        self.reference = reference.lpips
        self.count = 0
        self.distances: list[Tensor] = []  # sum over samples of the coarse maps of each layer

    def update(self, sample: Sample) -> None:
        """Add one more sample."""
        coarse = sample.lpips.coarse
        self.count += 1
        if not self.distances:
            self.distances = [layer.clone() for layer in coarse]
        else:
            for total, layer in zip(self.distances, coarse, strict=True):
                total.add_(layer)

    @property
    def mean_pair_distance(self) -> float:
        """Mean LPIPS over all pairs of samples; nan for one sample."""
        if self.count < 2 or self.reference.sums is None:
            return math.nan
        of_sums = self.reference.lpips.weighted_squares(self.reference.sums, self.distances)
        pairs = [
            (distance - of_sum / self.count) * (2 / (self.count - 1))
            for distance, of_sum in zip(self.distances, of_sums, strict=True)
        ]
        # rounding may give a negative value for equal samples
        return max(0.0, enlarged(pairs, self.reference.size).mean().item())

    def compute(self) -> dict[str, Any]:
        """`lpips_pairs`: the mean over all pairs; None for one sample."""
        return {"lpips_pairs": None if self.count < 2 else self.mean_pair_distance}

    def tensors(self) -> dict[str, Tensor]:
        """No tensors are kept."""
        return {}


def calibration_ratio(pair_distances: list[float], distances: list[float]) -> float:
    """Calibration ratio r of a data set: mean distance between samples over mean distance to the HR image.

    >>> calibration_ratio([1.0, 3.0], [2.0, 2.0])
    1.0

    Args:
        pair_distances: mean distance between the samples of each image; nan for an image with one sample.
        distances: mean distance of the samples of each image to their HR image.

    Returns:
        1 for calibrated samples; nan if no image has two samples, or if all samples equal their HR image.
    """
    known = [(pair, one) for pair, one in zip(pair_distances, distances, strict=True) if not math.isnan(pair)]
    below = sum(one for _, one in known)
    return sum(pair for pair, _ in known) / below if below else math.nan
