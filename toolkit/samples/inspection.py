"""What is wrong with a folder or an archive of samples: problems of kinds, for whoever needs to know.

Nothing here is forbidden or put into words: `score` and `package` differ in what they allow, in what order
they list it, and in how they say it.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from ntire_sr.challenge.names import SampleName, same_image
from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import sha256_bytes
from ntire_sr.core.threads import map_ahead
from ntire_sr.samples.image_files import check_png, decode_image
from ntire_sr.samples.manifest import Manifest
from ntire_sr.samples.sources import Source

THREADS = 8  # that read files at once, at most


class Kind(Enum):
    """The kinds of problems."""

    MISSING = "missing"
    UNEXPECTED = "unexpected"
    WRONGLY_NAMED = "wrongly named"
    WRONGLY_NUMBERED = "wrongly numbered"
    OUT_OF_ORDER = "out of order"
    UNREADABLE = "unreadable"
    WRONG_SIZE = "of a wrong size"
    WRONG_MODE = "of a wrong kind"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    kind: Kind
    subject: str  # name of the file; where numbers are wrong, which: "index" or "sample number"
    found: str = ""  # lowest number, image that the manifest names, reason, size or mode
    sample: SampleName | None = None  # the one that is unexpected
    index: int = 0  # from 0, of the image whose samples are missing or that is out of order
    numbers: tuple[range, ...] = ()  # of missing samples, in runs: a manifest may promise any number

    @property
    def count(self) -> int:
        """How many files it is about: as many as are missing, or one."""
        return sum(map(len, self.numbers)) or 1


def of_kind(problems: Iterable[Problem], kind: Kind) -> list[Problem]:
    """Those of one kind, in their order."""
    return [problem for problem in problems if problem.kind is kind]


# ---- names


def inspect_names(
    samples: Collection[SampleName], strangers: Sequence[str], images: Sequence[Path], per_image: int
) -> list[Problem]:
    """What the names alone tell, kind by kind.

    >>> names = [SampleName(0, 0), SampleName(0, 3), SampleName(1, 0)]
    >>> [(p.kind.value, p.numbers, p.sample) for p in inspect_names(names, [], [Path("0801.png")], 3)]
    [('missing', (range(1, 3),), None), ('unexpected', (), SampleName(index=0, sample=3)),\
 ('unexpected', (), SampleName(index=1, sample=0))]

    Args:
        samples: that are there, images counted from 0.
        strangers: names of files that are no samples.
        images: that the samples belong to, in their order.
        per_image: how many samples each image should have.
    """
    problems = [Problem(Kind.WRONGLY_NAMED, name) for name in strangers]
    there: dict[int, list[int]] = {}
    unexpected = []
    for name in sorted(samples):
        if name.index < len(images) and name.sample < per_image:
            there.setdefault(name.index, []).append(name.sample)
        else:
            unexpected.append(Problem(Kind.UNEXPECTED, str(name), sample=name))
    for index, path in enumerate(images):
        runs = tuple(_gaps(there.get(index, []), per_image))
        if runs:
            problems.append(Problem(Kind.MISSING, path.name, index=index, numbers=runs))
    problems += unexpected
    for what, lowest in (
        ("index", min((name.index for name in samples), default=0)),
        ("sample number", min((name.sample for name in samples), default=0)),
    ):
        if lowest:
            problems.append(Problem(Kind.WRONGLY_NUMBERED, what, str(lowest)))
    return problems


def _gaps(numbers: Sequence[int], count: int) -> Iterator[range]:
    """The runs of 0 ... count - 1 that are not among numbers, which are in order."""
    start = 0
    for number in [*numbers, count]:
        if number > start:
            yield range(start, number)
        start = number + 1


def inspect_order(images: Sequence[Path], manifest: Manifest | None) -> list[Problem]:
    """Images that stand where the samples were drawn from another one, by the samples' manifest."""
    return [
        Problem(Kind.OUT_OF_ORDER, path.name, record.name, index=index)
        for index, (path, record) in enumerate(zip(images, manifest.images if manifest else (), strict=False))
        if not same_image(Path(record.name), path)
    ]


