"""Problems of samples: one record and one set of messages for score, project, package and verify.

Nothing is forbidden here: each command decides which kinds of problems it accepts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ntire_sr.challenge.names import SampleName
from ntire_sr.challenge.pairs import pair_names, suggest_pattern
from ntire_sr.core.errors import plural, printable, shorten
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.samples.manifest import Manifest


class Kind(Enum):
    """The kinds of problems, as counted in error messages."""

    MISSING = "missing"
    UNEXPECTED = "unexpected"  # a sample that belongs to no image
    SURPLUS = "beyond the samples per image"
    WRONGLY_NAMED = "wrongly named"
    WRONGLY_NUMBERED = "wrongly numbered"
    OUT_OF_ORDER = "out of order"
    DUPLICATE = "duplicate"  # two files for one sample, or two equal samples of an image
    UNREADABLE = "unreadable"
    WRONG_SIZE = "of a wrong size"
    WRONG_MODE = "of a wrong kind"
    UNLIKE = "unlike the LR image"
    INCONSISTENT = "inconsistent with the LR image"
    OTHER_THAN_RECORDED = "other than the manifest says"
    UNSAFE = "unsafe in an archive"


@dataclass(frozen=True)
class Problem:
    """A problem of one file, or of several files that share it."""

    kind: Kind
    text: str  # the message; it names the file
    sample: SampleName | None = None  # the sample; None if the problem is about several files or none
    image: int | None = None  # index of the image from 0; None if the problem is about no single image
    count: int = 1  # number of affected files


def of_kind(problems: Iterable[Problem], kind: Kind) -> list[Problem]:
    """The problems of one kind, in their order."""
    return [problem for problem in problems if problem.kind is kind]


def printable_name(name: str) -> str:
    """A file name from anywhere in a form that is safe to print.

    >>> printable_name("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return printable(name[:200]).replace("\n", "\\n")


def name_problems(
    samples: Mapping[SampleName, str],
    unexpected_files: Sequence[str],
    images: Sequence[Path],
    per_image: int,
    first: int = 0,
) -> list[Problem]:
    """Problems that the names of the files show, kind by kind.

    >>> files = {SampleName(0, 0): "0.png", SampleName(0, 3): "3.png"}
    >>> [problem.text for problem in name_problems(files, [], [Path("0801.png")], per_image=3)]
    ['0801.png (index 0): 2 of 3 samples are missing: 1 to 2', '1 sample beyond 3 per image: 3.png']

    Args:
        samples: name of the file of each sample, images counted from 0.
        unexpected_files: names of files that are not samples.
        images: the images that the samples belong to, in order.
        per_image: number of samples that each image should have.
        first: number of sample 0 in the names of the files.
    """
    problems = [
        Problem(Kind.WRONGLY_NAMED, f"{printable_name(name)} is not the name of a sample")
        for name in unexpected_files
    ]
    if samples:
        problems += _missing_samples(samples, images, per_image, first)
    else:
        problems.append(Problem(Kind.MISSING, "there is no sample", count=len(images) * per_image))
    names = sorted(samples)
    without_image = [name for name in names if name.index >= len(images)]
    surplus = [name for name in names if name.index < len(images) and name.sample >= per_image]
    if without_image:
        problems.append(samples_without_image([samples[name] for name in without_image]))
    if surplus:
        files = shorten([printable_name(samples[name]) for name in surplus])
        text = f"{plural(len(surplus), 'sample')} beyond {per_image} per image: {files}"
        problems.append(Problem(Kind.SURPLUS, text, count=len(surplus)))
    beyond_count = any(name.sample >= per_image for name in names)
    return [*problems, *_wrong_numbering(names, bool(without_image), beyond_count)]


def samples_without_image(files: Sequence[str]) -> Problem:
    """The problem of samples that belong to none of the images."""
    text = (
        f"{plural(len(files), 'sample')} without an image: {shorten([printable_name(file) for file in files])}"
    )
    return Problem(Kind.UNEXPECTED, text, count=len(files))


def _missing_samples(
    samples: Iterable[SampleName], images: Sequence[Path], per_image: int, first: int
) -> Iterator[Problem]:
    numbers: dict[int, list[int]] = {}
    for name in sorted(samples):
        if name.sample < per_image:
            numbers.setdefault(name.index, []).append(name.sample)
    for index, path in enumerate(images):
        # in runs, since a manifest may promise any number of samples
        gaps = list(_gaps(numbers.get(index, []), per_image))
        if gaps:
            count = sum(map(len, gaps))
            runs = [
                f"{gap[0] + first} to {gap[-1] + first}" if len(gap) > 1 else str(gap[0] + first)
                for gap in gaps
            ]
            text = f"{path.name} (index {index}): {count} of {per_image} samples are missing: {shorten(runs)}"
            yield Problem(Kind.MISSING, text, image=index, count=count)


def _gaps(numbers: Sequence[int], count: int) -> Iterator[range]:
    """The runs of 0 ... count - 1 that are not among `numbers`, which are in order."""
    start = 0
    for number in [*numbers, count]:
        if number > start:
            yield range(start, number)
        start = number + 1


def _wrong_numbering(names: Sequence[SampleName], without_image: bool, beyond_count: bool) -> Iterator[Problem]:
    """Indices or sample numbers that begin too high and also end too high: all are shifted."""
    for subject, too_high, numbers, start in (
        ("index", without_image, [name.index for name in names], "0 (or from the HR images' 801 or 901)"),
        ("sample number", beyond_count, [name.sample for name in names], "0"),
    ):
        if too_high and min(numbers) > 0:
            text = f"the lowest {subject} is {min(numbers)}; the challenge counts from {start}"
            yield Problem(Kind.WRONGLY_NUMBERED, text)


def in_manifest_order(
    images: Sequence[Path],
    manifest: Manifest | None,
    what: str,
    lr_names: str | None = None,
    progress: Progress = SILENT,
) -> list[Path]:
    """The images in the order of the manifest's LR images, paired by their names; see `challenge.pairs`.

    Args:
        images: HR or LR images, in their order.
        manifest: manifest of the samples; without one, and where it has more images, the order stays as it is.
        what: what the images are ("HR", "LR"), for messages.
        lr_names: pattern of the manifest's names; None to find it.
        progress: receives a message on how images were paired whose names differ.

    Returns:
        The images: those with a partner at its index, the others in their order at the indices between and after them.
    """
    if manifest is None or len(manifest.images) > len(images):
        return list(images)
    pairs = pair_names([record.name for record in manifest.images], [path.name for path in images], lr_names)
    by_index = {
        index: images[pairs.positions[record.name]]
        for index, record in enumerate(manifest.images)
        if record.name in pairs.positions
    }
    if pairs.ignored:
        progress.message(
            f"note: {what} images are paired with the LR images of the manifest by their names without regard to "
            f"{pairs.ignored}: {printable_name(pairs.example)}"
        )
    taken = set(by_index.values())
    others = iter([path for path in images if path not in taken])
    return [by_index.get(index) or next(others) for index in range(len(images))]


def pattern_for(images: Sequence[Path], manifest: Manifest | None) -> str | None:
    """A pattern of the manifest's LR names with which each has a partner among the images; None if none was found."""
    if manifest is None:
        return None
    return suggest_pattern([record.name for record in manifest.images], [path.name for path in images])


def order_problems(
    images: Sequence[Path], manifest: Manifest | None, lr_names: str | None = None
) -> list[Problem]:
    """Images at an index where the samples, by their manifest, were drawn from another image.

    Args:
        images: the images, as `in_manifest_order` returns them.
        manifest: manifest of the samples; None if they have none.
        lr_names: pattern of the manifest's names, see `in_manifest_order`.
    """
    records = list(manifest.images) if manifest else []
    pairs = pair_names([record.name for record in records], [path.name for path in images], lr_names)
    return [
        Problem(
            Kind.OUT_OF_ORDER,
            f"{path.name} has index {index}, but the samples of this index were drawn from "
            f"{printable_name(record.name)}",
            image=index,
        )
        for index, (path, record) in enumerate(zip(images, records, strict=False))
        if pairs.positions.get(record.name) != index
    ]
