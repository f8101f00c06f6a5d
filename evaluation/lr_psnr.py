"""LR-PSNR as the official script takes it, and figures beside it that stay finite.

The script crops HR to multiples of 8 (in both tracks), the SR image to the same window, and compares
their 8-bit downscales. It never reads an LR file.
"""

from dataclasses import dataclass

from torch import Tensor

from ntire_sr.core.downscale import CROP_MULTIPLE, REQUIRED_DB, psnr_db


def official_crop(hr: Tensor) -> Tensor:
    """The top-left window whose sides are multiples of 8: (1, 3, H, W) -> (1, 3, H // 8 * 8, W // 8 * 8)."""
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
        """Mean of the samples' LR-PSNR: `inf` as soon as one sample is exact, as officially."""
        return sum(psnr_db(value) for value in self.values) / len(self.values)

    @property
    def of_mean_error_db(self) -> float:
        """LR-PSNR of the mean error: finite unless every sample is exact."""
        return psnr_db(sum(self.values) / len(self.values))

    @property
    def under_required(self) -> int:
        """Number of samples under 45 dB."""
        return sum(psnr_db(value) < REQUIRED_DB for value in self.values)
