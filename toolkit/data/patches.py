"""Random crops of HR images and their LR crops, for training."""

import math
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ntire_sr.challenge.downscale import downscale_8bit
from ntire_sr.challenge.pixels import to_unit
from ntire_sr.core.errors import UsageError
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.data.feature_cache import FeatureCache, turned
from ntire_sr.data.image_cache import open_images
from ntire_sr.data.photographs import TRAINING_PHOTOGRAPHS, embedded_photographs
from ntire_sr.samples.folders import list_images

CANDIDATES = 4  # random positions of which a sharp crop takes the sharpest
ENOUGH = 8  # images are left out only of folders that hold at least this many times as many


@dataclass(frozen=True)
class PatchLocation:
    """The position of a crop: its image, its top left corner, its side, and one of eight flips and rotations."""

    image: int
    top: int
    left: int
    turn: int  # see `feature_cache.turned`
    side: int  # in pixels of the image; a larger crop than the patch is downscaled to it


class Prepared(NamedTuple):
    """The part of a batch that the CPU makes."""

    crops: Tensor  # (N, P, P, 3) uint8; or, if the images are kept on a device, (N, 3) int64: of each crop the
    # index of its first pixel, stride of its rows, stride of its columns
    sides: list[int]  # N sides of the crops in pixels of their images, see `PatchLocation`
    features: Tensor | None  # (N, h, w, C) float16, with a feature cache


class Batch(NamedTuple):
    """Random crops in [0, 1], flipped and transposed at random."""

    lr: Tensor  # (N, 3, P / scale, P / scale)
    hr: Tensor  # (N, 3, P, P)
    features: Tensor | None  # (N, C, P / scale, P / scale) of a frozen trunk, with a feature cache


