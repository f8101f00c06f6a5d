"""LR images from HR images, made with the challenge's downscale."""

from pathlib import Path

import numpy as np

from ntire_sr.challenge.downscale import CROP_MULTIPLE, downscale_8bit
from ntire_sr.challenge.names import image_key
from ntire_sr.challenge.pixels import to_array, to_tensor
from ntire_sr.core.errors import NtireSrError, UsageError, ValidationErrors
from ntire_sr.core.files import atomic_write, make_folder
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.data.photographs import VALIDATION_PHOTOGRAPHS, embedded_photographs
from ntire_sr.samples.folders import list_images
from ntire_sr.samples.image_files import encode_png, read_image, write_png
from ntire_sr.samples.image_search import find_images
from ntire_sr.samples.metadata import ImageNotes


def downscale_array(image: np.ndarray, scale: int, crop_multiple: int = CROP_MULTIPLE) -> np.ndarray:
    """The LR image of an HR image, (H, W, 3) uint8 to (h, w, 3) uint8.

    The sides of the HR image are first cropped to multiples of `crop_multiple`."""
    height, width = (side // crop_multiple * crop_multiple for side in image.shape[:2])
    return to_array(downscale_8bit(to_tensor(image[:height, :width]), scale))


def make_lr(
    hr: Path, out: Path, scale: int, crop_multiple: int = CROP_MULTIPLE, progress: Progress = SILENT
) -> int:
    """Write the LR image of every HR image of a folder, as 8-bit PNG under the same stem.

    Args:
        hr: folder of HR images.
        out: folder for the LR images; may hold earlier ones of the same images, and no other image.
        scale: 4 or 8.
        crop_multiple: sides are first cropped to multiples of this; the challenge uses 8, and 1 keeps all
            pixels and rounds the LR sides up.
        progress: receives messages about files that are passed over.

    Returns:
        The number of images.

    Raises:
        UsageError: `out` is the HR folder, or holds other images.
        ValidationErrors: HR images cannot be read or are too small; the LR images of the others were written.
    """
    paths, problems = list_images(hr, "HR", progress=progress), []
    if make_folder(out).resolve() == hr.resolve():
        raise UsageError(f"--out is the HR folder {hr} itself", "choose another folder")
    targets = {path: out / f"{image_key(path)}.png" for path in paths}
    existing = set(find_images(out).paths)
    if unexpected := sorted(path.name for path in existing - set(targets.values())):
        raise UsageError(
            f"{out} holds images of other HR images ({unexpected[0]}, {len(unexpected)} in all)",
            "choose another --out",
        )
    notes = ImageNotes()
    for path, target in targets.items():
        try:
            image = read_image(path, notes.of(path.name))
        except NtireSrError as failure:
            problems.append(failure.message)
            continue
        if min(image.shape[:2]) < max(crop_multiple, scale):
            problems.append(f"{path.name} is smaller than {max(crop_multiple, scale)} pixels")
            continue
        write_png(target, downscale_array(image, scale, crop_multiple))
    notes.report("HR", progress)
    if problems:
        raise ValidationErrors(
            f"HR images in {hr}", problems, "replace or remove these files; the others were written"
        )
    return len(paths)


def write_validation(run: RunFolder, scale: int) -> Path:
    """Write the embedded validation photographs and their LR images into the run folder, numbered from 801.

    Files that have the right content already are not written again.

    Returns:
        The folder of the LR images.
    """
    for number, path in enumerate(embedded_photographs(VALIDATION_PHOTOGRAPHS), start=801):
        hr = read_image(path)
        for target, image in (
            (run.validation_hr / f"{number:04d}.png", hr),
            (run.validation_lr(scale) / f"{number:04d}.png", downscale_array(hr, scale)),
        ):
            content = encode_png(image)
            if not target.is_file() or target.read_bytes() != content:
                atomic_write(target, content)
    return run.validation_lr(scale)
