"""Lists of the images or samples in a folder."""

from itertools import pairwise
from pathlib import Path

from ntire_sr.challenge.names import SampleName, image_key, number_samples, parse_sample_name
from ntire_sr.core.errors import UsageError, ValidationErrors

MANIFEST = "manifest.json"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def list_images(folder: Path, what: str, recursive: bool = False) -> list[Path]:
    """The image files of a folder, ordered by their key, so that HR and LR folders agree.

    Args:
        folder: folder to search.
        what: what the folder should hold, for the error ("LR", "HR", ...).
        recursive: whether to search subfolders, too.

    Raises:
        UsageError: the folder is missing or holds no image.
        ValidationErrors: two files would be the same image (`0801.png` and `0801.jpg`).
    """
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise UsageError(f"the {what} folder {folder} {problem}", "check the path")
    paths = [
        path
        for path in (folder.rglob("*") if recursive else folder.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not paths:
        raise UsageError(
            f"the {what} folder {folder} holds no image ({', '.join(IMAGE_SUFFIXES)})",
            "give the folder that directly holds the images" if not recursive else "check the path",
        )
    paths.sort(key=lambda path: (path.parent, image_key(path), path.name))
    if not recursive:
        duplicates = [f"{a.name} and {b.name}" for a, b in pairwise(paths) if image_key(a) == image_key(b)]
        if duplicates:
            raise ValidationErrors(f"{folder}: the same image twice", duplicates, "keep one file per image")
    return paths


def list_samples(folder: Path) -> tuple[dict[SampleName, Path], list[str]]:
    """The samples of a folder by image index and sample number, and the names of all other files.

    Image indices count from 0: those that begin at 801 or 901, as DIV2K's numbers do, are shifted.
    """
    if folder.is_file():
        raise UsageError(f"--sr {folder} is a file, not a folder of samples", "give the folder")
    if not folder.is_dir():
        raise UsageError(f"the SR folder {folder} does not exist", "check the path")
    paths = [
        path
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST and not (path.name.startswith(".") and parse_sample_name(path.name) is None)
    ]
    named, unexpected = number_samples([path.name for path in paths if path.is_file()])
    unexpected += [path.name for path in paths if not path.is_file()]
    return {name: folder / file for name, file in named.items()}, unexpected
