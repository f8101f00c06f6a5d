"""Checking samples against the challenge's rules before submission."""

from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np

from ntire_sr.challenge.downscale import REQUIRED_DB, SCALES, lr_psnr_db
from ntire_sr.challenge.names import SampleName
from ntire_sr.challenge.pixels import to_tensor
from ntire_sr.core.errors import NtireSrError, UsageError, plural
from ntire_sr.core.files import sha256_bytes
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.seeding import sample_seed
from ntire_sr.samples.folders import list_images
from ntire_sr.samples.image_files import decode_png
from ntire_sr.samples.inspection import (
    FileFacts,
    Kind,
    SizeRange,
    file_problems,
    inspect_files,
    inspect_names,
    inspect_order,
    of_kind,
)
from ntire_sr.samples.manifest import ImageRecord, Manifest
from ntire_sr.samples.sources import file_source
from ntire_sr.submission.sources import Submission, shown

# threads that read files; few, since files read ahead are held in memory, and an archive may be hostile
READERS = 2


@dataclass(frozen=True)
class Checked:
    """Result of checking samples: their digests and problems."""

    digests: dict[SampleName, str]  # SHA-256 of each file that could be read, in sample order
    scale: int | None  # None if no sample could be read
    problems: list[str]
    copies: list[str]  # problems: samples that equal another sample of the same image
    deterministic: bool  # all samples of every image are equal, as those of a deterministic method
    worst_db: float | None  # lowest LR-PSNR of all samples against the LR files; None if none was measured

    @property
    def images(self) -> int:
        return len({name.index for name in self.digests})


def worst_in_words(worst_db: float | None) -> str:
    """The lowest LR-PSNR in words.

    >>> worst_in_words(51.234), worst_in_words(None)
    ('worst LR-PSNR 51.23 dB', 'no LR-PSNR measured')
    """
    return "no LR-PSNR measured" if worst_db is None else f"worst LR-PSNR {worst_db:.2f} dB"


def check_samples(
    handed: Submission,
    lr: Path,
    samples: int,
    manifest: Manifest | None,
    progress: Progress = SILENT,
    scale: int | None = None,
) -> Checked:
    """Check names, count, sizes, mode, LR-PSNR, duplicates and, with a manifest, digests and settings.

    Args:
        handed: the samples, drawn by this package or by others.
        lr: folder of the LR images, in the order of the samples' indices.
        samples: samples per LR image.
        manifest: manifest of the samples; None if they have none.
        progress: reports how many samples have been checked.
        scale: 4 or 8; None for the manifest's, or that of the first sample without a manifest.

    Returns:
        The result with all problems; problems of samples are never raised.
    """
    lr_paths = list_images(lr, "LR")
    present = sorted(name for name in handed.samples if name.index < len(lr_paths) and name.sample < samples)
    images = [(index, list(names)) for index, names in groupby(present, key=lambda name: name.index)]
    sources = [
        (file_source(lr_paths[index]), [handed.samples[name] for name in names]) for index, names in images
    ]
    found = _Findings(scale or (manifest.settings.scale if manifest else None))
    found.problems += handed.problems + _name_problems(handed, lr_paths, samples)
    found.problems += _manifest_problems(manifest, lr_paths, samples)
    different = 0  # different samples beyond the first of each image
    reading = closing(inspect_files(sources, keep=True, threads=READERS))
    with reading as files, progress.task("check", len(present)) as advance:
        for index, names in images:
            record = manifest.images[index] if manifest and index < len(manifest.images) else None
            lr_image = _lr_image(found, lr_paths[index], next(files), record)
            pictures: dict[str, str] = {}
            for name, facts in zip(names, files, strict=False):  # `files` goes on with the next image's files
                if lr_image:
                    _check_sample(found, pictures, name, facts, lr_image, manifest)
                advance()
            different += max(0, len(pictures) - 1)
    return Checked(
        found.digests,
        found.scale,
        found.problems,
        found.copies,
        bool(found.copies) and not different,
        min(found.measured) if found.measured else None,
    )


