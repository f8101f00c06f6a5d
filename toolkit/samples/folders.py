"""Lists of the images or samples in a folder."""

from itertools import pairwise
from pathlib import Path

from ntire_sr.challenge.names import SampleName, image_key, number_samples
from ntire_sr.core.errors import UsageError, ValidationErrors
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.samples.image_search import IMAGE_SUFFIXES, find_images, is_of_system

MANIFEST = "manifest.json"
README = "readme.txt"  # of an archive that `package` wrote


def list_images(folder: Path, what: str, recursive: bool = False, progress: Progress = SILENT) -> list[Path]:
    """The image files of a folder, ordered by their key, so that HR and LR folders agree.

    Args:
        folder: folder to search; without `recursive` also a single image file.
        what: what the folder should hold, for messages ("LR", "HR", ...).
        recursive: whether to search subfolders, too.
        progress: receives messages about files that are passed over; see `image_search`.

    Raises:
        UsageError: the folder is missing or holds no image.
        ValidationErrors: two files would be the same image (`0801.png` and `0801.jpg`).
        NtireSrError: the folder or a subfolder cannot be read.
    """
    if folder.is_file() and folder.suffix.lower() in IMAGE_SUFFIXES and not recursive:
        return [folder]
    if not folder.is_dir():
        problem = "is no folder and no image" if folder.exists() else "does not exist"
        raise UsageError(f"the {what} folder {folder} {problem}", "check the path")
    images_found = find_images(folder, recursive)
    paths, notes = images_found.paths, images_found.notes()
    if not paths:
        raise UsageError(
            "; ".join([f"the {what} folder {folder} holds no image ({', '.join(IMAGE_SUFFIXES)})", *notes]),
            "give the folder that directly holds the images" if not recursive else "check the path",
        )
    for note in notes:
        progress.message(f"note: {what} folder {folder}: {note}")
    paths.sort(key=lambda path: (path.parent, image_key(path), path.name))
    if not recursive:
        duplicates = [f"{a.name} and {b.name}" for a, b in pairwise(paths) if image_key(a) == image_key(b)]
        if duplicates:
            raise ValidationErrors(f"{folder}: the same image twice", duplicates, "keep one file per image")
    return paths


def list_samples(folder: Path) -> tuple[dict[SampleName, Path], list[str]]:
    """The samples of a folder by image index and sample number, and the names of other files.

    The manifest, the `readme.txt` of an archive that was extracted there, and files of the operating system are not
    named. Image indices count from 0: those that begin at 801 or 901, as DIV2K's numbers do, are shifted.
    """
    if folder.is_file():
        raise UsageError(f"--sr {folder} is a file, not a folder of samples", "give the folder")
    if not folder.is_dir():
        kind = "archive" if folder.suffix.lower() == ".zip" else "SR folder"
        raise UsageError(f"the {kind} {folder} does not exist", "check the path")
    paths = [
        path
        for path in sorted(folder.iterdir())
        if path.name not in (MANIFEST, README) and not is_of_system(path.name)
    ]
    # a link that leads nowhere is a sample that cannot be read, not a file of another kind
    files = [path.name for path in paths if path.is_file() or not path.exists()]
    named, unexpected = number_samples(files)
    unexpected += [path.name for path in paths if path.name not in set(files)]
    return {name: folder / file for name, file in named.items()}, unexpected
