"""Matching samples with their HR images, with all problems of the folders in one error."""

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ntire_sr.challenge.downscale import crop_size
from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import ValidationErrors
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.evaluation.metrics.lpips_network import SMALLEST_PX
from ntire_sr.samples.folders import list_images, list_samples
from ntire_sr.samples.inspection import FileFacts, file_problems, inspect_files, size_for_hr
from ntire_sr.samples.manifest import Manifest
from ntire_sr.samples.metadata import ImageNotes
from ntire_sr.samples.problems import (
    Kind,
    Problem,
    in_manifest_order,
    name_problems,
    of_kind,
    order_problems,
    pattern_for,
)
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
    lr_names: str | None = None,
    given_sr: Path | None = None,
) -> MatchedSamples:
    """Each HR image with its samples in order.

    Args:
        hr, sr: folders of the HR images and of the samples.
        samples: samples per image; of more, the first ones count, as in the official script.
        scale: HR pixels per LR pixel along an axis.
        manifest: manifest of the samples; None if they have none.
        skip_missing: accept missing samples and score those that exist.
        progress: reports how many files have been read.
        smallest_px: smallest allowed side of the cropped HR images, as LPIPS requires.
        lr_names: pattern of the LR images' names in the manifest, by which HR images are paired with them; None to find it.
        given_sr: the archive that `sr` was extracted from, for messages; None for `sr`.

    Raises:
        ValidationErrors: files are missing, unexpected, misnamed, unreadable, of a wrong size or not 8-bit RGB; all are
            listed.
    """
    paths = in_manifest_order(list_images(hr, "HR"), manifest, "HR", lr_names, progress)
    sample_paths, unexpected = list_samples(sr)
    files = {name: path.name for name, path in sample_paths.items()}
    names = name_problems(files, unexpected, paths, samples) + order_problems(paths, manifest, lr_names)
    missing = of_kind(names, Kind.MISSING)
    # samples beyond those that count are allowed
    problems = [problem for problem in names if problem.kind not in (Kind.MISSING, Kind.SURPLUS)]
    there: list[list[SampleName]] = [[] for _ in paths]
    for name in sorted(sample_paths):
        if name.index < len(paths) and name.sample < samples:
            there[name.index].append(name)
    groups, notes = [], ImageNotes()
    sources = [
        (file_source(path), [file_source(sample_paths[name], sample_paths[name].name) for name in kept])
        for path, kept in zip(paths, there, strict=True)
    ]
    total = len(paths) + sum(map(len, there))
    with closing(inspect_files(sources)) as files, progress.task("check", total) as advance:
        for index, (path, kept) in enumerate(zip(paths, there, strict=True)):
            facts = []
            for _ in (path, *kept):
                facts.append(next(files))
                advance()
            for text in facts[0].notes:
                notes.of(path.name)(text)
            problems += _file_problems(index, facts[0], facts[1:], scale, smallest_px)
            if kept:
                numbers, digests = (name.sample for name in kept), (file.sha256 for file in facts)
                groups.append(
                    SampleGroup(
                        index, path, tuple(numbers), tuple(sample_paths[name] for name in kept), tuple(digests)
                    )
                )
    if not skip_missing:
        problems = missing + problems
    elif not groups:
        problems += missing
    notes.report("HR", progress)
    if problems:
        pattern = pattern_for(paths, manifest) if of_kind(problems, Kind.OUT_OF_ORDER) else None
        remedies = [remedy for kinds, remedy in REMEDIES if kinds & {problem.kind for problem in problems}]
        if pattern:
            remedies.insert(0, f"--lr-names '{pattern}', which fits all names of the LR images")
        raise ValidationErrors(
            f"scoring {given_sr or sr} against {hr} ({_counts(problems)})",
            [problem.text for problem in problems],
            "; ".join(remedies),
        )
    lost = sum(problem.count for problem in missing)
    return MatchedSamples(groups, [problem.text for problem in missing], lost, len(paths) - len(groups))


def _file_problems(
    index: int, hr: FileFacts, samples: list[FileFacts], scale: int, smallest_px: int
) -> list[Problem]:
    """Problems of one HR image and its samples.

    A sample may have any size from the official crop's to that of the LR image times the scale."""
    allowed = None
    problems: list[Problem] = []
    if hr.unreadable:
        problems.append(Problem(Kind.UNREADABLE, hr.unreadable, image=index))
    else:
        name = Path(hr.name).name
        allowed = size_for_hr(name, hr.height, hr.width, scale)
        if min(crop_size(hr.height, hr.width)) < smallest_px:
            text = (
                f"{name} has {hr.width} x {hr.height} pixels; "
                f"{smallest_px} are needed after the crop to multiples of 8"
            )
            problems.append(Problem(Kind.WRONG_SIZE, text, image=index))
    for facts in samples:
        problems += file_problems(facts, allowed)
    return problems


def _counts(problems: list[Problem]) -> str:
    """Files per kind of problem, such as "3 missing, 1 unreadable"."""
    counts: Counter[str] = Counter()
    for problem in problems:
        counts[problem.kind.value] += problem.count
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())
