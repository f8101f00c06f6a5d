"""Checking samples against the challenge's rules before submission."""

from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np

from ntire_sr.challenge.downscale import REQUIRED_DB, downscale_8bit, lr_psnr_db
from ntire_sr.challenge.mismatch import OTHER_DB, OtherImages, find_mismatch
from ntire_sr.challenge.names import SampleName
from ntire_sr.challenge.pixels import to_tensor
from ntire_sr.core.errors import NtireSrError, UsageError, plural
from ntire_sr.core.files import sha256_bytes
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.seeding import sample_seed
from ntire_sr.samples.folders import list_images
from ntire_sr.samples.image_files import decode_png, read_image
from ntire_sr.samples.inspection import FileFacts, file_problems, inspect_files, size_for_lr
from ntire_sr.samples.manifest import ImageRecord, Manifest
from ntire_sr.samples.problems import (
    Kind,
    Problem,
    in_manifest_order,
    name_problems,
    order_problems,
    printable_name,
)
from ntire_sr.samples.sources import Submission, file_source

# threads that read files; few, since files read ahead are held in memory, and an archive may be hostile
READERS = 2


@dataclass(frozen=True)
class CheckResult:
    """Result of checking samples: their digests and problems."""

    digests: dict[SampleName, str]  # SHA-256 of each file that could be read, in sample order
    scale: int | None  # None if no sample could be read
    problems: list[Problem]
    is_deterministic: bool  # all samples of every image are equal, as those of a deterministic method
    worst_db: float | None  # lowest LR-PSNR of all samples against the LR files; None if none was measured

    @property
    def images(self) -> int:
        return len({name.index for name in self.digests})

    def messages(self, allow_duplicates: bool) -> list[str]:
        """The problems as texts, with or without equal samples of an image."""
        return [
            problem.text
            for problem in self.problems
            if not (allow_duplicates and problem.kind is Kind.DUPLICATE)
        ]


def describe_worst(worst_db: float | None) -> str:
    """The lowest LR-PSNR for users.

    >>> describe_worst(51.234), describe_worst(None)
    ('worst LR-PSNR 51.23 dB', 'no LR-PSNR measured')
    """
    return "no LR-PSNR measured" if worst_db is None else f"worst LR-PSNR {worst_db:.2f} dB"


def check_samples(
    submission: Submission,
    lr: Path,
    samples: int,
    manifest: Manifest | None,
    progress: Progress = SILENT,
    scale: int | None = None,
) -> CheckResult:
    """Check names, count, sizes, mode, LR-PSNR, duplicates and, with a manifest, digests and settings.

    Args:
        submission: the samples, drawn by this package or by others.
        lr: folder of the LR images, in the order of the samples' indices.
        samples: samples per LR image.
        manifest: manifest of the samples; None if they have none.
        progress: reports how many samples have been checked.
        scale: 4 or 8; None for the manifest's, or that of the first sample without a manifest.

    Returns:
        The result with all problems; problems of samples are never raised.
    """
    lr_paths = in_manifest_order(list_images(lr, "LR", progress=progress), manifest, "LR", progress=progress)
    wanted = sorted(name for name in submission.samples if name.index < len(lr_paths) and name.sample < samples)
    images = [(index, list(names)) for index, names in groupby(wanted, key=lambda name: name.index)]
    sources = [
        (file_source(lr_paths[index]), [submission.samples[name] for name in names]) for index, names in images
    ]
    files = {name: source.name for name, source in submission.samples.items()}
    checker = _Checker(manifest, scale or (manifest.settings.scale if manifest else None), lr_paths)
    checker.problems += submission.problems
    checker.problems += name_problems(files, submission.unexpected_files, lr_paths, samples)
    checker.problems += _manifest_problems(manifest, lr_paths, samples)
    reading = closing(inspect_files(sources, keep=True, threads=READERS))
    with reading as facts, progress.task("check", len(wanted)) as advance:
        for index, names in images:
            lr_image = checker.check_lr(index, lr_paths[index], next(facts))
            first_files: dict[str, str] = {}  # digest of pixels -> first file with them
            for name, sample in zip(
                names, facts, strict=False
            ):  # `facts` continues with the next image's files
                if lr_image is not None:
                    checker.check_sample(name, sample, lr_image, first_files)
                advance()
            checker.different += max(0, len(first_files) - 1)
    duplicates = any(problem.kind is Kind.DUPLICATE for problem in checker.problems)
    return CheckResult(
        checker.digests,
        checker.scale,
        checker.problems,
        duplicates and not checker.different,
        min(checker.measured_db) if checker.measured_db else None,
    )


@dataclass(frozen=True)
class _LrImage:
    """An LR image that could be read."""

    facts: FileFacts
    pixels: np.ndarray  # (H, W, 3) uint8
    infeasible: bool  # whether the manifest says that no 8-bit HR image downscales to it


