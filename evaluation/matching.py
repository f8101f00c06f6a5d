"""Which samples belong to which HR image, and everything that is wrong with a folder, at once."""

import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ntire_sr.core.downscale import CROP_MULTIPLE, lr_size
from ntire_sr.core.errors import Failure, Problems, plural
from ntire_sr.core.files import sha256_bytes, sha256_file
from ntire_sr.core.images import check_png, read_image
from ntire_sr.core.layout import SampleName, list_images, list_samples, same_image
from ntire_sr.core.manifest import Manifest
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.evaluation.lpips import SMALLEST_PX

# kinds of problems -> what to do about them
REMEDIES = (
    (
        {"missing"},
        "draw what is missing, set --samples to what is there, or leave it out with --skip-missing",
    ),
    ({"unexpected", "wrongly named"}, "move away what does not belong there"),
    ({"wrongly numbered", "out of order"}, "rename the samples, or give the HR folder they belong to"),
    ({"unreadable", "of a wrong size", "of a wrong kind"}, "replace the files that are no good"),
)


@dataclass(frozen=True)
class SampleGroup:
    """An HR image and its samples, in order; the files were read and found whole."""

    index: int  # from 0, in the order of the HR images
    hr: Path
    numbers: tuple[int, ...]  # of the samples
    samples: tuple[Path, ...]
    digests: tuple[str, ...]  # SHA-256 of the HR file and of each sample


@dataclass(frozen=True)
class MatchedSamples:
    """What is to be scored."""

    images: list[SampleGroup]
    missing: list[str]  # what is not there, in words; only where that is allowed
    missing_samples: int
    missing_images: int  # HR images without any sample


@dataclass(frozen=True)
class _File:
    """What a file turned out to be."""

    height: int = 0
    width: int = 0
    mode: str | None = None  # of a PNG that is not 8-bit RGB
    sha256: str = ""
    problem: str | None = None


def match_samples(
    hr: Path,
    sr: Path,
    samples: int,
    scale: int,
    manifest: Manifest | None = None,
    skip_missing: bool = False,
    progress: Progress = SILENT,
    smallest_px: int = SMALLEST_PX,
) -> MatchedSamples:
    """Each HR image with its samples in order.

    Args:
        hr, sr: the folders.
        samples: number per image; where there are more, the first count, as in the official script.
        scale: HR pixels per LR pixel along an axis.
        manifest: of the folder of samples, where it has one.
        skip_missing: go on with the samples that are there.
        progress: where it says how many files are read.
        smallest_px: sides that the cropped HR images must have, for LPIPS.

    Raises:
        Problems: every missing, additional, misnamed, unreadable, wrong-sized or wrongly coded file.
    """
    paths = list_images(hr, "HR")
    found, strangers = list_samples(sr)
    problems = [("wrongly named", 1, f"{name} is no sample's name") for name in strangers]
    beyond = sorted(name for name in found if name.index >= len(paths))
    if beyond:
        lines = f"{plural(len(beyond), 'sample')} without an HR image: {shorten(beyond)}"
        problems.append(("unexpected", len(beyond), lines))
    for what, lowest, too_high in (
        ("index", min((name.index for name in found), default=0), bool(beyond)),
        (
            "sample number",
            min((name.sample for name in found), default=0),
            any(name.sample >= samples for name in found),
        ),
    ):
        # where samples may be missing, the first ones may be
        if lowest and (too_high or not skip_missing):
            starts = "0 (or from the HR images' 801 or 901)" if what == "index" else "0"
            line = f"the lowest {what} is {lowest}; the challenge counts from {starts}"
            problems.append(("wrongly numbered", 1, line))
    if manifest:
        problems += [
            (
                "out of order",
                1,
                f"{path.name} stands at index {index}, where the samples were drawn from {record.name}",
            )
            for index, (path, record) in enumerate(zip(paths, manifest.images, strict=False))
            if not same_image(Path(record.name), path)
        ]

    wanted = {index: [SampleName(index, k) for k in range(samples)] for index in range(len(paths))}
    there = {index: [found[name] for name in names if name in found] for index, names in wanted.items()}
    missing = []
    for index, path in enumerate(paths):
        lost = [name.sample for name in wanted[index] if name not in found]
        if lost:
            line = f"{path.name} (index {index}): {len(lost)} of {samples} samples are missing: {shorten(lost)}"
            missing.append(("missing", len(lost), line))
    files = _inspect(paths, [path for kept in there.values() for path in kept], progress)
    for index, path in enumerate(paths):
        problems += _problems_of(path, there[index], files, scale, smallest_px)
    if not skip_missing:
        problems = missing + problems
    elif not any(there.values()):
        problems += missing
    if problems:
        raise Problems(
            f"scoring {sr} against {hr} ({_counts(problems)})",
            [line for _, _, line in problems],
            "; ".join(remedy for kinds, remedy in REMEDIES if kinds & {kind for kind, _, _ in problems}),
        )
    groups = [
        SampleGroup(
            index,
            path,
            tuple(name.sample for name in wanted[index] if name in found),
            tuple(there[index]),
            tuple(files[file].sha256 for file in (path, *there[index])),
        )
        for index, path in enumerate(paths)
        if there[index]
    ]
    lost = sum(count for _, count, _ in missing)
    return MatchedSamples(groups, [line for _, _, line in missing], lost, len(paths) - len(groups))


