"""A folder of samples while it is being written, by one process or several that may be killed at any moment."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from ntire_sr.challenge.names import SampleName, parse_sample_name
from ntire_sr.core.errors import NtireSrError, UsageError, plural, shorten
from ntire_sr.core.files import error_from_os_error, make_folder, remove_stale_temp_files, sha256_file
from ntire_sr.samples.folders import MANIFEST
from ntire_sr.samples.image_files import write_png
from ntire_sr.samples.manifest import RECORDS, ImageRecord, Manifest, SampleRecord, load_manifest

AHEAD = 2  # largest number of samples that wait to be written; each is an image in memory


class SourceFile(NamedTuple):
    """An image of another program."""

    file: str  # relative to the folder of the sources
    sha256: str  # digest of the file


class SampleFolder:
    """A folder of samples, and its manifest as this process knows it.

    Args:
        path: the folder.
        manifest: from `open_samples`.
    """

    def __init__(self, path: Path, manifest: Manifest):
        self.path, self.manifest = path, manifest

    def is_whole(self, name: SampleName) -> bool:
        """Whether the sample's file exists and has the digest in the manifest."""
        record, path = self.manifest.files.get(str(name)), self.path / str(name)
        return record is not None and path.is_file() and sha256_file(path) == record.sha256

    def is_made_of(self, name: SampleName, source: SourceFile) -> bool:
        """Whether the sample is whole and was made from exactly this image."""
        record = self.manifest.files.get(str(name))
        made_of = record.source if record else None
        return made_of is not None and made_of.sha256 == source.sha256 and self.is_whole(name)

    def keep(self, name: SampleName, record: SampleRecord) -> None:
        """Save the record of a sample that has been written."""
        self.manifest.files[str(name)] = record
        self.manifest.save_record(self.path, name.index)

    def mark(self, index: int, image: ImageRecord) -> None:
        """Save the record of an LR image, after it was found to be infeasible."""
        self.manifest.images[index] = image
        self.manifest.save_record(self.path, index)

    def fold(self, infeasible: bool) -> bool:
        """Merge all records into the manifest if every sample is recorded, by whichever process.

        Two processes may do this at once: both write the same, and a record that the other has merged and
        removed meanwhile is not lost, since the other's manifest is then complete.

        Args:
            infeasible: whether LR images that no 8-bit HR image downscales to get samples, too.

        Returns:
            Whether every sample is recorded.
        """
        current = load_manifest(self.path)
        if current is None:
            return False
        self.manifest = current
        images = [i for i, image in enumerate(current.images) if infeasible or not image.infeasible]
        wanted = {str(SampleName(i, k)) for i in images for k in range(current.samples)}
        if complete := wanted <= current.files.keys():
            self._write_manifest()
        return complete

    def _write_manifest(self) -> None:
        """Write the manifest with all records merged, and remove their files."""
        taken = self.manifest.take_records(self.path)
        self.manifest.save(self.path)
        for path in taken:
            path.unlink(missing_ok=True)
        with suppress(OSError):  # it does not exist, or another process has just written into it
            (self.path / RECORDS).rmdir()

    def use_tile(self, tile: int) -> None:
        """Record a smaller tile for all samples still to be drawn, also by processes that start later."""
        self._update(tile=tile)

    def state_run_time(self, seconds: float | None, device: str | None) -> None:
        """Record the stated run time and device of the program that drew the images; None keeps the recorded one."""
        stated = {"seconds": seconds, "device": device}
        new = {
            name: value
            for name, value in stated.items()
            if value is not None and value != getattr(self.manifest, name)
        }
        if new:
            self._update(**new)

    def _update(self, **values: Any) -> None:
        """Set fields of the manifest, here and in its file."""
        current = load_manifest(self.path)
        for name, value in values.items():
            setattr(self.manifest, name, value)
            if current is not None:
                setattr(current, name, value)
        if current is not None:
            current.save(self.path)


class Writer:
    """Encodes and writes samples in the background while the next ones are drawn; a context manager.

    Leaving it waits for all pending writes, or after an error drops those that have not begun. Errors of the
    disk are raised at the next call. A single thread writes, so files and records are written in order.
    """

    def __init__(self, folder: SampleFolder):
        self._folder = folder
        self._pool = ThreadPoolExecutor(1, "write")
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._wait_for_all_but(0)
        finally:
            self._pool.shutdown(cancel_futures=True)

    def write(self, name: SampleName, image: np.ndarray, record: SampleRecord) -> None:
        """Write (H, W, 3) uint8 as PNG in the background and save its record with its digest."""

        def work() -> None:
            digest = write_png(self._folder.path / str(name), image)
            self._folder.keep(name, replace(record, sha256=digest))

        self._submit(work)

    def mark(self, index: int, image: ImageRecord) -> None:
        """Save the record of an LR image in the background, see `SampleFolder.mark`."""
        self._submit(lambda: self._folder.mark(index, image))

    def _submit(self, work: Callable[[], None]) -> None:
        self._wait_for_all_but(AHEAD - 1)
        self._pending.append(self._pool.submit(work))

    def _wait_for_all_but(self, count: int) -> None:
        while len(self._pending) > count:
            self._pending.popleft().result()


