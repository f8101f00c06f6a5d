"""Validation during training: metrics and a preview of samples of photographs that are not trained on."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ntire_sr.challenge.downscale import crop_size, downscale, downscale_8bit
from ntire_sr.challenge.pixels import to_8bit, to_array, to_tensor, to_unit
from ntire_sr.challenge.projection import project, project_uint8
from ntire_sr.core.device import full_float32
from ntire_sr.core.errors import UsageError
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.seeding import make_generator
from ntire_sr.data.patches import PatchDataset
from ntire_sr.data.photographs import VALIDATION_PHOTOGRAPHS, embedded_photographs
from ntire_sr.evaluation.metrics.base import Reference
from ntire_sr.evaluation.metrics.calibration import calibration_ratio
from ntire_sr.evaluation.metrics.lpips import LpipsMetric
from ntire_sr.evaluation.metrics.lpips_network import load_lpips
from ntire_sr.evaluation.metrics.pixels import PixelMetric
from ntire_sr.models.interfaces import Generator
from ntire_sr.samples.folders import list_images
from ntire_sr.samples.image_files import encode_png, read_image

IMAGES = 6  # number of validation photographs
SAMPLES = 4  # samples per photograph
SIDE = 192  # largest side of the centre crop of each photograph, in HR pixels
SHOWN = 4  # number of photographs in the preview
GAIN = 6  # factor on the standard deviation in the preview, so that it is visible


@dataclass(frozen=True)
class ValidationResult:
    """The result of one validation."""

    figures: dict[str, float]  # metrics by name, see `Validator.run`
    preview: np.ndarray  # (H, W, 3) uint8: a row per photograph, see `Validator.run`

    def png(self) -> bytes:
        return encode_png(self.preview)


class Validator:
    """Measures samples of centre crops of some photographs.

    The latents are always the same, so that validations differ by the weights alone.

    Args:
        hr: HR crops (1, 3, H, W), uint8.
        description: description of the photographs, for the user.
        scale: scale factor of the generator.
        device: the device to compute on.
    """

    def __init__(self, hr: list[Tensor], description: str, scale: int, device: torch.device):
        self.description, self.scale, self.device = description, scale, device
        self.hr = [crop.to(device) for crop in hr]
        self.lr = [downscale_8bit(crop, scale) for crop in self.hr]
        self.lpips = load_lpips(device=device)

    @torch.inference_mode()
    def run(self, generator: Generator) -> ValidationResult:
        """Draw SAMPLES samples of each crop and measure them.

        Returns:
            The metrics, as `ntire-sr score` measures them: `val_lpips` (lower is better), `val_s_4`
            (LPIPS diversity in per cent), `val_r` (calibration ratio of the spread, 1 is calibrated), diversity
            and ratio of the pixels, and LR-PSNR in dB: of the network's output, of its projection before
            rounding, and of the worst sample as it would be written. And the preview, with in each row the LR
            crop, two samples, GAIN times the standard deviation of all samples, and the HR crop.
        """
        errors: dict[str, list[float]] = {"network": [], "unrounded": []}
        by_image: dict[str, list[float]] = {}
        worst, rows = math.inf, []

        def note(**values: float) -> None:
            for name, value in values.items():
                by_image.setdefault(name, []).append(value)

        with full_float32(self.device):
            for number, (hr, lr) in enumerate(zip(self.hr, self.lr, strict=True)):
                unit = to_unit(lr)
                trunk = generator.trunk(unit)
                reference = Reference(hr, self.scale, self.lpips)
                pixel_metric = PixelMetric(reference)
                lpips_metric = LpipsMetric(reference)
                samples = []
                for index in range(SAMPLES):
                    drawn = generator.sample(
                        trunk, unit, generator.latents(unit, [make_generator(number, index)])
                    )
                    for name, image in (("network", drawn), ("unrounded", project(drawn, unit, self.scale))):
                        error = downscale(image, self.scale) - unit
                        errors[name].append(error.square().mean().item())
                    written = project_uint8(drawn, lr, self.scale)
                    worst = min(worst, written.lr_psnr_db)
                    sample = reference.sample(written.image)
                    pixel_metric.update(sample)
                    lpips_metric.update(sample)
                    samples.append(written.image)
                pixels = pixel_metric.compute()
                note(
                    s_mse=pixels.scores[-1],
                    pixel_pairs=pixels.pixel_pairs,
                    pixel_distance=pixels.pixel_distance,
                )
                lpips = lpips_metric.compute()
                note(lpips=float(np.mean(lpips.lpips)), s=lpips.scores[-1], pairs=lpips.lpips_pairs)
                if number < SHOWN:
                    rows.append(_row(lr, samples, hr, self.scale))
        figures: dict[str, float] = {}
        if "lpips" in by_image:
            figures["val_lpips"] = float(np.mean(by_image["lpips"]))
            figures[f"val_s_{SAMPLES}"] = float(np.mean(by_image["s"]))
            figures["val_r"] = calibration_ratio(by_image["pairs"], by_image["lpips"])
        figures[f"val_s_{SAMPLES}_mse"] = float(np.mean(by_image["s_mse"]))
        figures["val_r_pixels"] = calibration_ratio(by_image["pixel_pairs"], by_image["pixel_distance"])
        for name, squares in errors.items():
            figures[f"val_lr_psnr_{name}"] = -10 * math.log10(max(float(np.mean(squares)), 1e-20))
        figures["val_lr_psnr_worst"] = worst
        return ValidationResult(figures, np.concatenate(rows))


def _row(lr: Tensor, samples: list[Tensor], hr: Tensor, scale: int) -> np.ndarray:
    """One row of a preview: (SIDE, 5 * SIDE, 3) uint8, with crops smaller than SIDE padded with black."""
    spread = torch.stack([to_unit(sample) for sample in samples]).std(0) * GAIN
    large = lr.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    row = np.zeros((SIDE, 5 * SIDE, 3), np.uint8)
    for index, image in enumerate((large, samples[0], samples[1], to_8bit(spread), hr)):
        array = to_array(image)
        row[: array.shape[0], index * SIDE : index * SIDE + array.shape[1]] = array
    return row


def open_validator(
    choice: str | None, patches: PatchDataset, scale: int, device: torch.device, progress: Progress = SILENT
) -> Validator | None:
    """The validator for the setting `validation`, or None if there is to be no validation.

    Args:
        choice: the setting: a folder; `auto` for the photographs that are left out of training, or the
            embedded ones if none are; None for no validation.
        patches: the training images.
        scale: scale factor of the generator.
        device: the device to compute on.
        progress: receives messages about files of the folder that are passed over.

    Raises:
        UsageError: the folder is missing, or its images are too small.
    """
    if choice is None:
        return None
    if choice == "auto" and patches.left_out:
        images = [patches.images.read(number) for number in patches.left_out]
        description = f"{len(images)} photographs that are left out of training"
    elif choice == "auto":
        images = [read_image(path) for path in embedded_photographs(VALIDATION_PHOTOGRAPHS)]
        description = f"{len(images)} photographs embedded in scikit-image"
    else:
        paths = list_images(Path(choice), "validation", recursive=True, progress=progress)
        every = max(1.0, len(paths) / IMAGES)
        images = [read_image(paths[int(index * every)]) for index in range(min(IMAGES, len(paths)))]
        description = f"{len(images)} photographs of {choice}"
    hr = [_centre_crop(image) for image in images if min(image.shape[:2]) >= 8 * scale]
    if not hr:
        raise UsageError(f"no image in {choice} has {8 * scale} x {8 * scale} pixels", "validation=none")
    return Validator(hr, description, scale, device)


def _centre_crop(image: np.ndarray) -> Tensor:
    """The centre crop of an image: (1, 3, H, W) uint8, sides multiples of CROP_MULTIPLE and at most SIDE."""
    height, width = (min(SIDE, side) for side in crop_size(*image.shape[:2]))
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return to_tensor(image[top : top + height, left : left + width].copy())
