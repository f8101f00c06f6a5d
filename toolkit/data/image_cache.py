"""Decoded training images: all pixels of a folder in one memory-mapped file, or in memory.

Decoding takes most of the time that a training needs to start, so it is done once. A cache is a folder of

    pixels-TOKEN.u8   the pixels of all images one after another, each (height, width, 3) uint8
    index.json        the images with their offsets and files (size, time of change), and a checksum
    lock              held by the process that writes the other two

No file is ever changed in place: new pixels get a new name, and the index, replaced atomically, names the file
that is valid. So a kill at any moment leaves the cache as it was before.
"""

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ntire_sr.core import pretrained
from ntire_sr.core.errors import NtireSrError, ValidationErrors
from ntire_sr.core.files import (
    atomic_file,
    error_from_os_error,
    make_folder,
    sha256_bytes,
    try_lock,
    write_json,
)
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.threads import map_in_threads
from ntire_sr.samples.image_files import read_image

CACHE_VARIABLE = "NTIRE_SR_CACHE"  # a folder for caches, in place of the one in the user's cache folder
MEMORY_BYTES = 2 << 30  # decoded images kept in memory if there is no cache on disk
FORMAT = 1
STALE_SECONDS = 86400  # age from which no process can still be writing a file, for file systems without locks


@dataclass(frozen=True)
class Entry:
    """One image of a cache: the file that it was decoded from, and the position of its pixels."""

    name: str  # path of the file relative to the folder, with forward slashes
    size: int  # size of the file in bytes
    mtime_ns: int  # time of the file's last change
    height: int  # in pixels
    width: int
    sha256: str  # `pixels_digest` of the image
    offset: int = 0  # position of the first pixel in the cache's file, in bytes

    @property
    def bytes(self) -> int:
        return 3 * self.height * self.width

    def is_of(self, name: str, size: int, mtime_ns: int) -> bool:
        """Whether this entry was decoded from a file of this name, size and time of change."""
        return (self.name, self.size, self.mtime_ns) == (name, size, mtime_ns)


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
        return sum(3 * height * width for height, width in self.sizes)

    @property
    def digest(self) -> str:
        """SHA-256 of all pixels in their order; independent of folder, names and file format."""
        return sha256_bytes("\n".join(self.digests).encode())


def pixels_digest(image: np.ndarray) -> str:
    """SHA-256 of an image's size and pixels, in hexadecimal: equal for PNG and WebP files of the same image."""
    digest = hashlib.sha256(f"{image.shape[0]} x {image.shape[1]}\n".encode())
    digest.update(np.ascontiguousarray(image))
    return digest.hexdigest()


