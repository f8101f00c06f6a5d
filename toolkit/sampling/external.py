"""A folder of another program's SR images: read and checked before the first of them is projected."""

from dataclasses import dataclass
from pathlib import Path

from ntire_sr.challenge.downscale import SCALES
from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import NtireSrError, UsageError, ValidationErrors, require
from ntire_sr.core.files import sha256_bytes
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.threads import map_in_threads
from ntire_sr.samples.folders import IMAGE_SUFFIXES, list_images
from ntire_sr.samples.image_files import decode_image
from ntire_sr.samples.manifest import ImageRecord
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


@dataclass(frozen=True)
class _Facts:
    """What reading an image told."""

    sha256: str  # of the file
    pixels_sha256: str
    height: int
    width: int


def read_external(
    sr: Path, lr: Path, names: str | None = None, scale: int | None = None, progress: Progress = SILENT
) -> ExternalFolder:
    """Match and read every SR and LR image once.

    Args:
        sr: folder of SR images: 8-bit PNG, JPEG or WebP.
        lr: folder of LR images.
        names: pattern of the SR images' names, see `external_names.parse_pattern`; None: the LR images' names, or
            the challenge's.
        scale: 4 or 8; None for that of the first image.
        progress: reports how many images have been read.

    Raises:
        UsageError: a folder is missing or empty, or the pattern is none.
        ValidationErrors: all that is wrong with the images: missing, doubled, unmatched, unreadable, of a wrong size.
    """
    pattern = None if names is None else parse_pattern(names)
    lr_paths = list_images(lr, "LR")
    files = _list_files(sr, pattern)
    match = match_names(files, lr_paths, pattern)
    problems = list(match.problems)
    images: list[ImageRecord | None] = []
    for path in lr_paths:
        try:
            images.append(read_lr(path, scale or SCALES[0]))
        except NtireSrError as failure:
            images.append(None)
            problems.append(failure.message)
    facts: dict[SampleName, _Facts] = {}
    read = map_in_threads(lambda file: _read(sr / file), list(match.files.values()), "check", progress)
    for name, found in zip(match.files, read, strict=True):
        if isinstance(found, NtireSrError):
            problems.append(found.message)
            continue
        facts[name] = found
        image = images[name.index]
        if image is not None:
            scale = scale or _scale_of(found, image)
            problems += _size_problems(match.files[name], found, image, scale)
    if problems:
        fitting = suggested_pattern(files, lr_paths) if len(match.files) < len(files) else None
        remedy = f"--names '{fitting}' fits all of them" if fitting and fitting != names else None
        raise ValidationErrors(
            f"SR images in {sr} for the LR images in {lr}",
            problems,
            remedy or "mend these files, or say with --names how they are named; nothing was written",
        )
    assert scale and all(images), "without problems all images were read, and one told the scale"
    by_image: dict[int, set[str]] = {}
    for name, each in facts.items():
        by_image.setdefault(name.index, set()).add(each.pixels_sha256)
    return ExternalFolder(
        sr,
        [(path, image) for path, image in zip(lr_paths, images, strict=True) if image],
        {name: SourceFile(match.files[name], each.sha256) for name, each in facts.items()},
        match.per_image,
        scale,
        match.per_image > 1 and all(len(different) == 1 for different in by_image.values()),
    )


def _list_files(sr: Path, pattern: Pattern | None) -> list[str]:
    """Names of the images of a folder, or of its subfolders where the pattern names folders."""
    if not sr.is_dir():
        said = "is no folder" if sr.exists() else "does not exist"
        raise UsageError(f"the SR folder {sr} {said}", "check the path")
    depth = pattern.depth if pattern else 0

    def images(depth: int) -> list[str]:
        return sorted(
            path.relative_to(sr).as_posix()
            for path in sr.glob("/".join(["*"] * (depth + 1)))
            if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
            if not any(part.startswith(".") for part in path.relative_to(sr).parts)
        )

    found = images(depth)
    require(
        bool(found),
        f"the SR folder {sr} holds no image ({', '.join(IMAGE_SUFFIXES)})"
        + (" in folders as --names has them" if depth else ""),
        "--names '{stem}/{sample}' if there is a folder per LR image"
        if not depth and images(1)
        else "give the folder that holds the images",
    )
    return found


def _read(path: Path) -> _Facts | NtireSrError:
    try:
        content = file_source(path).read()
        pixels = decode_image(path, content)
    except NtireSrError as failure:
        return failure
    height, width = pixels.shape[:2]
    return _Facts(sha256_bytes(content), sha256_bytes(pixels.tobytes()), height, width)


def _scale_of(found: _Facts, lr: ImageRecord) -> int | None:
    """The scale that the size of an image asks for; None if it is none of `SCALES`."""
    for scale in SCALES:
        if (found.height, found.width) == (scale * lr.height, scale * lr.width):
            return scale
    return None


def _size_problems(file: str, found: _Facts, lr: ImageRecord, scale: int | None) -> list[str]:
    size, lr_size = f"{found.width} x {found.height} pixels", f"{lr.width} x {lr.height} of {lr.name}"
    if scale is None:
        return [f"{file}: {size}, neither 4 nor 8 times the {lr_size}"]
    if (found.height, found.width) != (scale * lr.height, scale * lr.width):
        return [f"{file}: {size}, not {lr.width * scale} x {lr.height * scale}, {scale} times the {lr_size}"]
    return []
