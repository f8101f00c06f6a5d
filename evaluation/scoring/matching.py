"""Matching samples with their HR images, with all problems of the folders in one error."""

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ntire_sr.challenge.downscale import CROP_MULTIPLE, lr_size
from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import ValidationErrors, plural
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.evaluation.metrics.lpips import SMALLEST_PX
from ntire_sr.samples.folders import list_images, list_samples
from ntire_sr.samples.inspection import (
    FileFacts,
    Kind,
    Problem,
    SizeRange,
    file_problems,
    inspect_files,
    inspect_names,
    inspect_order,
    of_kind,
)
from ntire_sr.samples.manifest import Manifest
from ntire_sr.samples.sources import file_source

# kinds of problems -> what to do about them
REMEDIES = (
    (
        {Kind.MISSING},
        "draw what is missing, set --samples to what is there, or leave it out with --skip-missing",
    ),
    (
        {Kind.UNEXPECTED, Kind.WRONGLY_NAMED},
        "move away what does not belong there; `ntire-sr project` gives another program's images the challenge's names",
    ),
    (
        {Kind.WRONGLY_NUMBERED, Kind.OUT_OF_ORDER},
        "rename the samples, or give the HR folder they belong to",
    ),
    ({Kind.UNREADABLE, Kind.WRONG_SIZE, Kind.WRONG_MODE}, "replace the files that are no good"),
)


class _Line(NamedTuple):
    """Problems of one kind, as a line of the error message."""

    kind: Kind
    count: int  # affected files
    text: str


@dataclass(frozen=True)
class SampleGroup:
    """An HR image and its samples, in order; all files were read and can be decoded."""

    index: int  # from 0, in the order of the HR images
    hr: Path
    numbers: tuple[int, ...]  # sample numbers
    samples: tuple[Path, ...]
    digests: tuple[str, ...]  # SHA-256 of the HR file and of each sample


