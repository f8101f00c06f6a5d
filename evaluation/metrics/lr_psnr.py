"""LR-PSNR as the official script computes it, and a mean of it that stays finite.

The script crops HR to multiples of 8 (in both tracks), the SR image to the same window, and compares
their 8-bit downscales. It never reads an LR file. `challenge.downscale.lr_psnr_db` computes a single LR-PSNR.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from ntire_sr.challenge.downscale import (
    REQUIRED_DB,
    crop_size,
    downscale_8bit,
    lr_size,
    lr_squared_error,
    psnr_db,
)
from ntire_sr.evaluation.metrics.base import ImageMetric, Reference, Sample
from ntire_sr.evaluation.metrics.declarations import Figure, NonNegative, Output, Values


def official_crop(hr: Tensor) -> Tensor:
    """The top-left crop with sides that are multiples of 8: (1, 3, H, W) -> (1, 3, H // 8 * 8, W // 8 * 8)."""
    height, width = crop_size(*hr.shape[2:])
    return hr[:, :, :height, :width]


@dataclass
class LrErrors:
    """Squared LR errors of the samples of one image, in squared grey levels."""

    values: list[float]

    @property
    def worst_db(self) -> float:
        """LR-PSNR of the worst sample in dB, higher is better; nan without samples."""
        return psnr_db(max(self.values)) if self.values else math.nan

    @property
    def mean_db(self) -> float:
        """Mean LR-PSNR of the samples in dB; `inf` if a sample is exact, as in the official script."""
        return sum(psnr_db(value) for value in self.values) / len(self.values)

    @property
    def of_mean_error_db(self) -> float:
        """LR-PSNR of the mean error in dB, finite unless every sample is exact; nan without samples."""
        return psnr_db(sum(self.values) / len(self.values)) if self.values else math.nan

    @property
    def under_required(self) -> int:
        """Number of samples under 45 dB."""
        return sum(psnr_db(value) < REQUIRED_DB for value in self.values)


class LrValues(Values, frozen=True):
    """Squared LR errors in the record of an image, in squared grey levels."""

    lr_errors: list[NonNegative]  # of HR and SR cropped to multiples of 8, as officially
    lr_errors_uncropped: list[NonNegative]  # without the crop; empty if it removes nothing

    @property
    def errors(self) -> LrErrors:
        """The errors as officially measured."""
        return LrErrors(self.lr_errors)

    def check(self, samples: int) -> None:
        """Raise ValueError unless each sample has its error; without the crop some may lack it."""
        if len(self.lr_errors) != samples or len(self.lr_errors_uncropped) > samples:
            raise ValueError(f"lr_errors has {len(self.lr_errors)} values for {samples} samples")


def _pooled(images: Sequence[LrValues]) -> LrErrors:
    """The errors of all images."""
    return LrErrors([error for values in images for error in values.lr_errors])


def _pooled_uncropped(images: Sequence[LrValues]) -> LrErrors:
    return LrErrors([error for values in images for error in values.lr_errors_uncropped])


_figure = partial(Figure[LrValues], values=LrValues)
_figure_db = partial(_figure, unit="dB", direction="higher", digits=2)


class LrPsnrMetric(ImageMetric[LrValues]):
    """Squared LR errors of samples: of the official crop, and of the whole images if the crop removes pixels.

    Args:
        reference: the HR image with its official crop.
    """

    values = LrValues
    figures = (
        _figure_db(
            name="LRPSNR_mean",
            label="LR-PSNR, mean",
            short="LR-PSNR",
            compute_image=lambda values: values.errors.mean_db,
            outputs=~Output(0),
        ),
        _figure_db(
            name="LRPSNR_of_mean_error",
            label="LR-PSNR of the mean error",
            compute_images=lambda images: _pooled(images).of_mean_error_db,
            outputs=Output.TABLE,
        ),
        _figure_db(
            name="LRPSNR_worst",
            label="LR-PSNR, worst per image, mean",
            short="LR-PSNR worst",
            compute_image=lambda values: values.errors.worst_db,
            required=REQUIRED_DB,
            outputs=Output.TABLE | Output.IMAGES | Output.CSV,
        ),
        _figure_db(
            name="LRPSNR_worst_sample",
            label="LR-PSNR, worst single sample",
            short="worst LR-PSNR",
            required=REQUIRED_DB,
            compute_image=lambda values: values.errors.worst_db,
            compute_images=lambda images: _pooled(images).worst_db,
            outputs=Output.TABLE | Output.COMPARE,
        ),
        _figure(
            name="samples_under_45_dB",
            label=f"Samples under {REQUIRED_DB:.0f} dB",
            total="counted",
            direction="lower",
            digits=0,
            note="0 is required",
            compute_images=lambda images: _pooled(images).under_required,
            outputs=Output.TABLE,
        ),
        _figure(
            name="images_scored_uncropped",
            label="Images scored uncropped, too",
            direction=None,
            digits=0,
            compute_images=lambda images: (
                sum(bool(values.lr_errors_uncropped) for values in images) or math.nan
            ),
            optional=True,
            outputs=Output(0),
        ),
        _figure_db(
            name="LRPSNR_worst_sample_uncropped",
            label="LR-PSNR, worst single sample, uncropped ({images_scored_uncropped} images)",
            compute_images=lambda images: _pooled_uncropped(images).worst_db,
            optional=True,
            outputs=Output.TABLE,
        ),
        _figure_db(
            name="LRPSNR_of_mean_error_uncropped",
            label="LR-PSNR of the mean error, uncropped ({images_scored_uncropped} images)",
            compute_images=lambda images: _pooled_uncropped(images).of_mean_error_db,
            optional=True,
            outputs=Output.TABLE,
        ),
    )

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

    def compute(self) -> LrValues:
        """The squared LR errors of each sample, in squared grey levels."""
        return LrValues(lr_errors=self.errors, lr_errors_uncropped=self.errors_uncropped)

    @classmethod
    def json_of_image(cls, values: LrValues) -> dict[str, Any]:
        """LR-PSNR of the image and of each sample in dB."""
        uncropped = values.lr_errors_uncropped
        return {
            "LRPSNR_worst": values.errors.worst_db,
            "LRPSNR_mean": values.errors.mean_db,
            "LRPSNR_of_samples": [psnr_db(error) for error in values.lr_errors],
            "LRPSNR_of_mean_error": values.errors.of_mean_error_db,
            "LRPSNR_worst_uncropped": LrErrors(uncropped).worst_db if uncropped else None,
        }
