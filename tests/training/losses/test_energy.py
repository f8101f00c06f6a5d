"""Terms that train samplers: each a value worked out by hand, and what must hold whatever the values."""

import math

import pytest
import torch
from torch import Tensor

from ntire_sr.core.errors import UsageError
from ntire_sr.training.losses.energy import (
    best_of,
    channel_norm,
    check_gamma,
    energy_score,
    energy_terms,
    layers_energy_terms,
    location_norm,
    patch_norm,
    range_penalty,
    spread_ratio,
)

pytestmark = pytest.mark.numerical

WHOLE = 17  # a window over all maps of these tests
DISTANCES = {
    "channel": channel_norm,
    "location": location_norm,
    "patch": patch_norm(3),
    "whole": patch_norm(WHOLE),
}
every_distance = pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES.keys())


def row(*values: float) -> Tensor:
    """(1, 1, 1, n): one image of one channel and one row."""
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


# Distances


def test_distances_worked_out_by_hand():
    # two channels, three locations: differences (3, 4), (0, 0), (0, 2), so lengths 5, 0, 2
    a = torch.tensor([[3.0, 0.0, 0.0], [4.0, 0.0, 2.0]]).view(1, 2, 1, 3)
    b = torch.zeros_like(a)
    assert location_norm(a, b).tolist() == pytest.approx([(5 + 0 + 2) / 3])
    assert channel_norm(a, b).tolist() == pytest.approx([(7 + 0 + 2) / math.sqrt(2) / 3])
    assert patch_norm(WHOLE)(a, b).tolist() == pytest.approx([math.sqrt((25 + 0 + 4) / 3)])
    # window 3: at the ends two of its locations lie inside, in the middle three; one row of its rows
    wanted = (math.sqrt(25 / 2) + math.sqrt(29 / 3) + math.sqrt(4 / 2)) / 3
    assert patch_norm(3)(a, b).tolist() == pytest.approx([wanted])


def test_constant_difference_has_the_same_norm_everywhere():
    a, b = torch.full((2, 4, 5, 7), 0.75), torch.full((2, 4, 5, 7), 0.25)
    for norm in (channel_norm, location_norm, patch_norm(3), patch_norm(5), patch_norm(WHOLE)):
        assert norm(a, b).tolist() == pytest.approx([1.0, 1.0], abs=2e-6)  # sqrt(4 * .5^2), less the floor


def test_patch_norm_with_window_1_is_the_location_norm():
    a, b = random(2, 3, 4, 6), random(2, 3, 4, 6).flip(0)
    assert torch.allclose(patch_norm(1)(a, b), location_norm(a, b))


@pytest.mark.parametrize("window", [0, 2, -3])
def test_a_window_without_a_middle_is_refused(window: int):
    with pytest.raises(UsageError, match="not an odd number"):
        patch_norm(window)(row(0, 1), row(0, 0))


@every_distance
def test_distances_are_zero_for_equal_maps_symmetric_and_positive_otherwise(distance):
    maps = random(2, 4, 3, 5, 6)  # with a leading axis more, as samples have
    assert distance(maps, maps).tolist() == [[0, 0, 0, 0]] * 2
    assert torch.equal(distance(maps, maps.flip(0)), distance(maps.flip(0), maps))
    assert (distance(maps[0], maps[1]) > 0).all()


@every_distance
def test_gradient_is_finite_for_equal_samples(distance):
    a = random(1, 2, 3, 3).requires_grad_()
    distance(a, a.detach().clone()).sum().backward()
    assert torch.equal(a.grad, torch.zeros_like(a))
    # and next to it, where the root is steepest, no derivative exceeds the norm's own of 1 by location
    b = random(1, 2, 3, 3).requires_grad_()
    distance(b, b.detach() + 1e-7).sum().backward()
    assert b.grad.abs().max() <= 1


