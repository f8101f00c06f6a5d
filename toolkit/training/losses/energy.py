"""Losses that train a generator to sample the posterior: energy scores, best-of-K, and a penalty on the range.

With K >= 2 samples SR_k of one LR image and a distance d, the energy score (Gneiting and Raftery, "Strictly
Proper Scoring Rules, Prediction, and Estimation", JASA 2007) is

    mean_k d(HR, SR_k) - gamma * mean_{i<j} d(SR_i, SR_j)

At gamma = 1/2 it is proper for every distance here: no distribution scores better on average than the true
posterior. It is *strictly* proper, so that no other distribution scores as well, only for what d measures:

| distance        | strictly proper for                                | blind to                              |
|-----------------|----------------------------------------------------|---------------------------------------|
| `channel_norm`  | the marginal distribution of each number           | dependence of channels or locations   |
| `location_norm` | the distribution of each location's channel vector | dependence of locations               |
| `patch_norm(w)` | the joint distribution inside each w x w window    | dependence beyond w                   |

Applied to features phi, these are distributions of phi(HR). Maps are (..., C, h, w) of any float type;
everything is computed in float32. Distances are means over locations, so that their scale does not depend
on the size of the image.
"""

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

from ntire_sr.core.errors import require

# Two stacks of maps (..., C, h, w), broadcast against each other -> one distance per image, (...), 0 or more.
Distance = Callable[[Tensor, Tensor], Tensor]

# The root has no derivative at 0, where samples are equal: sqrt(x^2 + FLOOR^2) - FLOOR takes its place. It is
# a Bernstein function of x^2, so scores stay strictly proper. In units of the maps, far under a grey level.
FLOOR = 1e-6


def _root(squares: Tensor) -> Tensor:
    """sqrt(squares + FLOOR^2) - FLOOR, written so that it is exactly 0 at 0; its derivative is finite."""
    return squares / ((squares + FLOOR**2).sqrt() + FLOOR)


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean norm of the difference at each location: (..., C, h, w) to (..., h, w)."""
    # cast before the subtraction: in bfloat16 the difference of close samples is mostly rounding
    return (a.float() - b.float()).square().sum(-3)


def _window_mean(maps: Tensor, window: int) -> Tensor:
    """Mean over the part inside the image of the window around each location: (..., h, w), the same shape."""
    require(window >= 1 and window % 2 == 1, f"window {window} is not an odd number", f"{max(1, window | 1)}")
    planes = maps.reshape(-1, 1, *maps.shape[-2:])
    means = functional.avg_pool2d(planes, window, stride=1, padding=window // 2, count_include_pad=False)
    return means.reshape(maps.shape)


def location_norm(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean norm over the channels at each location; mean over locations.

    >>> round(location_norm(torch.zeros(2, 1, 2), torch.tensor([[[3.0, 0.0]], [[4.0, 0.0]]])).item(), 3)
    2.5
    """
    return _root(_squares(a, b)).mean((-2, -1))


def channel_norm(a: Tensor, b: Tensor) -> Tensor:
    """L1 distance: sum over the channels, divided by the root of their number; mean over locations.

    Up to a constant factor, its energy score is the mean over the channels of the CRPS of single numbers. It measures
    what norms over many channels hardly measure. Where the truth is far away in many directions, noise in one more
    direction changes sqrt(s^2 + e^2) very little, so that a generator may put its spread wherever that is easiest
    (into patterns that no photograph has) and still score as well as the posterior. Here a channel that does not vary
    in truth must not vary in the samples.
    """
    return (a.float() - b.float()).abs().sum(-3).mean((-2, -1)) / a.shape[-3] ** 0.5


def patch_norm(window: int) -> Distance:
    """Euclidean norm over the channels and a window x window neighbourhood; mean over locations.

    It is the root of the mean squared norm in the window. At the border only the part inside the image counts.

    Args:
        window: side in pixels of the maps, odd. 1 gives `location_norm`.
    """

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return _root(_window_mean(_squares(a, b), window)).mean((-2, -1))

    return distance


def energy_terms(samples: Tensor, target: Tensor, distance: Distance) -> tuple[Tensor, Tensor]:
    """The two terms of an energy score.

    Where two samples are equal the second has derivative 0. A generator that ignores its noise altogether
    gets no gradient away from that, so its noise must have an effect from the start.

    Args:
        samples: (K, N, C, h, w), K >= 2.
        target: (N, C, h, w).
        distance: one of this module's distances.

    Returns:
        Scalars: the mean distance of a sample to the target, and the mean distance of two samples.
    """
    if len(samples) < 2 or samples.shape[1:] != target.shape:
        raise ValueError(f"samples {tuple(samples.shape)} are not 2 or more of {tuple(target.shape)}")
    pairwise = [distance(first, second).mean() for first, second in combinations(samples, 2)]
    return distance(samples, target[None]).mean(), torch.stack(pairwise).mean()


