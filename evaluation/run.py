"""`ntire-sr score`: the official columns for a folder of samples, and figures beside them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ntire_sr.errors import Failure, Problems
from ntire_sr.evaluation.consistency import LrErrors, official_crop
from ntire_sr.evaluation.diversity import RunningDiversity, mse_map
from ntire_sr.evaluation.lpips import SMALLEST_PX, Lpips
from ntire_sr.files import make_folder, write_json, write_whole
from ntire_sr.images import png_header, read_image, to_tensor, to_unit
from ntire_sr.layout import SampleName, list_images, list_samples, same_image
from ntire_sr.manifest import Manifest
from ntire_sr.resize import CROP_MULTIPLE, REQUIRED_DB, downscale_8bit, lr_size, lr_squared_error

OFFICIAL_COLUMNS = ("LPIPS_mean", "LRPSNR_worst", "LRPSNR_mean", "score")


@dataclass(frozen=True)
class ImageScore:
    """What was measured of one image. dB and S_n: higher is better; distances: lower is better."""

    name: str
    lpips_mean: float  # nan: without LPIPS
    lpips_diversity: float  # S_n in per cent; nan: without LPIPS
    mse_mean: float  # squared grey levels, on 16 x 16 boxes
    mse_diversity: float  # S_n of these, in per cent
    lr: LrErrors  # official: HR and SR cropped to multiples of 8
    lr_uncropped: LrErrors | None  # of the whole images; none where the crop takes nothing away

    @property
    def official(self) -> dict[str, float]:
        return {
            "LPIPS_mean": self.lpips_mean,
            "LRPSNR_worst": self.lr.worst_db,
            "LRPSNR_mean": self.lr.mean_db,
            "score": self.lpips_diversity,
        }


@dataclass(frozen=True)
class Score:
    """The whole measurement."""

    images: list[ImageScore]
    samples: int
    scale: int

    @property
    def official(self) -> pd.DataFrame:
        """The official table, a row per image."""
        return pd.DataFrame([image.official for image in self.images], columns=list(OFFICIAL_COLUMNS))

    @property
    def passes(self) -> bool:
        """Whether every single sample has 45 dB or more, officially measured."""
        return self.under_required == 0

    @property
    def under_required(self) -> int:
        return sum(image.lr.under_required for image in self.images)

    def summary(self) -> dict[str, Any]:
        """The means over images, and the finite figures beside the official ones, by name."""
        official = {name: _mean(list(self.official[name])) for name in OFFICIAL_COLUMNS}
        every = LrErrors([value for image in self.images for value in image.lr.values])
        summary: dict[str, Any] = {
            "images": len(self.images),
            "samples": self.samples,
            "scale": self.scale,
            **official,
            "LRPSNR_worst_sample": every.worst_db,
            "LRPSNR_of_mean_error": every.of_mean_error_db,
            "samples_under_45_dB": self.under_required,
            "passes": self.passes,
            "MSE_mean": _mean([image.mse_mean for image in self.images]),
            "MSE_score": _mean([image.mse_diversity for image in self.images]),
        }
        uncropped = [
            value for image in self.images if image.lr_uncropped for value in image.lr_uncropped.values
        ]
        if uncropped:
            whole = LrErrors(uncropped)
            summary["images_scored_uncropped"] = sum(image.lr_uncropped is not None for image in self.images)
            summary["LRPSNR_worst_sample_uncropped"] = whole.worst_db
            summary["LRPSNR_of_mean_error_uncropped"] = whole.of_mean_error_db
        return summary


def _mean(values: list[float]) -> float:
    """The mean as pandas takes it, and so the official tables: what is undefined does not count."""
    with np.errstate(invalid="ignore"):
        return float(pd.Series(values, dtype=float).mean())


def find_pairs(
    hr: Path, sr: Path, samples: int, scale: int, manifest: Manifest | None
) -> list[tuple[Path, list[Path]]]:
    """Each HR image with its samples in order.

    Raises:
        Problems: every missing, additional, misnamed, wrong-sized or wrongly coded file, at once.
    """
    paths = list_images(hr, "HR")
    found, strangers = list_samples(sr)
    problems = [f"{name} is no sample's name" for name in strangers]
    wanted = {SampleName(index, k) for index in range(len(paths)) for k in range(samples)}
    for index, path in enumerate(paths):
        missing = [k for k in range(samples) if SampleName(index, k) not in found]
        if missing:
            problems.append(
                f"{path.name} (index {index}): {len(missing)} of {samples} samples are missing: {shorten(missing)}"
            )
        if manifest and index < len(manifest.images):
            drawn_from = Path(manifest.images[index].name)
            if not same_image(drawn_from, path):
                problems.append(
                    f"{path.name} stands at index {index}, where the samples were drawn from {drawn_from.name}"
                )
    # as in the official script, the first samples count where there are more
    beyond = sorted(name for name in found if name.index >= len(paths))
    if beyond:
        problems.append(f"{len(beyond)} samples without an HR image: {shorten(beyond)}")
    for index, path in enumerate(paths):
        there = [found[name] for name in sorted(wanted & found.keys()) if name.index == index]
        problems += _size_problems(path, there, scale)
    if problems:
        raise Problems(
            f"scoring {sr} against {hr}", problems, "draw the samples again, or set --samples to what is there"
        )
    return [(path, [found[SampleName(index, k)] for k in range(samples)]) for index, path in enumerate(paths)]


def shorten(items: list[Any], most: int = 5) -> str:
    """The first few items of a list, and how many more there are.

    >>> shorten([1, 2, 3], most=2)
    '1, 2 and 1 more'
    """
    shown = ", ".join(map(str, items[:most]))
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"


def _size_problems(hr: Path, samples: list[Path], scale: int) -> list[str]:
    try:
        height, width = read_image(hr).shape[:2]
    except Failure as failure:
        return [failure.message]
    least = (height // CROP_MULTIPLE * CROP_MULTIPLE, width // CROP_MULTIPLE * CROP_MULTIPLE)
    if min(least) < SMALLEST_PX:
        return [
            f"{hr.name} has {width} x {height} pixels; LPIPS needs {SMALLEST_PX} after the crop to multiples of 8"
        ]
    most = (lr_size(height, scale) * scale, lr_size(width, scale) * scale)
    problems = []
    for path in samples:
        try:
            header = png_header(path)
        except Failure as failure:
            problems.append(failure.message)
            continue
        if not header.is_8bit_rgb:
            problems.append(f"{path.name} is {header.mode}, not 8-bit RGB")
        if not (least[0] <= header.height <= most[0] and least[1] <= header.width <= most[1]):
            problems.append(
                f"{path.name} has {header.width} x {header.height} pixels; {hr.name} ({width} x {height}) asks for "
                f"{least[1]} x {least[0]}" + (f" to {most[1]} x {most[0]}" if most != least else "")
            )
    return problems


@torch.inference_mode()
def score_image(
    hr: Path, samples: list[Path], scale: int, lpips: Lpips | None, device: torch.device
) -> ImageScore:
    """Measure all samples of one image; each is read once, and none is kept."""
    whole_hr = to_tensor(read_image(hr)).to(device)
    target = official_crop(whole_hr)
    height, width = target.shape[2:]
    touched = target.shape != whole_hr.shape
    lr, whole_lr = downscale_8bit(target, scale), downscale_8bit(whole_hr, scale)
    features = lpips.features(to_unit(target)) if lpips else None
    perceptual, pixels = RunningDiversity(), RunningDiversity()
    errors, whole_errors = [], []
    for path in samples:
        whole_sr = to_tensor(read_image(path)).to(device)
        sr = whole_sr[:, :, :height, :width]
        if lpips and features:
            perceptual.add(lpips.map_between(features, lpips.features(to_unit(sr)), (height, width)))
        pixels.add(mse_map(sr, target))
        errors.append(lr_squared_error(sr, lr, scale))
        if touched and [lr_size(side, scale) for side in whole_sr.shape[2:]] == list(whole_lr.shape[2:]):
            whole_errors.append(lr_squared_error(whole_sr, whole_lr, scale))
    return ImageScore(
        name=hr.name,
        lpips_mean=perceptual.mean if lpips else math.nan,
        lpips_diversity=perceptual.score if lpips else math.nan,
        mse_mean=pixels.mean,
        mse_diversity=pixels.score,
        lr=LrErrors(errors),
        lr_uncropped=LrErrors(whole_errors) if whole_errors else None,
    )


def score_folder(
    pairs: list[tuple[Path, list[Path]]],
    scale: int,
    lpips: Lpips | None,
    device: torch.device,
    done: Callable[[int], None] | None = None,
) -> Score:
    """Measure every image; `done` is called with the number of images measured.

    Raises:
        Problems: all files that could not be decoded.
    """
    images, problems = [], []
    for count, (hr, samples) in enumerate(pairs, start=1):
        try:
            images.append(score_image(hr, samples, scale, lpips, device))
        except Failure as failure:
            problems.append(failure.message)
        if done:
            done(count)
    if problems:
        raise Problems("scoring", problems, "draw these samples again")
    return Score(images, len(pairs[0][1]), scale)


def write_score(score: Score, out: Path) -> None:
    """Write `measure.csv` and `measure_mean.csv` as the official script does, and `score.json`."""
    make_folder(out)
    with np.errstate(invalid="ignore"):
        write_whole(out / "measure.csv", score.official.to_csv())
        write_whole(out / "measure_mean.csv", score.official.mean().to_csv())
    rows = [
        {
            "name": image.name,
            **image.official,
            "LRPSNR_of_mean_error": image.lr.of_mean_error_db,
            "LRPSNR_worst_uncropped": image.lr_uncropped.worst_db if image.lr_uncropped else None,
            "MSE_mean": image.mse_mean,
            "MSE_score": image.mse_diversity,
        }
        for image in score.images
    ]
    write_json(out / "score.json", {"required_db": REQUIRED_DB, "summary": score.summary(), "images": rows})
