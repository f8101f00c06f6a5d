"""Folders of scores with figures of the test's choosing, without any network: as `score` writes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ntire_sr.challenge.names import SampleName
from ntire_sr.core.files import json_safe, relative_to, sha256_file, write_json
from ntire_sr.evaluation.metrics.declarations import ImageScore
from ntire_sr.evaluation.metrics.distortion import DistortionValues
from ntire_sr.evaluation.metrics.lpips import LpipsValues
from ntire_sr.evaluation.metrics.lr_psnr import LrValues
from ntire_sr.evaluation.metrics.pixels import PixelValues
from ntire_sr.evaluation.metrics.quality import QualityValues
from ntire_sr.evaluation.metrics.ranks import RankValues
from ntire_sr.evaluation.scoring.records import ImageResult, Records, key_of
from ntire_sr.evaluation.scoring.summary import Origin, ScoreSummary
from ntire_sr.samples.image_files import check_png

ALEXNET = "a" * 64


def save(path: Path, size: tuple[int, int], colour: int | list[int]) -> None:
    """Write an image of one colour; without the flush to the disk of `write_png`, which would take most of the time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), colour, np.uint8)).save(path)


def write_images(folder: Path, names: list[str], size: tuple[int, int] = (48, 64)) -> Path:
    """HR images of one colour each."""
    for at, name in enumerate(names):
        save(folder / name, size, 40 + 10 * at)
    return folder


def write_method(
    out: Path,
    hr: Path,
    lpips: dict[str, list[float]],
    mosaics: dict[str, list[float]] | None = None,
    colour: tuple[int, int, int] = (30, 30, 200),
    scale: int = 4,
    lr_error: float = 0.01,
    with_lpips: str | None = ALEXNET,
    realism: dict[str, tuple[str, float]] | None = None,
    equal_samples: bool = False,
) -> Path:
    """A folder of a score with these figures, and its samples beside it.

    Args:
        out: folder of the score; the samples go into one whose name ends in `_samples`.
        hr: folder of HR images.
        lpips: LPIPS of each sample, by name of the HR image.
        mosaics: LPIPS of the best mosaic of the first 1, 2, ... samples; None for 1, 1/2, 1/3, ... of the first.
        colour: colour of sample 0; later ones are lighter.
        scale: scale.
        lr_error: squared LR error of every sample.
        with_lpips: digest of AlexNet's weights; None to leave LPIPS out.
        realism: (version, value of each sample) of quality metrics.
        equal_samples: whether all samples of an image are the same file.
    """
    sr, records = out.with_name(f"{out.name}_samples"), Records(out / "records")
    images, keys, digests = [], {}, {}
    for index, (name, values) in enumerate(lpips.items()):
        height, width = _size(hr / name)
        for k in range(len(values)):
            lighter = [min(255, part + (0 if equal_samples else 20 * k)) for part in colour]
            save(sr / str(SampleName(index, k)), (height, width), lighter)
        files = [hr / name, *(sr / str(SampleName(index, k)) for k in range(len(values)))]
        digests[index] = tuple(map(sha256_file, files))
        best = (mosaics or {}).get(name) or [values[0] / (n + 1) for n in range(len(values))]
        of_metrics = (
            LpipsValues(
                lpips=values if with_lpips else [],
                lpips_mosaics=best if with_lpips else [],
                lpips_pairs=0.5 * sum(values) / len(values) if with_lpips and len(values) > 1 else None,
            ),
            PixelValues(
                mse=[100 * value for value in values],
                mse_mosaics=[100 * value for value in best],
                pixel_distance=4.0,
                pixel_pairs=2.0 if len(values) > 1 else None,
            ),
            LrValues(lr_errors=[lr_error] * len(values), lr_errors_uncropped=[]),
            DistortionValues(),
            RankValues(),
            QualityValues(
                realism={metric: [value] * len(values) for metric, (_, value) in (realism or {}).items()},
                realism_hr={},
            ),
        )
        score = ImageScore(index, name, list(range(len(values))), {type(part): part for part in of_metrics})
        keys[index] = key_of({"name": name, "files": digests[index]})
        records.save(ImageResult(score, {"deviation": torch.zeros(2, 2)}), keys[index])
        images.append(score)
    measured_with = {
        "lpips": with_lpips,
        "realism": {name: version for name, (version, _) in (realism or {}).items()},
    }
    origin = Origin(relative_to(hr, out), relative_to(sr, out), measured_with, keys, digests)
    samples = max(map(len, lpips.values()))
    summary = ScoreSummary(images, samples, scale, tuple(realism or ()), origin=origin)
    (out / "score.json").write_text(json.dumps(json_safe(summary.as_json())), encoding="utf-8")
    return out


def edit_score(out: Path, **changes: Any) -> Path:
    """Replace parts of `score.json`."""
    path = out / "score.json"
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | changes)
    return out


def _size(path: Path) -> tuple[int, int]:
    header = check_png(path, path.read_bytes())
    return header.height, header.width
