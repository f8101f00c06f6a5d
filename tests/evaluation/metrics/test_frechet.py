"""The Frechet distance of patch features."""

import math

import cv2
import numpy as np
import pytest
import torch
from conftest import photographs
from torch.nn import functional

from ntire_sr.challenge.pixels import to_tensor, to_unit
from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.pretrained import ALEXNET, load
from ntire_sr.evaluation.metrics.frechet import PatchStatistics, frechet_distance

pytestmark = pytest.mark.numerical


def of(*features: torch.Tensor) -> PatchStatistics:
    seen = PatchStatistics(features[0].shape[1])
    for maps in features:
        seen.update(maps)
    return seen


def of_patches(patches: list[list[float]]) -> PatchStatistics:
    """Patches (count, C) as maps of one pixel."""
    return of(torch.tensor(patches)[:, :, None, None])


def fifth(trunk: dict[str, torch.Tensor], image: np.ndarray) -> torch.Tensor:
    """Rectified outputs of AlexNet's fifth convolution, not normalised: (1, 256, h, w)."""
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)
    maps = (to_unit(to_tensor(image)) - mean) / deviation
    for index, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
        if index in (3, 6):
            maps = functional.max_pool2d(maps, 3, stride=2)
        weight, bias = trunk[f"features.{index}.weight"], trunk[f"features.{index}.bias"]
        maps = functional.conv2d(maps, weight, bias, stride, padding).relu_()
    return maps


def test_frechet_distance_has_the_hand_computed_value():
    # means (2, 0) and (5, 4): 9 + 16; deviations (sqrt(2), 0) and (sqrt(8), 0): (sqrt(8) - sqrt(2))**2 = 2
    sr, hr = of_patches([[1.0, 0.0], [3.0, 0.0]]), of_patches([[3.0, 4.0], [7.0, 4.0]])
    assert frechet_distance(sr, hr) == pytest.approx(27)


def test_frechet_distance_of_diagonal_gaussians_is_hand_computed():
    # corners of boxes around (0, 0) and (1, 1): variances 4/3 s**2; 1 + 1 + 4/3 ((3 - 1)**2 + (2 - 5)**2)
    box = [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]
    sr = of_patches([[3 * x, 2 * y] for x, y in box])
    hr = of_patches([[1 + x, 1 + 5 * y] for x, y in box])
    assert frechet_distance(sr, hr) == pytest.approx(2 + 4 / 3 * 13)


def test_frechet_distance_of_non_commuting_covariances_is_correct():
    sr, hr = (of(torch.randn(1, 5, 10, 10).mul(torch.arange(1, 6).view(1, 5, 1, 1))) for _ in range(2))
    hr = of(torch.einsum("ij,njhw->nihw", torch.randn(5, 5), torch.randn(1, 5, 10, 10)))
    root = torch.linalg.eigvals(sr.covariance @ hr.covariance).real.clamp(min=0).sqrt().sum()
    expected = (sr.mean - hr.mean).square().sum() + sr.covariance.trace() + hr.covariance.trace() - 2 * root
    assert frechet_distance(sr, hr) == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("patches", [7, 200])  # fewer and more than channels
def test_frechet_distance_is_0_for_equal_sets_and_symmetric(patches):
    sr, hr = (of(torch.rand(1, 32, 1, patches)) for _ in range(2))
    assert frechet_distance(sr, sr) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(sr, hr) > 0.01
    assert frechet_distance(sr, hr) == pytest.approx(frechet_distance(hr, sr), rel=1e-9)


def test_streaming_merging_and_saving_change_nothing():
    maps = torch.randn(6, 8, 5, 4)
    batch = of(maps)
    streamed = of(*maps.split(1))
    merged = of(maps[:2]) + of(maps[2:])
    saved = PatchStatistics.from_tensors(batch.to_tensors())
    patches = maps.movedim(1, 3).flatten(0, 2).double()
    assert torch.allclose(batch.covariance, torch.cov(patches.T))
    assert torch.allclose(batch.mean, patches.mean(0))
    for same in (streamed, merged, saved):
        assert same.count == 120
        assert torch.allclose(same.mean, batch.mean) and torch.allclose(same.covariance, batch.covariance)


def test_frechet_distance_is_accurate_with_a_large_offset():
    maps = torch.randn(2, 4, 30, 30)
    near, far = (frechet_distance(of(maps[:1] + x), of(2 * maps[1:] + x)) for x in (0, 1000))
    assert far == pytest.approx(near, rel=1e-3)


def test_fewer_than_2_patches_have_no_distance():
    two = of(torch.rand(1, 3, 1, 2))
    assert math.isnan(frechet_distance(two, PatchStatistics(3)))
    assert math.isnan(frechet_distance(of(torch.rand(1, 3, 1, 1)), two))


def test_statistics_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="3 and of 4 channels"):
        frechet_distance(of(torch.rand(1, 3, 2, 2)), of(torch.rand(1, 4, 2, 2)))
    tensors = of(torch.rand(1, 3, 2, 2)).to_tensors()
    for broken in ({}, {**tensors, "sum": torch.zeros(4)}, {**tensors, "more": torch.zeros(1)}):
        with pytest.raises(NtireSrError, match="patch statistics have the tensors"):
            PatchStatistics.from_tensors(broken)


def test_frechet_distance_grows_with_blur_and_noise(alexnet):
    trunk = load(ALEXNET, alexnet)
    images = [np.ascontiguousarray(image[:384, :384]) for image in photographs(every=8)]
    noises = [np.random.default_rng(0).standard_normal(image.shape) for image in images]
    hr = of(*(fifth(trunk, image) for image in images))
    assert frechet_distance(hr, hr) == pytest.approx(0, abs=1e-6)
    blurred, noisy = [], []
    for sigma in (0.7, 1, 1.5, 2, 3):
        blurred.append(of(*(fifth(trunk, cv2.GaussianBlur(image, (0, 0), sigma)) for image in images)))
    for sigma in (4, 8, 16, 32):
        noisy.append(
            of(
                *(
                    fifth(trunk, (image + sigma * noise).clip(0, 255).round().astype(np.uint8))
                    for image, noise in zip(images, noises, strict=True)
                )
            )
        )
    for worse in (blurred, noisy):
        distances = [frechet_distance(sr, hr) for sr in worse]
        assert distances[0] > 0 and distances == sorted(distances), distances