def decoded(
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
        return _mapped(folder, paths, cache_of(folder, given), progress)
    except ValidationErrors:
        raise
    except NtireSrError as failure:
        if given:
            raise
        return _in_memory(folder, paths, progress, f"; no cache: {failure.message}")


def cache_of(folder: Path, given: str | None = None) -> Path:
    """The cache of an image folder, named after its real path, in `given` or the user's cache folder."""
    real = folder.resolve()
    name = f"{real.name}-{sha256_bytes(os.fsencode(real))[:16]}"
    return (Path(given) if given else pretrained.cache_folder() / "images") / name


def _in_memory(folder: Path | None, paths: Sequence[Path], progress: Progress, reason: str) -> Images:
    """The images in memory; those beyond MEMORY_BYTES are decoded at each read. `where` ends with `reason`."""
    kept: list[np.ndarray | None] = []
    entries, problems, used = [], [], 0
    with closing(_decode(folder, paths, progress)) as decoding:
        for entry, result in decoding:
            if isinstance(result, NtireSrError):
                problems.append(result.message)
                continue
            used += entry.bytes
            kept.append(result if used <= MEMORY_BYTES else None)
            entries.append(entry)
    _refuse(folder, problems)

    def read(number: int) -> np.ndarray:
        image = kept[number]
        return read_image(paths[number]) if image is None else image

    missing = sum(image is None for image in kept)
    where = f"in memory ({used / 1e6:.0f} MB" + (
        f"; {missing} images are decoded for each crop)" if missing else ")"
    )
    return _images(paths, entries, read, where + reason, None)


def _mapped(folder: Path, paths: Sequence[Path], home: Path, progress: Progress) -> Images:
    """The images in the cache `home`, which is updated if files have changed."""
    names = [path.relative_to(folder).as_posix() for path in paths]
    found, made = _load(home), 0
    # pixels of an earlier state, possibly gigabytes: a process was killed after it had replaced the index
    crowded = len(list(home.glob("pixels-*"))) > 1 and os.access(home, os.W_OK)
    if found is None or crowded or not _is_current(found[0], paths, names):
        make_folder(home)
        with _lock_cache(home, progress) as locked:
            found = _load(home)  # another process may just have written it
            if found is None and (home / "index.json").exists():
                progress.message(f"the cache {home} is damaged and is made again")
            if found is None or not _is_current(found[0], paths, names):
                found, made = _update(folder, paths, names, home, found, locked, progress)
            else:
                _remove_others(home, locked)
    entries, flat = found

    def read(number: int) -> np.ndarray:
        entry = entries[number]
        return flat[entry.offset : entry.offset + entry.bytes].reshape(entry.height, entry.width, 3)

    where = f"in the cache {home} ({len(flat) / 1e6:.0f} MB, {made or 'none'} decoded now)"
    return _images(paths, entries, read, where, home)


def _images(
    paths: Sequence[Path],
    entries: list[Entry],
    read: Callable[[int], np.ndarray],
    where: str,
    home: Path | None,
) -> Images:
    sizes, digests = [(entry.height, entry.width) for entry in entries], [entry.sha256 for entry in entries]
    return Images(list(paths), sizes, read, digests, home, where)


def _refuse(folder: Path | None, problems: list[str]) -> None:
    if problems:
        raise ValidationErrors(f"training images in {folder}", problems, "replace or remove these files")


# ---- the files of a cache


def _load(home: Path) -> tuple[list[Entry], np.ndarray] | None:
    """The entries and pixels of a cache; None if it is missing, damaged, truncated or of another version."""
    try:
        index = json.loads((home / "index.json").read_text(encoding="utf-8"))
        if index.pop("checksum") != _checksum(index) or index["format"] != FORMAT:
            return None
        entries = [Entry(**entry) for entry in index["images"]]
        flat = np.memmap(home / index["pixels"], np.uint8, "r")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    # an equal size proves that the file is complete, since it is renamed only after all was written
    return (entries, flat.view(np.ndarray)) if len(flat) == sum(entry.bytes for entry in entries) else None


def _checksum(index: dict[str, object]) -> str:
    return sha256_bytes(json.dumps(index, sort_keys=True).encode())


def _is_current(entries: list[Entry], paths: Sequence[Path], names: list[str]) -> bool:
    """Whether the cache holds exactly these files in this order, all unchanged."""
    try:
        return len(entries) == len(paths) and all(
            entry.is_of(name, status.st_size, status.st_mtime_ns)
            for entry, name, status in zip(entries, names, map(os.stat, paths), strict=True)
        )
    except OSError:
        return False


def _update(
    folder: Path,
    paths: Sequence[Path],
    names: list[str],
    home: Path,
    found: tuple[list[Entry], np.ndarray] | None,
    locked: bool,
    progress: Progress,
) -> tuple[tuple[list[Entry], np.ndarray], int]:
    """Write the cache anew: pixels of unchanged files are copied, those of the others decoded.

    Returns:
        The result of `_load`, and the number of decoded images.
    """
    before = {entry.name: entry for entry in found[0]} if found else {}
    new: list[Path] = []
    for path, name in zip(paths, names, strict=True):
        with suppress(OSError):  # decoding will raise the error
            status = path.stat()
            if name in before and before[name].is_of(name, status.st_size, status.st_mtime_ns):
                continue
        before.pop(name, None)
        new.append(path)
    entries: list[Entry] = []
    problems: list[str] = []
    target = home / f"pixels-{secrets.token_hex(8)}.u8"
    try:
        with (
            atomic_file(target) as part,
            open(part, "wb") as file,
            closing(_decode(folder, new, progress)) as decoding,
        ):
            for name in names:
                if found and name in before:
                    entry = before[name]
                    pixels: np.ndarray | NtireSrError = found[1][entry.offset : entry.offset + entry.bytes]
                else:
                    entry, pixels = next(decoding)
                if isinstance(pixels, NtireSrError):
                    problems.append(pixels.message)
                    continue
                entries.append(replace(entry, offset=file.tell()))
                file.write(np.ascontiguousarray(pixels).data)
            if not entries:
                _refuse(folder, problems)
        index: dict[str, object] = {"format": FORMAT, "folder": str(folder.resolve()), "pixels": target.name}
        index["images"] = [asdict(entry) for entry in entries]
        write_json(home / "index.json", index | {"checksum": _checksum(index)})
        flat = np.memmap(target, np.uint8, "r").view(np.ndarray)
    except OSError as error:
        raise error_from_os_error(error, f"cannot write the cache {home}") from error
    _remove_others(home, locked)
    _refuse(folder, problems)
    return (entries, flat), len(new)


def _remove_others(home: Path, locked: bool) -> None:
    """Remove the files of earlier states and of killed processes. Without a lock another process may be writing
    one right now, so recent files stay."""
    used = json.loads((home / "index.json").read_text(encoding="utf-8"))["pixels"]
    before_s = time.time() - (0 if locked else STALE_SECONDS)
    for path in home.iterdir():
        if path.name != used and path.name.startswith(("pixels-", ".pixels-", ".index.json.")):
            with suppress(OSError):  # on Windows another training may still read it
                if locked or path.stat().st_mtime < before_s:
                    path.unlink()


@contextmanager
def _lock_cache(home: Path, progress: Progress) -> Iterator[bool]:
    """Wait for the lock of this cache and hold it; yields False if the file system does not support locks.

    The operating system releases the lock however a process ends. Without locks two processes both write the
    cache, each with a file of pixels of its own, and the index of the later one stays.
    """
    try:
        with open(home / "lock", "ab") as file:
            locked = try_lock(file)
            if locked is False:
                progress.message("waiting for another process that decodes these images")
            while locked is False:
                time.sleep(0.1)
                locked = try_lock(file)
            yield bool(locked)
    except OSError as error:
        raise error_from_os_error(error, f"cannot write the cache {home}") from error


# ---- decoding


def _decode(
    folder: Path | None, paths: Sequence[Path], progress: Progress
) -> Iterator[tuple[Entry, np.ndarray | NtireSrError]]:
    """(entry, pixels or error) of each file, in order."""

    def one(path: Path) -> tuple[Entry, np.ndarray | NtireSrError]:
        name = path.relative_to(folder).as_posix() if folder else path.name
        try:
            status = path.stat()  # before reading, so that a change meanwhile is noticed at the next start
            image = read_image(path)
        except OSError as error:
            return Entry(name, 0, 0, 0, 0, ""), error_from_os_error(error, f"cannot read {path}")
        except NtireSrError as failure:
            return Entry(name, 0, 0, 0, 0, ""), failure
        height, width = image.shape[:2]
        return Entry(name, status.st_size, status.st_mtime_ns, height, width, pixels_digest(image)), image

    return map_in_threads(one, paths, "decode", progress)
