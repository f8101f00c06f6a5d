"""Squared pixel errors and their spread."""

import math

import pytest
import torch

from ntire_sr.evaluation.metrics.pixels import PixelErrors, PixelMetric, PixelValues, box_mean

pytestmark = pytest.mark.numerical


def image(height: int = 20, width: int = 24) -> torch.Tensor:
    return torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8)


def test_box_mean_of_one_pixel_is_hand_computed():
    # one red value 30 apart: mean over RGB 900 / 3 = 300, spread over 16 x 16 places of 300 / 256
    hr = torch.zeros(1, 3, 20, 24, dtype=torch.uint8)
    sr = hr.clone()
    sr[0, 0, 5, 7] = 30
    error = PixelErrors(hr).update(sr)
    assert error[5, 7] == 300 and error.sum() == 300
    means = box_mean(error)
    assert tuple(means.shape) == (35, 39)
    assert (means > 0).sum() == 256
    assert torch.allclose(means[5:21, 7:23], torch.full((16, 16), 300 / 256))


@pytest.mark.parametrize("height", [1, 63, 64, 65, 200])
def test_the_box_mean_in_strips_equals_a_convolution(height):
    error = torch.rand(height, 40).double()
    expected = torch.nn.functional.conv2d(
        error[None, None], torch.full((1, 1, 16, 16), 1 / 256).double(), padding=15
    )
    assert torch.allclose(box_mean(error), expected[0, 0], atol=1e-12)


def test_pixel_distances_equal_the_loop_over_all_pairs():
    hr, samples = image(70, 33), [image(70, 33) for _ in range(4)]
    errors = PixelErrors(hr)
    for sample in samples:
        assert torch.allclose(errors.update(sample), (sample.float() - hr.float()).square().mean(1)[0])
    stack = torch.cat(samples).double()
    pairs = [(stack[i] - stack[j]).square().mean() for i in range(4) for j in range(i)]
    assert errors.mean_distance == pytest.approx((stack - hr.double()).square().mean().item(), rel=1e-6)
    assert errors.mean_pair_distance == pytest.approx(torch.stack(pairs).mean().item(), rel=1e-6)
    expected = stack.var(0).mean(0).sqrt().float()
    assert torch.allclose(errors.deviation(), expected, rtol=1e-4)


def test_best_mean_and_worst_sample_are_those_of_the_samples():
    values = PixelValues(mse=[4.0, 1.0, 7.0], mse_mosaics=[4.0, 1.0, 1.0], pixel_distance=4.0, pixel_pairs=2.0)
    figures = {figure.name: figure.of_values(values) for figure in PixelMetric.figures if figure.per_image}
    names = ("MSE_best_sample", "MSE_mean", "MSE_worst_sample")
    assert [figures[name] for name in names] == [1.0, 4.0, 7.0]


def test_equal_samples_have_no_spread_and_one_sample_no_pairs():
    hr, sr = image(), image()
    errors = PixelErrors(hr)
    errors.update(sr)
    assert math.isnan(errors.mean_pair_distance)
    errors.update(sr)
    assert errors.mean_pair_distance == pytest.approx(0, abs=1e-2)
    assert errors.deviation().max() < 0.2
