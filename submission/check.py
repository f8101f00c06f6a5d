"""Everything that must hold of a folder of samples before it is handed in."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch

from ntire_sr.errors import Failure, WrongUse
from ntire_sr.files import sha256_file
from ntire_sr.images import png_header, read_image, to_tensor
from ntire_sr.layout import SampleName, list_images, list_samples, same_image
from ntire_sr.manifest import Manifest
from ntire_sr.resize import REQUIRED_DB, SCALES, lr_psnr_db


@dataclass(frozen=True)
class Checked:
    """A folder's samples in order, and what is wrong with them."""

    files: list[tuple[SampleName, Path]]
    problems: list[str]
    worst_db: float  # lowest LR-PSNR of all samples against the LR files


def check_samples(
    sr: Path, lr: Path, samples: int, manifest: Manifest | None, done: Callable[[int, int], None] | None = None
) -> Checked:
    """Check names, count, sizes, mode, LR-PSNR, digests and duplicates of all samples.

    Args:
        sr: folder of samples, also one that this package did not draw.
        lr: folder of the LR images, in the samples' order.
        samples: per LR image.
        manifest: of the folder of samples, where it has one.
        done: called with (files checked, files in all).

    Returns:
        All problems at once; none is raised.
    """
    lr_paths = list_images(lr, "LR")
    found, strangers = list_samples(sr)
    wanted = [SampleName(index, k) for index in range(len(lr_paths)) for k in range(samples)]
    problems = [f"{name}: no sample's name" for name in strangers]
    problems += [f"{name}: missing" for name in wanted if name not in found]
    problems += [
        f"{found[name].name}: beyond {len(lr_paths)} images of {samples} samples"
        for name in sorted(found.keys() - set(wanted))
    ]
    problems += _manifest_problems(manifest, lr_paths, samples)
    worst = float("inf")
    present = [name for name in wanted if name in found]
    scale = manifest.settings.scale if manifest else None
    count = 0
    for index, names in groupby(present, key=lambda name: name.index):
        try:
            lr_image = to_tensor(read_image(lr_paths[index]))
        except Failure as failure:
            problems.append(failure.message)
            lr_image = None
        digests: dict[str, str] = {}
        for name in names:
            count += 1
            if lr_image is not None:
                path = found[name]
                try:
                    scale = scale or _scale_of(path, lr_image)
                    found_problems, reached = _file_problems(path, lr_image, scale)
                    problems += found_problems
                    worst = min(worst, reached)
                    problems += _digest_problems(path, digests, manifest)
                except Failure as failure:
                    problems.append(failure.message)
            if done:
                done(count, len(present))
    return Checked([(name, found[name]) for name in present], problems, worst)


def _scale_of(path: Path, lr: torch.Tensor) -> int:
    """The scale that a sample's height stands for, where no manifest says it."""
    height = png_header(path).height
    fitting = [scale for scale in SCALES if height == lr.shape[2] * scale]
    if not fitting:
        raise Failure(
            f"{path.name}: {height} pixels high, neither 4 nor 8 times the {lr.shape[2]} of its LR image"
        )
    return fitting[0]


def _file_problems(path: Path, lr: torch.Tensor, scale: int) -> tuple[list[str], float]:
    """Mode, size and LR-PSNR of one sample."""
    header = png_header(path)
    if not header.is_8bit_rgb:
        return [f"{path.name}: {header.mode}, not 8-bit RGB"], float("inf")
    height, width = (side * scale for side in lr.shape[2:])
    if (header.height, header.width) != (height, width):
        return [f"{path.name}: {header.width} x {header.height} pixels, not {width} x {height}"], float("inf")
    reached = lr_psnr_db(to_tensor(read_image(path)), lr, scale)
    if reached < REQUIRED_DB:
        return [f"{path.name}: LR-PSNR {reached:.2f} dB, under {REQUIRED_DB:.0f}"], reached
    return [], reached


def _digest_problems(path: Path, seen: dict[str, str], manifest: Manifest | None) -> list[str]:
    """Whether the file is the one that was drawn, and no copy of another sample of its image."""
    digest = sha256_file(path)
    problems = []
    if manifest:
        record = manifest.files.get(path.name)
        if record is None:
            problems.append(f"{path.name}: not in the manifest")
        elif record.sha256 != digest:
            problems.append(f"{path.name}: changed since it was drawn (its SHA-256 is not the manifest's)")
    if digest in seen and not (manifest and manifest.settings.deterministic):
        problems.append(f"{path.name}: the same file as {seen[digest]}")
    seen.setdefault(digest, path.name)
    return problems


def _manifest_problems(manifest: Manifest | None, lr_paths: list[Path], samples: int) -> list[str]:
    if manifest is None:
        return []
    problems = []
    if len(manifest.images) != len(lr_paths):
        problems.append(
            f"the samples were drawn from {len(manifest.images)} LR images; the LR folder holds {len(lr_paths)}"
        )
    for record, path in zip(manifest.images, lr_paths, strict=False):
        if not same_image(Path(record.name), path):
            problems.append(f"{path.name} stands where the samples were drawn from {record.name}")
    if manifest.samples != samples:
        problems.append(f"the manifest says {manifest.samples} samples per image, not {samples}")
    return problems


def lr_folder(sr: Path, given: Path | None, manifest: Manifest | None) -> Path:
    """The LR folder: as given, else the manifest's."""
    if given:
        return given
    if manifest is None:
        raise WrongUse(f"{sr} has no manifest that says where the LR images are", "give --lr FOLDER")
    named = (sr / manifest.lr).resolve()
    if not named.is_dir():
        raise WrongUse(
            f"the LR folder {named} that the manifest of {sr} names is not there", "give --lr FOLDER"
        )
    return named
