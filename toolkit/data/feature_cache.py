"""Features of a frozen trunk, computed once per photograph and read from memory-mapped files.

A trunk that does not learn gives the same maps for the same photograph at every step, and takes longer than all that
learns behind it. So its maps of each whole photograph are kept, 64 channels of float16 per LR pixel, and a crop's
features are cut out of them: they have seen the crop's true surroundings, where those of a crop alone end in zeros.

The files lie beside the decoded images (`image_cache`), in a folder named after all that the features depend on:

    features-KEY/IMAGE-TURN.npy    (h, w, C) float16; IMAGE is the digest of the photograph's pixels

A file gets its name when it is complete, so that a kill leaves whole files only, and several processes may fill a
cache at once: each takes the photographs in an order of its own and passes over those that are there. The folder may be deleted
at any time; what is missing is computed again.
"""

import math
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ntire_sr.challenge.downscale import downscale_8bit
from ntire_sr.challenge.pixels import to_tensor, to_unit
from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import (
    atomic_file,
    error_from_os_error,
    make_folder,
    remove_stale_temp_files,
    sha256_bytes,
)
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.data.image_cache import MEMORY_BYTES, Images

TURNS = (0, 2, 1, 3, 4, 5, 6, 7)  # orientations in the order in which they are added; see `turned`
CHANNELS = (
    64  # of the maps of every trunk that there is, for the size that is announced before they are computed
)
OPEN_FILES = 256  # mapped at a time