# ---- files


@dataclass(frozen=True)
class FileFacts:
    """What reading a file told."""

    name: str
    sha256: str = ""  # of its content; empty where it could not be read at all
    height: int = 0  # in pixels
    width: int = 0
    mode: str | None = None  # of a sample that is not 8-bit RGB, such as "8-bit grey"
    unreadable: str | None = None  # why it is no whole image
    content: bytes = b""  # of a sample, where it was asked for
    pixels: np.ndarray | None = None  # (H, W, 3) uint8 of an image, where they were asked for


@dataclass(frozen=True)
class SizeRange:
    """Heights and widths in pixels that a sample may have, both ends included."""

    least: tuple[int, int]
    most: tuple[int, int]

    def holds(self, height: int, width: int) -> bool:
        """Whether an image of this size is within the range."""
        return all(
            low <= side <= high for low, side, high in zip(self.least, (height, width), self.most, strict=True)
        )


def inspect_image(source: Source, keep: bool = False) -> FileFacts:
    """An HR or LR image of any kind that `images.read_image` accepts, which only decoding can tell.

    Args:
        source: the file, which is read once.
        keep: whether to keep the pixels.
    """
    try:
        content = source.read()
        pixels = decode_image(source.name, content)
    except NtireSrError as failure:
        return FileFacts(source.name, unreadable=failure.message)
    height, width = pixels.shape[:2]
    return FileFacts(source.name, sha256_bytes(content), height, width, pixels=pixels if keep else None)


def inspect_sample(source: Source, keep: bool = False) -> FileFacts:
    """A sample, which must be a PNG; it is not decompressed, see `images.check_png`.

    Args:
        source: the file, which is read once.
        keep: whether to keep its content.
    """
    sha256 = ""
    try:
        content = source.read()
        sha256 = sha256_bytes(content)
        header = check_png(source.name, content)
    except NtireSrError as failure:
        return FileFacts(source.name, sha256, unreadable=failure.message)
    mode = None if header.is_8bit_rgb else header.mode
    return FileFacts(source.name, sha256, header.height, header.width, mode, content=content if keep else b"")


def inspect_files(
    groups: Iterable[tuple[Source, Iterable[Source]]], keep: bool = False, threads: int | None = None
) -> Iterator[FileFacts]:
    """Read images and their samples once each, by a few threads, ahead of what was asked for.

    Digests, checksums and decompression do not hold Python's lock, so that threads help.
    Close the iterator where it is not read to its end.

    Args:
        groups: (image, its samples) in their order.
        keep: whether to keep the pixels of images and the content of samples.
        threads: which read, and how many files ahead; None: up to `THREADS`.

    Yields:
        The facts of an image, then of each of its samples; then of the next image.
    """
    files = (
        (inspect, source)
        for image, samples in groups
        for inspect, source in [(inspect_image, image), *((inspect_sample, each) for each in samples)]
    )
    threads = threads or min(THREADS, os.cpu_count() or 1)
    return map_ahead(lambda file: file[0](file[1], keep), files, threads, threads)


def file_problems(facts: FileFacts, sizes: Sequence[SizeRange] | None) -> list[Problem]:
    """What is wrong with a sample.

    Args:
        facts: of the file.
        sizes: that it may have; None: any.
    """
    if facts.unreadable:
        return [Problem(Kind.UNREADABLE, facts.name, facts.unreadable)]
    problems = []
    if facts.mode:
        problems.append(Problem(Kind.WRONG_MODE, facts.name, facts.mode))
    if sizes is not None and not any(each.holds(facts.height, facts.width) for each in sizes):
        problems.append(Problem(Kind.WRONG_SIZE, facts.name, f"{facts.width} x {facts.height}"))
    return problems
