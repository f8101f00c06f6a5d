"""The challenge's downscale."""

import hashlib
import json
import math

import numpy as np
import pytest
import skimage.data
import torch

from ntire_sr.challenge.downscale import (
    downscale,
    downscale_8bit,
    downscale_matrix,
    lr_psnr_db,
    lr_squared_error,
    mirrored,
    psnr_db,
)
from ntire_sr.core.errors import ArgumentTypeError, ArgumentValueError

pytestmark = pytest.mark.numerical

NAMES = [f"{name}_x{scale}" for name in ("astronaut", "coffee", "chelsea", "rocket") for scale in (2, 3, 4, 8)]


@pytest.mark.parametrize("name", NAMES)
def test_downscale_8bit_has_the_digest_of_the_official_script(device, name, golden):
    expected = json.loads((golden / "downscale.json").read_text())[name]
    photograph, scale = name.split("_x")
    image = torch.from_numpy(getattr(skimage.data, photograph)()).permute(2, 0, 1)[None]
    reduced = downscale_8bit(image.to(device), int(scale))[0].cpu().permute(1, 2, 0).contiguous().numpy()
    assert list(reduced.shape) == expected["shape"]
    assert hashlib.sha256(reduced.tobytes()).hexdigest() == expected["sha256"]


def matlab_imresize(image: np.ndarray, scale: int) -> np.ndarray:
    """An independent referee: pixel by pixel from the definition, float64, rows first, 8 bits after each pass."""

    def cubic(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    def one_pass(lines: np.ndarray) -> np.ndarray:
        size = len(lines)
        out = np.zeros((math.ceil(size / scale), *lines.shape[1:]))
        for row in range(len(out)):
            centre = (row + 0.5) * scale - 0.5
            taps = range(math.floor(centre - 2 * scale), math.ceil(centre + 2 * scale) + 1)
            weights = [cubic((tap - centre) / scale) for tap in taps]
            for tap, weight in zip(taps, weights, strict=True):
                inside = tap % (2 * size)
                inside = inside if inside < size else 2 * size - 1 - inside
                out[row] += weight / sum(weights) * lines[inside]
        return np.clip(np.round(out), 0, 255)

    return one_pass(one_pass(image.astype(float)).transpose(1, 0, 2)).transpose(1, 0, 2).astype(np.uint8)


@pytest.mark.parametrize("scale", [4, 8])
@pytest.mark.parametrize("size", [(32, 40), (33, 47), (5, 9), (1, 64), (64, 1), (1, 1)])
def test_downscale_8bit_equals_a_reference_on_any_size(size, scale):
    image = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    expected = matlab_imresize(image[0].permute(1, 2, 0).numpy(), scale)
    downscaled = downscale_8bit(image, scale)[0].permute(1, 2, 0).numpy()
    # ties may fall to either side; the two differ by rounding only, and hardly ever
    assert downscaled.shape == expected.shape
    difference = np.abs(downscaled.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def test_saturated_edges_are_clipped_between_the_passes():
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    image[:, :, 8:20, 8:20] = 255
    expected = matlab_imresize(image[0].permute(1, 2, 0).numpy(), 4)
    assert np.array_equal(downscale_8bit(image, 4)[0].permute(1, 2, 0).numpy(), expected)


def test_bright_pixel_spreads_by_the_hand_computed_kernel():
    # centre of output 4 is at 17.5; input 17 is 0.5 / 4 = 0.125 kernel units away:
    # (1.5 * 0.125^3 - 2.5 * 0.125^2 + 1) / 4 = 0.96386719 / 4, and the weights sum to 1
    line = torch.zeros(1, 1, 40, 1, dtype=torch.float64)
    line[0, 0, 17] = 1
    assert downscale(line, 4)[0, 0, 4, 0].item() == pytest.approx(0.9638671875 / 4, abs=1e-9)


@pytest.mark.parametrize("scale", [4, 8])
def test_linear_downscale_equals_torch_bicubic_with_mirrored_borders(scale):
    image = torch.rand(2, 3, 48, 56, dtype=torch.float64)
    margin = 4 * scale
    rows, columns = (mirrored(side, margin, margin) for side in (48, 56))
    expected = torch.nn.functional.interpolate(
        image[:, :, rows][..., columns], scale_factor=1 / scale, mode="bicubic", antialias=True
    )[:, :, 4:-4, 4:-4]
    assert torch.allclose(downscale(image, scale), expected, atol=1e-12)
    assert torch.allclose(downscale_matrix(45, scale).sum(1), torch.ones(-(-45 // scale), dtype=torch.float64))


@pytest.mark.parametrize(("scale", "power"), [(4, 12), (8, 16)])
def test_downscale_weights_are_exact_in_float32(scale, power):
    whole = downscale_matrix(64, scale) * 2**power
    assert torch.equal(whole, whole.round())
    assert 128 * whole.abs().sum(1).max() < 2**24


def test_8bit_downscale_is_exact_in_autocast_and_any_matmul_precision():
    image = torch.randint(0, 256, (2, 3, 40, 48), dtype=torch.uint8)
    expected = downscale_8bit(image, 4)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(downscale_8bit(image, 4), expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_downscaled_batch_equals_its_images_one_by_one():
    batch = torch.randint(0, 256, (3, 3, 37, 70), dtype=torch.uint8)
    assert torch.equal(downscale_8bit(batch, 4), torch.cat([downscale_8bit(image[None], 4) for image in batch]))


def test_flat_image_stays_flat_up_to_the_border():
    flat = torch.full((1, 3, 21, 35), 77, dtype=torch.uint8)
    assert (downscale_8bit(flat, 4) == 77).all()


def test_mirrored_indices_are_correct_far_outside():
    assert mirrored(2, 3, 3).tolist() == [1, 1, 0, 0, 1, 1, 0, 0]


def test_psnr_of_one_grey_level_is_48_13_dB_and_of_equal_images_infinite():
    assert psnr_db(1.0) == pytest.approx(48.1308, abs=1e-4)
    image = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    lr = downscale_8bit(image, 4)
    assert lr_psnr_db(image, lr, 4) == math.inf
    off_by_one = torch.where(lr < 255, lr + 1, lr - 1)
    assert lr_psnr_db(image, off_by_one, 4) == pytest.approx(48.1308, abs=1e-4)


def test_8bit_downscale_refuses_float_images():
    with pytest.raises(ArgumentTypeError, match=r"a tensor \(1, 3, 16, 16\) of float32, not of uint8"):
        downscale_8bit(torch.rand(1, 3, 16, 16), 4)
    with pytest.raises(ArgumentValueError, match=r"a tensor \(16, 16, 3\) of uint8, not \(N, 3, H, W\)"):
        downscale_8bit(torch.zeros(16, 16, 3, dtype=torch.uint8), 4)


def test_lr_psnr_refuses_batches_and_float_images():
    hr = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    lr = downscale_8bit(hr, 4)
    assert lr_psnr_db(hr[:1], lr[:1], 4) == math.inf
    with pytest.raises(ArgumentValueError, match="not a single image"):
        lr_squared_error(hr, lr, 4)
    with pytest.raises(ArgumentTypeError, match="lr is a tensor"):
        lr_psnr_db(hr[:1], lr[:1] / 255, 4)
    with pytest.raises(ArgumentValueError, match=r"belongs to an lr of \(1, 3, 4, 4\)"):  # it was broadcast
        lr_psnr_db(hr[:1], lr[:1, :, :1, :1], 4)