@dataclass(frozen=True)
class MatchedSamples:
    """The images to score, and what is missing."""

    images: list[SampleGroup]
    missing: list[str]  # descriptions of missing samples; empty unless missing samples are allowed
    missing_samples: int
    missing_images: int  # HR images without any sample


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
        hr, sr: folders of the HR images and of the samples.
        samples: samples per image; of more, the first ones count, as in the official script.
        scale: HR pixels per LR pixel along an axis.
        manifest: manifest of the samples; None if they have none.
        skip_missing: accept missing samples and go on with those that exist.
        progress: reports how many files have been read.
        smallest_px: smallest allowed side of the cropped HR images, as LPIPS requires.

    Raises:
        ValidationErrors: files are missing, unexpected, misnamed, unreadable, of a wrong size or not 8-bit RGB; all are
            listed.
    """
    paths = list_images(hr, "HR")
    found, strangers = list_samples(sr)
    names = inspect_names(found, strangers, paths, samples) + inspect_order(paths, manifest)
    missing = [_missing(problem, samples) for problem in of_kind(names, Kind.MISSING)]
    problems = _name_lines(names, len(paths), samples, skip_missing)
    there: list[list[SampleName]] = [[] for _ in paths]
    for name in sorted(found):
        if name.index < len(paths) and name.sample < samples:
            there[name.index].append(name)
    groups = []
    sources = [
        (file_source(path), [file_source(found[name]) for name in kept])
        for path, kept in zip(paths, there, strict=True)
    ]
    total = len(paths) + sum(map(len, there))
    with closing(inspect_files(sources)) as files, progress.task("check", total) as advance:
        for index, (path, kept) in enumerate(zip(paths, there, strict=True)):
            facts = []
            for _ in (path, *kept):
                facts.append(next(files))
                advance()
            problems += _file_lines(facts[0], facts[1:], scale, smallest_px)
            if kept:
                numbers, digests = (name.sample for name in kept), (each.sha256 for each in facts)
                groups.append(
                    SampleGroup(
                        index, path, tuple(numbers), tuple(found[name] for name in kept), tuple(digests)
                    )
                )
    if not skip_missing:
        problems = missing + problems
    elif not groups:
        problems += missing
    if problems:
        raise ValidationErrors(
            f"scoring {sr} against {hr} ({_counts(problems)})",
            [line.text for line in problems],
            "; ".join(remedy for kinds, remedy in REMEDIES if kinds & {line.kind for line in problems}),
        )
    lost = sum(line.count for line in missing)
    return MatchedSamples(groups, [line.text for line in missing], lost, len(paths) - len(groups))


def _missing(problem: Problem, samples: int) -> _Line:
    numbers = shorten([number for run in problem.numbers for number in run])
    text = f"{problem.subject} (index {problem.index}): {problem.count} of {samples} samples are missing: {numbers}"
    return _Line(problem.kind, problem.count, text)


def _name_lines(names: list[Problem], images: int, samples: int, skip_missing: bool) -> list[_Line]:
    """Problems of the names that prevent scoring; samples beyond those that count are allowed."""
    lines = [
        _Line(problem.kind, 1, f"{problem.subject} is no sample's name")
        for problem in of_kind(names, Kind.WRONGLY_NAMED)
    ]
    unexpected = [problem.sample for problem in of_kind(names, Kind.UNEXPECTED) if problem.sample]
    beyond = [name for name in unexpected if name.index >= images]
    if beyond:
        text = f"{plural(len(beyond), 'sample')} without an HR image: {shorten(beyond)}"
        lines.append(_Line(Kind.UNEXPECTED, len(beyond), text))
    too_high = {"index": bool(beyond), "sample number": any(name.sample >= samples for name in unexpected)}
    for problem in of_kind(names, Kind.WRONGLY_NUMBERED):
        # where missing samples are allowed, the missing ones may be the first
        if too_high[problem.subject] or not skip_missing:
            starts = "0 (or from the HR images' 801 or 901)" if problem.subject == "index" else "0"
            text = f"the lowest {problem.subject} is {problem.found}; the challenge counts from {starts}"
            lines.append(_Line(problem.kind, 1, text))
    for problem in of_kind(names, Kind.OUT_OF_ORDER):
        text = f"{problem.subject} stands at index {problem.index}, where the samples were drawn from {problem.found}"
        lines.append(_Line(problem.kind, 1, text))
    return lines


def _file_lines(hr: FileFacts, samples: list[FileFacts], scale: int, smallest_px: int) -> list[_Line]:
    """Problems of one HR image and its samples. A sample may have any size from the official crop's to
    that of the LR image times the scale."""
    name, size = Path(hr.name).name, f"{hr.width} x {hr.height}"
    sizes, asked = None, ""
    lines: list[_Line] = []
    if hr.unreadable:
        lines.append(_Line(Kind.UNREADABLE, 1, hr.unreadable))
    else:
        least_height, least_width = (side // CROP_MULTIPLE * CROP_MULTIPLE for side in (hr.height, hr.width))
        most_height, most_width = (lr_size(side, scale) * scale for side in (hr.height, hr.width))
        sizes = [SizeRange((least_height, least_width), (most_height, most_width))]
        smallest, largest = f"{least_width} x {least_height}", f"{most_width} x {most_height}"
        asked = smallest if smallest == largest else f"{smallest} to {largest}"
        if min(least_height, least_width) < smallest_px:
            text = f"{name} has {size} pixels; {smallest_px} are needed after the crop to multiples of 8"
            lines.append(_Line(Kind.WRONG_SIZE, 1, text))
    for facts in samples:
        for problem in file_problems(facts, sizes):
            file = Path(problem.subject).name
            if problem.kind is Kind.UNREADABLE:
                text = problem.found
            elif problem.kind is Kind.WRONG_MODE:
                text = f"{file} is {problem.found}, not 8-bit RGB"
            else:
                text = f"{file} has {problem.found} pixels; {name} ({size}) asks for {asked}"
            lines.append(_Line(problem.kind, 1, text))
    return lines


def _counts(lines: list[_Line]) -> str:
    """Files per kind of problem, such as "3 missing, 1 unreadable"."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts[line.kind.value] += line.count
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def shorten(items: list[Any], most: int = 5) -> str:
    """The first few items of a list, and how many more there are.

    >>> shorten([1, 2, 3], most=2)
    '1, 2 and 1 more'
    """
    shown = ", ".join(map(str, items[:most]))
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"