@dataclass
class _Findings:
    """Findings so far."""

    scale: int | None  # None until the first sample determines it
    digests: dict[SampleName, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    measured: list[float] = field(default_factory=list)  # LR-PSNR in dB


@dataclass(frozen=True)
class _LrImage:
    """An LR image."""

    pixels: np.ndarray  # (H, W, 3) uint8
    sha256: str  # SHA-256 of the pixels
    unreachable: bool  # whether the manifest says that no 8-bit HR image reduces to it


def _name_problems(handed: Submission, lr_paths: list[Path], samples: int) -> list[str]:
    """Problems of names: misnamed files, missing samples, unexpected samples."""
    # wrong numbering appears here as missing and unexpected samples
    problems = inspect_names(handed.samples, handed.strangers, lr_paths, samples)
    lines = [f"{shown(problem.subject)}: no sample's name" for problem in of_kind(problems, Kind.WRONGLY_NAMED)]
    if handed.samples:
        for problem in of_kind(problems, Kind.MISSING):
            for run in problem.numbers:
                first, last = (SampleName(problem.index, number) for number in (run[0], run[-1]))
                lines.append(f"{first}: missing" if first == last else f"{first} to {last}: {len(run)} missing")
    else:
        lines.append("there is not one sample")
    return lines + [
        f"{shown(handed.samples[problem.sample].name)}: "
        f"beyond {plural(len(lr_paths), 'image')} of {plural(samples, 'sample')}"
        for problem in of_kind(problems, Kind.UNEXPECTED)
        if problem.sample
    ]


def _lr_image(found: _Findings, path: Path, facts: FileFacts, record: ImageRecord | None) -> _LrImage | None:
    """The LR image; None if it cannot be read, which is a single problem, however many samples it has."""
    if facts.unreadable or facts.pixels is None:
        found.problems.append(str(facts.unreadable))
        return None
    sha256 = sha256_bytes(facts.pixels.tobytes())
    if record and sha256 != record.lr_sha256:
        found.problems.append(f"{path.name}: not the LR image that the samples were drawn from")
    return _LrImage(facts.pixels, sha256, bool(record and record.unreachable))


def _check_sample(
    found: _Findings,
    pictures: dict[str, str],
    name: SampleName,
    facts: FileFacts,
    lr_image: _LrImage,
    manifest: Manifest | None,
) -> None:
    """Check one sample, and add its problems to the findings and its digest to `pictures` of the image."""
    file = shown(facts.name)
    if facts.sha256:
        found.digests[name] = facts.sha256
    try:
        problem = _file_problem(facts, lr_image, found.scale)
        if problem:
            found.problems.append(problem)
        else:
            image = decode_png(file, facts.content)
            found.scale = found.scale or image.shape[0] // lr_image.pixels.shape[0]
            db = lr_psnr_db(to_tensor(image), to_tensor(lr_image.pixels), found.scale)
            found.measured.append(db)
            if db < REQUIRED_DB:
                why = "; no 8-bit image reduces to its LR image" if lr_image.unreachable else ""
                found.problems.append(f"{file}: LR-PSNR {db:.2f} dB, under {REQUIRED_DB:.0f}{why}")
            twin = pictures.setdefault(sha256_bytes(image.tobytes()), file)
            if twin != file:
                found.copies.append(f"{file}: the same image as {twin}")
        found.problems += _record_problems(name, facts.sha256, lr_image.sha256, manifest)
    except (
        NtireSrError
    ) as failure:  # an unreadable file is a single problem, whatever the manifest says about it
        found.problems.append(failure.message)


def _file_problem(facts: FileFacts, lr_image: _LrImage, scale: int | None) -> str | None:
    """The problem of a sample with a wrong mode or size; None if both are right.

    Raises:
        NtireSrError: the sample cannot be read.
    """
    height, width = lr_image.pixels.shape[:2]
    sizes = [
        SizeRange(size, size)
        for size in ((height * each, width * each) for each in ((scale,) if scale else SCALES))
    ]
    for problem in file_problems(facts, sizes):
        if problem.kind is Kind.UNREADABLE:
            raise NtireSrError(problem.found)
        file = shown(problem.subject)
        if problem.kind is Kind.WRONG_MODE:
            return f"{file}: {problem.found}, not 8-bit RGB"
        if scale:
            return f"{file}: {problem.found} pixels, not {width * scale} x {height * scale}"
        return f"{file}: {problem.found} pixels, neither 4 nor 8 times the {width} x {height} of its LR image"
    return None


def _record_problems(name: SampleName, sha256: str, lr_sha256: str, manifest: Manifest | None) -> list[str]:
    """Problems of a file that is not the one that was drawn, or was drawn with other settings."""
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
    seed = manifest.settings.seed
    if seed is not None and record.seed != sample_seed(seed, lr_sha256, name.sample):
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
            f"the samples were drawn from {plural(len(manifest.images), 'LR image')}; the LR folder holds {len(lr_paths)}"
        )
    problems += [
        f"{problem.subject} stands where the samples were drawn from {problem.found}"
        for problem in inspect_order(lr_paths, manifest)
    ]
    if manifest.samples < samples:
        problems.append(f"the manifest says {plural(manifest.samples, 'sample')} per image, not {samples}")
    return problems


def lr_folder(sr: Path, given: Path | None, manifest: Manifest | None) -> Path:
    """The LR folder: the given one, or else the manifest's.

    Raises:
        UsageError: neither is known, or the manifest's does not exist.
    """
    if given:
        return given
    if manifest is None:
        raise UsageError(f"{sr} has no manifest that says where the LR images are", "give --lr FOLDER")
    named = (sr / manifest.lr).resolve()
    if not named.is_dir():
        raise UsageError(
            f"the LR folder {named} that the manifest of {sr} names is not there", "give --lr FOLDER"
        )
    return named
