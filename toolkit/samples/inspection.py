"""Reading images and samples once each, in threads: sizes, modes and digests, and what is wrong with them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ntire_sr.challenge.downscale import SCALES, crop_size, lr_size
from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import sha256_bytes
from ntire_sr.core.machine import processors
from ntire_sr.core.threads import map_ahead
from ntire_sr.samples.image_files import check_png, decode_image
from ntire_sr.samples.problems import Kind, Problem, printable_name
from ntire_sr.samples.sources import Source

MAX_THREADS = 8  # that read files at once


@dataclass(frozen=True)
class FileFacts:
    """Facts about an image file that has been read."""

    name: str
    sha256: str = ""  # digest of the file; empty if it could not be read at all
    height: int = 0  # in pixels
    width: int = 0
    mode: str | None = None  # mode of a sample that is not 8-bit RGB, such as "8-bit grey"
    notes: tuple[str, ...] = ()  # what was not applied to the pixels of an image, see `image_files.read_image`
    unreadable: str | None = None  # why it cannot be decoded; None if it can
    pixels_sha256: str = ""  # digest of the decoded pixels; empty for samples, which are not decoded
    content: bytes = b""  # bytes of a sample's file, if they were asked for
    pixels: np.ndarray | None = None  # (H, W, 3) uint8 of an image, if they were asked for


@dataclass(frozen=True)
class AllowedSize:
    """Sizes in pixels that a sample may have."""

    text: str  # for messages
    ranges: tuple[tuple[tuple[int, int], tuple[int, int]], ...]  # (least, most) height and width, both included

    def allows(self, height: int, width: int) -> bool:
        """Whether an image of this size is within one of the ranges."""
        return any(
            least[0] <= height <= most[0] and least[1] <= width <= most[1] for least, most in self.ranges
        )


def size_for_lr(name: str, height: int, width: int, scale: int | None = None) -> AllowedSize:
    """The size of the samples of an LR image.

    >>> size_for_lr("0801.png", 24, 32, 4).text, size_for_lr("0801.png", 24, 32).text
    ('128 x 96, 4 times the 32 x 24 of 0801.png', '4 or 8 times the 32 x 24 of 0801.png')

    Args:
        name: name of the LR image, for messages.
        height, width: size of the LR image.
        scale: 4 or 8; None for either.
    """
    scales = SCALES if scale is None else (scale,)
    times = f"{' or '.join(map(str, scales))} times the {width} x {height} of {name}"
    text = times if scale is None else f"{width * scale} x {height * scale}, {times}"
    return AllowedSize(text, tuple(((height * s, width * s), (height * s, width * s)) for s in scales))


def size_for_hr(name: str, height: int, width: int, scale: int) -> AllowedSize:
    """The sizes of the samples of an HR image: from the official crop to the size of the LR image times the scale.

    >>> size_for_hr("0802.png", 70, 83, 4).text
    '80 x 64 to 84 x 72 for the 83 x 70 of 0802.png'
    """
    least = crop_size(height, width)
    most = (lr_size(height, scale) * scale, lr_size(width, scale) * scale)
    smallest, largest = f"{least[1]} x {least[0]}", f"{most[1]} x {most[0]}"
    sizes = smallest if smallest == largest else f"{smallest} to {largest}"
    return AllowedSize(f"{sizes} for the {width} x {height} of {name}", ((least, most),))


def inspect_image(source: Source, keep: bool = False) -> FileFacts:
    """Read and decode an image of any format that `decode_image` accepts.

    Args:
        source: the file, which is read once.
        keep: whether to keep the pixels.
    """
    notes: list[str] = []
    try:
        content = source.read()
        pixels = decode_image(source.name, content, notes.append)
    except NtireSrError as error:
        return FileFacts(source.name, unreadable=error.message)
    height, width = pixels.shape[:2]
    return FileFacts(
        source.name,
        sha256_bytes(content),
        height,
        width,
        notes=tuple(notes),
        pixels_sha256=sha256_bytes(pixels.tobytes()),
        pixels=pixels if keep else None,
    )


def inspect_sample(source: Source, keep: bool = False) -> FileFacts:
    """Read a sample, which must be a PNG, and check it without decompressing it, see `check_png`.

    Args:
        source: the file, which is read once.
        keep: whether to keep its content.
    """
    sha256 = ""
    try:
        content = source.read()
        sha256 = sha256_bytes(content)
        header = check_png(source.name, content)
    except NtireSrError as error:
        return FileFacts(source.name, sha256, unreadable=error.message)
    mode = None if header.is_8bit_rgb else header.mode
    return FileFacts(source.name, sha256, header.height, header.width, mode, content=content if keep else b"")


def inspect_files(
    groups: Iterable[tuple[Source, Iterable[Source]]], keep: bool = False, threads: int | None = None
) -> Iterator[FileFacts]:
    """Read images and their samples once each, by a few threads, ahead of the caller.

    Digests, checksums and decompression release Python's lock, so threads help.
    Close the iterator where it is not read to its end.

    Args:
        groups: (image, its samples) in order.
        keep: whether to keep the pixels of images and the content of samples.
        threads: number of threads, and of files read ahead; None for up to `MAX_THREADS`.

    Yields:
        The facts of an image, then of each of its samples; then of the next image.
    """
    files = (
        (inspect, source)
        for image, samples in groups
        for inspect, source in [(inspect_image, image), *((inspect_sample, sample) for sample in samples)]
    )
    threads = threads or min(MAX_THREADS, processors().usable)
    return map_ahead(lambda file: file[0](file[1], keep), files, threads, threads)


def file_problems(
    facts: FileFacts, allowed: AllowedSize | None, sample: SampleName | None = None
) -> list[Problem]:
    """Problems of a sample's file: unreadable, or a wrong mode or size.

    Args:
        facts: facts about the file.
        allowed: sizes that it may have; None for any.
        sample: the sample, for the records.
    """
    image = sample.index if sample else None
    if facts.unreadable:
        return [Problem(Kind.UNREADABLE, facts.unreadable, sample, image)]
    name, problems = printable_name(facts.name), []
    if facts.mode:
        problems.append(Problem(Kind.WRONG_MODE, f"{name} is {facts.mode}, not 8-bit RGB", sample, image))
    if allowed is not None and not allowed.allows(facts.height, facts.width):
        text = f"{name} has {facts.width} x {facts.height} pixels, not {allowed.text}"
        problems.append(Problem(Kind.WRONG_SIZE, text, sample, image))
    return problems
