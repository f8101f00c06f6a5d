"""Squared pixel errors of the samples of one image, as in the 2022 script, and the samples' spread.

Samples are not kept. All computations run in strips of rows that fit a CPU's cache.
"""

from functools import partial
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ntire_sr.evaluation.metrics.base import ImageMetric, Reference, Sample
from ntire_sr.evaluation.metrics.calibration import CALIBRATION, calibration_ratio, ratio_of_image
from ntire_sr.evaluation.metrics.declarations import Figure, NonNegative, Output, Values
from ntire_sr.evaluation.metrics.diversity import SCORE, RunningDiversity, columns_of_first, diversity_scores
from ntire_sr.evaluation.metrics.maps import shrink_map

WINDOW = 16  # side in pixels of the box that the 2022 script averages squared errors over
STRIP_ROWS = 64  # rows per strip


class PixelValues(Values, frozen=True):
    """Squared errors in the record of an image, in squared grey levels; lower is better."""

    mse: list[NonNegative]  # mean over boxes of 16 x 16 pixels of each sample
    mse_mosaics: list[NonNegative]  # the same of the best mosaic of the first 1, 2, ... samples
    pixel_distance: NonNegative  # mean (SR - HR)^2
    pixel_pairs: NonNegative | None  # mean (SR_i - SR_j)^2 over all pairs of samples; None for one sample

    @property
    def scores(self) -> list[float]:
        """S_1 ... S_n in per cent, higher is better."""
        return diversity_scores(self.mse, self.mse_mosaics)


_squared_error = partial(
    Figure[PixelValues], unit="grey levels²", direction="lower", digits=1, values=PixelValues
)


class PixelMetric(ImageMetric[PixelValues]):
    """Squared errors of samples, of their best mosaic, and between samples.

    Args:
        reference: the HR image.
    """

    values = PixelValues
    figures = (
        _squared_error(
            name="MSE_mean",
            label="MSE, mean",
            short="MSE",
            compute_image=lambda values: fmean(values.mse),
            instead_of="LPIPS_mean",
        ),
        _squared_error(
            name="MSE_best_sample",
            label="MSE, best sample of each image",
            compute_image=lambda values: min(values.mse),
            outputs=Output.TABLE,
        ),
        _squared_error(
            name="MSE_worst_sample",
            label="MSE, worst sample of each image",
            compute_image=lambda values: max(values.mse),
            outputs=Output.TABLE,
        ),
        Figure(
            name="MSE_score",
            label="Diversity S_{samples} (MSE)",
            short="S_{samples} (MSE)",
            **SCORE,
            values=PixelValues,
            compute_curve=lambda values: values.scores,
            curve="MSE_score",
            instead_of="score",
        ),
        Figure(
            name="r_pixels",
            label="Calibration r (pixels)",
            short="r (pixels)",
            values=PixelValues,
            **CALIBRATION,
            compute_images=lambda images: calibration_ratio(
                [values.pixel_pairs for values in images], [values.pixel_distance for values in images]
            ),
            instead_of="r_LPIPS",
            outputs=Output.TABLE | Output.COMPARE,
        ),
    )

    def __init__(self, reference: Reference):
        self.errors, self.diversity = PixelErrors(reference.hr), RunningDiversity()

    def update(self, sample: Sample) -> None:
        """Add one more sample."""
        self.diversity.update(box_mean(self.errors.update(sample.sr)))

    def compute(self) -> PixelValues:
        """Squared errors of each sample, of the best mosaics, and between samples; lower is better."""
        return PixelValues(
            mse=self.diversity.means,
            mse_mosaics=self.diversity.mosaics,
            pixel_distance=self.errors.mean_distance,
            pixel_pairs=self.errors.mean_pair_distance if self.errors.count > 1 else None,
        )

    def tensors(self) -> dict[str, Tensor]:
        """`deviation` (h, w) over the samples, in grey levels; nothing for one sample."""
        if self.errors.count < 2:
            return {}
        return {"deviation": shrink_map(self.errors.deviation()[None, None])[0, 0].half().cpu()}

    @classmethod
    def json_of_image(cls, values: PixelValues) -> dict[str, Any]:
        """MSE of the image and of each sample, S_1 ... S_n, and r."""
        return {
            "MSE_mean": fmean(values.mse),
            "MSE_score": values.scores[-1],
            "MSE_of_samples": values.mse,
            "MSE_scores": values.scores,
            "r_pixels": ratio_of_image(values.pixel_pairs, values.pixel_distance),
        }

    @classmethod
    def columns_of_first(cls, values: PixelValues, n: int) -> dict[str, float]:
        """Mean, best mosaic, difference and S_n of squared errors."""
        return columns_of_first("MSE", values.mse, values.mse_mosaics, n)


