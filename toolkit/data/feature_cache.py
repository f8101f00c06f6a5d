"""Features of a frozen trunk, computed once per photograph and read from memory-mapped files.

A trunk that does not learn gives the same maps for the same photograph at every step, and takes more time than the
layers that learn. So its maps of each whole photograph are kept, 64 channels of float16 per LR pixel, and the
features of a crop are cut out of them. They depend on the true surroundings of the crop; the features of a crop
alone would see zeros beyond its edges.

The files are kept with the decoded images (`image_cache`), in a folder named after everything that the features
depend on:

    features-KEY/IMAGE-TURN.npy    (h, w, C) float16; IMAGE is the digest of the photograph's pixels

See `array_folder` for kills and for several processes.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ntire_sr.challenge.downscale import downscale_8bit
from ntire_sr.challenge.pixels import to_tensor, to_unit
from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import require_room, sha256_bytes, size_text
from ntire_sr.core.machine import within_memory
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.data.array_folder import ArrayFolder, rotated_by_process
from ntire_sr.data.image_cache import MEMORY_BYTES, Images

TURNS = (0, 2, 1, 3, 4, 5, 6, 7)  # orientations in the order in which they are added; see `turned`
CHANNELS = 64  # of every supported trunk, for the size that is checked before anything is computed


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
        self._arrays: ArrayFolder | None = None
        if images.home:
            self._arrays = ArrayFolder(
                images.home / f"features-{sha256_bytes(f'{key} x{scale}'.encode())[:16]}"
            )
        self._wanted = [(number, turn) for turn in self.turns for number in numbers]
        self._check_room()

    def fill(self, share: tuple[int, int] = (0, 1), progress: Progress = SILENT) -> int:
        """Compute the missing features; returns for how many photographs and orientations.

        Args:
            share: (rank, world size) of this process, which computes its part of them; all of them if they are kept
                in memory.
            progress: receives the progress.

        Raises:
            NtireSrError: they cannot be written.
        """
        wanted = self._wanted
        if self._arrays:
            self._arrays.prepare()
            wanted = rotated_by_process(wanted[share[0] :: share[1]])
        missing = [key for key in wanted if self._stored(*key) is None]
        with progress.task("features", len(missing)) as advance:
            for number, turn in missing:
                if self._stored(number, turn) is None:
                    self._add(number, turn)
                advance()
        if self._arrays:
            self._arrays.remove_unused()
        return len(missing)

    @property
    def where(self) -> str:
        """Where the features are kept, for the user."""
        if self._arrays:
            return f"in {self._arrays.path}"
        return f"in memory ({sum(maps.nbytes for maps in self._kept.values()) / 1e6:.0f} MB)"

    def crop(self, image: int, turn: int, top: int, left: int, side: int) -> np.ndarray:
        """The features of a crop, (side, side, C) float16, not turned; `turned` gives those of the turned crop.

        Args:
            image: number of the photograph.
            turn: orientation in which the trunk saw it.
            top, left, side: of the crop, in LR pixels.
        """
        maps = self._stored(image, turn)
        if maps is None:  # deleted after the start
            maps = self._add(image, turn)
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

    def _name(self, number: int, turn: int) -> str:
        return f"{self.images.digests[number][:32]}-{turn}"

    def _stored(self, number: int, turn: int) -> np.ndarray | None:
        """The maps of a photograph, turned back: (h, w, C) float16; None if they are not there."""
        if self._arrays is None:
            return self._kept.get((number, turn))
        maps = self._arrays.read(self._name(number, turn))
        if maps is None or maps.dtype != np.float16 or maps.ndim != 3 or maps.shape[:2] != self._size(number):
            return None
        return maps

    def _add(self, number: int, turn: int) -> np.ndarray:
        """Compute and store the maps of a photograph."""
        maps = self._features(number, turn)
        if self._arrays:
            self._arrays.write(self._name(number, turn), maps)
        else:
            self._kept[number, turn] = maps
        return maps

    def _check_room(self) -> None:
        remedy = "set cached_orientations=0, which computes the features of every crop at each step"
        missing = [key for key in self._wanted if self._stored(*key) is None]
        needed = sum(2 * CHANNELS * math.prod(self._size(number)) for number, _ in missing)
        if self._arrays is None:
            if needed > within_memory(MEMORY_BYTES):
                raise NtireSrError(
                    f"the trunk's features of these photographs take {size_text(needed)}, more than is kept in memory",
                    f"name a folder on a disk with --set cache=FOLDER, or {remedy}",
                )
            return
        require_room(
            self._arrays.path,
            needed,
            "the trunk's features of these photographs",
            f"name a folder on a larger disk with --set cache=FOLDER, or {remedy}",
        )


def turned(image: np.ndarray, turn: int) -> np.ndarray:
    """An image (H, W, C), flipped and transposed.

    `turn` is the sum of 1: flipped vertically, 2: flipped horizontally, 4: then transposed.
    """
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