class _Checker:
    """Checks images one by one and collects problems, digests and LR-PSNR."""

    def __init__(self, manifest: Manifest | None, scale: int | None, lr_paths: list[Path]):
        self.manifest = manifest
        self.lr_paths = lr_paths
        self.scale = scale  # None until the first sample determines it
        self.digests: dict[SampleName, str] = {}
        self.problems: list[Problem] = []
        self.measured_db: list[float] = []
        self.different = 0  # different samples beyond the first of each image

    @cached_property
    def others(self) -> OtherImages:
        """All LR images that can be read, to find the one that a sample was made from."""
        others = OtherImages()
        for path in self.lr_paths:
            with suppress(NtireSrError):  # it is a problem of its samples
                others.add(path.name, to_tensor(read_image(path)))
        return others

    def check_lr(self, index: int, path: Path, facts: FileFacts) -> _LrImage | None:
        """The LR image; None if it cannot be read, which adds one problem for all its samples."""
        if facts.pixels is None:
            self.problems.append(Problem(Kind.UNREADABLE, str(facts.unreadable), image=index))
            return None
        record: ImageRecord | None = None
        if self.manifest and index < len(self.manifest.images):
            record = self.manifest.images[index]
            if facts.pixels_sha256 != record.lr_sha256:
                text = f"{path.name}: not the LR image that the samples were drawn from"
                self.problems.append(Problem(Kind.OTHER_THAN_RECORDED, text, image=index))
        return _LrImage(facts, facts.pixels, bool(record and record.infeasible))

    def check_sample(
        self, name: SampleName, facts: FileFacts, lr: _LrImage, first_files: dict[str, str]
    ) -> None:
        """Check one sample of an image and enter it into `first_files` of this image."""
        if facts.sha256:
            self.digests[name] = facts.sha256
        height, width = lr.pixels.shape[:2]
        allowed = size_for_lr(Path(lr.facts.name).name, height, width, self.scale)
        problems = file_problems(facts, allowed, name)
        if not problems:
            try:
                image = decode_png(printable_name(facts.name), facts.content)
            except NtireSrError as error:
                problems = [Problem(Kind.UNREADABLE, error.message, name, name.index)]
            else:
                problems = self._pixel_problems(name, facts, image, lr, first_files)
        self.problems += problems
        # an unreadable file is a single problem, whatever the manifest says about it
        if not any(problem.kind is Kind.UNREADABLE for problem in problems):
            self.problems += _record_problems(name, facts.sha256, lr.facts.pixels_sha256, self.manifest)

    def _pixel_problems(
        self, name: SampleName, facts: FileFacts, image: np.ndarray, lr: _LrImage, first_files: dict[str, str]
    ) -> list[Problem]:
        """Too low an LR-PSNR, and pixels that equal those of another sample of the image."""
        file, problems = printable_name(facts.name), []
        self.scale = self.scale or image.shape[0] // lr.pixels.shape[0]
        db = lr_psnr_db(to_tensor(image), to_tensor(lr.pixels), self.scale)
        self.measured_db.append(db)
        if db < REQUIRED_DB:
            reason = "; no 8-bit image downscales to its LR image" if lr.infeasible else ""
            reduced = downscale_8bit(to_tensor(image), self.scale)
            mismatch = find_mismatch(reduced, to_tensor(lr.pixels), self.others if db < OTHER_DB else None)
            if mismatch and mismatch.is_mistake:
                reason += f"; it {mismatch.text}"
            text = f"{file}: LR-PSNR {db:.2f} dB, under {REQUIRED_DB:.0f}{reason}"
            problems.append(Problem(Kind.INCONSISTENT, text, name, name.index))
        first_file = first_files.setdefault(sha256_bytes(image.tobytes()), file)
        if first_file != file:
            problems.append(
                Problem(Kind.DUPLICATE, f"{file}: the same image as {first_file}", name, name.index)
            )
        return problems


def _record_problems(name: SampleName, sha256: str, lr_sha256: str, manifest: Manifest | None) -> list[Problem]:
    """Problems of a file that is not the one that was drawn, or was drawn with other settings."""
    if manifest is None:
        return []
    record = manifest.files.get(str(name))
    if record is None:
        return [Problem(Kind.OTHER_THAN_RECORDED, f"{name}: not in the manifest", name, name.index)]
    texts = []
    if record.sha256 != sha256:
        texts.append(f"{name}: changed since it was drawn (its SHA-256 is not the manifest's)")
    if record.settings_sha256 != manifest.settings.digest:
        texts.append(f"{name}: drawn with other settings than the manifest's")
    seed = manifest.settings.seed
    if seed is not None and record.seed != sample_seed(seed, lr_sha256, name.sample):
        texts.append(f"{name}: its seed does not follow from the manifest's seed")
    return [Problem(Kind.OTHER_THAN_RECORDED, text, name, name.index) for text in texts]


def _manifest_problems(manifest: Manifest | None, lr_paths: list[Path], samples: int) -> list[Problem]:
    if manifest is None:
        return []
    texts = []
    if len(manifest.images) != len(lr_paths):
        texts.append(
            f"the samples were drawn from {plural(len(manifest.images), 'LR image')}; the LR folder holds {len(lr_paths)}"
        )
    if manifest.samples < samples:
        texts.append(f"the manifest says {plural(manifest.samples, 'sample')} per image, not {samples}")
    problems = [Problem(Kind.OTHER_THAN_RECORDED, text) for text in texts]
    return problems + order_problems(lr_paths, manifest)


def lr_folder(sr: Path, given: Path | None, manifest: Manifest | None) -> Path:
    """The LR folder: the given one, or else the manifest's.

    Raises:
        UsageError: neither is known, or the manifest's does not exist.
    """
    if given:
        return given
    if manifest is None:
        raise UsageError(f"{sr} has no manifest that says where the LR images are", "give --lr FOLDER")
    recorded = (sr / manifest.lr).resolve()
    if not recorded.exists():
        raise UsageError(
            f"the LR folder {recorded}, which the manifest of {sr} names, does not exist", "give --lr FOLDER"
        )
    return recorded