@every_distance
def test_bfloat16_maps_are_compared_in_float32(distance):
    a, b = random(2, 2, 3, 4, 4).bfloat16().unbind(0)
    wanted = distance(a.float(), b.float())
    with torch.autocast("cpu", torch.bfloat16):
        for value in (distance(a, b), distance(a.float(), b)):  # either or both
            assert value.dtype == torch.float32
            assert torch.equal(value, wanted)


# Energy scores


def test_channel_norm_detects_spread_in_the_wrong_channels():
    # the truth varies in 32 of 64 channels; a sampler has as much spread, in the other 32
    draws = random(3, 2000, 64, 1, 1)
    first = torch.arange(64).view(64, 1, 1) < 32
    target, right, wrong = draws[0] * first, draws[1:] * first, draws[1:] * ~first
    cost = {}
    for name in ("channel", "location"):
        score_right, score_wrong = (
            energy_score(*energy_terms(samples, target, DISTANCES[name]), 0.5) for samples in (right, wrong)
        )
        cost[name] = (score_wrong / score_right - 1).item()
    assert abs(cost["location"]) < 0.05  # both lie sqrt(64) from the truth and from each other
    # each right channel is worth 1 / sqrt(pi) when calibrated; the others cost sqrt(2 / pi) and half of 2 / sqrt(pi)
    # less, so that the ratio of the scores is 2 sqrt(2) - 1
    assert cost["channel"] == pytest.approx(2 * math.sqrt(2) - 2, abs=0.05)


def test_energy_terms_worked_out_by_hand():
    # three samples 0, 1 and 4 of a truth 2: distances 2, 1, 2; pairs 1, 4, 3
    samples, target = torch.stack((row(0), row(1), row(4))), row(2)
    to_target, pairwise = energy_terms(samples, target, location_norm)
    assert to_target.item() == pytest.approx(5 / 3, abs=2e-6)
    assert pairwise.item() == pytest.approx(8 / 3, abs=2e-6)
    assert energy_score(to_target, pairwise, 0.5).item() == pytest.approx(5 / 3 - 4 / 3, abs=2e-6)
    assert spread_ratio(to_target.item(), pairwise.item()) == pytest.approx(8 / 5, abs=2e-6)


def test_layer_energy_terms_are_means_over_layers():
    # layer 1 as above with two samples 0, 4: 2 and 4; layer 2: samples 1, 1 of a truth 0: 1 and 0
    samples = [torch.stack((row(0), row(4))), torch.stack((row(1, 1), row(1, 1)))]
    to_target, pairwise = layers_energy_terms(samples, [row(2), row(0, 0)], location_norm)
    assert to_target.item() == pytest.approx((2 + 1) / 2, abs=2e-6)
    assert pairwise.item() == pytest.approx((4 + 0) / 2, abs=2e-6)


