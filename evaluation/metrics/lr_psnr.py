"""LR-PSNR as the official script computes it, and a mean of it that stays finite.

The script crops HR to multiples of 8 (in both tracks), the SR image to the same window, and compares
their 8-bit downscales. It never reads an LR file.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ntire_sr.challenge.downscale import (
    CROP_MULTIPLE,
    REQUIRED_DB,
    downscale_8bit,
    lr_size,
    lr_squared_error,
    psnr_db,
)
from ntire_sr.evaluation.metrics.base import Reference, Sample


def official_crop(hr: Tensor) -> Tensor:
    """The top-left crop with sides that are multiples of 8: (1, 3, H, W) -> (1, 3, H // 8 * 8, W // 8 * 8)."""
    height, width = hr.shape[2:]
    return hr[:, :, : height // CROP_MULTIPLE * CROP_MULTIPLE, : width // CROP_MULTIPLE * CROP_MULTIPLE]


@dataclass
class LrErrors:
    """Squared LR errors of the samples of one image, in squared grey levels."""

    values: list[float]

    @property
    def worst_db(self) -> float:
        """LR-PSNR of the worst sample in dB, higher is better."""
        return psnr_db(max(self.values))

    @property
    def mean_db(self) -> float:
        """Mean LR-PSNR of the samples in dB; `inf` if a sample is exact, as in the official script."""
        return sum(psnr_db(value) for value in self.values) / len(self.values)

    @property
    def of_mean_error_db(self) -> float:
        """LR-PSNR of the mean error in dB, finite unless every sample is exact."""
        return psnr_db(sum(self.values) / len(self.values))

    @property
    def under_required(self) -> int:
        """Number of samples under 45 dB."""
        return sum(psnr_db(value) < REQUIRED_DB for value in self.values)


class LrMetrics:
    """Squared LR errors of samples: of the official crop, and of the whole images if the crop removes
    pixels. An `ImageMetric`.

    Args:
        reference: the HR image with its official crop.
    """

    def __init__(self, reference: Reference):
        hr, whole, self.scale = reference.hr, reference.whole, reference.scale
        self.lr = downscale_8bit(hr, self.scale)
        self.whole_lr = downscale_8bit(whole, self.scale) if hr.shape != whole.shape else None
        self.errors: list[float] = []
        self.errors_uncropped: list[float] = []

    def update(self, sample: Sample) -> None:
        """Add one more sample."""
        self.errors.append(lr_squared_error(sample.sr, self.lr, self.scale))
        if self.whole_lr is not None and [lr_size(side, self.scale) for side in sample.whole.shape[2:]] == list(
            self.whole_lr.shape[2:]
        ):
            self.errors_uncropped.append(lr_squared_error(sample.whole, self.whole_lr, self.scale))

    def compute(self) -> dict[str, Any]:
        """`lr_errors` and `lr_errors_uncropped` of each sample, in squared grey levels."""
        return {"lr_errors": self.errors, "lr_errors_uncropped": self.errors_uncropped}

    def tensors(self) -> dict[str, Tensor]:
        """No tensors are kept."""
        return {}
