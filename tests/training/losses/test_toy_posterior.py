"""The losses of `energy.py` train samplers of a posterior that is known in closed form.

The HR image has 2 x 2 pixels, and its LR image y is their mean:

    HR = [[y + a, y + b], [y - a, y - b]],    (a, b) | y ~ Normal(mean(y), spread(y)^2 [[1, C], [C, 1]])

so that p(HR | LR) is known, and every sampler of (a, b) meets y exactly, as ours do by projection. The pixels
are locations: `location_norm` sees only the distributions of a and of b, a window of 3 covers the image and sees their joint one.

What the samplers must reach: .5 the posterior; .49 a spread of .961 (Gaussian) or a little less; .45 would
give .825, .55 at least 1.24. So the tolerances below are too tight for a wrong gamma or a wrong pair term.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ntire_sr.training.losses.energy import (
    Distance,
    best_of,
    energy_score,
    energy_terms,
    location_norm,
    patch_norm,
    spread_ratio,
)

C = 0.95  # correlation of a and b
Loss = Callable[[Tensor, Tensor], Tensor]  # samples (K, N, 1, 2, 2), target (N, 1, 2, 2) -> scalar


def image(y: Tensor, details: Tensor) -> Tensor:
    """(..., 1) and (..., 2) to (..., 1, 2, 2)."""
    return torch.stack((y + details, y - details), -2).unsqueeze(-3)


def mean(y: Tensor) -> Tensor:
    return torch.cat((y / 2, y.square() - 0.3), -1)


def spread(y: Tensor) -> Tensor:
    return 0.3 + 0.2 * y


def correlated(root: Tensor, noise: Tensor) -> Tensor:
    return noise @ root.T


def root_of(correlation: float) -> Tensor:
    """The Cholesky root of a covariance of unit variances."""
    return torch.tensor([[1.0, 0.0], [correlation, math.sqrt(1 - correlation**2)]])


class Free(nn.Module):
    """A small network from y and noise to (a, b), free in the shape of what it draws."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
        )

    def forward(self, y: Tensor, noise: Tensor) -> Tensor:
        return self.layers(torch.cat((y, noise), -1))


class Gaussian(nn.Module):
    """The posterior with its covariance to be found; the posterior itself at `root_of(C)`."""

    def __init__(self, root: Tensor):
        super().__init__()
        self.root = nn.Parameter(root.clone())

    def forward(self, y: Tensor, noise: Tensor) -> Tensor:
        return mean(y) + spread(y) * correlated(self.root, noise)


POSTERIOR = Gaussian(root_of(C)).requires_grad_(False)


