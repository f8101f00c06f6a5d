"""Is the spread of the samples right? The ratio r = E d(SR_i, SR_j) / E d(HR, SR_i).

If samples follow the posterior, the HR image is one more sample, so that pairs of samples are on average
as far apart as a sample and the HR image: r = 1, whatever the distance d. Below 1 the samples are too
much alike, above 1 too different. Both distances here are sums of squares (LPIPS: of features of
length 1), for which all pairs follow from two running sums:

    mean over pairs |x_i - x_j|^2 = 2 / (n - 1) (sum |x_i|^2 - |sum x_i|^2 / n).
"""

import math

from torch import Tensor

from ntire_sr.evaluation.lpips import Lpips, enlarged


class FeatureSpread:
    """The mean LPIPS between all pairs of samples of one image, with no sample kept.

    Args:
        lpips: the network.
        features: of the HR image, from `Lpips.features`.
    """

    def __init__(self, lpips: Lpips, features: list[Tensor]):
        self.lpips = lpips
        self.count = 0
        self.sums = [features_of_layer.new_zeros(features_of_layer.shape) for features_of_layer in features]
        self.distances: list[Tensor] = []

    def update(self, coarse: list[Tensor]) -> None:
        """Count in the coarse maps of one sample, made with `Lpips.compare(..., sums=self.sums)`."""
        self.count += 1
        if not self.distances:
            self.distances = [layer.clone() for layer in coarse]
        else:
            for total, layer in zip(self.distances, coarse, strict=True):
                total.add_(layer)

    def mean_pair_distance(self, size: tuple[int, int]) -> float:
        """Mean LPIPS of all pairs over an image of this size in pixels; nan for one sample."""
        if self.count < 2:
            return math.nan
        of_sums = self.lpips.weighted_squares(self.sums, self.distances)
        pairs = [
            (distance - of_sum / self.count) * (2 / (self.count - 1))
            for distance, of_sum in zip(self.distances, of_sums, strict=True)
        ]
        return max(0.0, enlarged(pairs, size).mean().item())  # rounding may leave less for equal samples


def calibration_ratio(pair_distances: list[float], distances: list[float]) -> float:
    """r of a data set: the mean distance of pairs over the mean distance to the HR image.

    >>> calibration_ratio([1.0, 3.0], [2.0, 2.0])
    1.0

    Args:
        pair_distances: mean over pairs of samples, of each image; nan where there is one sample.
        distances: mean over samples, of each image.

    Returns:
        1 for calibrated samples; nan where nothing is defined.
    """
    known = [(pair, one) for pair, one in zip(pair_distances, distances, strict=True) if not math.isnan(pair)]
    below = sum(one for _, one in known)
    return sum(pair for pair, _ in known) / below if below else math.nan
