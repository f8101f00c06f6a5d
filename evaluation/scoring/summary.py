"""The score of all images: the official tables, further values, and one JSON file for scripts."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from ntire_sr._version import __version__
from ntire_sr.challenge.downscale import REQUIRED_DB
from ntire_sr.challenge.published import CAVEAT, Standing, standing
from ntire_sr.core.files import atomic_write, make_folder, write_json
from ntire_sr.evaluation.metrics.calibration import calibration_ratio
from ntire_sr.evaluation.metrics.lr_psnr import LrErrors
from ntire_sr.evaluation.scoring.opinion import MethodOpinion, Opinions
from ntire_sr.evaluation.scoring.records import VERSION, ImageScore

OFFICIAL_COLUMNS = ("LPIPS_mean", "LRPSNR_worst", "LRPSNR_mean", "score")
CHALLENGE_SAMPLES = 10  # samples per image, on which the published table is ranked


@dataclass(frozen=True)
class Origin:
    """What a score was measured on and with. Whoever reads it back, as `compare` does, can check all of it."""

    hr: str  # folder of the HR images, relative to the score's where possible
    sr: str  # folder of the samples, relative to the score's where possible
    measured_with: dict[str, Any]  # see `scorer.Scorer.measured_with`
    keys: dict[int, str]  # index of an image -> key of its record
    digests: dict[int, tuple[str, ...]]  # index of an image -> SHA-256 of its HR file and of each sample


@dataclass(frozen=True)
class ScoreSummary:
    """The score of a folder of samples."""

    images: list[ImageScore]
    samples: int  # requested samples per image
    scale: int
    realism: tuple[str, ...] = ()  # names of the proxies that were measured
    data_set: dict[str, float] = field(default_factory=dict)  # values of proxies of the whole data set
    missing: list[str] = field(default_factory=list)  # descriptions of the samples that were left out
    missing_samples: int = 0
    missing_images: int = 0
    samples_sha256: str = ""  # over all sample files, see `files.sha256_of_digests`
    origin: Origin | None = None  # None for a summary that is not of a whole folder
    opinions: Opinions | None = None  # results of a study with people
    opinion: MethodOpinion | None = None  # what they say about these samples

    @property
    def complete(self) -> bool:
        return not self.missing

    @property
    def with_lpips(self) -> bool:
        return bool(self.images[0].lpips)

    @property
    def counted(self) -> int:
        """Number of samples that were measured."""
        return sum(len(image.numbers) for image in self.images)

    @property
    def under_required(self) -> int:
        """Number of samples under 45 dB, measured as officially."""
        return sum(image.lr.under_required for image in self.images)

    @property
    def passes(self) -> bool:
        """Whether every single sample has 45 dB or more, measured as officially."""
        return self.under_required == 0

    def table(self) -> pd.DataFrame:
        """`measure.csv`: a row per image. If samples are missing, a column holds how many were measured."""
        return self._framed([image.official for image in self.images])

    def full_table(self) -> pd.DataFrame:
        """`measure_full.csv`: a row per image, with values for every number of samples."""
        return self._framed([image.official_full for image in self.images])

    def _framed(self, rows: list[dict[str, float]]) -> pd.DataFrame:
        table = pd.DataFrame(rows, index=[image.index for image in self.images])
        return table if self.complete else table.assign(samples=[len(image.numbers) for image in self.images])

    def curve(self, scores: Callable[[ImageScore], list[float]]) -> list[float]:
        """S_1 ... S_N, each the mean over the images that have so many samples; nan without any."""
        lists = [scores(image) for image in self.images]
        return [_mean(values[n] for values in lists if len(values) > n) for n in range(self.samples)]

    @property
    def lpips_curve(self) -> list[float]:
        return self.curve(lambda image: image.lpips_scores) if self.with_lpips else []

    @property
    def mse_curve(self) -> list[float]:
        return self.curve(lambda image: image.mse_scores)

    @property
    def final_rank(self) -> float | None:
        """The challenge's final rank among the methods of the study; None where a figure of one is not known."""
        if self.opinions is None or self.opinion is None:
            return None
        known = known_values([*self.lpips_curve[CHALLENGE_SAMPLES - 1 : CHALLENGE_SAMPLES]])
        own = dict.fromkeys([self.opinion.name], known[0]) if known else {}
        return self.opinions.final_rank(self.opinion.name, own)

    @property
    def standing(self) -> Standing | None:
        """The place in the published table of the track; None if S_10 of LPIPS is not known."""
        curve = self.lpips_curve
        if len(curve) < CHALLENGE_SAMPLES or math.isnan(curve[CHALLENGE_SAMPLES - 1]):
            return None
        # over the first ten samples, like the published values
        errors = [LrErrors(image.lr_errors[:CHALLENGE_SAMPLES]) for image in self.images]
        level = fmean(each.mean_db for each in errors)
        if math.isinf(level):
            level = LrErrors([value for each in errors for value in each.values]).of_mean_error_db
        lpips = fmean(fmean(image.lpips[:CHALLENGE_SAMPLES]) for image in self.images)
        return standing(self.scale, lpips, level, curve[CHALLENGE_SAMPLES - 1])

    def summary(self) -> dict[str, Any]:
        """Means over images, by name: the official values, and variants that stay finite."""
        rows = [image.official for image in self.images]
        every = LrErrors([error for image in self.images for error in image.lr_errors])
        known = [image for image in self.images if image.lpips]
        summary: dict[str, Any] = {
            "images": len(self.images),
            "samples": self.samples,
            "scale": self.scale,
            "complete": self.complete,
            **{name: _mean(row[name] for row in rows) for name in OFFICIAL_COLUMNS},
            "LPIPS_best_sample": _mean(min(image.lpips) for image in known),
            "LPIPS_worst_sample": _mean(max(image.lpips) for image in known),
            "LRPSNR_worst_sample": every.worst_db,
            "LRPSNR_of_mean_error": every.of_mean_error_db,
            "samples_under_45_dB": self.under_required,
            "passes": self.passes,
            "MSE_mean": _mean(image.mse_mean for image in self.images),
            "MSE_score": _mean(image.mse_scores[-1] for image in self.images),
            "r_LPIPS": calibration_ratio(
                [math.nan if image.lpips_pairs is None else image.lpips_pairs for image in known],
                [image.lpips_mean for image in known],
            ),
            "r_pixels": calibration_ratio(
                [math.nan if image.pixel_pairs is None else image.pixel_pairs for image in self.images],
                [image.pixel_distance for image in self.images],
            ),
        }
        if not self.complete:
            summary |= {"samples_missing": self.missing_samples, "images_missing": self.missing_images}
        for name in self.realism:
            if name in self.data_set:
                summary[name] = self.data_set[name]
                continue
            summary[name] = _mean(value for image in self.images for value in known_values(image.realism[name]))
            if name in self.images[0].realism_hr:
                summary[f"{name}_of_HR"] = _mean(
                    value for image in self.images for value in known_values([image.realism_hr[name]])
                )
        if self.opinion:
            summary |= {
                "MOR": self.opinion.mor,
                "MOR_low": self.opinion.low,
                "MOR_high": self.opinion.high,
                "final_rank": self.final_rank,
            }
        uncropped = [error for image in self.images for error in image.lr_errors_uncropped]
        if uncropped:
            whole = LrErrors(uncropped)
            summary["images_scored_uncropped"] = sum(bool(image.lr_errors_uncropped) for image in self.images)
            summary["LRPSNR_worst_sample_uncropped"] = whole.worst_db
            summary["LRPSNR_of_mean_error_uncropped"] = whole.of_mean_error_db
        return summary

    def as_json(self) -> dict[str, Any]:
        """All values, for scripts: the content of `score.json` and `--json`."""
        place, origin = self.standing, self.origin
        described = (
            {
                "version": __version__,
                "records_version": VERSION,
                "hr": origin.hr,
                "sr": origin.sr,
                "measured_with": origin.measured_with,
            }
            if origin
            else {}
        )
        return {
            **described,
            "required_db": REQUIRED_DB,
            "samples_sha256": self.samples_sha256,
            "summary": self.summary(),
            "missing": self.missing,
            "curves": {"LPIPS_score": self.lpips_curve, "MSE_score": self.mse_curve},
            "standing_2021": place
            and {
                "caveat": CAVEAT,
                "rank_by_S_10": place.ours.by_diversity,
                "rank_by_LPIPS": place.ours.by_lpips,
                "of": place.ranked,
            },
            "images": [image_json(image) | _image_origin(image, origin) for image in self.images],
        }


