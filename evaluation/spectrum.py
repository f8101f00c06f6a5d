"""Log-spectral distance: whether an SR image has as much detail of each size as the HR image.

Luma is windowed, its power spectrum averaged over rings of equal frequency, and the rings compared in dB.
0 dB for the HR image itself; lower is better. Where the details lie does not count, so a sample is not
punished for differing from the HR image in texture, but for being smoother or noisier than it.

The band is 1/128 to 1/2 cycle per pixel in 63 rings: from waves of 128 pixels, under which an image holds
only its large shapes, to the finest that rows and columns can hold. Samples that agree with the LR image
differ from one another mainly above 1 / (2 scale).
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

RINGS = 64  # of 1/128 cycle per pixel each; the first, with the mean brightness, is left out
# Power, in squared grey levels, that rounding three independent channels to 8 bits gives to luma; what lies
# under it cannot be told from rounding, and is taken to be equal to it.
FLOOR = (0.299**2 + 0.587**2 + 0.114**2) / 12


def prepare(image: Tensor) -> Tensor:
    """The radially averaged power spectrum of an image's luma.

    The mean is taken off and a Hann window laid over the image, so that opposite borders, which do not
    fit together, add no power. White noise of deviation s has s**2 at each frequency.

    Args:
        image: (1, 3, H, W), uint8 RGB.

    Returns:
        (63,), float64, in dB of squared grey levels; nan for rings that hold no frequency of an image of this
        size (only sides under 128 pixels leave any out).
    """
    height, width = image.shape[2:]
    weights = torch.tensor((0.299, 0.587, 0.114), device=image.device)
    luma = torch.einsum("chw,c->hw", image[0].float(), weights)
    windows = [
        torch.hann_window(side + 2, periodic=False, device=image.device)[1:-1] for side in (height, width)
    ]
    window = windows[0][:, None] * windows[1]
    luma = (luma - (luma * window).sum() / window.sum()) * window
    power = torch.fft.rfft2(luma).abs().square().double() / window.square().sum().double()
    ring, count = _rings(height, width, image.device)
    total = torch.zeros(RINGS + 1, dtype=torch.float64, device=image.device)
    total.index_add_(0, ring, (power * _copies(width).to(power)).flatten())
    return 10 * (total / count)[1:RINGS].clamp(min=FLOOR).log10()


def log_spectral_distance(sr: Tensor, prepared: Tensor) -> float:
    """Root mean square difference in dB over the rings; 0 for the HR image itself, lower is better.

    nan where an image is too small to have any frequency in the band.

    Args:
        sr: (1, 3, H, W), uint8 RGB, of the HR image's size.
        prepared: of the HR image, from `prepare`.
    """
    difference = prepare(sr) - prepared
    known = difference[~difference.isnan()]
    return known.square().mean().sqrt().item() if len(known) else math.nan


def _copies(width: int) -> Tensor:
    """How often each column of a half spectrum stands in the whole one: (width // 2 + 1,)."""
    copies = torch.full((width // 2 + 1,), 2.0)
    copies[0] = 1
    if width % 2 == 0:
        copies[-1] = 1
    return copies


@lru_cache(maxsize=2)  # all samples of an image have one size
def _rings(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The ring of every place of the half spectrum, row by row, and the frequencies in each ring.

    Corners beyond 1/2 cycle per pixel are in a last ring of their own.
    """
    with torch.inference_mode(False):
        rows = torch.fft.fftfreq(height, device=device, dtype=torch.float64)
        columns = torch.fft.rfftfreq(width, device=device, dtype=torch.float64)
        frequency = (rows[:, None].square() + columns.square()).sqrt()
        ring = (frequency * 2 * RINGS).long().clamp(max=RINGS).flatten()
        copies = _copies(width).to(frequency).expand(height, -1).flatten()
        count = torch.zeros(RINGS + 1, dtype=torch.float64, device=device).index_add_(0, ring, copies)
        return ring, count