class PatchDataset:
    """A folder of HR images as a source of random crops. The crops depend only on (seed, step) and the images.

    Args:
        folder: folder of HR images, searched with its subfolders; None means the embedded photographs.
        patch: side of a crop in HR pixels.
        scale: scale factor of the LR crops, which the challenge's 8-bit downscale makes from the HR crops.
        cache: folder for decoded images, see `ntire_sr.data.image_cache.open_images`; None keeps them in memory.
        sharp: share of the crops that are the sharpest of CANDIDATES random positions, 0 to 1.
        leave_out: number of images, evenly spread over the folder, that no crop is taken from; no image is left
            out if the folder holds fewer than ENOUGH times as many.
        progress: receives the progress of decoding.
        downscale_min: each crop is downscaled by a random factor, uniform from this to 1; 1 for none. Photographs
            that were never downscaled hold less fine detail than the challenge's images.

    Raises:
        ValidationErrors: images cannot be read; all are named.
        UsageError: there is no image, or all are smaller than a crop.
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
        downscale_min: float = 1.0,
    ):
        paths = (
            list_images(folder, "HR", recursive=True, progress=progress)
            if folder
            else embedded_photographs(TRAINING_PHOTOGRAPHS)
        )
        self.patch, self.scale, self.sharp = patch, scale, sharp
        self.downscale_min = downscale_min
        # every new file is decoded once here, so that a broken one is found before the training, not during it
        self.images = open_images(folder, paths, cache, progress)
        self._fitting = [number for number, size in enumerate(self.images.sizes) if min(size) >= patch]
        if not self._fitting:
            raise UsageError(
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
        self._features: FeatureCache | None = None
        # large photographs hold more crops, so they are drawn more often
        self._share = np.array(areas) / sum(areas)

    @property
    def digest(self) -> str:
        """SHA-256 of all images' pixels in their order.

        Equal digests and settings give equal batches, whatever the names of folder and files and the file format.
        """
        return self.images.digest

    def keep_on(self, device: torch.device) -> bool:
        """Copy all images to a device, where crops are then taken, if they fit into half of its free memory.

        Returns:
            Whether they fit.
        """
        if device.type == "cuda" and 2 * self.images.bytes > torch.cuda.mem_get_info(device)[0]:
            return False
        self._starts = np.cumsum([0] + [height * width for height, width in self.images.sizes])
        self._resident = torch.empty((int(self._starts[-1]), 3), dtype=torch.uint8, device=device)
        for number, start in enumerate(self._starts[:-1]):
            pixels = torch.from_numpy(self.images.read(number).reshape(-1, 3).copy())
            self._resident[start : start + len(pixels)] = pixels.to(device)
        return True

    @property
    def numbers(self) -> list[int]:
        """Numbers of the images that crops are taken from."""
        return list(self._fitting)

    def attach(self, features: FeatureCache) -> None:
        """Cut every crop's features out of this cache.

        Crops are then aligned with the LR images' pixels, in the orientations that have features.
        """
        self._features = features

    def places(self, size: int, seed: int, step: int, share: tuple[int, int] = (0, 1)) -> list[PatchLocation]:
        """The positions of one batch's crops; `share` (rank, world size) selects one process's part of them.

        The parts of all processes, in the order of their ranks, are the batch of a single process.
        """
        generator = np.random.default_rng((seed, step))
        candidates = []
        for index in generator.choice(len(self._fitting), size, p=self._share):
            image = self._fitting[index]
            side = self._side(image, generator)
            choices = CANDIDATES if self.sharp and generator.random() < self.sharp else 1
            corners = [self._corner(image, side, generator) for _ in range(choices)]
            turn = int(generator.integers(0, 8))
            if self._features:
                turn = self._features.turns[turn % len(self._features.turns)]
            candidates.append([PatchLocation(image, top, left, turn, side) for top, left in corners])
        rank, count = share
        mine = candidates[size * rank // count : size * (rank + 1) // count]
        return [
            max(places, key=lambda location: sharpness(self._crop(location))) if len(places) > 1 else places[0]
            for places in mine
        ]

    def _side(self, image: int, generator: np.random.Generator) -> int:
        """Side of a crop in pixels of its image, before it is downscaled to the patch."""
        if self.downscale_min == 1:  # no random number is drawn, so that runs without it keep their crops
            return self.patch
        wanted = round(self.patch / generator.uniform(self.downscale_min, 1))
        return min(wanted, *self.images.sizes[image])

    def _corner(self, image: int, side: int, generator: np.random.Generator) -> tuple[int, int]:
        """Top and left of a random crop; on the LR image's pixels where there are features of it."""
        step = self.scale if self._features else 1
        height, width = self.images.sizes[image]
        top, left = (
            int(generator.integers(0, (length - side) // step + 1)) * step for length in (height, width)
        )
        return top, left

    def prepare(
        self, size: int, seed: int, step: int, share: tuple[int, int] = (0, 1), pinned: bool = False
    ) -> Prepared:
        """The part of a batch that the CPU makes, for `finish`; may run in another thread.

        `pinned` puts it into pinned memory, from which it is copied to a GPU while the GPU computes.
        """
        places = self.places(size, seed, step, share)
        if self._resident is not None:
            strides = [self._strides(location) for location in places]
            crops = torch.tensor(strides, dtype=torch.int64).reshape(-1, 3)
        else:
            crops = torch.empty(len(places), self.patch, self.patch, 3, dtype=torch.uint8)
            for crop, location in zip(crops.numpy(), places, strict=True):
                window = torch.from_numpy(turned(self._window(location), location.turn).copy())
                crop[:] = shrunk(window, self.patch).numpy()
        features = (
            torch.from_numpy(np.stack([self._features_of(location) for location in places]))
            if self._features
            else None
        )
        if pinned:
            crops, features = crops.pin_memory(), None if features is None else features.pin_memory()
        return Prepared(crops, [location.side for location in places], features)

    def finish(self, prepared: Prepared, device: torch.device) -> Batch:
        """The batch on the device, from what `prepare` returned."""
        if self._resident is not None:
            crops = self._resident_crops(prepared).to(device)
        else:
            crops = prepared.crops.to(device, non_blocking=True)
        hr = crops.permute(0, 3, 1, 2).contiguous()
        features = prepared.features
        if features is not None:  # channels last as they come
            features = features.to(device, non_blocking=True).float().permute(0, 3, 1, 2)
        return Batch(to_unit(downscale_8bit(hr, self.scale)), to_unit(hr), features)

    def _features_of(self, location: PatchLocation) -> np.ndarray:
        """The features of a crop, turned as it is: (P / scale, P / scale, C) float16."""
        assert self._features
        top, left, side = (value // self.scale for value in (location.top, location.left, self.patch))
        return turned(self._features.crop(location.image, location.turn, top, left, side), location.turn)

    def _crop(self, location: PatchLocation) -> np.ndarray:
        """A crop at the patch's size, (P, P, 3) uint8, not turned."""
        return shrunk(torch.from_numpy(self._window(location).copy()), self.patch).numpy()

    def _window(self, location: PatchLocation) -> np.ndarray:
        """The pixels of its image that a crop covers, (side, side, 3) uint8."""
        rows, columns = (
            slice(location.top, location.top + location.side),
            slice(location.left, location.left + location.side),
        )
        return self.images.read(location.image)[rows, columns]

    def _resident_crops(self, prepared: Prepared) -> Tensor:
        """The crops of a batch from the images on the device, (N, P, P, 3) uint8."""
        assert self._resident is not None
        strides = prepared.crops.to(self._resident.device, non_blocking=True)
        crops, first = [], 0
        for side, same in groupby(prepared.sides):
            last = first + len(list(same))
            across = torch.arange(side, device=self._resident.device)
            start, down, right = strides[first:last].T[:, :, None, None]
            windows = self._resident[start + down * across[:, None] + right * across]
            crops += [shrunk(window, self.patch) for window in windows]
            first = last
        return torch.stack(crops)

    def _strides(self, location: PatchLocation) -> tuple[int, int, int]:
        """Index of a crop's first pixel among the pixels of all images, stride of its rows, and of its columns.

        Negative and swapped strides do what `turned` does."""
        width, last = self.images.sizes[location.image][1], location.side - 1
        top, down = (location.top + last, -width) if location.turn & 1 else (location.top, width)
        left, right = (location.left + last, -1) if location.turn & 2 else (location.left, 1)
        start = int(self._starts[location.image]) + top * width + left
        return (start, right, down) if location.turn & 4 else (start, down, right)


def shrunk(window: Tensor, side: int) -> Tensor:
    """A square image downscaled to (side, side, 3) uint8 with antialiased bicubic; itself if it has that size.

    Args:
        window: (S, S, 3) uint8, S at least `side`.
    """
    if len(window) == side:
        return window
    planes = window.permute(2, 0, 1)[None].float()
    small = functional.interpolate(planes, (side, side), mode="bicubic", antialias=True, align_corners=False)
    return small[0].permute(1, 2, 0).round().clamp(0, 255).byte()


def sharpness(crop: np.ndarray) -> int:
    """Sum of squared second differences of the green channel of a crop (H, W, 3) uint8.

    Computed in integers, so that every machine takes the same crop for the sharpest.

    >>> sharpness(np.full((8, 8, 3), 7, np.uint8)), sharpness(np.eye(3, dtype=np.uint8)[:, :, None].repeat(3, 2))
    (0, 12)
    """
    green = crop[..., 1].astype(np.int32)
    return sum(int(np.square(np.diff(green, 2, axis)).sum(dtype=np.int64)) for axis in (0, 1))
