"""Training crops from photographs, the embedded photographs, and LR images made from HR images."""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ntire_sr.errors import Failure, Problems, WrongUse
from ntire_sr.files import make_folder, write_whole
from ntire_sr.images import encode_png, read_image, to_array, to_tensor, to_unit, write_png
from ntire_sr.layout import IMAGE_SUFFIXES, RunFolder, image_key, list_images
from ntire_sr.resize import CROP_MULTIPLE, downscale_8bit

# Colour photographs inside scikit-image's wheel. Both halves of the stereo pair show one scene, so
# they stay on one side; nothing is in both lists.
TRAINING_PHOTOGRAPHS = ("astronaut.png", "motorcycle_left.png", "motorcycle_right.png", "rocket.jpg")
VALIDATION_PHOTOGRAPHS = ("chelsea.png", "coffee.png")
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


def reduced(image: np.ndarray, scale: int, crop_multiple: int = CROP_MULTIPLE) -> np.ndarray:
    """The LR image of an HR image whose sides are first cut to multiples: (H, W, 3) uint8 to (h, w, 3) uint8."""
    height, width = (side // crop_multiple * crop_multiple for side in image.shape[:2])
    return to_array(downscale_8bit(to_tensor(image[:height, :width]), scale))


def make_lr(hr: Path, out: Path, scale: int, crop_multiple: int = CROP_MULTIPLE) -> int:
    """Write the LR image of every HR image of a folder, as 8-bit PNG under the same stem.

    Args:
        hr: folder of HR images.
        out: folder for the LR images; may hold earlier ones of the same images, and no other image.
        scale: 4 or 8.
        crop_multiple: sides are first cut to multiples of this; 8 is what the challenge scores, 1
            keeps the whole image, and its LR sides are rounded up.

    Returns:
        The number of images.
    """
    paths, problems = list_images(hr, "HR"), []
    if make_folder(out).resolve() == hr.resolve():
        raise WrongUse(f"--out is the HR folder {hr} itself", "choose another folder")
    targets = {path: out / f"{image_key(path)}.png" for path in paths}
    there = {path for path in out.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES}
    if strangers := sorted(path.name for path in there - set(targets.values())):
        raise WrongUse(
            f"{out} holds images of other HR images ({strangers[0]}, {len(strangers)} in all)",
            "choose another --out",
        )
    for path, target in targets.items():
        try:
            image = read_image(path)
        except Failure as failure:
            problems.append(failure.message)
            continue
        if min(image.shape[:2]) < max(crop_multiple, scale):
            problems.append(f"{path.name} is smaller than {max(crop_multiple, scale)} pixels")
            continue
        write_png(target, reduced(image, scale, crop_multiple))
    if problems:
        raise Problems(f"HR images in {hr}", problems, "replace or remove these files; the others were written")
    return len(paths)


def write_validation(run: RunFolder, scale: int) -> Path:
    """Put the embedded validation photographs into the run folder, numbered as the challenge does.

    Files that are there with the right content are left alone.

    Returns:
        The folder of the LR images.
    """
    for number, path in enumerate(embedded_photographs(VALIDATION_PHOTOGRAPHS), start=801):
        hr = read_image(path)
        for target, image in (
            (run.validation_hr / f"{number:04d}.png", hr),
            (run.validation_lr(scale) / f"{number:04d}.png", reduced(hr, scale)),
        ):
            content = encode_png(image)
            if not target.is_file() or target.read_bytes() != content:
                write_whole(target, content)
    return run.validation_lr(scale)
