"""Whole files or none."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ntire_sr.core import files as module
from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import (
    atomic_file,
    atomic_write,
    create_json,
    make_folder,
    read_json,
    remove_stale_temp_files,
    write_json,
)


def test_full_disk_is_one_error_and_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    atomic_write(path, "old")

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NtireSrError, match=r"a\.txt: No space left on device\n  try: free some space"):
        atomic_write(path, "new")
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_interrupted_write_leaves_no_file_of_the_final_name(tmp_path, monkeypatch):
    def interrupted(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "a.txt", "new")
    assert list(tmp_path.iterdir()) == []


def test_file_instead_of_folder_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    for work in (lambda: make_folder(tmp_path / "file"), lambda: atomic_write(tmp_path / "file" / "a.txt", "")):
        with pytest.raises(NtireSrError, match="try: a file stands where a folder is needed"):
            work()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_folder_without_write_permission_is_explained(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(NtireSrError, match="choose a folder you may write to"):
        atomic_write(tmp_path / "a.txt", "")


def test_json_with_infinite_value_stays_valid(tmp_path):
    write_json(
        tmp_path / "a.json", {"lr_psnr_db": float("inf"), "lpips": float("nan"), "rows": [float("-inf")]}
    )
    assert read_json(tmp_path / "a.json", "test file") == {"lr_psnr_db": "inf", "lpips": None, "rows": ["-inf"]}


@pytest.mark.parametrize("content", ["", "{", "\x00", "[" * 100_000])
def test_damaged_json_file_is_named(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(NtireSrError, match=r"the test file .*a\.json is not valid JSON"):
        read_json(tmp_path / "a.json", "test file")


def test_failed_clean_up_does_not_hide_the_first_error(tmp_path, monkeypatch):
    def read_only(*words, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "write_bytes", read_only)
    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(NtireSrError, match=r"cannot write .*a\.txt: Read-only file system"):
        atomic_write(tmp_path / "a.txt", "")


def test_lone_surrogates_are_escaped_in_written_text(tmp_path):
    atomic_write(tmp_path / "a.txt", "name \udcff.png")
    assert (tmp_path / "a.txt").read_text() == "name \\udcff.png"


def test_only_temporary_files_of_killed_processes_are_removed(tmp_path):
    program = (
        "import os, sys; from pathlib import Path; from ntire_sr.core.files import atomic_file\n"
        "with atomic_file(Path(sys.argv[1])) as part:\n"
        "    part.write_text('half'); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.txt")])
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".a.txt.") and left.suffix == ".part"
    elsewhere = tmp_path / f".b.txt.00000000-{os.getpid()}-abcd.part"  # of another machine
    elsewhere.write_text("")
    with atomic_file(tmp_path / "c.txt") as part:
        part.write_text("being written")
        remove_stale_temp_files(tmp_path)
        assert not left.exists() and part.exists() and elsewhere.exists()
        old = time.time() - module.FORGOTTEN_SECONDS - 60
        os.utime(elsewhere, (old, old))
        remove_stale_temp_files(tmp_path, "other")
        assert elsewhere.exists()
        remove_stale_temp_files(tmp_path)
        assert not elsewhere.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["c.txt"]


@pytest.mark.parametrize("links", [True, False])
def test_only_one_of_several_processes_creates_a_file(tmp_path, monkeypatch, links):
    if not links:

        def refused(source, target):
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refused)
    assert create_json(tmp_path / "a.json", 1)
    assert read_json(tmp_path / "a.json", "file") == 1
    if links:
        assert not create_json(tmp_path / "a.json", 2)
        assert read_json(tmp_path / "a.json", "file") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
