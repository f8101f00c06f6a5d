"""The calibration ratio."""

import math

import pytest
import torch

from ntire_sr.challenge.pixels import to_8bit, to_tensor, to_unit
from ntire_sr.evaluation.metrics.base import Reference
from ntire_sr.evaluation.metrics.calibration import calibration_ratio
from ntire_sr.evaluation.metrics.lpips import LpipsMetric, LpipsValues
from ntire_sr.evaluation.metrics.lpips_network import Lpips, load_lpips
from ntire_sr.evaluation.metrics.pixels import PixelErrors

pytestmark = pytest.mark.numerical


def test_calibration_ratio_equals_value_by_hand():
    # pairs are 1 and 3 apart, the HR images 2 and 6: (1 + 3) / (2 + 6)
    assert calibration_ratio([1.0, 3.0], [2.0, 6.0]) == 0.5
    assert calibration_ratio([1.0, None], [2.0, 6.0]) == 0.5  # an image with one sample has no pairs
    assert calibration_ratio([1.0, math.nan], [2.0, 6.0]) == 0.5
    assert math.isnan(calibration_ratio([], []))
    assert math.isnan(calibration_ratio([0.0], [0.0]))


def add_noise(image: torch.Tensor, sigma: float) -> torch.Tensor:
    return to_8bit(to_unit(image) + sigma * torch.randn(image.shape))


def measure_lpips(lpips: Lpips, hr: torch.Tensor, samples: list[torch.Tensor]) -> LpipsValues:
    reference = Reference(hr, 4, lpips)
    metric = LpipsMetric(reference)
    for sample in samples:
        metric.update(reference.sample(sample))
    return metric.compute()


@pytest.mark.parametrize(("spread", "expected"), [(0.05, 1.0), (0.025, 0.4), (0.1, 1.6), (0.0, 0.0)])
def test_pixel_ratio_is_1_for_samples_of_the_posterior(spread, expected):
    # HR = base + s n, samples = base + t n: pairs 2 t^2, HR and sample s^2 + t^2
    base = torch.full((1, 3, 128, 128), 128, dtype=torch.uint8)
    errors = PixelErrors(add_noise(base, 0.05))
    for _ in range(6):
        errors.update(add_noise(base, spread))
    ratio = calibration_ratio([errors.mean_pair_distance], [errors.mean_distance])
    assert ratio == pytest.approx(expected, abs=0.03)


def test_streamed_lpips_of_pairs_equals_mean_over_all_pairs(alexnet, photograph):
    lpips, hr = load_lpips(alexnet), to_tensor(photograph)
    samples = [add_noise(hr, 0.1) for _ in range(4)]
    values = measure_lpips(lpips, hr, samples)
    pairs = [lpips(samples[i], samples[j]).mean().item() for i in range(4) for j in range(i)]
    assert values.lpips_pairs == pytest.approx(sum(pairs) / 6, rel=1e-4)
    assert values.lpips == pytest.approx([lpips(sample, hr).mean().item() for sample in samples], rel=1e-5)


def test_lpips_ratio_is_1_for_the_posterior_and_0_for_equal_samples(alexnet, photograph):
    lpips, base = load_lpips(alexnet), to_tensor(photograph)
    hr = add_noise(base, 0.1)
    for samples, expected in (
        ([add_noise(base, 0.1) for _ in range(6)], 1.0),
        ([add_noise(base, 0.1)] * 3, 0.0),
    ):
        values = measure_lpips(lpips, hr, samples)
        assert calibration_ratio([values.lpips_pairs], [values.mean]) == pytest.approx(expected, abs=0.05)


def test_single_sample_has_no_lpips_of_pairs(alexnet, photograph):
    hr = to_tensor(photograph)
    assert measure_lpips(load_lpips(alexnet), hr, [hr]).lpips_pairs is None
