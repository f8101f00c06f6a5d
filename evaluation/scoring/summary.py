"""The score of all images: all figures that the metrics declare, over the images and as JSON."""

import math
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from ntire_sr._version import __version__
from ntire_sr.challenge.downscale import REQUIRED_DB
from ntire_sr.challenge.published import CAVEAT, Standing, standing
from ntire_sr.evaluation.metrics import registry
from ntire_sr.evaluation.metrics.declarations import Figure, ImageScore, defined_values
from ntire_sr.evaluation.metrics.lpips import LpipsValues
from ntire_sr.evaluation.metrics.lr_psnr import LrErrors, LrValues
from ntire_sr.evaluation.metrics.ranks import RankValues
from ntire_sr.evaluation.scoring.opinion import MethodOpinion, Opinions
from ntire_sr.evaluation.scoring.records import VERSION

LPIPS_CURVE = "LPIPS_score"  # name of the curve of S_n by which the challenge ranks
CHALLENGE_SAMPLES = 10  # samples per image, on which the published table is ranked


@dataclass(frozen=True)
class Origin:
    """Files and settings that a score depends on; `compare` checks them."""

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
    quality: tuple[str, ...] = ()  # names of the quality metrics that were measured
    data_set: dict[str, float] = field(default_factory=dict)  # values of quality metrics of the whole data set
    missing: list[str] = field(default_factory=list)  # descriptions of the samples that were left out
    reasons: list[str] = field(default_factory=list)  # why samples have a low LR-PSNR, see `diagnosis`
    missing_samples: int = 0
    missing_images: int = 0
    samples_sha256: str = ""  # digest of all sample files, see `files.sha256_of_digests`
    origin: Origin | None = None  # None for a summary that is not of a whole folder
    opinions: Opinions | None = None  # results of a study with people
    opinion: MethodOpinion | None = None  # what they say about these samples

    @property
    def complete(self) -> bool:
        return not self.missing

    @property
    def with_lpips(self) -> bool:
        return bool(self.images[0].of(LpipsValues).lpips)

    @property
    def counted(self) -> int:
        """Number of samples that were measured."""
        return sum(len(image.numbers) for image in self.images)

    @property
    def under_required(self) -> int:
        """Number of samples under 45 dB, measured as officially."""
        return sum(image.of(LrValues).errors.under_required for image in self.images)

    @property
    def passes(self) -> bool:
        """Whether every single sample has 45 dB or more, measured as officially."""
        return self.under_required == 0

    @property
    def figures(self) -> tuple[Figure[Any], ...]:
        """The figures of all metrics that were measured, in the order of tables."""
        return registry.figures(self.quality)

    def defined(self, figure: Figure[Any]) -> int:
        """Number of images over which a figure that is a mean over images is taken: those where it is defined."""
        values = [figure.of_image(image) for image in self.images] if figure.paired else []
        return sum(not math.isnan(value) for value in values)

    def value(self, figure: Figure[Any]) -> float:
        """A figure's value over all images; nan if it is undefined or not measured."""
        if figure.data_set:
            return self.data_set.get(figure.name, math.nan)
        return figure.of_images(self.images)

    def curves(self) -> dict[str, list[float]]:
        """S_1 ... S_N and the like by name, means over the images; empty for one that was not measured."""
        return {
            figure.curve: figure.curve_of_images(self.images, self.samples)
            for figure in self.figures
            if figure.curve
        }

    @property
    def rank_histogram(self) -> list[float]:
        """Share of the HR images' pixels with rank 0, 1, ... N among the samples, mean over the images.

        Images with fewer samples, or whose record is of a version without ranks, are left out; empty without any.
        """
        histograms = [image.of(RankValues).ranks for image in self.images]
        complete = [ranks for ranks in histograms if len(ranks) == self.samples + 1]
        return [fmean(shares) for shares in zip(*complete, strict=True)]

    @property
    def final_rank(self) -> float | None:
        """The challenge's final rank among the methods of the study; None where a figure of a method is unknown."""
        if self.opinions is None or self.opinion is None:
            return None
        s_10 = defined_values(self.curves()[LPIPS_CURVE][CHALLENGE_SAMPLES - 1 : CHALLENGE_SAMPLES])
        return self.opinions.final_rank(self.opinion.name, {self.opinion.name: s_10[0]} if s_10 else {})

    @property
    def standing(self) -> Standing | None:
        """The place in the published table of the track; None if S_10 of LPIPS is not known."""
        curve = self.curves()[LPIPS_CURVE]
        if len(curve) < CHALLENGE_SAMPLES or math.isnan(curve[CHALLENGE_SAMPLES - 1]):
            return None
        # over the first ten samples, like the published values
        errors = [LrErrors(image.of(LrValues).lr_errors[:CHALLENGE_SAMPLES]) for image in self.images]
        lr_psnr_db = fmean(image.mean_db for image in errors)
        if math.isinf(lr_psnr_db):
            lr_psnr_db = LrErrors([error for image in errors for error in image.values]).of_mean_error_db
        lpips = fmean(fmean(image.of(LpipsValues).lpips[:CHALLENGE_SAMPLES]) for image in self.images)
        return standing(self.scale, lpips, lr_psnr_db, curve[CHALLENGE_SAMPLES - 1])

    def summary(self) -> dict[str, Any]:
        """The values of all figures by name, with what they are of."""
        summary: dict[str, Any] = {
            "images": len(self.images),
            "samples": self.samples,
            "scale": self.scale,
            "complete": self.complete,
            "passes": self.passes,
        }
        if not self.complete:
            summary |= {"samples_missing": self.missing_samples, "images_missing": self.missing_images}
        for figure in self.figures:
            value = self.value(figure)
            if not (figure.optional and math.isnan(value)):
                summary[figure.name] = value
        fewer = {
            figure.name: count
            for figure in self.figures
            if figure.name in summary and 0 < (count := self.defined(figure)) < len(self.images)
        }
        if fewer:
            summary["images_defined"] = fewer
        if self.opinion:
            summary |= {
                "MOR": self.opinion.mor,
                "MOR_low": self.opinion.low,
                "MOR_high": self.opinion.high,
                "final_rank": self.final_rank,
            }
        return summary

    def as_json(self) -> dict[str, Any]:
        """All values, for scripts: the content of `score.json` and `--json`."""
        place, origin = self.standing, self.origin
        measured = (
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
            **measured,
            "required_db": REQUIRED_DB,
            "samples_sha256": self.samples_sha256,
            "summary": self.summary(),
            "missing": self.missing,
            "reasons": self.reasons,
            "curves": self.curves(),
            "rank_histogram": self.rank_histogram,
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
    """All values of one image, as `score.json` has them: nan where one is undefined."""
    content: dict[str, Any] = {"name": image.name, "index": image.index, "samples": image.numbers}
    for metric in registry.METRICS:
        content |= metric.json_of_image(image.of(metric.values))
    return content
