"""A folder of samples while it is being filled: by one process or several, killed at any moment, or filled further."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np

from ntire_sr.core.errors import Failure, WrongUse, plural
from ntire_sr.core.files import failure_from_os_error, make_folder, remove_stale_temp_files, sha256_file
from ntire_sr.core.images import write_png
from ntire_sr.core.layout import MANIFEST, SampleName, parse_sample_name
from ntire_sr.core.manifest import RECORDS, ImageRecord, Manifest, SampleRecord, load_manifest

AHEAD = 2  # samples that wait to be written, at most; each is an image in memory


class SampleFolder:
    """The folder, and its manifest as this process knows it.

    Args:
        path: the folder.
        manifest: from `open_samples`.
    """

    def __init__(self, path: Path, manifest: Manifest):
        self.path, self.manifest = path, manifest

    def is_whole(self, name: SampleName) -> bool:
        """Whether the sample is on disk with the digest that the manifest holds."""
        record, path = self.manifest.files.get(str(name)), self.path / str(name)
        return record is not None and path.is_file() and sha256_file(path) == record.sha256

    def keep(self, name: SampleName, record: SampleRecord) -> None:
        """Put a sample that has been written on record."""
        self.manifest.files[str(name)] = record
        self.manifest.save_record(self.path, name.index)

    def mark(self, index: int, image: ImageRecord) -> None:
        """Put what was found out of an LR image on record."""
        self.manifest.images[index] = image
        self.manifest.save_record(self.path, index)

    def fold(self, unreachable: bool) -> bool:
        """Once every sample is on record, by whatever process: write all into the manifest. Whether it is.

        Two processes may come here at once: both write the same, and a record that the other has folded
        meanwhile is not missed, since then the other's manifest is whole.

        Args:
            unreachable: whether LR images that no 8-bit image reduces to get samples, too.
        """
        current = load_manifest(self.path)
        if current is None:
            return False
        self.manifest = current
        images = [i for i, image in enumerate(current.images) if unreachable or not image.unreachable]
        wanted = {str(SampleName(i, k)) for i in images for k in range(current.samples)}
        if complete := wanted <= current.files.keys():
            self._write_manifest()
        return complete

    def _write_manifest(self) -> None:
        """Write the manifest, records included, and remove these."""
        taken = self.manifest.take_records(self.path)
        self.manifest.save(self.path)
        for path in taken:
            path.unlink(missing_ok=True)
        with suppress(OSError):  # there is none, or another process has just written into it
            (self.path / RECORDS).rmdir()

    def use_tile(self, tile: int) -> None:
        """Have all samples that follow drawn in smaller tiles, by whatever process begins anew, too."""
        self.manifest.tile = tile
        current = load_manifest(self.path)
        if current is not None:
            current.tile = tile
            current.save(self.path)


class Writer:
    """Encodes and writes samples in the background while the next ones are drawn: a context.

    Leaving it waits for what is under way; after an error it is dropped. Errors of the disk are raised
    at the next call. One thread writes, so that records and files follow one another in their order.
    """

    def __init__(self, folder: SampleFolder):
        self._folder = folder
        self._pool = ThreadPoolExecutor(1, "write")
        self._under_way: deque[Future[None]] = deque()

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
        """Write (H, W, 3) uint8 as PNG and put it on record, with its digest."""

        def work() -> None:
            digest = write_png(self._folder.path / str(name), image)
            self._folder.keep(name, replace(record, sha256=digest))

        self._put(work)

    def mark(self, index: int, image: ImageRecord) -> None:
        """Put what was found out of an LR image on record."""
        self._put(lambda: self._folder.mark(index, image))

    def _put(self, work: Callable[[], None]) -> None:
        self._wait_for_all_but(AHEAD - 1)
        self._under_way.append(self._pool.submit(work))

    def _wait_for_all_but(self, count: int) -> None:
        while len(self._under_way) > count:
            self._under_way.popleft().result()


def open_samples(path: Path, fresh: Manifest, overwrite: bool, tile: int | None, more: bool) -> SampleFolder:
    """The folder with its manifest where that belongs to the same run, else with a new one.

    Args:
        path: the folder; created.
        fresh: the manifest of what is asked for, without files.
        overwrite: replace samples of other settings.
        tile: what was asked for; None: the folder's own where it has one.
        more: whether a folder of fewer samples per image is to have as many as `fresh`.

    Raises:
        WrongUse: the folder holds samples of another run, and `overwrite` is false; what differs is said.
        Failure: its manifest is damaged or no file, and `overwrite` is false.
    """
    found = _readable(path) if overwrite else load_manifest(path)
    differences = _differences(path, found, fresh, tile)
    if differences and not overwrite:
        raise _another_run(path, differences)
    if found is None or differences:
        if overwrite:
            _clear(path)
        make_folder(path)
        # from now on the folder says what its samples are, also when this call is killed
        if fresh.create(path):
            return SampleFolder(path, fresh)
        found = load_manifest(path)  # another process was first
        if found is None:
            raise Failure(f"{path / MANIFEST} vanished while it was being read", "run the same command again")
        if differences := _differences(path, found, fresh, tile):
            raise _another_run(path, differences)
    if more and found.samples < fresh.samples:
        found.samples = fresh.samples
        found.save(path)
    remove_stale_temp_files(path)
    remove_stale_temp_files(path / RECORDS)
    return SampleFolder(path, found)


def _another_run(path: Path, differences: list[str]) -> WrongUse:
    return WrongUse(
        f"{path} holds samples of another run: " + "; ".join(differences),
        "choose another --out, or replace them with --overwrite",
    )


def _differences(path: Path, found: Manifest | None, fresh: Manifest, tile: int | None) -> list[str]:
    if found is None:
        count = sum(1 for _ in _sample_files(path))
        return [f"{plural(count, 'sample')} without a manifest that says what drew them"] if count else []
    differences = found.settings.differences(fresh.settings)
    if tile not in (None, found.tile, found.tile_asked):
        differences.append(f"tile: {found.tile} there, {tile} asked for")
    if len(found.images) != len(fresh.images):
        differences.append(f"lr: {plural(len(found.images), 'image')} there, {len(fresh.images)} asked for")
    others = [
        new.name for old, new in zip(found.images, fresh.images, strict=False) if old.lr_sha256 != new.lr_sha256
    ]
    if others:
        differences.append(
            f"lr: {', '.join(others[:3])}{' and more' if len(others) > 3 else ''} is another image"
        )
    return differences


def _sample_files(path: Path) -> Iterable[Path]:
    return (each for each in path.glob("*.png") if parse_sample_name(each.name)) if path.is_dir() else ()


def _clear(path: Path) -> None:
    for each in (*_sample_files(path), *(path / RECORDS).glob("*.json"), path / MANIFEST):
        try:
            each.unlink(missing_ok=True)
        except OSError as error:
            raise failure_from_os_error(error, f"cannot remove {each}") from error
    remove_stale_temp_files(path)


def _readable(path: Path) -> Manifest | None:
    """The manifest of a folder that is to be replaced; None where it is damaged."""
    try:
        return load_manifest(path)
    except Failure:
        return None
