"""Training crops from photographs, the embedded photographs, and LR images made from HR images."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ntire_sr.errors import Failure, Problems, WrongUse
from ntire_sr.files import make_folder
from ntire_sr.images import read_image, to_array, to_tensor, to_unit, write_png
from ntire_sr.layout import RunFolder, image_key, list_images
from ntire_sr.resize import downscale_8bit

# Colour photographs inside scikit-image's wheel. Both halves of the stereo pair show one scene, so
# they stay on one side; nothing is in both lists.
TRAINING_PHOTOGRAPHS = ("astronaut.png", "motorcycle_left.png", "motorcycle_right.png", "rocket.jpg")
VALIDATION_PHOTOGRAPHS = ("chelsea.png", "coffee.png")
# The challenge's script crops HR images to multiples of 8 in both tracks.
CROP_MULTIPLE = 8
CACHE_BYTES = 2 << 30


def embedded_photographs(names: tuple[str, ...]) -> list[Path]:
    """Paths of photographs inside the installed scikit-image, found without importing it."""
    found = importlib.util.find_spec("skimage")
    folders = [Path(folder) / "data" for folder in (found.submodule_search_locations or [])] if found else []
    paths = [next((folder / name for folder in folders if (folder / name).is_file()), None) for name in names]
    missing = [name for name, path in zip(names, paths, strict=True) if path is None]
    if missing:
        raise Failure(
            f"scikit-image lacks its photographs {', '.join(missing)}",
            "pip install --force-reinstall scikit-image",
        )
    return [path for path in paths if path is not None]


class Photographs:
    """HR photographs as a source of random crops; a crop depends on (seed, step) alone.

    Args:
        folder: of HR images, searched with its subfolders; none: the embedded photographs.
        patch: side of a crop in HR pixels.
        scale: of the LR crops, made from the HR crops with the challenge's 8-bit downscale.
    """

    def __init__(self, folder: Path | None, patch: int, scale: int):
        paths = (
            list_images(folder, "HR", recursive=True) if folder else embedded_photographs(TRAINING_PHOTOGRAPHS)
        )
        self.patch, self.scale = patch, scale
        self._cache: dict[Path, np.ndarray] = {}
        self._cached_bytes = 0
        problems: list[str] = []
        self.paths: list[Path] = []
        self.too_small: list[Path] = []
        areas: list[int] = []
        # every file is decoded once here, so that a broken one is found now and not in the night
        for path in paths:
            try:
                height, width = self._image(path).shape[:2]
            except Failure as failure:
                problems.append(failure.message)
                continue
            if min(height, width) < patch:
                self.too_small.append(path)
            else:
                self.paths.append(path)
                areas.append(height * width)
        if problems:
            raise Problems(f"training images in {folder}", problems, "replace or remove these files")
        if not self.paths:
            raise WrongUse(
                f"no image in {folder} has {patch} x {patch} pixels", "--set patch=N with a smaller N"
            )
        self.megapixels = sum(areas) / 1e6
        # large photographs hold more crops, so they are drawn more often
        self._share = np.array(areas) / sum(areas)

    def _image(self, path: Path) -> np.ndarray:
        if path in self._cache:
            return self._cache[path]
        image = read_image(path)
        if self._cached_bytes + image.nbytes <= CACHE_BYTES:
            self._cache[path] = image
            self._cached_bytes += image.nbytes
        return image

    def batch(self, size: int, seed: int, step: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """(lr, hr) of `size` random crops, flipped and transposed at random, in [0, 1].

        Shapes: (size, 3, patch / scale, patch / scale) and (size, 3, patch, patch).
        """
        random = np.random.default_rng((seed, step))
        crops = []
        for index in random.choice(len(self.paths), size, p=self._share):
            image = self._image(self.paths[index])
            top, left = (random.integers(0, side - self.patch + 1) for side in image.shape[:2])
            crop = image[top : top + self.patch, left : left + self.patch]
            turn = random.integers(0, 8)
            if turn & 1:
                crop = crop[::-1]
            if turn & 2:
                crop = crop[:, ::-1]
            if turn & 4:
                crop = crop.transpose(1, 0, 2)
            crops.append(to_tensor(crop))
        hr = torch.cat(crops).to(device)
        return to_unit(downscale_8bit(hr, self.scale)), to_unit(hr)


def crop_to_multiple(image: np.ndarray, multiple: int) -> np.ndarray:
    """The top-left window of (H, W, 3) whose sides are multiples of `multiple`."""
    height, width = (side // multiple * multiple for side in image.shape[:2])
    return image[:height, :width]


def make_lr(
    hr: Path,
    out: Path,
    scale: int,
    crop_multiple: int = CROP_MULTIPLE,
    done: Callable[[Path], None] | None = None,
) -> int:
    """Write the LR image of every HR image of a folder, as 8-bit PNG under the same stem.

    Args:
        hr: folder of HR images.
        out: folder for the LR images.
        scale: 4 or 8.
        crop_multiple: sides are first cut to multiples of this; 8 is what the challenge scores, 1
            keeps the whole image, and its LR sides are rounded up.
        done: called with each path that was written.

    Returns:
        The number of images.
    """
    paths, problems = list_images(hr, "HR"), []
    if make_folder(out).resolve() == hr.resolve():
        raise WrongUse(f"--out is the HR folder {hr} itself", "choose another folder")
    for path in paths:
        try:
            image = crop_to_multiple(read_image(path), crop_multiple)
        except Failure as failure:
            problems.append(failure.message)
            continue
        if min(image.shape[:2]) < scale:
            problems.append(f"{path.name} is smaller than {max(crop_multiple, scale)} pixels")
            continue
        target = out / f"{image_key(path)}.png"
        write_png(target, to_array(downscale_8bit(to_tensor(image), scale)))
        if done:
            done(target)
    if problems:
        raise Problems(f"HR images in {hr}", problems, "replace or remove these files; the others were written")
    return len(paths)


def write_validation(run: RunFolder, scale: int) -> None:
    """Put the embedded validation photographs into the run folder, numbered as the challenge does."""
    for number, path in enumerate(embedded_photographs(VALIDATION_PHOTOGRAPHS), start=801):
        write_png(run.validation_hr / f"{number:04d}.png", read_image(path))
    make_lr(run.validation_hr, run.validation_lr, scale)