def _image_origin(image: ImageScore, origin: Origin | None) -> dict[str, Any]:
    if origin is None:
        return {}
    hr, *samples = origin.digests[image.index]
    return {"record": origin.keys[image.index], "hr_sha256": hr, "samples_sha256": samples}


def image_json(image: ImageScore) -> dict[str, Any]:
    """Every figure of one image, as `score.json` has them: nan where one is not defined."""
    r_lpips = r_pixels = math.nan
    if image.lpips_pairs is not None:
        r_lpips = calibration_ratio([image.lpips_pairs], [image.lpips_mean])
    if image.pixel_pairs is not None:
        r_pixels = calibration_ratio([image.pixel_pairs], [image.pixel_distance])
    return {
        "name": image.name,
        "index": image.index,
        "samples": image.numbers,
        **image.official,
        "LPIPS_of_samples": image.lpips,
        "LPIPS_scores": image.lpips_scores,
        "LRPSNR_of_samples": [LrErrors([error]).worst_db for error in image.lr_errors],
        "LRPSNR_of_mean_error": image.lr.of_mean_error_db,
        "LRPSNR_worst_uncropped": LrErrors(image.lr_errors_uncropped).worst_db
        if image.lr_errors_uncropped
        else None,
        "MSE_mean": image.mse_mean,
        "MSE_score": image.mse_scores[-1],
        "MSE_of_samples": image.mse,
        "MSE_scores": image.mse_scores,
        "r_LPIPS": r_lpips,
        "r_pixels": r_pixels,
        "realism": image.realism,
        "realism_of_HR": image.realism_hr,
    }


def known_values(values: list[float | None]) -> list[float]:
    """The values without None and nan, which stand for undefined."""
    return [value for value in values if value is not None and not math.isnan(value)]


def _mean(values: Iterable[float]) -> float:
    """The mean without nan values, as pandas computes it and thus the official tables; nan without any."""
    known = [value for value in values if not math.isnan(value)]
    return fmean(known) if known else math.nan


def write_score(score: ScoreSummary, out: Path) -> None:
    """Write the official tables and `score.json`.

    `measure.csv` and `measure_full.csv` have a row per image, `measure_mean.csv` and
    `measure_full_mean.csv` the means of their columns.
    """
    make_folder(out)
    counts = (
        {}
        if score.complete
        else {"samples_missing": score.missing_samples, "images_missing": score.missing_images}
    )
    with np.errstate(invalid="ignore"):
        for name, table in (("measure", score.table()), ("measure_full", score.full_table())):
            atomic_write(out / f"{name}.csv", table.to_csv())
            means = table.drop(columns="samples", errors="ignore").mean()
            atomic_write(out / f"{name}_mean.csv", pd.concat([means, pd.Series(counts, dtype=float)]).to_csv())
    write_json(out / "score.json", score.as_json())