class FeatureCache:
    """The features of photographs in several orientations, cut out where a crop lies.

    Args:
        images: the photographs.
        numbers: of those whose features are wanted.
        scale: HR pixels per LR pixel; photographs are cut to multiples of it, from the top left.
        orientations: how many of the eight flips and rotations have features, see TURNS.
        compute: gives the maps (1, C, h, w) of an LR image (1, 3, h, w) in [0, 1].
        key: digest of all that `compute` depends on.

    Raises:
        NtireSrError: the disk is too small, or there is no cache on disk and they do not fit into MEMORY_BYTES.
    """

    def __init__(
        self,
        images: Images,
        numbers: Sequence[int],
        scale: int,
        orientations: int,
        compute: Callable[[Tensor], Tensor],
        key: str,
    ):
        self.images, self.scale, self.turns = images, scale, TURNS[:orientations]
        self._compute = compute
        self._kept: dict[tuple[int, int], np.ndarray] = {}
        self.home = (
            images.home / f"features-{sha256_bytes(f'{key} x{scale}'.encode())[:16]}" if images.home else None
        )
        self._wanted = [(number, turn) for turn in self.turns for number in numbers]
        self._open = lru_cache(OPEN_FILES)(self._mapped)
        self._check_room()

    def fill(self, share: tuple[int, int] = (0, 1), progress: Progress = SILENT) -> int:
        """Compute what is missing; returns the number of photographs and orientations that were.

        Args:
            share: (rank, world size) of this process, which computes its part of them; all of them if they are kept
                in memory.
            progress: receives the progress.

        Raises:
            NtireSrError: they cannot be written.
        """
        if self.home is None:
            missing = [each for each in self._wanted if each not in self._kept]
        else:
            make_folder(self.home)
            remove_stale_temp_files(self.home)
            self._remove_others()
            own = self._wanted[share[0] :: share[1]]
            # processes that do not know of one another begin at different places
            begin = os.getpid() * 2654435761 % max(1, len(own))
            missing = [each for each in (*own[begin:], *own[:begin]) if not self._is_whole(*each)]
        with progress.task("features", len(missing)) as advance:
            for number, turn in missing:
                if self.home is None:
                    self._kept[number, turn] = self._features(number, turn)
                elif not self._is_whole(number, turn):
                    self._write(number, turn)
                advance()
        return len(missing)

    @property
    def where(self) -> str:
        """Where the features are kept, for the user."""
        if self.home:
            return f"in {self.home}"
        return f"in memory ({sum(maps.nbytes for maps in self._kept.values()) / 1e6:.0f} MB)"

    def crop(self, image: int, turn: int, top: int, left: int, side: int) -> np.ndarray:
        """The features of a crop, (side, side, C) float16, as the photograph lies; `turned` gives those of the turned crop.

        Args:
            image: number of the photograph.
            turn: orientation in which the trunk saw it.
            top, left, side: of the crop, in LR pixels.
        """
        maps = self._open(image, turn) if self.home else self._kept[image, turn]
        return maps[top : top + side, left : left + side]

    def _features(self, number: int, turn: int) -> np.ndarray:
        """The maps of a turned photograph, turned back: (h, w, C) float16."""
        height, width = self._size(number)
        pixels = self.images.read(number)[: height * self.scale, : width * self.scale]
        hr = to_tensor(turned(pixels, turn).copy())  # the cache is read-only
        with torch.inference_mode():
            maps = (
                self._compute(to_unit(downscale_8bit(hr, self.scale)))[0].permute(1, 2, 0).half().cpu().numpy()
            )
        return np.ascontiguousarray(turned_back(maps, turn))

    def _size(self, number: int) -> tuple[int, int]:
        height, width = self.images.sizes[number]
        return height // self.scale, width // self.scale

    def _path(self, number: int, turn: int) -> Path:
        assert self.home
        return self.home / f"{self.images.digests[number][:32]}-{turn}.npy"

    def _mapped(self, number: int, turn: int) -> np.ndarray:
        if not self._is_whole(number, turn):  # deleted since this process began, perhaps
            self._write(number, turn)
        return np.load(self._path(number, turn), mmap_mode="r").view(np.ndarray)

    def _is_whole(self, number: int, turn: int) -> bool:
        try:
            maps = np.load(self._path(number, turn), mmap_mode="r")
        except (OSError, ValueError, EOFError):  # missing or damaged
            return False
        return maps.dtype == np.float16 and maps.ndim == 3 and maps.shape[:2] == self._size(number)

    def _write(self, number: int, turn: int) -> None:
        maps = self._features(number, turn)
        try:
            with atomic_file(self._path(number, turn)) as part, open(part, "wb") as file:
                np.save(file, maps)
        except OSError as error:
            raise error_from_os_error(error, f"cannot write the features in {self.home}") from error

    def _remove_others(self) -> None:
        """Remove the features of photographs that are not in the folder any more."""
        assert self.home
        known = {digest[:32] for digest in self.images.digests}
        for path in self.home.glob("*.npy"):
            if path.name.split("-")[0] not in known:
                with suppress(OSError):  # on Windows another training may still read it
                    path.unlink()

    def _check_room(self) -> None:
        remedy = "set cached_orientations=0, which computes the features of every crop anew"
        missing = [each for each in self._wanted if not (self.home and self._is_whole(*each))]
        needed = sum(2 * CHANNELS * math.prod(self._size(number)) for number, _ in missing)
        if self.home is None:
            if needed > MEMORY_BYTES:
                raise NtireSrError(
                    f"the trunk's features of these photographs take {needed / 1e9:.1f} GB, more than is kept in memory",
                    f"name a folder on a disk with --set cache=FOLDER, or {remedy}",
                )
            return
        existing = next(folder for folder in (self.home, *self.home.parents) if folder.exists())
        with suppress(OSError):
            free = shutil.disk_usage(existing).free
            if needed > free:
                raise NtireSrError(
                    f"the trunk's features of these photographs take {needed / 1e9:.1f} GB, and {existing} has {free / 1e9:.1f} GB left",
                    f"name a folder on a larger disk with --set cache=FOLDER, or {remedy}",
                )


def turned(image: np.ndarray, turn: int) -> np.ndarray:
    """An image (H, W, C), flipped and transposed: `turn` is the sum of 1: flipped vertically, 2: flipped
    horizontally, 4: then transposed."""
    image = image[::-1] if turn & 1 else image
    image = image[:, ::-1] if turn & 2 else image
    return image.transpose(1, 0, 2) if turn & 4 else image


def turned_back(image: np.ndarray, turn: int) -> np.ndarray:
    """The inverse of `turned`.

    >>> image = np.arange(12).reshape(2, 2, 3)
    >>> all(np.array_equal(turned_back(turned(image, turn), turn), image) for turn in TURNS)
    True
    """
    image = image.transpose(1, 0, 2) if turn & 4 else image
    return turned(image, turn & 3)
