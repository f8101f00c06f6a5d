"""Terms that train a sampler to be the posterior: energy scores, best-of-K, a penalty on range, and what a
discriminator needs beside `losses.adversarial_loss` (which judges each image alone, as these do).

With K >= 2 samples SR_k of one LR image and a distance d, the energy score (Gneiting and Raftery, "Strictly
Proper Scoring Rules, Prediction, and Estimation", JASA 2007) is

    mean_k d(HR, SR_k) - gamma * mean_{i<j} d(SR_i, SR_j)

At gamma = 1/2 it is proper for every distance here: nothing scores better on average than the true
posterior. *Strictly* proper, so that nothing else scores as well, it is only as far as d sees:

| distance        | strictly proper for                        | and does not see                      |
|-----------------|--------------------------------------------|---------------------------------------|
| `channel_norm`  | the law of each number by itself           | how channels or locations hang together |
| `location_norm` | the law of each location's channel vector  | how locations hang together           |
| `patch_norm(w)` | the joint law inside each w x w window     | what lies further apart than w        |
| `whole_norm`    | the joint law of the whole image           | nothing; details weigh little         |
| `squared`       | nothing: it fixes the mean alone           | spread: 0 under 1/2, no bound above   |

Applied to features phi, "the law" is that of phi(HR). Maps are (..., C, h, w) of any float type; everything
is computed in float32. Distances are means over locations, so that their size does not depend on that of
the image.
"""

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr.core.errors import require

# Two stacks of maps (..., C, h, w), broadcast against each other -> one distance per image, (...), 0 or more.
Distance = Callable[[Tensor, Tensor], Tensor]

# The root has no derivative at 0, where samples are equal: sqrt(x^2 + FLOOR^2) - FLOOR takes its place. It is
# a Bernstein function of x^2, so scores stay strictly proper; in units of the maps, far under a grey level.
FLOOR = 1e-6


def _root(squares: Tensor) -> Tensor:
    """sqrt(squares + FLOOR^2) - FLOOR, written so that it is exactly 0 at 0; its derivative is finite."""
    return squares / ((squares + FLOOR**2).sqrt() + FLOOR)


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared length of the difference at each location: (..., C, h, w) to (..., h, w)."""
    # cast before the subtraction: in bfloat16 the difference of close samples is mostly rounding
    return (a.float() - b.float()).square().sum(-3)


def _window_mean(maps: Tensor, window: int) -> Tensor:
    """Mean over the window around each location, over what of it lies inside: (..., h, w), the same shape."""
    require(window >= 1 and window % 2 == 1, f"window {window} is not an odd number", f"{max(1, window | 1)}")
    planes = maps.reshape(-1, 1, *maps.shape[-2:])
    means = functional.avg_pool2d(planes, window, stride=1, padding=window // 2, count_include_pad=False)
    return means.reshape(maps.shape)


def location_norm(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean length over the channels at each location; mean over locations.

    >>> round(location_norm(torch.zeros(2, 1, 2), torch.tensor([[[3.0, 0.0]], [[4.0, 0.0]]])).item(), 3)
    2.5
    """
    return _root(_squares(a, b)).mean((-2, -1))


def channel_norm(a: Tensor, b: Tensor) -> Tensor:
    """Sum over the channels of the absolute difference, divided by the root of their number; mean over
    locations. An energy score of it is the mean of the channels' own (each the CRPS of one number).

    It sees what norms over many channels hardly see. Where the truth is far away in many directions, noise
    in a direction of its own changes sqrt(s^2 + e^2) by next to nothing, so that a sampler may put its
    spread wherever that is easiest (patterns that no photograph has) and still score as well as the
    posterior. Here a channel that does not vary in truth must not vary in the samples.
    """
    return (a.float() - b.float()).abs().sum(-3).mean((-2, -1)) / a.shape[-3] ** 0.5


def patch_norm(window: int) -> Distance:
    """Euclidean length over the channels and a window x window neighbourhood, as root of the mean squared
    length in it; mean over locations. At the border the window is what of it lies inside.

    Args:
        window: side in pixels of the maps, odd. 1 is `location_norm`; one that covers all, `whole_norm`.
    """

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return _root(_window_mean(_squares(a, b), window)).mean((-2, -1))

    return distance


