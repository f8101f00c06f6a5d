"""Random crops of photographs, with their LR images, for training."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ntire_sr.core.downscale import downscale_8bit
from ntire_sr.core.errors import WrongUse
from ntire_sr.core.images import to_unit
from ntire_sr.core.layout import list_images
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.data.image_cache import decoded
from ntire_sr.data.photographs import TRAINING_PHOTOGRAPHS, embedded_photographs

CANDIDATES = 4  # places of which a sharp crop is the best
ENOUGH = 8  # times as many images as are left out


@dataclass(frozen=True)
class PatchLocation:
    """Where a crop lies: its image and top left corner, and which of its eight positions it is turned to."""

    image: int
    top: int
    left: int
    turn: int  # 1: upside down, 2: left and right swapped, 4: then transposed


class PatchDataset:
    """HR photographs as a source of random crops; a crop depends on (seed, step) and the images alone.

    Args:
        folder: of HR images, searched with its subfolders; None: the embedded photographs.
        patch: side of a crop in HR pixels.
        scale: of the LR crops, made from the HR crops with the challenge's 8-bit downscale.
        cache: where decoded images are kept, see `ntire_sr.data.image_cache.decoded`; None: in memory.
        sharp: share of the crops that are the sharpest of CANDIDATES places, 0 to 1.
        leave_out: images, evenly spread over the folder, that no crop comes from; no image is left out where the folder
            holds fewer than ENOUGH times as many.
        progress: where it says how far decoding is.

    Raises:
        Problems: images cannot be read; all are named.
        WrongUse: there is no image, or none has room for a crop.
    """

    def __init__(
        self,
        folder: Path | None,
        patch: int,
        scale: int,
        cache: str | None = None,
        sharp: float = 0.0,
        leave_out: int = 0,
        progress: Progress = SILENT,
    ):
        paths = (
            list_images(folder, "HR", recursive=True) if folder else embedded_photographs(TRAINING_PHOTOGRAPHS)
        )
        self.patch, self.scale, self.sharp = patch, scale, sharp
        # every file that is new is decoded once here, so that a broken one is found now and not in the night
        self.images = decoded(folder, paths, cache, progress)
        self._fitting = [number for number, size in enumerate(self.images.sizes) if min(size) >= patch]
        if not self._fitting:
            raise WrongUse(
                f"no image in {folder} has {patch} x {patch} pixels", "--set patch=N with a smaller N"
            )
        self.left_out: list[int] = []  # numbers of images
        if leave_out and len(self._fitting) >= ENOUGH * leave_out:
            every = len(self._fitting) / leave_out
            self.left_out = [self._fitting[int((index + 0.5) * every)] for index in range(leave_out)]
            self._fitting = [number for number in self._fitting if number not in self.left_out]
        self.paths = [paths[number] for number in self._fitting]
        self.too_small = [
            path for path, size in zip(paths, self.images.sizes, strict=True) if min(size) < patch
        ]
        areas = [math.prod(self.images.sizes[number]) for number in self._fitting]
        self.megapixels = sum(areas) / 1e6
        self._resident: Tensor | None = None
        # large photographs hold more crops, so they are drawn more often
        self._share = np.array(areas) / sum(areas)

    @property
    def digest(self) -> str:
        """SHA-256 of all images' pixels in their order: equal digests and settings give equal batches,
        whatever the folder is called and however the files are stored."""
        return self.images.digest

    def keep_on(self, device: torch.device) -> bool:
        """Copy all images to a device, where crops are then cut, if they take at most half of its free memory."""
        if device.type == "cuda" and 2 * self.images.bytes > torch.cuda.mem_get_info(device)[0]:
            return False
        self._starts = np.cumsum([0] + [height * width for height, width in self.images.sizes])
        self._resident = torch.empty((int(self._starts[-1]), 3), dtype=torch.uint8, device=device)
        for number, start in enumerate(self._starts[:-1]):
            pixels = torch.from_numpy(self.images.read(number).reshape(-1, 3).copy())
            self._resident[start : start + len(pixels)] = pixels.to(device)
        return True

    def places(self, size: int, seed: int, step: int, share: tuple[int, int] = (0, 1)) -> list[PatchLocation]:
        """The places of one batch's crops; with `share` (rank, count) those of one of several processes.

        The shares of all processes, one after another, are the batch of a single process.
        """
        random = np.random.default_rng((seed, step))
        found = []
        for index in random.choice(len(self._fitting), size, p=self._share):
            image = self._fitting[index]
            choices = CANDIDATES if self.sharp and random.random() < self.sharp else 1
            corners = [
                tuple(int(random.integers(0, side - self.patch + 1)) for side in self.images.sizes[image])
                for _ in range(choices)
            ]
            turn = int(random.integers(0, 8))
            found.append([PatchLocation(image, top, left, turn) for top, left in corners])
        rank, count = share
        mine = found[size * rank // count : size * (rank + 1) // count]
        return [
            max(places, key=lambda place: sharpness(self._crop(place))) if len(places) > 1 else places[0]
            for places in mine
        ]

    def prepare(
        self, size: int, seed: int, step: int, share: tuple[int, int] = (0, 1), pinned: bool = False
    ) -> Tensor:
        """The part of a batch that the processor makes, for `finish`; may run in another thread. In `pinned`
        memory it goes to a GPU while that computes.

        Returns:
            The HR crops, (size, patch, patch, 3) uint8; or, where the images are kept on a device, how to
            walk through them, (size, 3) int64: the first pixel, the way to the next row, and to the next column.
        """
        places = self.places(size, seed, step, share)
        if self._resident is not None:
            return torch.tensor([self._walk(place) for place in places], dtype=torch.int64).reshape(-1, 3)
        crops = np.empty((len(places), self.patch, self.patch, 3), np.uint8)
        for crop, place in zip(crops, places, strict=True):
            crop[:] = _turned(self._crop(place), place.turn)
        prepared = torch.from_numpy(crops)
        return prepared.pin_memory() if pinned else prepared

    def finish(self, prepared: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """(lr, hr) on the device, from what `prepare` returned; shapes and ranges as in `batch`."""
        if self._resident is not None:
            across = torch.arange(self.patch, device=self._resident.device)
            start, down, right = prepared.to(self._resident.device).T[:, :, None, None]
            crops = self._resident[start + down * across[:, None] + right * across].to(device)
        else:
            crops = prepared.to(device, non_blocking=True)
        hr = crops.permute(0, 3, 1, 2).contiguous()
        return to_unit(downscale_8bit(hr, self.scale)), to_unit(hr)

    def batch(
        self, size: int, seed: int, step: int, device: torch.device, share: tuple[int, int] = (0, 1)
    ) -> tuple[Tensor, Tensor]:
        """(lr, hr) of `size` random crops, flipped and transposed at random, in [0, 1].

        Shapes: (size, 3, patch / scale, patch / scale) and (size, 3, patch, patch); with `share`
        (rank, count) only this rank's part of the batch, see `places`.
        """
        return self.finish(self.prepare(size, seed, step, share), device)

    def _crop(self, place: PatchLocation) -> np.ndarray:
        rows, columns = slice(place.top, place.top + self.patch), slice(place.left, place.left + self.patch)
        return self.images.read(place.image)[rows, columns]

    def _walk(self, place: PatchLocation) -> tuple[int, int, int]:
        """What `_turned` does, as a walk through the pixels of all images."""
        width, last = self.images.sizes[place.image][1], self.patch - 1
        top, down = (place.top + last, -width) if place.turn & 1 else (place.top, width)
        left, right = (place.left + last, -1) if place.turn & 2 else (place.left, 1)
        start = int(self._starts[place.image]) + top * width + left
        return (start, right, down) if place.turn & 4 else (start, down, right)


def _turned(crop: np.ndarray, turn: int) -> np.ndarray:
    """(P, P, 3) in one of its eight positions, see `PatchLocation`."""
    crop = crop[::-1] if turn & 1 else crop
    crop = crop[:, ::-1] if turn & 2 else crop
    return crop.transpose(1, 0, 2) if turn & 4 else crop


def sharpness(crop: np.ndarray) -> int:
    """Sum of squared second differences of the green channel, (H, W, 3) uint8; exact, so that every
    machine finds the same place the sharpest.

    >>> sharpness(np.full((8, 8, 3), 7, np.uint8)), sharpness(np.eye(3, dtype=np.uint8)[:, :, None].repeat(3, 2))
    (0, 12)
    """
    green = crop[..., 1].astype(np.int32)
    return sum(int(np.square(np.diff(green, 2, axis)).sum(dtype=np.int64)) for axis in (0, 1))
