"""Differences between two methods, image by image, with bootstrap intervals.

Images differ far more in difficulty than good methods do in quality, so that the intervals of two means
overlap where the difference is certain. Paired differences take the image's share away.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RESAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 0  # of the resamples, so that the same scores give the same intervals
Interval = tuple[float, float]


def bootstrap_interval(values: Sequence[float], confidence: float = CONFIDENCE, seed: int = SEED) -> Interval:
    """Interval of the mean of values that are a sample of many, such as one for each image.

    It is the percentile interval over resamples with replacement, at tails that are widened as Student's t is
    against the normal distribution, because plain percentiles are too narrow for few values (T. Hesterberg, "What
    Teachers Should Know About the Bootstrap", The American Statistician 69, 2015, section 5.3). Below about
    ten values it is still somewhat too narrow.

    >>> bootstrap_interval([0.0, 1.0])  # two values are all that is known
    (0.0, 1.0)

    Args:
        values: one per image; those that are nan are left out.
        confidence: share of such intervals that are to hold the mean of all images.
        seed: random seed of the resamples.

    Returns:
        (low, high); (nan, nan) for fewer than two values, and where one is infinite.
    """
    from scipy.special import ndtr, stdtrit  # takes .2 s to import, and `score` computes no intervals

    defined = np.array([value for value in values if not math.isnan(value)])
    if len(defined) < 2 or not np.isfinite(defined).all():
        return math.nan, math.nan
    means = _resamples(len(defined), seed) @ defined / len(defined)
    n = len(defined)
    tail = ndtr(math.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 - confidence) / 2))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


@lru_cache(maxsize=4)
def _resamples(count: int, seed: int) -> np.ndarray:
    """How often each of `count` values is drawn in each resample: (RESAMPLES, count)."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float32)


@dataclass(frozen=True)
class PairedDifference:
    """How two methods, a and b, differ in one figure over the images that have it for both."""

    images: int
    difference: float  # mean of a - b; nan where it is undefined, as with infinite figures
    interval: Interval  # of that mean
    a_favoured: int  # images whose figure is better with a
    b_favoured: int
    equal: int

    def favours(self, lower_is_better: bool) -> str | None:
        """ "a" or "b" if the interval is on its side of 0; None if it holds 0 or is undefined."""
        low, high = self.interval
        if high < 0:
            return "a" if lower_is_better else "b"
        if low > 0:
            return "b" if lower_is_better else "a"
        return None


def paired_difference(a: Sequence[float], b: Sequence[float], lower_is_better: bool) -> PairedDifference:
    """Compare two methods image by image.

    >>> paired = paired_difference([1.0, 2.0, 3.0], [2.0, 4.0, 3.0], lower_is_better=True)
    >>> paired.difference, paired.a_favoured, paired.b_favoured, paired.equal
    (-1.0, 2, 0, 1)

    Args:
        a, b: the figure of each method, one per image in the same order; nan where it is undefined.
        lower_is_better: direction of the figure.
    """
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if not (math.isnan(x) or math.isnan(y))]
    differences = [math.nan if math.isinf(x) or math.isinf(y) else x - y for x, y in pairs]
    defined = bool(pairs) and not any(map(math.isnan, differences))
    below, above = (sum(x < y for x, y in pairs), sum(x > y for x, y in pairs))
    return PairedDifference(
        images=len(pairs),
        difference=math.fsum(differences) / len(differences) if defined else math.nan,
        interval=bootstrap_interval(differences) if defined else (math.nan, math.nan),
        a_favoured=below if lower_is_better else above,
        b_favoured=above if lower_is_better else below,
        equal=len(pairs) - below - above,
    )
