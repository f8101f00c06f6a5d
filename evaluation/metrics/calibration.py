"""Calibration of the samples' spread: the ratio r = E d(SR_i, SR_j) / E d(HR, SR_i).

If samples follow the posterior, the HR image is one more sample, so that pairs of samples are on average
as far apart as a sample and the HR image: r = 1, whatever the distance d. Below 1 the samples are too
similar, above 1 too different. The distances measured here, LPIPS and squared errors of pixels, are sums of squares.
"""

import math
from collections.abc import Sequence
from typing import Any

# what the figures of all distances declare
CALIBRATION: dict[str, Any] = {
    "direction": 1.0,
    "digits": 3,
    "note": "lower: too alike",
    "undefined": "it takes two samples",
}


def calibration_ratio(pair_distances: Sequence[float | None], distances: Sequence[float]) -> float:
    """Calibration ratio r of a data set: mean distance between samples over mean distance to the HR image.

    >>> calibration_ratio([1.0, 3.0], [2.0, 2.0])
    1.0

    Args:
        pair_distances: mean distance between the samples of each image; None or nan for an image with one sample.
        distances: mean distance of the samples of each image to their HR image.

    Returns:
        1 for calibrated samples; nan if no image has two samples, or if all samples equal their HR image.
    """
    images = [
        (pair, distance)
        for pair, distance in zip(pair_distances, distances, strict=True)
        if pair is not None and not math.isnan(pair)
    ]
    total = sum(distance for _, distance in images)
    return sum(pair for pair, _ in images) / total if total else math.nan


def ratio_of_image(pair_distance: float | None, distance: float) -> float:
    """Calibration ratio of one image; nan for one sample."""
    return calibration_ratio([pair_distance], [distance])
