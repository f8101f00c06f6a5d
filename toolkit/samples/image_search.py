"""Searching a folder for image files: which of them are read, and which are passed over and why."""

import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from ntire_sr.core.errors import plural, printable, shorten
from ntire_sr.core.files import error_from_os_error

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# images in other formats; other files are no images, and nothing is said about them
OTHER_SUFFIXES = (
    *(
        ".apng",
        ".arw",
        ".avif",
        ".bmp",
        ".cr2",
        ".cr3",
        ".dib",
        ".dng",
        ".exr",
        ".gif",
        ".hdr",
        ".heic",
        ".heif",
    ),
    *(".j2k", ".jfif", ".jp2", ".jpe", ".jxl", ".nef", ".pbm", ".pgm", ".pnm", ".ppm", ".psd", ".tga", ".tif"),
    ".tiff",
)
SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")  # of Windows and macOS
SYSTEM_FOLDERS = ("@eadir", "__macosx", "#recycle", "$recycle.bin")  # thumbnails, copies and deleted files


def is_of_system(name: str) -> bool:
    """Whether a file or folder is hidden, or one that operating systems and file servers leave in any folder.

    >>> is_of_system("Thumbs.db"), is_of_system(".DS_Store"), is_of_system("@eaDir"), is_of_system("0801.png")
    (True, True, True, False)
    """
    return name.startswith(".") or name.lower() in (*SYSTEM_FILES, *SYSTEM_FOLDERS)


class Reason(Enum):
    """Why files are passed over, as the end of a sentence after their number."""

    HIDDEN = "hidden or in a hidden or thumbnail folder"
    FORMAT = "of a format that is not read here, convert to PNG"
    SUBFOLDER = "in a subfolder, which is not searched here"
    LINK = "a link to a folder that is searched anyway"
    NO_FILE = "named like an image, but no file"
    BROKEN_LINK = "a link that leads nowhere"


@dataclass
class FoundImages:
    """The image files of a folder, in no order, and the names of the files that were passed over."""

    paths: list[Path] = field(default_factory=list)
    passed_over: dict[str, Reason] = field(default_factory=dict)  # by name, relative to the folder

    def notes(self) -> list[str]:
        """A line for each reason for which files were passed over."""
        lines = []
        for reason in Reason:
            names = [printable(name) for name, why in sorted(self.passed_over.items()) if why is reason]
            if names:
                lines.append(f"passed over {plural(len(names), 'file')} ({reason.value}): {shorten(names)}")
        return lines


def find_images(folder: Path, recursive: bool = False) -> FoundImages:
    """Find the image files of a folder by their names.

    Links to files and folders are followed; no folder is searched twice. A link that leads nowhere counts as an image,
    so that reading it is an error: without it, later images would have the index of earlier ones.

    Args:
        folder: the folder.
        recursive: whether to search subfolders, too.

    Raises:
        NtireSrError: a folder cannot be read.
    """
    images = FoundImages()
    searched = {_identity(folder)}
    folders, links = deque([folder]), deque[Path]()
    while folders or links:
        if folders:
            current = folders.popleft()
        else:
            current = links.popleft()
            if _identity(current) in searched or folder.resolve().is_relative_to(current.resolve()):
                images.passed_over[_name(current, folder)] = Reason.LINK
                continue
            searched.add(_identity(current))
        for entry in _entries(current):
            path = current / entry.name
            if is_of_system(entry.name):
                _pass_over(images, folder, path, Reason.HIDDEN)
            elif not entry.is_dir():
                _add_file(images, folder, path)
            elif not recursive:
                _pass_over(images, folder, path, Reason.SUBFOLDER, deep=False)
            elif entry.is_symlink():
                links.append(path)
            elif _identity(path) not in searched:
                searched.add(_identity(path))
                folders.append(path)
    return images


def _add_file(images: FoundImages, folder: Path, path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES and (path.is_file() or not path.exists()):
        images.paths.append(path)
    elif suffix in IMAGE_SUFFIXES:
        images.passed_over[_name(path, folder)] = Reason.NO_FILE
    elif suffix in OTHER_SUFFIXES:
        images.passed_over[_name(path, folder)] = Reason.FORMAT
    elif not path.exists():  # such as a link to a folder of a disk that is not connected
        images.passed_over[_name(path, folder)] = Reason.BROKEN_LINK


def _pass_over(images: FoundImages, folder: Path, path: Path, reason: Reason, deep: bool = True) -> None:
    """Note that an image, or the images in a folder, are passed over; links are not followed."""
    if not path.is_dir():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images.passed_over[_name(path, folder)] = reason
        return
    with suppress(OSError):  # such a folder may be unreadable
        for parent, _, files in os.walk(path):
            for name in files:
                if Path(name).suffix.lower() in IMAGE_SUFFIXES and not is_of_system(name):
                    images.passed_over[_name(Path(parent, name), folder)] = reason
            if not deep:
                break


def _entries(folder: Path) -> Sequence[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise error_from_os_error(error, f"cannot read the folder {folder}") from error


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError as error:
        raise error_from_os_error(error, f"cannot read the folder {folder}") from error
    return status.st_dev, status.st_ino


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
