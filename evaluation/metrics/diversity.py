"""Diversity score of the challenge, computed sample by sample for every number of samples.

With d_k(p) the distance of sample k to the HR image at location p, the score of n samples is

    S_n = 100 (min_k mean_p d_k - mean_p min_k d_k) / min_k mean_p d_k

in per cent, higher is better: how much nearer to the HR image the best mosaic, which takes the nearest
sample at each location, is than the best single sample.
(NTIRE 2021 "Learning the Super-Resolution Space", Lugmayr et al., section 3.3.)
"""

import math
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

# what the figures of all distances declare
SCORE: dict[str, Any] = {
    "unit": "%",
    "direction": "higher",
    "digits": 2,
    "undefined": "a sample equals its HR image",
}


class RunningDiversity:
    """S_1 ... S_n from samples that are added one by one and not kept.

    >>> maps = torch.tensor([[1.0, 3.0], [3.0, 1.0]])
    >>> seen = RunningDiversity()
    >>> for distance in maps:
    ...     seen.update(distance)
    >>> seen.scores  # the best mosaic of both is at 1, each sample at 2
    [0.0, 50.0]
    """

    def __init__(self) -> None:
        self.means: list[float] = []  # mean distance of each sample
        self.mosaics: list[float] = []  # mean distance of the best mosaic of the first n samples
        self._lowest: Tensor | None = None

    def update(self, distance: Tensor) -> None:
        """Add the distance map of one more sample; all maps of an image have the same shape."""
        self.means.append(distance.mean().item())
        if self._lowest is None:
            self._lowest = distance.clone()
        else:
            torch.minimum(self._lowest, distance, out=self._lowest)
        self.mosaics.append(self._lowest.mean().item())

    @property
    def scores(self) -> list[float]:
        """S_1 ... S_n in per cent; see `diversity_scores`."""
        return diversity_scores(self.means, self.mosaics)


def diversity_scores(means: list[float], mosaics: list[float]) -> list[float]:
    """S_1 ... S_n in per cent: 0 for one sample, nan from the first sample that equals the HR image on.

    Args:
        means: mean distance of each sample.
        mosaics: mean distance of the best mosaic of the first 1, 2, ... samples.
    """
    scores, best = [], math.inf
    for mean, mosaic in zip(means, mosaics, strict=True):
        best = min(best, mean)
        scores.append(math.nan if best == 0 else 100 * (best - mosaic) / best)
    return scores


def columns_of_first(name: str, means: list[float], mosaics: list[float], n: int) -> dict[str, float]:
    """Columns of `measure_full.csv` for the first n samples of an image; nan if nothing was measured.

    Args:
        name: name of the distance, such as LPIPS.
        means, mosaics: see `diversity_scores`.
        n: number of samples, 1 or more.
    """
    if not means:
        return dict.fromkeys((f"{name}_mean", f"{name}_best_loc", f"{name}_diff", f"{name}_score"), math.nan)
    best, mosaic = min(means[:n]), mosaics[n - 1]
    return {
        f"{name}_mean": fmean(means[:n]),
        f"{name}_best_loc": mosaic,
        f"{name}_diff": best - mosaic,
        f"{name}_score": diversity_scores(means[:n], mosaics[:n])[-1],
    }
