"""The challenge's diversity score and the maps it is taken from, computed sample by sample.

With d_k(p) the distance of sample k to the HR image at location p, the score of n samples is

    S_n = 100 (min_k mean_p d_k - mean_p min_k d_k) / min_k mean_p d_k

in per cent, higher is better: how much nearer the best mosaic of samples is than the best sample.
(NTIRE 2021 "Learning the Super-Resolution Space", Lugmayr et al., section 3.3.)
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

MSE_WINDOW = 16


class RunningDiversity:
    """S_n over samples that are seen once and not kept.

    >>> maps = torch.tensor([[1.0, 3.0], [3.0, 1.0]])
    >>> seen = RunningDiversity()
    >>> for distance in maps:
    ...     seen.add(distance)
    >>> seen.score, seen.mean  # the best mosaic is at 1, each sample at 2
    (50.0, 2.0)
    """

    def __init__(self) -> None:
        self.means: list[float] = []
        self._lowest: Tensor | None = None

    def add(self, distance: Tensor) -> None:
        """Count in one more sample's map; all maps of an image have one shape."""
        self.means.append(distance.mean().item())
        self._lowest = distance.clone() if self._lowest is None else torch.minimum(self._lowest, distance)

    @property
    def mean(self) -> float:
        """Mean distance of all samples and locations."""
        return sum(self.means) / len(self.means)

    @property
    def score(self) -> float:
        """S_n in per cent; 0 for a single sample, nan where a sample equals the HR image."""
        assert self._lowest is not None, "no sample was added"
        best = min(self.means)
        return math.nan if best == 0 else 100 * (best - self._lowest.mean().item()) / best


def mse_map(sr: Tensor, hr: Tensor) -> Tensor:
    """Local squared error, as the 2022 script takes it: a box of 16 x 16 over the mean of RGB.

    Args:
        sr, hr: (1, 3, H, W), uint8.

    Returns:
        (1, 1, H + 15, W + 15) in squared grey levels ('full' convolution with zeros outside).
    """
    error = (sr.float() - hr.float()).square().mean(1, keepdim=True)
    return functional.avg_pool2d(functional.pad(error, (MSE_WINDOW - 1,) * 4), MSE_WINDOW, stride=1)
