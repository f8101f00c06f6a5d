"""Decoded training images: one memory-mapped file per image, or in memory.

Decoding takes most of the time that a training needs to start, so it is done once. A cache is a folder of

    IDENTITY.npy    one record: the digest of the pixels, and the pixels, (height, width, 3) uint8

IDENTITY is a digest of the image file's name, size and time of change, so a changed file gets a new record. See
`array_folder` for kills and for several processes.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ntire_sr.core import pretrained
from ntire_sr.core.errors import NtireSrError, ValidationErrors
from ntire_sr.core.files import require_room, sha256_bytes
from ntire_sr.core.machine import within_memory
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.threads import map_in_threads
from ntire_sr.data.array_folder import ArrayFolder, rotated_by_process
from ntire_sr.samples.image_files import metadata_notes, read_image
from ntire_sr.samples.metadata import ImageNotes

CACHE_VARIABLE = "NTIRE_SR_CACHE"  # a folder for caches, instead of the one in the user's cache folder
MEMORY_BYTES = 2 << 30  # most bytes of decoded images kept in memory if there is no cache on disk


@dataclass(frozen=True)
class Images:
    """Decoded images by number; `read(number)` gives read-only (height, width, 3) uint8."""

    paths: list[Path]
    sizes: list[tuple[int, int]]  # (height, width)
    read: Callable[[int], np.ndarray]
    digests: list[str]  # `pixels_digest` of each
    home: Path | None  # the cache that holds them; None: they are in memory
    where: str  # where the images are kept, for the user

    @property
    def bytes(self) -> int:
        """Size of all pixels."""
        return sum(3 * height * width for height, width in self.sizes)

    @property
    def digest(self) -> str:
        """SHA-256 of all pixels in their order; independent of folder, names and file format."""
        return sha256_bytes("\n".join(self.digests).encode())


def pixels_digest(image: np.ndarray) -> str:
    """SHA-256 of an image's size and pixels, in hexadecimal: equal for PNG and WebP files of the same image."""
    digest = hashlib.sha256(f"{image.shape[0]} x {image.shape[1]}\n".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def open_images(
    folder: Path | None, paths: Sequence[Path], cache: str | None = None, progress: Progress = SILENT
) -> Images:
    """Decode all images, or open them in the cache.

    Args:
        folder: folder that holds the images; None means that they lie anywhere and are kept in memory.
        paths: paths of the images, in the order in which they are numbered.
        cache: folder for caches, each under the name of its image folder; `auto` means the folder in
            the variable NTIRE_SR_CACHE, or the user's cache folder; None keeps the images in memory.
        progress: receives the progress and messages.

    Raises:
        ValidationErrors: images cannot be read; all are named. The others are in the cache, and are not decoded again.
        NtireSrError: the cache cannot be written to the folder that was given. If none was given (`auto`) the
            images are kept in memory instead, and `Images.where` says why.
    """
    if cache is None or folder is None:
        return _in_memory(folder, paths, progress, "")
    given = os.environ.get(CACHE_VARIABLE) if cache == "auto" else cache
    try:
        return _cached(folder, paths, cache_of(folder, given), progress)
    except ValidationErrors:
        raise
    except NtireSrError as error:
        if given:
            raise
        return _in_memory(folder, paths, progress, f"; no cache: {error.message}")


def cache_of(folder: Path, given: str | None = None) -> Path:
    """The cache of an image folder, named after its real path, in `given` or the user's cache folder."""
    real = folder.resolve()
    name = f"{real.name}-{sha256_bytes(os.fsencode(real))[:16]}"
    return (Path(given) if given else pretrained.cache_folder() / "images") / name


def _in_memory(folder: Path | None, paths: Sequence[Path], progress: Progress, reason: str) -> Images:
    """The images in memory; those beyond MEMORY_BYTES are decoded at each read. `where` ends with `reason`."""
    limit = within_memory(MEMORY_BYTES)
    kept: list[np.ndarray | None] = []
    sizes, digests, problems, used = [], [], [], 0
    notes = ImageNotes()

    def decode(path: Path) -> tuple[np.ndarray, str] | NtireSrError:
        try:
            image = read_image(path)
        except NtireSrError as error:
            return error
        _add_notes(notes, path)
        return image, pixels_digest(image)

    with closing(map_in_threads(decode, paths, "decode", progress)) as results:
        for result in results:
            if isinstance(result, NtireSrError):
                problems.append(result.message)
                continue
            image, digest = result
            used += image.nbytes
            kept.append(image if used <= limit else None)
            sizes.append(image.shape[:2])
            digests.append(digest)
    _refuse(folder, problems)
    notes.report("training", progress)

    def read(number: int) -> np.ndarray:
        image = kept[number]
        return read_image(paths[number]) if image is None else image

    missing = sum(image is None for image in kept)
    where = f"in memory ({used / 1e6:.0f} MB" + (
        f"; {missing} images are decoded for each crop)" if missing else ")"
    )
    return Images(list(paths), sizes, read, digests, None, where + reason)


def _add_notes(notes: ImageNotes, path: Path) -> None:
    for text in metadata_notes(path):
        notes.of(path.name)(text)


def _refuse(folder: Path | None, problems: list[str]) -> None:
    if problems:
        raise ValidationErrors(f"training images in {folder}", problems, "replace or remove these files")


def _cached(folder: Path, paths: Sequence[Path], home: Path, progress: Progress) -> Images:
    """The images in the cache `home`; those that it lacks are decoded and added."""
    arrays = ArrayFolder(home)
    arrays.prepare()
    _remove_earlier_format(home, progress)
    identities = [_identity(path, folder) for path in paths]
    missing = [number for number, identity in enumerate(identities) if _record(arrays, identity) is None]
    require_room(
        home,
        _pixel_bytes([paths[number] for number in missing]),
        f"the decoded images of {folder}",
        "name a folder on a larger disk with --set cache=FOLDER, or keep them in memory with --set cache=none",
    )
    written: list[str] = []
    notes = ImageNotes()

    def add(number: int) -> str | None:
        """Decode one image into the cache; returns why it cannot be read."""
        # before reading, so that a change in between is noticed at the next start
        identities[number] = identity = _identity(paths[number], folder)
        if _record(arrays, identity) is not None:  # another process has just written it
            return None
        try:
            image = read_image(paths[number])
        except NtireSrError as error:
            return error.message
        _add_notes(notes, paths[number])
        arrays.write(identity, _make_record(image))
        written.append(identity)
        return None

    order = rotated_by_process(missing)
    try:
        with closing(map_in_threads(add, order, "decode", progress)) as results:
            problems = dict(zip(order, results, strict=True))
    except NtireSrError:  # the disk is full, for example, and must not stay so
        for identity in written:
            arrays.remove(identity)
        raise
    _refuse(folder, [problem for _, problem in sorted(problems.items()) if problem is not None])
    notes.report("training", progress)
    sizes, digests = [], []
    for identity in identities:
        record = _record(arrays, identity)
        if record is None:
            raise NtireSrError(f"the cache {home} was deleted while it was opened", "run the command again")
        sizes.append(record["pixels"].shape[1:3])
        digests.append(record["sha256"][0].decode())
    arrays.remove_unused()

    def read(number: int) -> np.ndarray:
        record = _record(arrays, identities[number])
        if record is not None:
            pixels: np.ndarray = record["pixels"][0]
            return pixels
        image = read_image(paths[number])  # the file was deleted after the start
        if pixels_digest(image) != digests[number]:
            raise NtireSrError(
                f"{paths[number]} has changed since the start, and its earlier pixels are not in the cache {home}",
                "restore it, or start again",
            )
        with suppress(NtireSrError):
            arrays.write(identities[number], _make_record(image))
        return image

    size = sum(3 * height * width for height, width in sizes)
    where = f"in the cache {home} ({size / 1e6:.0f} MB, {len(written) or 'none'} decoded now)"
    return Images(list(paths), sizes, read, digests, home, where)


def _pixel_bytes(paths: Sequence[Path]) -> int:
    """Size of the decoded pixels of some image files, from their headers; files that cannot be read count as empty."""

    def size(path: Path) -> int:
        with suppress(Exception), Image.open(path) as image:  # Pillow raises errors of many types
            return 3 * int(image.width) * int(image.height)
        return 0

    with closing(map_in_threads(size, paths, "size")) as sizes:
        return sum(sizes)


def _identity(path: Path, folder: Path) -> str:
    """Name of an image file's record: a digest of its name, size and time of change."""
    name = path.relative_to(folder).as_posix()
    try:
        status = path.stat()
    except OSError:  # reading it raises the error
        return sha256_bytes(os.fsencode(name))[:32]
    return sha256_bytes(os.fsencode(f"{name}\n{status.st_size}\n{status.st_mtime_ns}"))[:32]


def _record(arrays: ArrayFolder, identity: str) -> np.ndarray | None:
    """The record of an image, of shape (1,) with the fields `sha256` and `pixels`; None if there is none."""
    record = arrays.read(identity)
    return record if record is not None and record.dtype.names == ("sha256", "pixels") else None


def _make_record(image: np.ndarray) -> np.ndarray:
    record = np.empty(1, [("sha256", "S64"), ("pixels", "u1", image.shape)])
    record["sha256"], record["pixels"] = pixels_digest(image).encode(), image
    return record


def _remove_earlier_format(home: Path, progress: Progress) -> None:
    """Remove the files of a cache that holds all pixels in one file, as earlier versions wrote it."""
    files = [*home.glob("pixels-*.u8"), *home.glob(".pixels-*.part"), home / "index.json"]
    removed = 0
    for path in files:
        with suppress(OSError):  # a read-only folder; on Windows another process may still read the file
            size = path.stat().st_size
            path.unlink()
            removed += size
    if removed:
        progress.message(f"removed the cache of an earlier version in {home} ({removed / 1e6:.0f} MB)")
    with suppress(OSError):
        (home / "lock").unlink()