def _inspect(hr: list[Path], samples: list[Path], progress: Progress) -> dict[Path, _File]:
    """Read every file once. Digests and decompression leave Python's lock, so threads help."""
    found: dict[Path, _File] = {}
    with (
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        progress.task("check", len(hr) + len(samples)) as advance,
    ):
        results = chain(pool.map(_inspect_hr, hr), pool.map(_inspect_sample, samples))
        for path, file in zip([*hr, *samples], results, strict=True):
            found[path] = file
            advance()
    return found


def _inspect_hr(path: Path) -> _File:
    try:
        # whatever `read_image` accepts, which only reading can tell
        height, width = read_image(path).shape[:2]
        return _File(height, width, sha256=sha256_file(path))
    except Failure as failure:
        return _File(problem=failure.message)


def _inspect_sample(path: Path) -> _File:
    try:
        content = path.read_bytes()
        header = check_png(path, content)
        mode = None if header.is_8bit_rgb else header.mode
        return _File(header.height, header.width, mode, sha256_bytes(content))
    except Failure as failure:
        return _File(problem=failure.message)
    except OSError as error:
        return _File(problem=f"{path} cannot be read ({error.strerror})")


def _problems_of(
    hr: Path, samples: Iterable[Path], files: dict[Path, _File], scale: int, smallest_px: int
) -> list[tuple[str, int, str]]:
    """(kind, number of files, line) of what is wrong with one HR image and its samples."""
    target = files[hr]
    problems = []
    if target.problem:
        problems.append(("unreadable", 1, target.problem))
    least = tuple(side // CROP_MULTIPLE * CROP_MULTIPLE for side in (target.height, target.width))
    most = tuple(lr_size(side, scale) * scale for side in (target.height, target.width))
    size = f"{target.width} x {target.height}"
    if not target.problem and min(least) < smallest_px:
        line = f"{hr.name} has {size} pixels; {smallest_px} are needed after the crop to multiples of 8"
        problems.append(("of a wrong size", 1, line))
    for path in samples:
        file = files[path]
        if file.problem:
            problems.append(("unreadable", 1, file.problem))
            continue
        if file.mode:
            problems.append(("of a wrong kind", 1, f"{path.name} is {file.mode}, not 8-bit RGB"))
        if target.problem is None and not all(
            low <= side <= high for low, side, high in zip(least, (file.height, file.width), most, strict=True)
        ):
            asked = f"{least[1]} x {least[0]}" + (f" to {most[1]} x {most[0]}" if most != least else "")
            line = f"{path.name} has {file.width} x {file.height} pixels; {hr.name} ({size}) asks for {asked}"
            problems.append(("of a wrong size", 1, line))
    return problems


def _counts(problems: list[tuple[str, int, str]]) -> str:
    """ "3 missing, 1 unreadable" """
    counts: Counter[str] = Counter()
    for kind, count, _ in problems:
        counts[kind] += count
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def shorten(items: list[Any], most: int = 5) -> str:
    """The first few items of a list, and how many more there are.

    >>> shorten([1, 2, 3], most=2)
    '1, 2 and 1 more'
    """
    shown = ", ".join(map(str, items[:most]))
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"
