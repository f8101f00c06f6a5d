"""Everything that must hold of samples before they are handed in."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from ntire_sr.draw import sample_seed
from ntire_sr.errors import Failure, WrongUse
from ntire_sr.files import sha256_bytes
from ntire_sr.images import check_png, decode_png, read_image, to_tensor
from ntire_sr.layout import SampleName, list_images, same_image
from ntire_sr.manifest import Manifest
from ntire_sr.resize import REQUIRED_DB, SCALES, lr_psnr_db
from ntire_sr.submission.sources import Handed, Source, shown


@dataclass(frozen=True)
class Checked:
    """Samples, and what is wrong with them."""

    digests: dict[SampleName, str]  # SHA-256 of each file that could be read, in their order
    scale: int | None  # none: not one sample could be read
    problems: list[str]
    worst_db: float  # lowest LR-PSNR of all samples against the LR files


def check_samples(
    handed: Handed,
    lr: Path,
    samples: int,
    manifest: Manifest | None,
    done: Callable[[int, int], None] | None = None,
) -> Checked:
    """Check names, count, sizes, mode, LR-PSNR, duplicates and, with a manifest, digests and settings.

    Args:
        handed: the samples, also such that this package did not draw.
        lr: folder of the LR images, in the samples' order.
        samples: per LR image.
        manifest: of the samples, where they have one.
        done: called with (files checked, files in all).

    Returns:
        All problems at once; none is raised.
    """
    lr_paths = list_images(lr, "LR")
    found = handed.samples
    wanted = [SampleName(index, k) for index in range(len(lr_paths)) for k in range(samples)]
    problems = list(handed.problems)
    problems += [f"{name}: missing" for name in wanted if name not in found]
    problems += [
        f"{shown(found[name].name)}: beyond {len(lr_paths)} images of {samples} samples"
        for name in sorted(found.keys() - set(wanted))
    ]
    problems += _manifest_problems(manifest, lr_paths, samples)
    worst = float("inf")
    digests: dict[SampleName, str] = {}
    present = [name for name in wanted if name in found]
    scale = manifest.settings.scale if manifest else None
    count = 0
    for index, names in groupby(present, key=lambda name: name.index):
        lr_image: np.ndarray | None = None
        try:
            lr_image = read_image(lr_paths[index])
        except Failure as failure:
            problems.append(failure.message)
        lr_sha256 = sha256_bytes(lr_image.tobytes()) if lr_image is not None else None
        if (
            manifest
            and index < len(manifest.images)
            and lr_sha256 not in (None, manifest.images[index].lr_sha256)
        ):
            problems.append(f"{lr_paths[index].name}: not the LR image that the samples were drawn from")
        seen: dict[str, str] = {}
        for name in names:
            count += 1
            if lr_image is not None:
                source = found[name]
                try:
                    content = source.read()
                    digests[name] = sha256_bytes(content)
                    image, problem = _image(source, content, lr_image, scale)
                    if problem:
                        problems.append(problem)
                    if image is not None:
                        scale = scale or image.shape[0] // lr_image.shape[0]
                        reached = lr_psnr_db(to_tensor(image), to_tensor(lr_image), scale)
                        worst = min(worst, reached)
                        if reached < REQUIRED_DB:
                            problems.append(
                                f"{shown(source.name)}: LR-PSNR {reached:.2f} dB, under {REQUIRED_DB:.0f}"
                            )
                        problems += _copies(source, image, seen, manifest)
                    problems += _record_problems(name, digests[name], lr_sha256, manifest)
                except Failure as failure:
                    problems.append(failure.message)
            if done:
                done(count, len(present))
    return Checked(digests, scale, problems, worst)


def _image(
    source: Source, content: bytes, lr: np.ndarray, scale: int | None
) -> tuple[np.ndarray | None, str | None]:
    """A sample of the right mode and size, or what is wrong with it."""
    header = check_png(shown(source.name), content)
    if not header.is_8bit_rgb:
        return None, f"{shown(source.name)}: {header.mode}, not 8-bit RGB"
    size, given = (header.height, header.width), f"{header.width} x {header.height} pixels"
    height, width = lr.shape[:2]
    fitting = [each for each in ((scale,) if scale else SCALES) if size == (height * each, width * each)]
    if not fitting and scale:
        return None, f"{shown(source.name)}: {given}, not {width * scale} x {height * scale}"
    if not fitting:
        return (
            None,
            f"{shown(source.name)}: {given}, neither 4 nor 8 times the {width} x {height} of its LR image",
        )
    return decode_png(shown(source.name), content), None


def _copies(source: Source, image: np.ndarray, seen: dict[str, str], manifest: Manifest | None) -> list[str]:
    """Whether a sample equals another one of its image, pixel by pixel."""
    digest = sha256_bytes(image.tobytes())
    twin = seen.setdefault(digest, source.name)
    if twin == source.name or (manifest and manifest.settings.deterministic):
        return []
    return [f"{shown(source.name)}: the same image as {shown(twin)}"]


def _record_problems(
    name: SampleName, sha256: str, lr_sha256: str | None, manifest: Manifest | None
) -> list[str]:
    """Whether the file is the one that was drawn, by the folder's settings."""
    if manifest is None:
        return []
    record = manifest.files.get(str(name))
    if record is None:
        return [f"{name}: not in the manifest"]
    problems = []
    if record.sha256 != sha256:
        problems.append(f"{name}: changed since it was drawn (its SHA-256 is not the manifest's)")
    if record.settings_sha256 != manifest.settings.digest:
        problems.append(f"{name}: drawn with other settings than the manifest's")
    if lr_sha256 and record.seed != sample_seed(manifest.settings.seed, lr_sha256, name.sample):
        problems.append(f"{name}: its seed is not the one that the manifest's seed gives it")
    return problems


def _manifest_problems(manifest: Manifest | None, lr_paths: list[Path], samples: int) -> list[str]:
    if manifest is None:
        return []
    problems = []
    if manifest.settings.test_time_augmentation:
        problems.append(
            "the manifest says that samples were averaged over flips or rotations, which is forbidden"
        )
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
