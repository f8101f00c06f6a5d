"""The log-spectral distance."""

import math

import cv2
import numpy as np
import pytest
import torch
from conftest import photographs

from ntire_sr.challenge.pixels import to_tensor
from ntire_sr.evaluation.metrics.spectrum import FLOOR, log_spectral_distance, prepare

pytestmark = pytest.mark.numerical


@pytest.mark.parametrize(("factor", "decibel"), [(0.5, 6.0206), (0.25, 12.0412)])
def test_half_contrast_is_6_dB_away(factor, decibel):
    # 20 log10 2 = 6.0206 at each frequency, whatever the brightness that is added
    hr = 16 * torch.randint(0, 16, (1, 3, 160, 224)).to(torch.uint8)
    sr = (hr.double() * factor + 7).to(torch.uint8)
    assert log_spectral_distance(sr, prepare(hr)) == pytest.approx(decibel, abs=1e-4)
    assert log_spectral_distance(hr, prepare(sr)) == pytest.approx(decibel, abs=1e-4)


def test_white_noise_has_its_variance_at_every_frequency():
    noise = (128 + 20 * torch.randn(1, 1, 512, 512)).round().clamp(0, 255).to(torch.uint8).expand(1, 3, -1, -1)
    # 10 log10 20**2 = 26.02; a ring holds at least a dozen frequencies, most hold thousands
    assert prepare(noise).mean().item() == pytest.approx(26.02, abs=0.1)
    assert prepare(noise)[20:].sub(26.02).abs().max() < 0.5


def test_sine_wave_has_its_power_in_its_frequency_ring():
    # 32.5 waves on 256 pixels are 16.25 / 128 cycle per pixel
    x = (128 + 100 * torch.cos(2 * math.pi * 32.5 * torch.arange(256) / 256)).round().to(torch.uint8)
    spectrum = prepare(x.expand(1, 3, 256, 256))
    assert spectrum.argmax().item() == 16 - 1  # the first ring is left out
    assert prepare(x[:, None].expand(1, 3, 256, 256)).argmax().item() == 16 - 1


def test_a_flat_image_has_the_power_of_rounding():
    flat = torch.full((1, 3, 130, 150), 99, dtype=torch.uint8)
    assert torch.allclose(prepare(flat), torch.full((63,), 10 * math.log10(FLOOR), dtype=torch.float64))


def test_hr_image_and_its_flips_have_distance_0(photograph):
    hr = to_tensor(photograph)
    prepared = prepare(hr)
    assert log_spectral_distance(hr, prepared) == 0
    assert log_spectral_distance(hr.flip(2), prepared) < 1e-3
    assert log_spectral_distance(hr.flip(3), prepared) < 1e-3


def test_more_blur_and_more_noise_are_further_from_every_photograph():
    for image in photographs():
        prepared = prepare(to_tensor(image))
        noise = np.random.default_rng(0).standard_normal(image.shape)
        blurred = [cv2.GaussianBlur(image, (0, 0), s) for s in (0.5, 0.7, 1, 1.5, 2)]
        noisy = [(image + s * noise).clip(0, 255).round().astype(np.uint8) for s in (2, 4, 8, 16, 32)]
        for worse in (blurred, noisy):
            distances = [log_spectral_distance(to_tensor(sr), prepared) for sr in worse]
            assert distances[0] > 0 and distances == sorted(distances), distances


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 31), (8, 200)])
def test_small_images_have_a_number_or_nan_and_no_error(size):
    image = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    value = log_spectral_distance(image, prepare(image))
    assert value == 0 or math.isnan(value)
    assert math.isnan(value) == (size == (1, 1))
