"""A folder of arrays on disk: one .npy file per array, written atomically and read through memory maps.

A file gets its name when it is complete, so a kill leaves only whole files. Several processes may fill a folder at
the same time without a lock: each starts at a different array and skips those that are already there. The folder may
be deleted at any time; missing arrays are computed again.
"""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from ntire_sr.core.files import atomic_file, error_from_os_error, make_folder, remove_stale_temp_files

OPEN_FILES = 256  # files of one folder that are mapped at the same time
UNUSED_SECONDS = 7 * 24 * 3600  # time since the last use after which a file is removed

Item = TypeVar("Item")


class ArrayFolder:
    """Read-only arrays by name.

    Args:
        path: the folder; created by the first `prepare`.
    """

    def __init__(self, path: Path):
        self.path = path
        self._open = lru_cache(OPEN_FILES)(self._map)

    def prepare(self) -> None:
        """Create the folder, and remove temporary files of killed processes.

        Raises:
            NtireSrError: the folder cannot be created.
        """
        make_folder(self.path)
        remove_stale_temp_files(self.path)

    def remove_unused(self) -> None:
        """Remove arrays that nobody has read for UNUSED_SECONDS; call it after reading those in use."""
        oldest_s = time.time() - UNUSED_SECONDS
        for path in self.path.glob("*.npy"):
            with suppress(OSError):  # a read-only folder; on Windows another process may still read the file
                if path.stat().st_mtime < oldest_s:
                    path.unlink()

    def read(self, name: str) -> np.ndarray | None:
        """The array of this name, memory-mapped; None if its file is missing or damaged."""
        try:
            return self._open(name)
        except (OSError, ValueError, EOFError):
            return None

    def write(self, name: str, array: np.ndarray) -> None:
        """Store an array.

        Raises:
            NtireSrError: the file cannot be written.
        """
        try:
            with atomic_file(self._file(name)) as part, open(part, "wb") as file:
                np.save(file, array)
        except OSError as error:
            raise error_from_os_error(error, f"cannot write the cache {self.path}") from error
        self._open.cache_clear()  # it may hold another array of this name

    def remove(self, name: str) -> None:
        """Remove the file of an array, if it is there."""
        with suppress(OSError):
            self._file(name).unlink()

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.npy"

    def _map(self, name: str) -> np.ndarray:
        path = self._file(name)
        array: np.ndarray = np.load(path, mmap_mode="r").view(np.ndarray)
        with suppress(
            OSError
        ):  # the time of change is the time of the last use; a read-only folder keeps the old one
            os.utime(path)
        return array


def rotated_by_process(items: Sequence[Item]) -> list[Item]:
    """The items in order from a first one that depends on the process, so that processes share work without a lock."""
    first = os.getpid() * 2654435761 % max(1, len(items))
    return [*items[first:], *items[:first]]
