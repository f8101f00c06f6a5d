"""Log-spectral distance: how far the amount of detail at each frequency differs from the HR image's.

Luma is windowed, its power spectrum is averaged over rings of equal frequency, and the rings are compared in
dB. The distance is 0 dB for the HR image itself; lower is better. The location of details does not matter, so
a sample is not penalised for a texture that differs from the HR image's, but for being smoother or noisier.

The band is 1/128 to 1/2 cycle per pixel in 63 rings: from wavelengths of 128 pixels, beyond which there are
only large shapes, to the Nyquist frequency of rows and columns. Samples that agree with the LR image differ
from one another mainly above 1 / (2 scale).
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from ntire_sr.challenge.pixels import in_planes
from ntire_sr.evaluation.metrics.base import LoadedMetric, QualityMetric

RINGS = 64  # rings of 1/128 cycle per pixel each; the first, with the mean brightness, is left out
# Power of luma, in squared grey levels, that results from rounding three independent channels to 8 bits. Lower
# power cannot be told from rounding, and is raised to this value.
FLOOR = (0.299**2 + 0.587**2 + 0.114**2) / 12


def prepare(image: Tensor) -> Tensor:
    """The radially averaged power spectrum of an image's luma.

    The mean is subtracted and a Hann window applied, so that the jumps between opposite borders add no power.
    White noise of standard deviation s has s**2 at each frequency.

    Args:
        image: (1, 3, H, W), uint8 RGB.

    Returns:
        (63,), float64, in dB of squared grey levels; nan for rings without a frequency of an image of this
        size, which happens only with sides under 128 pixels.
    """
    height, width = image.shape[2:]
    weights = torch.tensor((0.299, 0.587, 0.114), device=image.device)
    luma = torch.einsum("chw,c->hw", in_planes(image)[0].float(), weights)
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
    """Root mean square difference over the rings in dB; 0 for the HR image itself, lower is better.

    It is nan if the image is too small to have a frequency in the band.

    Args:
        sr: (1, 3, H, W), uint8 RGB, of the HR image's size.
        prepared: result of `prepare` for the HR image.
    """
    difference = prepare(sr) - prepared
    defined = difference[~difference.isnan()]
    return defined.square().mean().sqrt().item() if len(defined) else math.nan


def _copies(width: int) -> Tensor:
    """How often each column of a half spectrum occurs in the full one: (width // 2 + 1,)."""
    copies = torch.full((width // 2 + 1,), 2.0)
    copies[0] = 1
    if width % 2 == 0:
        copies[-1] = 1
    return copies


@lru_cache(maxsize=2)  # all samples of an image have one size
def _rings(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The ring index of each entry of the half spectrum, row by row, and the number of frequencies per ring.

    Corners beyond 1/2 cycle per pixel form the last ring.
    """
    with torch.inference_mode(False):
        rows = torch.fft.fftfreq(height, device=device, dtype=torch.float64)
        columns = torch.fft.rfftfreq(width, device=device, dtype=torch.float64)
        frequency = (rows[:, None].square() + columns.square()).sqrt()
        ring = (frequency * 2 * RINGS).long().clamp(max=RINGS).flatten()
        copies = _copies(width).to(frequency).expand(height, -1).flatten()
        count = torch.zeros(RINGS + 1, dtype=torch.float64, device=device).index_add_(0, ring, copies)
        return ring, count


LOG_SPECTRAL = QualityMetric(
    name="log-spectral",
    label="Log-spectral distance",
    unit="dB",
    direction="lower",
    needs_reference=True,
    load=lambda device, niqe_model: LoadedMetric("1", log_spectral_distance, prepare),
)