class PixelErrors:
    """Running sums of the pixel errors of samples that are added one by one and not kept.

    Args:
        hr: (1, 3, H, W), uint8.
    """

    def __init__(self, hr: Tensor):
        self.hr = _rows(hr)
        height, width = hr.shape[2:]
        self.count = 0
        self.total = torch.zeros(height, width * 3, device=hr.device)  # sum of differences, R G B R G B ...
        self.squares = torch.zeros(height, width, device=hr.device)  # sum of squares, mean over RGB

    def update(self, sr: Tensor) -> Tensor:
        """Add one more sample.

        Args:
            sr: (1, 3, H, W), uint8.

        Returns:
            The squared error of each pixel, mean over RGB: (H, W), in squared grey levels.
        """
        self.count += 1
        error = torch.empty_like(self.squares)
        strips = (_rows(sr), self.hr, self.total, self.squares, error)
        for sr_rows, hr_rows, total, squares, error_rows in zip(
            *(image.split(STRIP_ROWS) for image in strips), strict=True
        ):
            difference = sr_rows.float().sub_(hr_rows)
            total.add_(difference)
            red, green, blue = difference.square_().view(len(difference), -1, 3).unbind(2)
            torch.add(red, green, out=error_rows).add_(blue).div_(3)
            squares.add_(error_rows)
        return error

    @property
    def mean_distance(self) -> float:
        """Mean over samples and pixels of (SR - HR)^2, in squared grey levels."""
        return self.squares.mean(dtype=torch.float64).item() / self.count

    @property
    def mean_pair_distance(self) -> float:
        """Mean over all pairs of samples, and pixels, of (SR_i - SR_j)^2; nan for one sample.

        Running sums are enough: sum over pairs |x_i - x_j|^2 = n sum |x_i|^2 - |sum x_i|^2.
        """
        return float("nan") if self.count < 2 else 2 * self._variance().mean(dtype=torch.float64).item()

    def _variance(self) -> Tensor:
        """Unbiased variance over samples, mean over RGB: (H, W)."""
        mean_square = self.total.square().view(*self.squares.shape, 3).mean(2) / self.count
        return (self.squares - mean_square).clamp_(min=0) / (self.count - 1)

    def deviation(self) -> Tensor:
        """Standard deviation over samples, from the variance's mean over RGB: (H, W), in grey levels."""
        return self._variance().sqrt()


def _rows(image: Tensor) -> Tensor:
    """(1, 3, H, W) as (H, W * 3), R G B R G B ..."""
    return image[0].permute(1, 2, 0).reshape(image.shape[2], -1)


def box_mean(error: Tensor) -> Tensor:
    """The mean over boxes of 16 x 16 pixels, as the 2022 script computes it.

    Args:
        error: (H, W).

    Returns:
        (H + 15, W + 15), the 'full' convolution with zeros outside.
    """
    # sums of 2, 4, 8 and 16 neighbours, each computed from the one before, along rows and then along columns
    margin = WINDOW - 1
    padded = functional.pad(error, (margin,) * 4)
    means = error.new_empty(error.shape[0] + margin, error.shape[1] + margin)
    for first in range(0, len(means), STRIP_ROWS):
        strip = padded[first : first + STRIP_ROWS + margin]
        for step in (1, 2, 4, 8):
            strip = strip[:-step] + strip[step:]
        for step in (1, 2, 4, 8):
            strip = strip[:, :-step] + strip[:, step:]
        torch.div(strip, WINDOW**2, out=means[first : first + STRIP_ROWS])
    return means
