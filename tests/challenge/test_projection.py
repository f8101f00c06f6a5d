"""LR consistency by construction."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from ntire_sr.challenge.downscale import downscale, downscale_8bit, lr_psnr_db
from ntire_sr.challenge.pixels import to_8bit, to_unit
from ntire_sr.challenge.projection import bicubic_upsample, is_feasible, project, project_uint8
from ntire_sr.core.errors import ArgumentTypeError, ArgumentValueError

pytestmark = pytest.mark.numerical


def blocks(side: int) -> Tensor:
    """Random black and white blocks, where bicubic overshoots everywhere and D clips it."""
    coarse = (torch.rand(1, 3, 96 // side, 128 // side) > 0.5).to(torch.uint8) * 255
    return coarse.repeat_interleave(side, 2).repeat_interleave(side, 3)


def text() -> Tensor:
    page = np.full((96, 192, 3), 255, np.uint8)
    for line in range(6):
        cv2.putText(
            page, f"line {line} of text", (0, 14 + 16 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0)
        )
    return torch.from_numpy(page).permute(2, 0, 1)[None]


def three_levels(side: int) -> Tensor:
    """Random blocks of black, grey and white whose sides divide neither scale."""
    coarse = torch.randint(0, 3, (1, 3, 96 // side + 1, 128 // side + 1)).mul(127).to(torch.uint8)
    return coarse.repeat_interleave(side, 2).repeat_interleave(side, 3)[:, :, :96, :128].contiguous()


HARD = {
    "uniform noise": lambda: torch.randint(0, 256, (1, 3, 96, 128), dtype=torch.uint8),
    "black and white noise": lambda: (torch.rand(1, 3, 96, 128) > 0.5).to(torch.uint8) * 255,
    "blocks of 4": lambda: blocks(4),
    "blocks of 8": lambda: blocks(8),
    "blocks of 5 in three levels": lambda: three_levels(5),
    "text": text,
    "all white": lambda: torch.full((1, 3, 40, 48), 255, dtype=torch.uint8),
}


@pytest.mark.parametrize("scale", [4, 8])
@pytest.mark.parametrize("size", [(8, 8), (5, 9), (16, 11)])
def test_projected_image_downscales_exactly_before_rounding(scale, size):
    sr, lr = torch.rand(2, 3, size[0] * scale, size[1] * scale), torch.rand(2, 3, *size)
    error = (downscale(project(sr, lr, scale), scale) - lr).square().mean()
    assert -10 * torch.log10(error) > 130


def test_projection_is_idempotent():
    sr, lr = torch.rand(1, 3, 48, 64), torch.rand(1, 3, 12, 16)
    once = project(sr, lr, 4)
    assert torch.allclose(project(once, lr, 4), once, atol=1e-5)


def test_the_projection_is_the_nearest_solution():
    sr, lr = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 8, 8)
    nearest = project(sr, lr, 4)
    another = project(sr + 0.1 * torch.randn_like(sr), lr, 4)
    # the way to the nearest solution is orthogonal to the set of solutions
    assert abs(((sr - nearest) * (another - nearest)).sum()) < 1e-3
    assert (sr - nearest).norm() < (sr - another).norm()


def test_projection_stays_float32_and_exact_under_autocast(device):
    sr, lr = torch.rand(1, 3, 32, 32).to(device), torch.rand(1, 3, 8, 8).to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        projected = project(sr.bfloat16(), lr, 4)
    assert projected.dtype == torch.float32
    assert (downscale(projected, 4) - lr).abs().max() < 1e-5


def test_gradients_of_the_projection_downscale_to_zero():
    sr = torch.rand(1, 3, 32, 32, requires_grad=True)
    project(sr, torch.rand(1, 3, 8, 8), 4).square().sum().backward()
    # what the projection fixes cannot be learned: the gradient reduces to nothing
    assert sr.grad is not None and sr.grad.abs().max() > 0.1
    assert downscale(sr.grad, 4).abs().max() < 1e-4


@pytest.mark.parametrize("start", ["bicubic", "bicubic and noise", "uniform noise", "binary noise"])
@pytest.mark.parametrize("scale", [4, 8])
@pytest.mark.parametrize("name", HARD)
def test_every_start_reaches_50_dB_for_feasible_lr_images(name, scale, start):
    torch.manual_seed(1)
    hr = HARD[name]()
    lr = downscale_8bit(hr, scale)
    base = bicubic_upsample(lr / 255, scale)
    sr = {
        "bicubic": base,
        "bicubic and noise": base + 0.16 * torch.randn_like(base),
        "uniform noise": torch.rand_like(base),
        "binary noise": (torch.rand_like(base) > 0.5).float(),
    }[start]
    result = project_uint8(sr, lr, scale)
    assert result.image.dtype == torch.uint8
    assert result.lr_psnr_db == lr_psnr_db(result.image, lr, scale)
    assert result.lr_psnr_db >= 50


def test_a_photograph_needs_four_rounds(device, photograph):
    hr = torch.from_numpy(photograph).permute(2, 0, 1)[None].to(device)
    lr = downscale_8bit(hr, 4)
    result = project_uint8(bicubic_upsample(lr / 255, 4) + 0.02 * torch.randn(1, 3, 96, 128).to(device), lr, 4)
    assert (result.rounds, result.lr_psnr_db > 50) == (4, True)


def test_projection_of_a_photograph_is_near_the_closest_solution(photograph):
    hr = torch.from_numpy(photograph).permute(2, 0, 1)[None]
    lr = downscale_8bit(hr, 4)
    nearest = to_8bit(project(hr / 255, lr / 255, 4))
    result = project_uint8(hr / 255, lr, 4)
    assert (result.image.int() - nearest.int()).abs().max() <= 1
    assert (result.image.float() - hr.float()).abs().mean() < 0.5


def test_projection_reaches_50_dB_where_plain_alternation_stalls():
    torch.manual_seed(2)
    lr = downscale_8bit(blocks(4), 4)
    start = torch.rand(1, 3, 96, 128)
    plain = start
    for _ in range(256):
        plain = project(plain, lr / 255, 4).clamp(0, 1)
    assert lr_psnr_db(to_8bit(plain), lr, 4) < 50
    assert project_uint8(start, lr, 4, max_rounds=256).lr_psnr_db >= 50


def test_infeasible_lr_image_is_detected():
    pixels = (torch.arange(16)[:, None] + torch.arange(20)) % 2 * 255
    checkerboard = pixels.to(torch.uint8).expand(1, 3, 16, 20).contiguous()
    reachable, best = is_feasible(checkerboard, 4)
    assert not reachable
    assert 5 < best < 20


def test_projection_returns_the_best_image_if_it_misses_the_target():
    lr = (torch.rand(1, 3, 8, 8) > 0.5).to(torch.uint8) * 255
    few, many = (project_uint8(torch.rand(1, 3, 32, 32), lr, 4, max_rounds=n) for n in (2, 64))
    assert few.lr_psnr_db <= many.lr_psnr_db < 50
    assert many.lr_psnr_db == lr_psnr_db(many.image, lr, 4)


def test_matrices_cached_in_inference_mode_work_in_training():
    size = 4 * 13  # a size that no other test uses, so that the matrices are made here
    with torch.inference_mode():
        project_uint8(
            torch.rand(1, 3, size, size), torch.zeros(1, 3, 13, 13, dtype=torch.uint8), 4, max_rounds=1
        )
    sr = torch.rand(1, 3, size, size, requires_grad=True)
    project(sr, torch.rand(1, 3, 13, 13), 4).sum().backward()
    assert sr.grad is not None


def test_projection_uses_full_float32_at_any_caller_setting(
    monkeypatch,
):
    seen = []
    plain = Tensor.__matmul__

    def watched(self, factor):
        seen.append(torch.get_float32_matmul_precision())
        return plain(self, factor)

    monkeypatch.setattr(Tensor, "__matmul__", watched)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        project(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 8, 8), 4)
        project_uint8(torch.rand(1, 3, 32, 32), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), 4, max_rounds=1)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert len(seen) == 9 and set(seen) == {"highest"}


def test_projection_refuses_float_lr_images():
    hr = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    lr = downscale_8bit(hr, 4)
    assert project_uint8(to_unit(hr), lr, 4).lr_psnr_db >= 50
    with pytest.raises(ArgumentTypeError, match=r"lr is a tensor \(1, 3, 8, 8\) of float32, not of uint8"):
        project_uint8(to_unit(hr), to_unit(lr), 4)
    with pytest.raises(ArgumentTypeError, match=r"sr is a tensor \(1, 3, 32, 32\) of uint8, not floating"):
        project_uint8(hr, lr, 4)
    with pytest.raises(ArgumentTypeError, match="lr is a tensor"):
        project(to_unit(hr), lr, 4)


def test_project_uint8_refuses_batches():
    hr = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with pytest.raises(
        ArgumentValueError, match=r"sr is a tensor \(2, 3, 32, 32\) of float32, not a single image"
    ):
        project_uint8(to_unit(hr), downscale_8bit(hr, 4), 4)
    with pytest.raises(ArgumentValueError, match=r"at scale 8 such an sr belongs to an lr of \(2, 3, 4, 4\)"):
        project(to_unit(hr), to_unit(downscale_8bit(hr, 4)), 8)


def test_projection_of_float64_returns_float64():
    sr = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    lr = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    projected = project(sr, lr, 4)
    assert projected.dtype == torch.float64
    assert (downscale(projected, 4) - lr).abs().max() < 1e-13