def open_samples(
    path: Path,
    fresh: Manifest,
    overwrite: bool,
    tile: int | None = None,
    more: bool = True,
    sources: Mapping[str, SourceFile] | None = None,
) -> SampleFolder:
    """Open a folder with its manifest, or with a new one if it has none or other samples are to be overwritten.

    Args:
        path: the folder; created.
        fresh: the manifest for the request, without files.
        overwrite: replace samples of other settings.
        tile: side of a tile that was asked for; None accepts the folder's.
        more: whether a folder with fewer samples per image is extended to the number in `fresh`.
        sources: file and digest of the image that each sample is to be made from, by the sample's name; None if
            samples are drawn.

    Raises:
        UsageError: the folder holds samples of another run or of other sources, and `overwrite` is false; the
            error lists what differs. With `overwrite` samples whose source alone has changed stay until they are
            made again.
        NtireSrError: its manifest is damaged or is no file, and `overwrite` is false.
    """
    present = _load_if_readable(path) if overwrite else load_manifest(path)
    differences = _differences(path, present, fresh, tile, sources)
    changed = _changed_sources(present, sources)
    if (differences or changed) and not overwrite:
        raise _another_run_error(path, differences + changed)
    if present is None or differences:
        if overwrite:
            _clear(path)
        make_folder(path)
        # from now on the folder holds the settings of its samples, even if this call is killed
        if fresh.create(path):
            return SampleFolder(path, fresh)
        present = load_manifest(path)  # another process was first
        if present is None:
            raise NtireSrError(
                f"{path / MANIFEST} vanished while it was being read", "run the same command again"
            )
        if differences := _differences(path, present, fresh, tile, sources) + _changed_sources(
            present, sources
        ):
            raise _another_run_error(path, differences)
    if more and present.samples < fresh.samples:
        present.samples = fresh.samples
        present.save(path)
    remove_stale_temp_files(path)
    remove_stale_temp_files(path / RECORDS)
    return SampleFolder(path, present)


def _another_run_error(path: Path, differences: list[str]) -> UsageError:
    return UsageError(
        f"{path} holds samples of another run: " + "; ".join(differences),
        "choose another --out, or replace them with --overwrite",
    )


def _differences(
    path: Path,
    present: Manifest | None,
    fresh: Manifest,
    tile: int | None,
    sources: Mapping[str, SourceFile] | None,
) -> list[str]:
    if present is None:
        count = sum(1 for _ in _sample_files(path))
        return [f"{plural(count, 'sample')} without a manifest that names their model"] if count else []
    differences = present.settings.differences(fresh.settings)
    if tile not in (None, present.tile, present.tile_asked):
        differences.append(f"tile: {present.tile} there, {tile} asked for")
    if len(present.images) != len(fresh.images):
        differences.append(f"lr: {plural(len(present.images), 'image')} there, {len(fresh.images)} asked for")
    changed = [
        new.name
        for old, new in zip(present.images, fresh.images, strict=False)
        if old.lr_sha256 != new.lr_sha256
    ]
    if changed:
        differences.append(f"lr: {shorten(changed)} is another image")
    if sources is not None and present.samples > fresh.samples:  # the last ones have no source
        differences.append(f"samples: {present.samples} per image there, {fresh.samples} asked for")
    return differences


def _changed_sources(present: Manifest | None, sources: Mapping[str, SourceFile] | None) -> list[str]:
    """Describe the sources that have changed since samples of the folder were made from them."""
    if present is None or sources is None:
        return []
    changed = [
        source.file
        for name, source in sources.items()
        if (record := present.files.get(name)) and record.source and record.source.sha256 != source.sha256
    ]
    return [f"sr: {shorten(changed)} is another image"] if changed else []


def _sample_files(path: Path) -> Iterable[Path]:
    return (file for file in path.glob("*.png") if parse_sample_name(file.name)) if path.is_dir() else ()


def _clear(path: Path) -> None:
    for file in (*_sample_files(path), *(path / RECORDS).glob("*.json"), path / MANIFEST):
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise error_from_os_error(error, f"cannot remove {file}") from error
    remove_stale_temp_files(path)


def _load_if_readable(path: Path) -> Manifest | None:
    """The manifest of a folder that is to be overwritten; None if it has none or a damaged one."""
    try:
        return load_manifest(path)
    except NtireSrError:
        return None
