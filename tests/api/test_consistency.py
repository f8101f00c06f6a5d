"""Downscaling, LR-PSNR and the projection from Python."""

import math

import numpy as np
import pytest
import torch

from ntire_sr import downscale, lr_psnr, project, project_float
from ntire_sr.challenge.downscale import downscale_8bit, lr_psnr_db
from ntire_sr.challenge.pixels import to_array, to_tensor, to_unit
from ntire_sr.challenge.projection import project_uint8

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def hr(photograph) -> np.ndarray:
    return np.ascontiguousarray(photograph[:48, :64])


@pytest.fixture(scope="module")
def board() -> np.ndarray:
    """An LR image that no 8-bit image downscales to."""
    return np.repeat((np.indices((12, 16)).sum(0) % 2 * 255)[..., None], 3, 2).astype(np.uint8)


def check_gradient(function, image: torch.Tensor) -> None:
    """Compare the gradient with a difference, which is exact for affine functions: <J v, u> = <v, J^T u>.

    (gradcheck would need ten seconds for its imports alone.)"""
    image = image.clone().requires_grad_()
    before = function(image)
    step, weights = torch.rand_like(image) / 2, torch.rand_like(before)
    (gradient,) = torch.autograd.grad((before * weights).sum(), image)
    difference = function((image + step).detach()) - before
    assert gradient.abs().max() > 1e-3
    assert ((difference * weights).sum() - (gradient * step).sum()).abs() < 1e-10


@pytest.mark.parametrize("scale", [4, 8])
def test_downscale_of_8_bits_is_the_challenges_in_every_form(hr, scale):
    expected = to_array(downscale_8bit(to_tensor(hr), scale))
    assert np.array_equal(downscale(hr, scale), expected)
    assert np.array_equal(downscale(np.stack([hr, hr]), scale)[1], expected)
    assert torch.equal(downscale(to_tensor(hr), scale), to_tensor(expected))
    assert torch.equal(downscale(torch.from_numpy(hr), scale), torch.from_numpy(expected))


def test_downscale_of_float_is_linear_and_differentiable_for_any_range():
    hr = torch.rand(1, 3, 8, 12, dtype=torch.float64)
    check_gradient(lambda image: downscale(image, 4), hr)
    assert torch.allclose(downscale(2 * hr - 1, 4), 2 * downscale(hr, 4) - 1)


def test_lr_psnr_gives_a_figure_per_image_also_with_one_lr_image(hr):
    lr = downscale(hr, 4)
    samples = np.stack([hr, hr ^ 1, hr ^ 16])
    expected = [lr_psnr_db(to_tensor(sample), to_tensor(lr), 4) for sample in samples]
    decibels = lr_psnr(samples, lr, 4)
    assert decibels.tolist() == expected and decibels[0] == math.inf and decibels[1] > 45 > decibels[2]
    assert lr_psnr(samples, np.stack([lr] * 3), 4).tolist() == expected
    assert float(lr_psnr(samples[2], lr, 4)) == expected[2]
    tensors = torch.from_numpy(samples).permute(0, 3, 1, 2)
    assert lr_psnr(tensors, lr, 4).tolist() == lr_psnr(to_unit(tensors), lr, 4).tolist() == expected


def test_mismatched_images_are_refused_with_both_sizes(hr):
    with pytest.raises(
        ValueError, match=r"sr has 64 x 48 pixels and lr 16 x 12 pixels; at scale 8 .* has 8 x 6"
    ):
        lr_psnr(hr, downscale(hr, 4), 8)
    with pytest.raises(ValueError, match="sr has 2 images, lr 3"):
        project(np.stack([hr] * 2), np.stack([downscale(hr, 4)] * 3), 4)
    with pytest.raises(TypeError, match="scale is '4', no integer"):
        downscale(hr, "4")


def test_projection_equals_that_of_generate_in_every_form(hr):
    lr = downscale(hr, 4)
    rough = lr.repeat(4, axis=0).repeat(4, axis=1)
    expected = project_uint8(to_unit(to_tensor(rough)), to_tensor(lr), 4)
    image, db, reachable = project(rough, lr, 4)
    assert np.array_equal(image, to_array(expected.image)) and db == expected.lr_psnr_db >= 50 and reachable
    assert db == lr_psnr(image, lr, 4)
    # a float LR image is taken for what it is: the inner function once reported 56 dB where 5 was true
    unit, same_db, _ = project(to_unit(to_tensor(rough)), to_unit(to_tensor(lr)), 4)
    assert torch.equal(unit, expected.image) and same_db.tolist() == [db]


def test_project_reports_each_image_of_a_batch_separately(hr, board):
    lr = downscale(hr, 4)
    rough = lr.repeat(4, axis=0).repeat(4, axis=1)
    images, db, reachable = project(np.stack([rough, rough]), np.stack([lr, board]), 4)
    # once both had one pooled figure
    assert db.tolist() == [lr_psnr(images[0], lr, 4), lr_psnr(images[1], board, 4)]
    assert db[0] >= 50 and db[1] < 30 and reachable.tolist() == [True, False]
    assert np.array_equal(images[0], project(rough, lr, 4)[0])


def test_images_with_sides_that_are_no_multiples_are_projected(hr):
    cut = hr[:46, :61]
    lr = downscale(cut, 4)
    image, db, reachable = project(np.full_like(cut, 128), lr, 4)
    assert image.shape == cut.shape and lr.shape == (12, 16, 3) and db >= 45 and reachable


def test_float_projection_is_exact_with_correct_gradients():
    lr = torch.rand(1, 3, 2, 3, dtype=torch.float64)
    sr = torch.rand(2, 3, 8, 12, dtype=torch.float64)
    check_gradient(lambda image: project_float(image, lr, 4), sr)
    check_gradient(lambda image: project_float(sr, image, 4), lr / 2)  # with a step that stays in [0, 1]
    projected = project_float(sr, lr, 4)
    assert projected.shape == sr.shape and (downscale(projected, 4) - lr).abs().max() < 1e-12


def test_float_projection_takes_any_sr_range_and_8_bit_lr_images(hr):
    lr = downscale(hr, 4)
    sr = torch.rand(2, 3, 48, 64) * 3 - 1
    projected = project_float(sr.bfloat16(), lr, 4)
    assert projected.dtype == torch.float32
    assert (downscale(projected, 4) - to_unit(to_tensor(lr))).abs().max() < 1e-5
    with pytest.raises(TypeError, match=r"sr is of uint8; expected a tensor \(N, 3, H, W\) of float"):
        project_float(to_tensor(hr), lr, 4)
    with pytest.raises(ValueError, match=r"lr is .* with values from 0 to 255"):
        project_float(sr, torch.tensor([0.0, 255.0]).repeat(2, 3, 12, 8), 4)
