"""Which files of a folder are images or samples, and what is said about the others."""

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import RecordedProgress

from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.samples.folders import list_images, list_samples
from ntire_sr.samples.image_files import write_png
from ntire_sr.samples.image_search import Reason, find_images

PIXELS = np.zeros((8, 8, 3), np.uint8)
SYSTEM = ("Thumbs.db", "desktop.ini", ".DS_Store", "Icon\r")


def put(folder: Path, *names: str) -> Path:
    for name in names:
        write_png(folder / name, PIXELS)
    return folder


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_hidden_and_thumbnail_folders_are_passed_over_and_named(tmp_path):
    inside = (".ipynb_checkpoints/1.png", "@eaDir/1.png/THUMB.jpg", "sub/.cache/2.png", "__MACOSX/1.png")
    put(tmp_path, "1.png", "sub/2.png", "._1.png", *inside)
    progress = RecordedProgress()
    assert names(list_images(tmp_path, "HR", recursive=True, progress=progress), tmp_path) == [
        "1.png",
        "sub/2.png",
    ]
    assert len(progress.messages) == 1 and "passed over 5 files (hidden" in progress.messages[0]
    assert all(name in progress.messages[0] for name in inside)


def test_other_formats_subfolders_and_pipes_are_passed_over_and_named(tmp_path):
    put(tmp_path, "1.png", "sub/2.png", "3.bmp", "4.TIF")
    os.mkfifo(tmp_path / "5.png")
    (tmp_path / "notes.txt").write_text("no image")
    for name in SYSTEM:
        (tmp_path / name).write_bytes(b"")
    progress = RecordedProgress()
    assert names(list_images(tmp_path, "LR", progress=progress), tmp_path) == ["1.png"]
    text = "\n".join(progress.messages)
    assert "2 files (of a format that is not read here, convert to PNG): 3.bmp, 4.TIF" in text
    assert (
        "1 file (in a subfolder, which is not searched here): sub/2.png" in text and "no file): 5.png" in text
    )
    assert len(progress.messages) == 3
    with pytest.raises(UsageError, match=r"holds no image .*passed over 1 file .*: 3\.bmp"):
        list_images(put(tmp_path / "other", "3.bmp"), "HR")


def test_linked_folders_are_searched_once_and_loops_end(tmp_path):
    folder, elsewhere = (
        put(tmp_path / "HR", "1.png", "z/2.png"),
        put(tmp_path / "elsewhere", "3.png", "deep/4.png"),
    )
    (folder / "linked").symlink_to(elsewhere)
    for name, target in (("again", elsewhere), ("a", folder / "z"), ("loop", folder), ("up", tmp_path)):
        (folder / name).symlink_to(target)
    (elsewhere / "back").symlink_to(folder)
    found = find_images(folder, recursive=True)
    links = [name for name, why in found.passed_over.items() if why is Reason.LINK]
    assert len(found.paths) == len({path.resolve() for path in found.paths}) == 4
    assert len(links) == 5 and {"a", "loop", "up"} < set(links)


def test_link_that_leads_nowhere_is_an_image_that_cannot_be_read(tmp_path):
    put(tmp_path, "1.png")
    (tmp_path / "0.png").symlink_to(tmp_path / "gone.png")
    assert names(list_images(tmp_path, "LR"), tmp_path) == ["0.png", "1.png"]
    (tmp_path / "DIV2K").symlink_to(tmp_path / "gone")
    progress = RecordedProgress()
    list_images(tmp_path, "LR", progress=progress)
    assert progress.messages == [
        f"note: LR folder {tmp_path}: passed over 1 file (a link that leads nowhere): DIV2K"
    ]
    (tmp_path / "000000.png").symlink_to(tmp_path / "gone.png")
    samples, _ = list_samples(tmp_path)
    assert [path.name for path in samples.values()] == ["000000.png"]


def test_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    put(tmp_path, "1.png", "closed/2.png")
    scandir = os.scandir

    def refuse(folder):
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(NtireSrError, match=r"cannot read the folder .*closed: Permission"):
        list_images(tmp_path, "HR", recursive=True)


def test_files_of_the_system_and_readme_are_not_named_among_samples(tmp_path):
    put(tmp_path, "000000.png", "__MACOSX/._000000.png", "@eaDir/a.jpg")
    for name in (*SYSTEM, "readme.txt", "manifest.json", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    samples, unexpected = list_samples(tmp_path)
    assert len(samples) == 1 and unexpected == ["notes.txt"]
