"""Reproducible zip archives with all files at the root: the same input gives the same bytes."""

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.files import atomic_file, error_from_os_error, sha256_bytes, sha256_file
from ntire_sr.samples.sources import Source

ENTRY_BYTES = 200  # upper estimate of an archive's overhead per file, in addition to its content
END_BYTES = 1000  # the same for the end of an archive


@dataclass(frozen=True)
class Member:
    """A file to be written to an archive."""

    name: str
    source: Source
    sha256: str | None = None  # expected digest of the content; None for any content


def archive_name(name: SampleName, samples: int) -> str:
    """A sample's name in the archive; with one sample per image, the official script expects no sample number.

    >>> archive_name(SampleName(3, 0), samples=10), archive_name(SampleName(3, 0), samples=1)
    ('000003_sample00000.png', '000003.png')
    """
    return f"{name.index:06d}.png" if samples == 1 else str(name)


def text_member(name: str, text: str) -> Member:
    """A text file for an archive, in UTF-8; lone surrogates, which UTF-8 cannot hold, are escaped."""
    content = text.encode(errors="backslashreplace")
    return Member(name, Source(name, lambda: content))


def part_name(out: Path, number: int, count: int) -> Path:
    """The path of one of several archives.

    >>> part_name(Path("a/submission.zip"), 0, 3).as_posix()
    'a/submission-part1of3.zip'
    """
    return out.with_name(f"{out.stem}-part{number + 1}of{count}{out.suffix}")


def split_images(sizes: dict[SampleName, int], readme_bytes: int, most: int) -> list[list[SampleName]]:
    """Distribute samples over archives of at most `most` bytes.

    Images stay in their order, all samples of an image are in one archive, and each archive has as many images as fit.

    Raises:
        UsageError: the samples of a single image are larger than that.
    """
    parts: list[list[SampleName]] = []
    room = -1
    by_image: dict[int, list[SampleName]] = {}
    for name in sorted(sizes):
        by_image.setdefault(name.index, []).append(name)
    for index, names in by_image.items():
        needed = sum(sizes[name] + ENTRY_BYTES for name in names)
        if needed + readme_bytes + END_BYTES > most:
            raise UsageError(
                f"the samples of image {index} alone have {needed / 1e6:.1f} MB, more than --max-size",
                f"--max-size {(needed + readme_bytes + END_BYTES) // 10**6 + 1}MB",
            )
        if needed > room:
            parts.append([])
            room = most - readme_bytes - END_BYTES
        parts[-1] += names
        room -= needed
    return parts


def write_archive(out: Path, members: Iterable[Member], compress: bool = False) -> str:
    """Write a zip file atomically.

    Args:
        out: the zip file.
        members: its files, in this order.
        compress: whether to compress files; it saves nothing on PNGs, which are compressed already.

    Returns:
        SHA-256 of the archive.

    Raises:
        UsageError: `out` is a folder or no regular file.
        NtireSrError: a file was changed since it was checked, or the archive cannot be written.
    """
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder", f"--out {out / 'submission.zip'}")
    if out.exists() and not out.is_file():
        raise UsageError(f"--out {out} is no regular file", "another path")
    with atomic_file(out) as part:
        try:
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                for member in members:
                    content = member.source.read()
                    if member.sha256 and sha256_bytes(content) != member.sha256:
                        raise NtireSrError(f"{member.name} was changed while it was being packed", "pack again")
                    archive.writestr(_entry(member.name, compress), content)
        except OSError as error:
            raise error_from_os_error(error, f"cannot write {out}") from error
    return sha256_file(out)


def _entry(name: str, compress: bool) -> zipfile.ZipInfo:
    """An archive entry with a fixed date and mode, so that the archive depends only on its content."""
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # Unix, whatever system this runs on
    entry.external_attr = 0o100644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    return entry