def whole_norm(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean length over everything in the image, as root of the mean squared length over locations."""
    return _root(_squares(a, b).mean((-2, -1)))


def squared(a: Tensor, b: Tensor) -> Tensor:
    """Squared length over the channels at each location; mean over locations. Not for an energy score with
    gamma above 0 (see the module's table); for comparison, and alone for a regression to the mean."""
    return _squares(a, b).mean((-2, -1))


def energy_terms(samples: Tensor, target: Tensor, distance: Distance) -> tuple[Tensor, Tensor]:
    """The two halves of an energy score.

    Where two samples are equal the second has derivative 0: a sampler that ignores its noise altogether
    is not pulled out of it, so let noise in from the start.

    Args:
        samples: (K, N, C, h, w), K >= 2.
        target: (N, C, h, w).
        distance: one of this module's.

    Returns:
        Scalars: the mean distance of a sample to the target, and the mean distance of two samples.
    """
    if len(samples) < 2 or samples.shape[1:] != target.shape:
        raise ValueError(f"samples {tuple(samples.shape)} are not 2 or more of {tuple(target.shape)}")
    pairwise = [distance(one, other).mean() for one, other in combinations(samples, 2)]
    return distance(samples, target[None]).mean(), torch.stack(pairwise).mean()


def layers_energy_terms(
    samples: Sequence[Tensor], target: Sequence[Tensor], distance: Distance
) -> tuple[Tensor, Tensor]:
    """`energy_terms` of each layer of features, and their means over the layers.

    With K samples sr (K, N, 3, H, W) the first argument is
    `[maps.unflatten(0, (K, -1)) for maps in phi(sr.flatten(0, 1))]`.

    Args:
        samples: list of (K, N, C, h, w).
        target: list of (N, C, h, w).
    """
    pairs = [energy_terms(one, other, distance) for one, other in zip(samples, target, strict=True)]
    to_target, pairwise = (torch.stack(terms).mean() for terms in zip(*pairs, strict=True))
    return to_target, pairwise


def energy_score(to_target: Tensor, pairwise: Tensor, gamma: float) -> Tensor:
    """`to_target - gamma * apart`, lower is better; gamma .5 is the proper score.

    Other values have a price. Gaussian samples of a Gaussian posterior come out too narrow or too wide by
    the factor sqrt(2 gamma^2 / (1 - 2 gamma^2)), for any norm: .69 at .4, .96 at .49, 1.6 at .6. A sampler
    free in its shape does about the same below .5; above it the score has no lower bound, even for norms
    (a share p of samples at a far distance M costs p M and earns 2 gamma p (1 - p) M), and only what else
    bounds the values holds it.
    """
    return to_target - gamma * pairwise


def spread_ratio(to_target: float, pairwise: float) -> float:
    """r: how far samples lie apart, relative to how far they lie from the truth; 1 where they are drawn from
    the posterior, under 1 where they are too alike, and for every distance. NaN where nothing differs from
    the truth. Takes what `energy_terms` returns, as numbers."""
    return pairwise / to_target if to_target else math.nan


def check_gamma(gamma: float, squared: bool) -> str | None:
    """A sentence of warning where `gamma` rewards difference too much, None where it does not.

    Raises:
        WrongUse: gamma is negative or no number, or the distance is squared and the samples would run away.
    """
    require(0 <= gamma < math.inf, f"gamma {gamma} is out of range", "0.49; 0 for no reward")
    require(
        not squared or gamma < 0.5,
        f"gamma {gamma} with a squared distance rewards samples without bound for running apart",
        "gamma 0.49 with a norm, or less than 0.5",
    )
    if gamma > 0.5:
        return (
            f"gamma {gamma} is above 0.5: samples will differ more from each other than from the truth, "
            "and only the range of the values bounds how much"
        )
    return None


def best_of(samples: Tensor, target: Tensor, window: int, sharpness: float) -> Tensor:
    """How near the nearest of K samples comes, window by window; lower is nearer. Local best-of-K.

    The soft minimum -log(mean_k exp(-sharpness * d_k)) / sharpness of the windows' mean `location_norm`,
    averaged over locations. It lies between the minimum and the mean over the samples, and its derivative
    by each d_k is 0 or more: no sample is pushed away.

    NOT a proper score: the posterior is not where it is smallest. When sharp it rewards spread, but not the
    right one (blunt, it is a mean distance, best for one answer K times). Measured with the hard minimum on
    a Gaussian posterior, its best spread is .55 of the true one at K = 2, .9 at 4 and 1.1 at 8 where a
    window holds one random number, and .16 at 2 and .28 at 4 where it holds 16 independent ones: with few
    samples or wide windows it stops long before the truth, and beyond that point pulls samples together. So
    it goes beside an energy score, and `spread_ratio` shows its price.

    Args:
        samples: (K, N, C, h, w).
        target: (N, C, h, w).
        window: side in pixels of the maps, odd.
        sharpness: per unit of distance, above 0; a sample further than the nearest by 1 / sharpness
            counts e times less.

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

    L1, because clipping shifts a value by just this much, because its pull does not fade before the value
    is inside (a square's does, and leaves everything a little outside), and because the wild values of an
    untrained generator without a clamp do not drown the other terms.

    >>> range_penalty(torch.tensor([-0.5, 0.0, 1.0, 1.5])).item()
    0.25
    """
    values = image.float()
    return ((-values).relu() + (values - 1).relu()).mean()


def r1_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """Squared length of the discriminator's gradient at real images (Mescheder et al., "Which Training Methods
    for GANs do actually Converge?", ICML 2018, eq. 9 without gamma / 2), by which it is flat where it is right.

    A discriminator may return several logits per image: then the gradient of their sum, and the
    penalty is divided by their number, since each further logit adds its own pixels to it.

    Args:
        discriminator: (N, 3, H, W) to logits (N, ...).
        real: (N, 3, H, W) in [0, 1].

    Returns:
        A scalar, 0 or more, for the discriminator's loss; needs its second derivatives.
    """
    real = real.detach().float().requires_grad_()
    logits = discriminator(real)
    (gradient,) = torch.autograd.grad(logits.float().sum(), real, create_graph=True)
    return gradient.square().sum() / logits.numel()


def balanced_weight(main: Tensor, extra: Tensor, share: float, limit: float) -> Tensor:
    """The weight at which one gradient pulls with `share` of the strength of another (after Esser et al.,
    "Taming Transformers", CVPR 2021, eq. 7).

    Args:
        main, extra: lengths of the gradients of two losses at the same tensor, scalars. At the generator's
            images they cost nothing more: each loss is followed back to the images once, and their sum
            through the network.
        share: .1 lets `extra` be a tenth of `main`.
        limit: the weight at most, for when `extra` has next to no gradient.

    Returns:
        A detached scalar in [0, limit].
    """
    tiny = torch.finfo(torch.float32).tiny
    return (share * main.detach().float() / extra.detach().float().clamp_min(tiny)).clamp(0, limit)
