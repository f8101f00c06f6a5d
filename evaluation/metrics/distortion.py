"""PSNR and SSIM, over RGB and over luma, of each sample and of the mean of the samples.

Measured on request, with `score --distortion`: SSIM takes longer than all other figures of a sample. SSIM is
scikit-image's with the window of Wang et al. ("Image Quality Assessment: From Error Visibility to Structural Similarity",
IEEE Transactions on Image Processing 13, 2004). Luma is that of MATLAB's `rgb2ycbcr`, from 16 to 235, unrounded.
"""

from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean
from typing import Any

import msgspec
import numpy as np

from ntire_sr.challenge.downscale import psnr_db
from ntire_sr.challenge.pixels import to_array
from ntire_sr.core.errors import ArgumentValueError
from ntire_sr.evaluation.metrics.base import ImageMetric, Reference, Sample
from ntire_sr.evaluation.metrics.declarations import Figure, Finite, NonNegative, Output, Values

WINDOW_PX = 11  # side of SSIM's window
LUMA = np.array([65.481, 128.553, 24.966]) / 255
LUMA_OFFSET = 16.0


class DistortionValues(Values, frozen=True, omit_defaults=True):
    """Squared errors in squared grey levels and SSIM in the record of an image; nothing if they were not requested."""

    rgb_mse: list[NonNegative] = msgspec.field(default_factory=list)  # of each sample
    luma_mse: list[NonNegative] = msgspec.field(default_factory=list)
    rgb_ssim: list[Finite] = msgspec.field(default_factory=list)
    luma_ssim: list[Finite] = msgspec.field(default_factory=list)
    rgb_mse_of_mean: NonNegative | None = None  # of the mean of the samples
    luma_mse_of_mean: NonNegative | None = None
    rgb_ssim_of_mean: Finite | None = None
    luma_ssim_of_mean: Finite | None = None


def luma(image: np.ndarray) -> np.ndarray:
    """Luma of MATLAB's `rgb2ycbcr`: (H, W, 3) in grey levels to (H, W), from 16 for black to 235 for white.

    >>> luma(np.full((1, 1, 3), 255.0)).round(3).tolist()
    [[235.0]]
    """
    return image @ LUMA + LUMA_OFFSET


