"""A folder of another program's SR images: read and checked before the first of them is projected."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ntire_sr.challenge.downscale import SCALES, downscale_8bit
from ntire_sr.challenge.mismatch import Mismatch, OtherImages, find_mismatch
from ntire_sr.challenge.names import SampleName
from ntire_sr.challenge.pixels import to_tensor
from ntire_sr.core.errors import NtireSrError, UsageError, ValidationErrors, condense, plural, require
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.threads import map_in_threads
from ntire_sr.samples.folders import list_images
from ntire_sr.samples.image_files import read_image
from ntire_sr.samples.image_search import IMAGE_SUFFIXES, Reason, find_images
from ntire_sr.samples.inspection import FileFacts, file_problems, inspect_image, size_for_lr
from ntire_sr.samples.manifest import ImageRecord
from ntire_sr.samples.metadata import ImageNotes
from ntire_sr.samples.problems import Kind, Problem
from ntire_sr.samples.sample_folder import SourceFile
from ntire_sr.samples.sources import file_source
from ntire_sr.sampling.external_names import Pattern, match_names, parse_pattern, suggested_pattern
from ntire_sr.sampling.write_samples import read_lr


@dataclass(frozen=True)
class ExternalFolder:
    """Images of another program that have been read once and fit their LR images."""

    path: Path
    lr: list[tuple[Path, ImageRecord]]
    files: dict[SampleName, SourceFile]
    per_image: int
    scale: int
    deterministic: bool  # there are several samples per image, and those of each image are equal


def read_external(
    sr: Path,
    lr: Path,
    names: str | None = None,
    scale: int | None = None,
    allow_mismatch: bool = False,
    progress: Progress = SILENT,
) -> ExternalFolder:
    """Match and read every SR and LR image once.

    Args:
        sr: folder of SR images: 8-bit PNG, JPEG or WebP.
        lr: folder of LR images.
        names: pattern of the SR images' names, see `external_names.parse_pattern`; None: the LR images' names, or
            the challenge's.
        scale: 4 or 8; None for that of the first image.
        allow_mismatch: whether images may look mirrored, grey, of swapped channels or of another LR image.
        progress: reports how many images have been read.

    Raises:
        UsageError: a folder is missing or empty, or the pattern is none.
        ValidationErrors: all that is wrong with the images: missing, doubled, unmatched, unreadable, of a wrong size, or
            not made from their LR image.
    """
    pattern = None if names is None else parse_pattern(names)
    lr_paths = list_images(lr, "LR", progress=progress)
    files = _list_files(sr, pattern, progress)
    match = match_names(files, lr_paths, pattern)
    problems = list(match.problems)
    if match.ignored:
        progress.message(
            f"note: SR and LR images are paired by their names without regard to {match.ignored}: {match.example}"
        )
    images: list[ImageRecord | None] = []
    others, notes, sr_notes = OtherImages(), ImageNotes(), ImageNotes()
    for index, path in enumerate(lr_paths):
        try:
            images.append(read_lr(path, scale or SCALES[0], notes.of(path.name)))
            others.add(path.name, to_tensor(read_image(path)))
        except NtireSrError as error:
            images.append(None)
            problems.append(Problem(Kind.UNREADABLE, error.message, image=index))

    def inspect(item: tuple[SampleName, str]) -> tuple[FileFacts, Mismatch | None]:
        name, file = item
        facts = inspect_image(file_source(sr / file, file), keep=True)
        mismatch = _mismatch(facts, lr_paths[name.index], others) if images[name.index] else None
        return replace(facts, pixels=None), mismatch

    facts: dict[SampleName, FileFacts] = {}
    doubts: list[str] = []
    inspected = map_in_threads(inspect, list(match.files.items()), "check", progress)
    for name, (file, mismatch) in zip(match.files, inspected, strict=True):
        facts[name] = file
        for text in file.notes:
            sr_notes.of(file.name)(text)
        if mismatch and mismatch.is_mistake and not allow_mismatch:
            problems.append(Problem(Kind.UNLIKE, f"{file.name} {mismatch.text}", name, name.index))
        elif mismatch:
            doubts.append(f"{file.name} {mismatch.text}")
        image = images[name.index]
        allowed = None
        if image is not None and not file.unreadable:
            scale = scale or _scale_of(file, image)
            allowed = size_for_lr(image.name, image.height, image.width, scale)
        problems += file_problems(file, allowed, name)
    notes.report("LR", progress)
    sr_notes.report("SR", progress)
    for text in condense(doubts):
        progress.message(f"warning: {text}")
    if problems:
        fitting = suggested_pattern(files, lr_paths) if len(match.files) < len(files) else None
        remedy = f"--names '{fitting}' fits all of them" if fitting and fitting != names else None
        raise ValidationErrors(
            f"SR images in {sr} for the LR images in {lr}",
            [problem.text for problem in problems],
            remedy or _remedy(problems),
        )
    assert scale and all(images), "without problems all images were read, and one determined the scale"
    by_image: dict[int, set[str]] = {}
    for name, file in facts.items():
        by_image.setdefault(name.index, set()).add(file.pixels_sha256)
    return ExternalFolder(
        sr,
        [(path, image) for path, image in zip(lr_paths, images, strict=True) if image],
        {name: SourceFile(match.files[name], file.sha256) for name, file in facts.items()},
        match.per_image,
        scale,
        match.per_image > 1 and all(len(different) == 1 for different in by_image.values()),
    )


def _list_files(sr: Path, pattern: Pattern | None, progress: Progress) -> list[str]:
    """Names of the images of a folder, or of its subfolders if the pattern names folders."""
    if not sr.is_dir():
        problem = "is not a folder" if sr.exists() else "does not exist"
        raise UsageError(f"the SR folder {sr} {problem}", "check the path")
    depth = pattern.depth if pattern else 0

    images_found = find_images(sr, recursive=depth > 0)
    names = sorted(path.relative_to(sr).as_posix() for path in images_found.paths)
    files = [name for name in names if name.count("/") == depth]
    notes = images_found.notes()
    if len(files) < len(names):
        notes.append(
            f"passed over {plural(len(names) - len(files), 'file')} (not in folders as --names has them)"
        )
    require(
        bool(files),
        "; ".join([f"the SR folder {sr} holds no image ({', '.join(IMAGE_SUFFIXES)})", *notes]),
        "--names '{stem}/{sample}' if there is a folder per LR image"
        if not depth and Reason.SUBFOLDER in images_found.passed_over.values()
        else "give the folder that holds the images",
    )
    for note in notes:
        progress.message(f"note: SR folder {sr}: {note}")
    return files


def _remedy(problems: Sequence[Problem]) -> str:
    """What to do about the problems; nothing was written."""
    if all(problem.kind is Kind.UNLIKE for problem in problems):
        return (
            "give each image the LR image that it was made from, or --allow-mismatch to project them as they are; "
            "nothing was written"
        )
    return "replace these files, or describe their names with --names; nothing was written"


def _mismatch(file: FileFacts, lr: Path, others: OtherImages) -> Mismatch | None:
    """Why an image does not fit its LR image; None if it does, or has not its size, which is another problem."""
    pixels = to_tensor(read_image(lr))
    height, width = pixels.shape[2:]
    scale = next((s for s in SCALES if (file.height, file.width) == (s * height, s * width)), None)
    if scale is None or file.pixels is None:
        return None
    return find_mismatch(downscale_8bit(to_tensor(file.pixels), scale), pixels, others)


def _scale_of(file: FileFacts, lr: ImageRecord) -> int | None:
    """The scale that the size of an image corresponds to; None if it is none of `SCALES`."""
    for scale in SCALES:
        if (file.height, file.width) == (scale * lr.height, scale * lr.width):
            return scale
    return None