def layers_energy_terms(
    samples: Sequence[Tensor], target: Sequence[Tensor], distance: Distance
) -> tuple[Tensor, Tensor]:
    """The means over layers of features of their `energy_terms`.

    With K samples sr (K, N, 3, H, W) the first argument is
    `[maps.unflatten(0, (K, -1)) for maps in phi(sr.flatten(0, 1))]`.

    Args:
        samples: list of (K, N, C, h, w).
        target: list of (N, C, h, w).
    """
    pairs = [
        energy_terms(maps, target_maps, distance) for maps, target_maps in zip(samples, target, strict=True)
    ]
    to_target, pairwise = (torch.stack(terms).mean() for terms in zip(*pairs, strict=True))
    return to_target, pairwise


def energy_score(to_target: Tensor, pairwise: Tensor, gamma: float) -> Tensor:
    """`to_target - gamma * pairwise`, lower is better; gamma .5 gives the proper score.

    Other values bias the spread. Gaussian samples of a Gaussian posterior become too narrow or too wide by
    the factor sqrt(2 gamma^2 / (1 - 2 gamma^2)), for any norm: .69 at .4, .96 at .49, 1.6 at .6. Samples of
    a free distribution behave about the same below .5. Above it the score has no lower bound, even for norms
    (a share p of samples at a far distance M costs p M and earns 2 gamma p (1 - p) M), unless another term
    bounds the values.
    """
    return to_target - gamma * pairwise


def spread_ratio(to_target: float, pairwise: float) -> float:
    """The ratio r of the mean distance of two samples to their mean distance to the truth.

    Both come from `energy_terms`, as numbers. For every distance it is 1 for samples of the posterior, and under 1
    for samples that are too alike. NaN if no sample differs from the truth.
    """
    return pairwise / to_target if to_target else math.nan


def check_gamma(gamma: float) -> str | None:
    """A warning if `gamma` rewards diversity too much, else None.

    Raises:
        UsageError: gamma is negative, infinite or NaN.
    """
    require(0 <= gamma < math.inf, f"gamma {gamma} is out of range", "0.49; 0 for no reward")
    if gamma > 0.5:
        return (
            f"gamma {gamma} is above 0.5: samples will differ more from each other than from the truth, "
            "and only the range of the values bounds how much"
        )
    return None


def best_of(samples: Tensor, target: Tensor, window: int, sharpness: float) -> Tensor:
    """Local best-of-K: the distance of the nearest of K samples, window by window; lower is nearer.

    The soft minimum -log(mean_k exp(-sharpness * d_k)) / sharpness of the windows' mean `location_norm`,
    averaged over locations. It lies between the minimum and the mean over the samples, and its derivative
    by each d_k is 0 or more: no sample is pushed away.

    It is NOT a proper score: the posterior does not minimise it. When sharp it rewards spread, but not the
    right amount (when blunt, it is a mean distance, which K equal samples minimise). Measured with the hard
    minimum on a Gaussian posterior, the spread that minimises it is .55 of the true one at K = 2, .9 at 4 and
    1.1 at 8 if a window holds one random number, and .16 at 2 and .28 at 4 if it holds 16 independent ones:
    with few samples or wide windows that is far under the true spread, and beyond it samples are pulled
    together. So it is used with a low weight in addition to an energy score; `spread_ratio` shows its effect.

    Args:
        samples: (K, N, C, h, w).
        target: (N, C, h, w).
        window: side in pixels of the maps, odd.
        sharpness: in 1 / unit of distance, above 0; a sample further than the nearest by 1 / sharpness
            weighs e times less.

    Returns:
        A scalar, 0 or more.
    """
    require(0 < sharpness < math.inf, f"sharpness {sharpness} is out of range", "10")
    if samples.shape[1:] != target.shape:
        raise ValueError(f"samples {tuple(samples.shape)} are not some of {tuple(target.shape)}")
    distances = _window_mean(_root(_squares(samples, target[None])), window)
    nearest = distances.amin(0).detach()  # any constant gives the same value; this one cannot overflow
    excess = torch.expm1(-sharpness * (distances - nearest)).mean(0)
    return (nearest - torch.log1p(excess) / sharpness).mean()


def range_penalty(image: Tensor) -> Tensor:
    """Mean distance of values to [0, 1], L1: 0 for an image inside.

    It is an L1 distance for three reasons: clipping shifts a value by just this much; its gradient does not
    fade before the value is inside (that of a square does, and leaves values a little outside); and the
    extreme values of an untrained generator do not outweigh the other terms.

    >>> range_penalty(torch.tensor([-0.5, 0.0, 1.0, 1.5])).item()
    0.25
    """
    values = image.float()
    return ((-values).relu() + (values - 1).relu()).mean()
