"""Records of scored images: raw values, small maps, and a digest of the files and settings behind them."""

import json
import math
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import fmean
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import atomic_write, read_json, sha256_bytes, write_json
from ntire_sr.evaluation.metrics.diversity import diversity_scores
from ntire_sr.evaluation.metrics.lr_psnr import LrErrors

_NAME = re.compile(r"\d{6}\.json")
VERSION = 1  # version of the computation: images with records of another version are measured again


@dataclass(frozen=True, kw_only=True)
class ImageScore:
    """The values of one image, as `metrics.ImageMetric`s compute them. Lists have an entry per sample; those
    of LPIPS are empty if it was not measured."""

    index: int  # from 0, in the order of the HR images
    name: str  # name of the HR file
    numbers: list[int]  # numbers of the samples that were measured
    lpips: list[float] = field(default_factory=list)  # mean LPIPS of each sample, lower is better
    lpips_mosaics: list[float] = field(
        default_factory=list
    )  # mean LPIPS of the best mosaic of the first 1, 2, ... samples
    lpips_pairs: float | None = None  # mean over all pairs of samples; None for one sample
    mse: list[float]  # over 16 x 16 boxes, in squared grey levels, lower is better
    mse_mosaics: list[float]  # the same of the best mosaic of the first 1, 2, ... samples
    pixel_distance: float  # mean (SR - HR)^2 in squared grey levels
    pixel_pairs: float | None  # mean (SR_i - SR_j)^2 over all pairs of samples; None for one sample
    lr_errors: list[float]  # squared LR errors of HR and SR cropped to multiples of 8, as officially
    lr_errors_uncropped: list[float]  # squared LR errors without the crop; empty if it removes nothing
    realism: dict[str, list[float | None]] = field(default_factory=dict)  # values of each sample, by proxy
    realism_hr: dict[str, float | None] = field(default_factory=dict)  # values of the HR image, by proxy

    @property
    def lr(self) -> LrErrors:
        return LrErrors(self.lr_errors)

    @property
    def lpips_mean(self) -> float:
        """Mean LPIPS of all samples; nan without LPIPS."""
        return fmean(self.lpips) if self.lpips else math.nan

    @property
    def lpips_scores(self) -> list[float]:
        """S_1 ... S_n of LPIPS in per cent, higher is better."""
        return diversity_scores(self.lpips, self.lpips_mosaics)

    @property
    def mse_mean(self) -> float:
        return fmean(self.mse)

    @property
    def mse_scores(self) -> list[float]:
        """S_1 ... S_n of MSE in per cent, higher is better."""
        return diversity_scores(self.mse, self.mse_mosaics)

    @property
    def official(self) -> dict[str, float]:
        """A row of `measure.csv`."""
        return {
            "LPIPS_mean": self.lpips_mean,
            "LRPSNR_worst": self.lr.worst_db,
            "LRPSNR_mean": self.lr.mean_db,
            "score": self.lpips_scores[-1] if self.lpips else math.nan,
        }

    @property
    def official_full(self) -> dict[str, float]:
        """A row of `measure_full.csv`: four values of LPIPS and of MSE for every number of samples."""
        row: dict[str, float] = {}
        for n in range(1, len(self.numbers) + 1):
            for name, means, mosaics in (
                ("LPIPS", self.lpips, self.lpips_mosaics),
                ("MSE", self.mse, self.mse_mosaics),
            ):
                known = bool(means)
                best = min(means[:n]) if known else math.nan
                mosaic = mosaics[n - 1] if known else math.nan
                row[f"{name}_mean_n{n}"] = fmean(means[:n]) if known else math.nan
                row[f"{name}_best_loc_n{n}"] = mosaic
                row[f"{name}_diff_n{n}"] = best - mosaic
                row[f"{name}_score_n{n}"] = diversity_scores(means[:n], mosaics[:n])[-1] if known else math.nan
        return row


@dataclass(frozen=True)
class ImageResult:
    """One image's values and the tensors saved with them, such as small maps and sums of features."""

    score: ImageScore
    tensors: dict[str, Tensor] = field(default_factory=dict)


class Records:
    """The records of the images of one scoring in `OUT/records`, two files per image.

    A record is valid only for the files and settings that it was measured with, so that an interrupted
    scoring can be resumed and several processes can share one.

    Args:
        folder: folder of the records.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def save(self, measured: ImageResult, key: str) -> None:
        """Write the tensors first and the values last, so that a record with values is complete."""
        content = save(measured.tensors)
        atomic_write(self._tensors(measured.score.index), content)
        record = {"version": VERSION, "key": key, "tensors_sha256": sha256_bytes(content)}
        write_json(self._figures(measured.score.index), {**record, **asdict(measured.score)})

    def load(self, index: int, key: str) -> ImageResult | None:
        """The record of an image; None if it is missing, damaged or of other files or settings."""
        try:
            content = read_json(self._figures(index), "record")
            tensors = load_file(self._tensors(index))
            same = content.get("version") == VERSION and content.get("key") == key
            if not same or content["tensors_sha256"] != sha256_bytes(self._tensors(index).read_bytes()):
                return None
            return ImageResult(ImageScore(**{f.name: content[f.name] for f in fields(ImageScore)}), tensors)
        except (NtireSrError, OSError, SafetensorError, AttributeError, KeyError, TypeError):
            return None

    def discard_others(self, indices: set[int]) -> None:
        """Remove the records of images whose index is not among `indices`; other files stay."""
        for path in self.folder.glob("*.json"):
            if _NAME.fullmatch(path.name) and int(path.stem) not in indices and _is_record(path):
                path.unlink(missing_ok=True)
                path.with_suffix(".safetensors").unlink(missing_ok=True)

    def _figures(self, index: int) -> Path:
        return self.folder / f"{index:06d}.json"

    def _tensors(self, index: int) -> Path:
        return self.folder / f"{index:06d}.safetensors"


def _is_record(path: Path) -> bool:
    try:
        content = read_json(path, "record")
    except NtireSrError:
        return False
    return isinstance(content, dict) and {"version", "key", "tensors_sha256"} <= content.keys()


def key_of(facts: dict[str, Any]) -> str:
    """A digest of all facts that a record depends on."""
    return sha256_bytes(json.dumps(facts, sort_keys=True).encode())
