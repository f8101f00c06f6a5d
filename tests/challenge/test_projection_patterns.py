"""Hostile patterns: every LR image that is the reduction of an 8-bit image gets 50 dB, from every start.

43 patterns x 2 scales x 2 sizes x 6 starting images: 1,032 cases.
"""

import pytest
import torch
from torch import Tensor

from ntire_sr.challenge.downscale import downscale_8bit
from ntire_sr.challenge.projection import bicubic_upsample, project_uint8

pytestmark = pytest.mark.numerical

HEIGHT, WIDTH = 96, 112
ROW, COLUMN = torch.arange(HEIGHT)[:, None], torch.arange(WIDTH)[None]


def black_and_white(white: Tensor) -> Tensor:
    """(H, W) or (1, 3, H, W) of truth values as an image of two levels."""
    return (white.expand(1, 3, HEIGHT, WIDTH) * 255).to(torch.uint8).contiguous()


def blocks(side: int, levels: int) -> Tensor:
    """Random blocks of 0 to 255 in equal levels; sides need not divide the scale."""
    coarse = torch.randint(0, levels, (1, 3, HEIGHT // side + 1, WIDTH // side + 1)) * 255 // (levels - 1)
    fine = coarse.repeat_interleave(side, 2).repeat_interleave(side, 3)
    return fine[:, :, :HEIGHT, :WIDTH].to(torch.uint8).contiguous()


PATTERNS = {
    **{
        f"checkerboard {n}": lambda n=n: black_and_white((ROW // n + COLUMN // n) % 2)
        for n in (1, 2, 3, 5, 6, 7, 9, 12)
    },
    **{f"stripes {n}": lambda n=n: black_and_white(ROW // n % 2) for n in (1, 2, 3, 5, 6, 7, 9, 12)},
    **{
        f"dots {share}": lambda share=share: black_and_white(torch.rand(1, 3, HEIGHT, WIDTH) < share)
        for share in (0.01, 0.05, 0.2, 0.5, 0.9, 0.99)
    },
    **{f"blocks {n}": lambda n=n: blocks(n, 2) for n in (2, 3, 4, 5, 6, 8, 12, 16)},
    **{f"three levels {n}": lambda n=n: blocks(n, 3) for n in (2, 3, 4, 5, 6, 8, 12, 16)},
    "white grid": lambda: black_and_white((ROW % 16 == 0) | (COLUMN % 16 == 0)),
    "black grid": lambda: black_and_white((ROW % 9 != 0) & (COLUMN % 7 != 0)),
    "disc": lambda: black_and_white((ROW - 48) ** 2 + (COLUMN - 50) ** 2 < 900),
    "diagonals": lambda: black_and_white((ROW + COLUMN) // 6 % 2),
    "zone plate": lambda: black_and_white(torch.sin((ROW**2 + COLUMN**2) / 60) > 0),
}
STARTS = {
    "bicubic": lambda base: base,
    "bicubic and noise": lambda base: base + 0.16 * torch.randn_like(base),
    "uniform noise": torch.rand_like,
    "binary noise": lambda base: (torch.rand_like(base) > 0.5).float(),
    "negative": lambda base: 1 - base,
    "grey": lambda base: torch.full_like(base, 0.5),
}


@pytest.mark.parametrize("scale", [4, 8])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_start_reaches_50_dB(pattern, scale):
    torch.manual_seed(7)
    hr = PATTERNS[pattern]()
    for rows in (HEIGHT, HEIGHT - scale):  # cut, the pattern meets the border at another phase
        lr = downscale_8bit(hr[:, :, :rows].contiguous(), scale)
        base = bicubic_upsample(lr / 255, scale)
        reached = {name: project_uint8(start(base), lr, scale).lr_psnr_db for name, start in STARTS.items()}
        assert min(reached.values()) >= 50, reached
