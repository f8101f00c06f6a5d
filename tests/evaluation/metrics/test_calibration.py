"""The calibration ratio."""

import math

import pytest
import torch

from ntire_sr.challenge.pixels import to_8bit, to_tensor, to_unit
from ntire_sr.evaluation.metrics.base import Reference
from ntire_sr.evaluation.metrics.calibration import LpipsPairs, calibration_ratio
from ntire_sr.evaluation.metrics.lpips import load_lpips
from ntire_sr.evaluation.metrics.perceptual import LpipsErrors
from ntire_sr.evaluation.metrics.pixels import PixelErrors

pytestmark = pytest.mark.numerical


def test_the_ratio_worked_out_by_hand():
    # pairs are 1 and 3 apart, the HR images 2 and 6: (1 + 3) / (2 + 6)
    assert calibration_ratio([1.0, 3.0], [2.0, 6.0]) == 0.5
    assert calibration_ratio([1.0, math.nan], [2.0, 6.0]) == 0.5  # an image with one sample has no pairs
    assert math.isnan(calibration_ratio([], []))
    assert math.isnan(calibration_ratio([0.0], [0.0]))


def drawn(base: torch.Tensor, sigma: float) -> torch.Tensor:
    return to_8bit(to_unit(base) + sigma * torch.randn(base.shape))


def compared(reference: Reference, samples: list[torch.Tensor]) -> tuple[LpipsPairs, list[float]]:
    """The spread of samples, and the LPIPS of each."""
    pairs, errors = LpipsPairs(reference), LpipsErrors(reference)
    for image in samples:
        sample = reference.sample(image)
        pairs.update(sample)
        errors.update(sample)
    return pairs, errors.compute()["lpips"]


@pytest.mark.parametrize(("spread", "expected"), [(0.05, 1.0), (0.025, 0.4), (0.1, 1.6), (0.0, 0.0)])
def test_in_pixels_samples_of_the_hr_images_own_law_have_r_1_and_others_what_their_spread_says(
    spread, expected
):
    # HR = base + s n, samples = base + t n: pairs 2 t^2, HR and sample s^2 + t^2
    base = torch.full((1, 3, 128, 128), 128, dtype=torch.uint8)
    errors = PixelErrors(drawn(base, 0.05))
    for _ in range(6):
        errors.update(drawn(base, spread))
    found = calibration_ratio([errors.mean_pair_distance], [errors.mean_distance])
    assert found == pytest.approx(expected, abs=0.03)


def test_in_lpips_the_streamed_mean_over_pairs_is_that_of_all_pairs_one_by_one(alexnet, photograph):
    lpips, hr = load_lpips(alexnet), to_tensor(photograph)
    samples = [drawn(hr, 0.1) for _ in range(4)]
    spread, distances = compared(Reference(hr, 4, lpips), samples)
    pairs = [lpips(samples[i], samples[j]).mean().item() for i in range(4) for j in range(i)]
    assert spread.mean_pair_distance == pytest.approx(sum(pairs) / 6, rel=1e-4)
    assert spread.compute() == {"lpips_pairs": spread.mean_pair_distance}
    assert distances == pytest.approx([lpips(hr, sample).mean().item() for sample in samples], rel=1e-5)


def test_in_lpips_samples_of_the_hr_images_own_law_have_r_1_and_equal_ones_0(alexnet, photograph):
    lpips, base = load_lpips(alexnet), to_tensor(photograph)
    hr = drawn(base, 0.1)
    for samples, expected in (([drawn(base, 0.1) for _ in range(6)], 1.0), ([drawn(base, 0.1)] * 3, 0.0)):
        spread, distances = compared(Reference(hr, 4, lpips), samples)
        found = calibration_ratio([spread.mean_pair_distance], [sum(distances) / len(distances)])
        assert found == pytest.approx(expected, abs=0.05)


def test_a_single_sample_has_no_pairs(alexnet, photograph):
    lpips, hr = load_lpips(alexnet), to_tensor(photograph)
    spread, _ = compared(Reference(hr, 4, lpips), [hr])
    assert math.isnan(spread.mean_pair_distance) and spread.compute() == {"lpips_pairs": None}