@every_distance
def test_energy_terms_do_not_depend_on_sample_order(distance):
    samples, target = random(4, 2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    before, after = (energy_terms(samples[order], target, distance) for order in ([0, 1, 2, 3], [2, 0, 3, 1]))
    assert torch.allclose(torch.stack(before), torch.stack(after))


@every_distance
def test_equal_samples_have_distance_0_and_a_finite_gradient(distance):
    samples = random(1, 2, 3, 4, 4).repeat(3, 1, 1, 1, 1).requires_grad_()
    to_target, pairwise = energy_terms(samples, torch.zeros(2, 3, 4, 4), distance)
    assert pairwise.item() == 0
    energy_score(to_target, pairwise, 0.5).backward()
    assert samples.grad.isfinite().all()
    assert (samples.grad != 0).any()


def test_energy_score_pulls_samples_to_hr_and_away_from_each_other():
    # samples 0 and 1 of a truth 3: both are pulled up by 1/2 each, and apart by gamma
    samples = torch.stack((row(0), row(1))).requires_grad_()
    energy_score(*energy_terms(samples, row(3), location_norm), gamma=0.25).backward()
    assert samples.grad.flatten().tolist() == pytest.approx([-0.5 + 0.25, -0.5 - 0.25])


@pytest.mark.parametrize("samples", [(1, 2, 3, 4, 4), (3, 1, 3, 4, 4), (2, 3, 4, 4)])
def test_broadcast_shapes_and_single_samples_are_refused(samples):
    with pytest.raises(ValueError, match="are not 2 or more of"):
        energy_terms(torch.zeros(samples), torch.zeros(2, 3, 4, 4), location_norm)


def test_spread_ratio_without_distance_is_nan():
    assert spread_ratio(1.0, 3.0) == 3
    assert math.isnan(spread_ratio(0.0, 0.0))


def test_invalid_gamma_is_refused_and_large_gamma_warned_of():
    for gamma in (0.0, 0.49, 0.5):
        assert check_gamma(gamma) is None
    assert "0.6 is above 0.5" in check_gamma(0.6)
    for gamma in (-0.1, math.nan, math.inf):
        with pytest.raises(UsageError, match="out of range"):
            check_gamma(gamma)


# Best of K


def test_best_of_worked_out_by_hand():
    # distances 1 and 3 at sharpness ln 2: -log2((2^-1 + 2^-3) / 2) = log2(16 / 5)
    samples = torch.stack((row(1), row(3)))
    assert best_of(samples, row(0), 1, math.log(2)).item() == pytest.approx(math.log2(16 / 5), abs=2e-6)


def test_best_of_is_minimum_when_sharp_and_mean_when_flat():
    samples = torch.stack((row(1, 5), row(3, 2)))
    assert best_of(samples, row(0, 0), 1, 1e6).item() == pytest.approx((1 + 2) / 2, abs=1e-5)
    assert best_of(samples, row(0, 0), 1, 1e-6).item() == pytest.approx((2 + 3.5) / 2, abs=1e-5)
    # and lies between them
    assert 1.5 < best_of(samples, row(0, 0), 1, 1.0).item() < 2.75


def test_best_of_chooses_window_by_window():
    # each sample is right in one half; a window of 1 may take the halves from both, one over all may not
    samples, target = torch.stack((row(0, 0, 1, 1), row(1, 1, 0, 0))), row(0, 0, 0, 0)
    assert best_of(samples, target, 1, 1e6).item() == pytest.approx(0, abs=1e-5)
    assert best_of(samples, target, 7, 1e6).item() == pytest.approx(0.5, abs=1e-5)


def test_best_of_gradient_is_largest_for_the_nearest_sample():
    samples = torch.stack((row(1), row(3))).requires_grad_()
    best_of(samples, row(0), 1, math.log(2)).backward()
    # weights 2^-1 and 2^-3, made to sum to 1
    assert samples.grad.flatten().tolist() == pytest.approx([0.8, 0.2])


def test_best_of_equal_samples_is_their_distance_with_a_finite_derivative():
    samples = row(2, 4).repeat(3, 1, 1, 1, 1).requires_grad_()
    term = best_of(samples, row(0, 4), 1, 10.0)
    assert term.item() == pytest.approx(1, abs=2e-6)
    term.backward()
    assert samples.grad.isfinite().all()
    assert best_of(samples, row(2, 4), 1, 10.0).item() == 0


def test_best_of_refuses_a_sharpness_that_is_not_positive():
    for sharpness in (0.0, -1.0, math.nan):
        with pytest.raises(UsageError, match="sharpness"):
            best_of(torch.zeros(2, 1, 1, 1, 1), row(0), 1, sharpness)


# Range


def test_range_penalty_worked_out_by_hand():
    image = row(-0.3, 0.2, 1.5, 1.0).requires_grad_()
    penalty = range_penalty(image)
    assert penalty.item() == pytest.approx((0.3 + 0.5) / 4)
    penalty.backward()
    assert image.grad.flatten().tolist() == [-0.25, 0, 0.25, 0]


def test_range_penalty_is_the_clipping_error():
    assert range_penalty(torch.rand(2, 3, 4, 4)).item() == 0
    image = random(2, 3, 8, 8)
    assert range_penalty(image).item() == pytest.approx((image - image.clamp(0, 1)).abs().mean().item())