def draw(sampler: nn.Module, k: int, batch: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """K samples of `batch` LR images, and their HR images."""
    y = 2 * torch.rand(batch, 1, generator=random) - 1
    hr = image(y, POSTERIOR(y, torch.randn(batch, 2, generator=random)))
    y = y.expand(k, -1, -1)
    return image(y, sampler(y, torch.randn(k, batch, 2, generator=random))), hr


def score(distance: Distance, gamma: float) -> Loss:
    return lambda samples, hr: energy_score(*energy_terms(samples, hr, distance), gamma)


def train(
    sampler: nn.Module,
    loss: Loss,
    steps: int,
    learning_rate: float,
    k: int = 2,
    optimiser: type = torch.optim.Adam,
) -> None:
    """Batches of 512 new images, cosine to 0."""
    random = torch.Generator().manual_seed(0)
    optimiser = optimiser(sampler.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        term = loss(*draw(sampler, k, 512, random))
        optimiser.zero_grad()
        term.backward()
        optimiser.step()
        schedule.step()


@torch.no_grad()
def found(sampler: nn.Module, y: float) -> tuple[Tensor, Tensor, float]:
    """Errors of the means and the spreads of (a, b), in units of the true spread, and their correlation."""
    ys = torch.full((20_000, 1), y)
    noise = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(1))
    details = (sampler(ys, noise) - mean(ys)) / spread(ys)
    return details.mean(0), details.std(0), torch.corrcoef(details.T)[0, 1].item()


@torch.no_grad()
def ratio(sampler: nn.Module, distance: Distance) -> float:
    return spread_ratio(*energy_terms(*draw(sampler, 2, 50_000, torch.Generator().manual_seed(2)), distance))


def trained_network(loss: Loss, steps: int) -> Free:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sampler = Free()
    train(sampler, loss, steps, learning_rate=0.01)
    return sampler


@pytest.mark.parametrize(("gamma", "lowest", "highest"), [(0.5, 0.95, 1.06), (0.49, 0.9, 1.0)])
def test_the_energy_score_finds_the_posterior(gamma: float, lowest: float, highest: float):
    sampler = trained_network(score(patch_norm(3), gamma), steps=900)
    spreads = []
    for y in (-0.8, 0.0, 0.8):  # the true spread is .14, .3 and .46
        bias, spread_found, correlation = found(sampler, y)
        assert bias.abs().max() < 0.12
        assert ((lowest - 0.05 < spread_found) & (spread_found < highest + 0.05)).all()
        assert abs(correlation - C) < 0.04
        spreads.append(spread_found)
    assert lowest < torch.stack(spreads).mean() < highest
    for distance in (location_norm, patch_norm(3)):
        assert ratio(sampler, distance) == pytest.approx(2 * gamma, abs=0.03)


def test_samples_collapse_with_gamma_0():
    sampler = trained_network(score(patch_norm(3), 0.0), steps=400)
    for y in (-0.8, 0.0, 0.8):
        bias, spread_found, _ = found(sampler, y)
        assert spread_found.max() < 0.05
        assert bias.abs().max() < 0.15  # at the median, which here is the mean
    assert ratio(sampler, patch_norm(3)) < 0.05


def test_sampler_diverges_with_gamma_above_one_half():
    sampler = trained_network(score(patch_norm(3), 0.6), steps=400)
    assert found(sampler, 0.0)[1].min() > 5
    assert ratio(sampler, patch_norm(3)) > 1.5


@pytest.mark.parametrize("gamma", [0.4, 0.49, 0.5, 0.6])
def test_gaussian_samples_reach_the_closed_form_spread(gamma: float):
    sampler = Gaussian(0.5 * root_of(0.0))
    train(sampler, score(location_norm, gamma), steps=300, learning_rate=0.05)
    wanted = math.sqrt(2 * gamma**2 / (1 - 2 * gamma**2))
    assert found(sampler, 0.0)[1].tolist() == pytest.approx([wanted, wanted], rel=0.035)
    # E|x - s x'| = c sqrt(1 + s^2) and E|s x - s x'| = c s sqrt(2), so that r is twice gamma
    assert ratio(sampler, location_norm) == pytest.approx(2 * gamma, abs=0.02)


@pytest.mark.parametrize(
    ("distance", "start", "wanted", "tolerance"),
    [
        pytest.param(patch_norm(3), -0.5, C, 0.03, id="window, from -.5"),
        pytest.param(patch_norm(3), 0.5, C, 0.03, id="window, from .5"),
        pytest.param(location_norm, -0.5, -0.5, 0.25, id="location, from -.5"),
        pytest.param(location_norm, 0.5, 0.5, 0.25, id="location, from .5"),
    ],
)
def test_joint_norm_learns_correlation_unlike_location_norm(
    distance: Distance, start: float, wanted: float, tolerance: float
):
    sampler = Gaussian(0.7 * root_of(start))
    # not Adam, which would blow up the noise of a derivative that is 0 in the mean
    train(sampler, score(distance, 0.5), 400, learning_rate=0.7, optimiser=torch.optim.SGD)
    _, spread_found, correlation = found(sampler, 0.0)
    assert spread_found.tolist() == pytest.approx([1, 1], abs=0.035)
    assert correlation == pytest.approx(wanted, abs=tolerance)


def test_only_a_joint_norm_penalises_independent_values():
    independent = Gaussian(root_of(0.0)).requires_grad_(False)

    def price(distance: Distance) -> float:
        values = []
        for sampler in (POSTERIOR, independent):
            random = torch.Generator().manual_seed(3)  # the same images and the same noise
            values.append(score(distance, 0.5)(*draw(sampler, 2, 200_000, random)).item())
        return values[1] / values[0] - 1

    assert abs(price(location_norm)) < 0.01
    assert price(patch_norm(3)) > 0.03


@pytest.mark.parametrize(("k", "wanted"), [(2, 0.55), (8, 1.1)])
def test_best_of_alone_gives_the_wrong_spread(k: int, wanted: float):
    sampler = Gaussian(root_of(0.0))
    train(sampler, lambda samples, hr: best_of(samples, hr, 1, 300.0), 300, learning_rate=0.05, k=k)
    assert found(sampler, 0.0)[1].tolist() == pytest.approx([wanted, wanted], abs=0.05)