def distortion(sr: np.ndarray, hr: np.ndarray) -> tuple[float, float]:
    """Mean squared error in squared grey levels (lower is better) and SSIM (1 is best) of two images.

    Args:
        sr, hr: (H, W, 3) or (H, W) of one size, in grey levels from 0 to 255, sides of 11 pixels or more.
    """
    from skimage.metrics import structural_similarity  # takes .3 s to import

    compute: Callable[..., Any] = structural_similarity  # scikit-image has no types
    ssim = compute(
        hr,
        sr,
        data_range=255,
        channel_axis=2 if hr.ndim == 3 else None,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(np.mean((sr - hr) ** 2)), float(ssim)


def _psnr_figures() -> tuple[Figure[DistortionValues], ...]:
    """PSNR and SSIM of RGB and luma: mean, best and worst of the samples, and of the mean of the samples."""
    figures = []
    for field, part, colours in (("rgb", "", "RGB"), ("luma", "_Y", "Y")):
        for name, values, convert, unit, digits in (
            ("PSNR", f"{field}_mse", psnr_db, "dB", 2),
            ("SSIM", f"{field}_ssim", float, "", 4),
        ):
            choices: tuple[tuple[str, str, Callable[[Sequence[float]], float]], ...] = (
                ("mean", "mean", fmean),
                ("best", "best sample of each image", max),
                ("worst", "worst sample of each image", min),
            )
            figure = partial(
                Figure[DistortionValues],
                unit=unit,
                direction="higher",
                digits=digits,
                values=DistortionValues,
                optional=True,
            )
            for suffix, text, choose in choices:
                figures.append(
                    figure(
                        name=f"{name}{part}_{suffix}",
                        label=f"{name} ({colours}), {text}",
                        compute_image=partial(_of_samples, values, convert, choose),
                        outputs=Output.TABLE | Output.IMAGES if suffix == "mean" else Output.TABLE,
                    )
                )
            figures.append(
                figure(
                    name=f"{name}{part}_of_mean",
                    label=f"{name} ({colours}) of the samples' mean",
                    compute_image=partial(_of_mean, f"{values}_of_mean", convert),
                    outputs=Output.TABLE,
                )
            )
    return tuple(figures)


def _of_samples(
    field: str,
    convert: Callable[[float], float],
    choose: Callable[[Sequence[float]], float],
    values: DistortionValues,
) -> float:
    measured = [convert(value) for value in getattr(values, field)]
    return choose(measured) if measured else float("nan")


def _of_mean(field: str, convert: Callable[[float], float], values: DistortionValues) -> float:
    measured = getattr(values, field)
    return float("nan") if measured is None else convert(measured)


class DistortionMetric(ImageMetric[DistortionValues]):
    """PSNR and SSIM of the samples of one image, if the reference asks for them.

    Args:
        reference: the HR image; `border_px` is the width of the border that is left out, None to measure nothing.

    Raises:
        ArgumentValueError: less than SSIM's window is left without the border.
    """

    values = DistortionValues
    figures = _psnr_figures()

    def __init__(self, reference: Reference):
        self.border = reference.border_px
        if self.border is None:
            return
        self.hr = self._inner(to_array(reference.hr))
        if min(self.hr.shape[:2]) < WINDOW_PX:
            raise ArgumentValueError(
                f"without a border of {self.border} pixels the image has {self.hr.shape[1]} x {self.hr.shape[0]}; "
                f"SSIM needs {WINDOW_PX}",
                "a smaller --border",
            )
        self.hr_luma = luma(self.hr)
        self.total = np.zeros_like(self.hr)
        self.measured: dict[str, list[float]] = {
            name: [] for name in ("rgb_mse", "rgb_ssim", "luma_mse", "luma_ssim")
        }

    def _inner(self, image: np.ndarray) -> np.ndarray:
        """The image without its border, float64."""
        height, width = image.shape[:2]
        border = self.border or 0
        return image[border : height - border, border : width - border].astype(np.float64)

    def update(self, sample: Sample) -> None:
        """Add one more sample."""
        if self.border is None:
            return
        image = self._inner(to_array(sample.sr))
        self.total += image
        for name, value in self._distortions(image).items():
            self.measured[name].append(value)

    def _distortions(self, image: np.ndarray) -> dict[str, float]:
        rgb_mse, rgb_ssim = distortion(image, self.hr)
        luma_mse, luma_ssim = distortion(luma(image), self.hr_luma)
        return {"rgb_mse": rgb_mse, "rgb_ssim": rgb_ssim, "luma_mse": luma_mse, "luma_ssim": luma_ssim}

    @classmethod
    def json_of_image(cls, values: DistortionValues) -> dict[str, Any]:
        """PSNR and SSIM of each sample and of the samples' mean; nothing if they were not requested."""
        if not values.rgb_mse:
            return {}
        return {
            "PSNR_of_samples": [psnr_db(error) for error in values.rgb_mse],
            "PSNR_Y_of_samples": [psnr_db(error) for error in values.luma_mse],
            "SSIM_of_samples": values.rgb_ssim,
            "SSIM_Y_of_samples": values.luma_ssim,
            **super().json_of_image(values),
        }

    def compute(self) -> DistortionValues:
        """The values of all samples so far, and of their mean."""
        if self.border is None:
            return DistortionValues()
        mean = self._distortions(self.total / len(self.measured["rgb_mse"]))
        of_mean = {f"{name}_of_mean": value for name, value in mean.items()}
        values: dict[str, Any] = {**self.measured, **of_mean}
        return DistortionValues(**values)
