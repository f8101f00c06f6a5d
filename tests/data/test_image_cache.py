"""The cache of decoded images: decoded once, updated for changed files, whole after a kill."""

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import RecordedProgress
from processes import Forked
from waiting import wait_until

from ntire_sr.core import machine
from ntire_sr.core.errors import NtireSrError, ValidationErrors
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.data import array_folder
from ntire_sr.data import image_cache as cache
from ntire_sr.data.array_folder import UNUSED_SECONDS
from ntire_sr.data.image_cache import Images, cache_of, open_images, pixels_digest
from ntire_sr.samples.folders import list_images
from ntire_sr.samples.image_files import read_image, write_png


@pytest.fixture
def folder(tmp_path, photograph) -> Path:
    """Four images of different sizes, one in a subfolder."""
    for number, height in enumerate((40, 50, 60)):
        write_png(tmp_path / "HR" / f"{number}.png", np.ascontiguousarray(photograph[:height]))
    write_png(tmp_path / "HR" / "more" / "a.png", np.ascontiguousarray(photograph[:, :70]))
    return tmp_path / "HR"


def opened(folder: Path, given: str | None = "auto", progress: Progress = SILENT) -> Images:
    return open_images(folder, list_images(folder, "HR", recursive=True), given, progress)


def holds_the_files(images: Images) -> bool:
    return all(
        np.array_equal(images.read(number), read_image(path)) for number, path in enumerate(images.paths)
    )


def count_decoding(monkeypatch) -> list[str]:
    """The names of the files that are decoded from now on."""
    names: list[str] = []

    def counted(path, *note):
        names.append(path.name)
        return read_image(path, *note)

    monkeypatch.setattr(cache, "read_image", counted)
    return names


def files_of(home: Path) -> list[str]:
    return sorted(path.suffix or path.name for path in home.iterdir())


def record_of(home: Path, size: tuple[int, int]) -> Path:
    """The cache file of the one image of this size, (height, width)."""
    (path,) = (path for path in home.glob("*.npy") if np.load(path)["pixels"].shape[1:3] == size)
    return path


def make_unused(path: Path) -> None:
    last_use_s = time.time() - UNUSED_SECONDS - 60
    os.utime(path, (last_use_s, last_use_s))


def test_second_start_decodes_nothing_and_reads_same_images(folder, monkeypatch):
    first = opened(folder)
    assert holds_the_files(first) and "4 decoded now" in first.where
    names = count_decoding(monkeypatch)
    second = opened(folder)
    assert names == [] and holds_the_files(second) and "none decoded now" in second.where
    assert second.digest == first.digest == opened(folder, None).digest
    assert files_of(cache_of(folder)) == 4 * [".npy"]
    assert not second.read(0).flags.writeable


def test_digest_is_that_of_earlier_versions(tmp_path):
    """The digest is in checkpoints: a run that an earlier version began must resume."""
    for number in range(2):
        write_png(tmp_path / "HR" / f"{number}.png", np.full((2, 3, 3), number, np.uint8))
    expected = hashlib.sha256(
        "\n".join(hashlib.sha256(b"2 x 3\n" + bytes([number]) * 18).hexdigest() for number in range(2)).encode()
    ).hexdigest()
    assert [opened(tmp_path / "HR", cache).digest for cache in ("auto", "auto", None)] == 3 * [expected]


def test_only_new_and_changed_files_are_decoded_again(folder, monkeypatch, photograph):
    before = opened(folder)
    write_png(folder / "1.png", np.ascontiguousarray(photograph[::-1]))
    (folder / "0.png").unlink()
    write_png(folder / "new.png", np.ascontiguousarray(photograph[:33]))
    names = count_decoding(monkeypatch)
    after = opened(folder)
    assert sorted(names) == ["1.png", "new.png"]
    assert [path.name for path in after.paths] == ["1.png", "2.png", "new.png", "a.png"]
    assert holds_the_files(after)
    assert after.digest != before.digest


def test_running_training_keeps_images_that_were_changed(folder, photograph):
    before = opened(folder)
    old = read_image(folder / "1.png")
    write_png(folder / "1.png", np.ascontiguousarray(photograph[::-1]))
    opened(folder)
    assert np.array_equal(before.read(1), old)


def test_records_are_removed_a_week_after_last_use(folder):
    opened(folder)
    home = cache_of(folder)
    unused = record_of(home, (40, 128))
    (folder / "0.png").unlink()
    opened(folder)
    assert unused.exists(), "a training may still read it"
    for path in home.iterdir():
        make_unused(path)
    assert "none decoded now" in opened(folder).where
    assert not unused.exists() and files_of(home) == 3 * [".npy"]


def test_digest_depends_on_pixels_and_order_not_on_folder_or_times(folder, tmp_path):
    digest = opened(folder).digest
    folder.rename(tmp_path / "elsewhere")
    os.utime(tmp_path / "elsewhere" / "0.png", ns=(1, 1))
    assert opened(tmp_path / "elsewhere").digest == digest
    assert pixels_digest(np.zeros((2, 3, 3), np.uint8)) != pixels_digest(np.zeros((3, 2, 3), np.uint8))


@pytest.mark.parametrize("damage", ["truncated", "missing", "empty", "text", "another array"])
def test_damaged_record_is_decoded_again(folder, damage, monkeypatch):
    opened(folder)
    path = record_of(cache_of(folder), (50, 128))
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "missing":
        path.unlink()
    elif damage == "another array":
        np.save(path, np.zeros((50, 128, 3), np.uint8))
    else:
        path.write_bytes({"empty": b"", "text": b"nothing"}[damage])
    names = count_decoding(monkeypatch)
    assert holds_the_files(opened(folder))
    assert names == ["1.png"]


def test_cache_deleted_during_training_is_made_again(folder, monkeypatch):
    monkeypatch.setattr(array_folder, "OPEN_FILES", 0)  # nothing stays mapped
    images = opened(folder)
    shutil.rmtree(cache_of(folder))
    assert holds_the_files(images)
    assert files_of(cache_of(folder)) == 4 * [".npy"]


def test_image_changed_after_its_cache_was_deleted_is_an_error(folder, photograph, monkeypatch):
    monkeypatch.setattr(array_folder, "OPEN_FILES", 0)
    images = opened(folder)
    shutil.rmtree(cache_of(folder))
    write_png(folder / "1.png", np.ascontiguousarray(photograph[::-1]))
    with pytest.raises(NtireSrError, match=r"1\.png has changed since the start"):
        images.read(1)


def test_all_broken_images_are_named_and_the_others_stay_in_cache(folder, monkeypatch):
    for name in ("0.png", "2.png"):
        (folder / name).write_bytes((folder / name).read_bytes()[:300])
    for given in ("auto", None):
        with pytest.raises(ValidationErrors) as caught:
            opened(folder, given)
        assert [f"{name}.png" in str(caught.value) for name in range(3)] == [True, False, True]
    for name in ("0.png", "2.png"):
        (folder / name).unlink()
    names = count_decoding(monkeypatch)
    assert holds_the_files(opened(folder)) and names == []


def test_folder_of_broken_images_alone_leaves_an_empty_cache(tmp_path):
    (tmp_path / "HR").mkdir()
    (tmp_path / "HR" / "a.png").write_bytes(b"no image")
    with pytest.raises(ValidationErrors, match=r"a\.png"):
        opened(tmp_path / "HR")
    assert files_of(cache_of(tmp_path / "HR")) == []


def test_full_disk_keeps_images_in_memory_unless_folder_was_given(folder, tmp_path, monkeypatch):
    fsync, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) % 3 == 0:  # after two images
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    images = opened(folder)
    assert images.where.startswith("in memory") and "No space left on device" in images.where
    assert holds_the_files(images)
    assert files_of(cache_of(folder)) == [], "what was written is removed, so that the disk does not stay full"
    calls.clear()
    with pytest.raises(NtireSrError, match=r"(?s)No space left on device.*try: free some space"):
        opened(folder, str(tmp_path / "cache"))
    calls.clear()
    monkeypatch.setenv("NTIRE_SR_CACHE", str(tmp_path / "cache"))
    with pytest.raises(NtireSrError, match="No space left on device"):
        opened(folder)


def test_room_for_decoded_images_is_checked_before_any_is_decoded(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    decoded = []
    read_image = cache.read_image
    monkeypatch.setattr(
        cache, "read_image", lambda path, *note: decoded.append(path) or read_image(path, *note)
    )
    with pytest.raises(
        NtireSrError, match=r"decoded images of .* take 0\.\d MB, and .* has 0\.0 MB left"
    ) as caught:
        opened(folder, str(tmp_path / "cache"))
    assert decoded == [] and "cache=none" in caught.value.remedy
    images = opened(folder)
    assert images.where.startswith("in memory") and "MB left" in images.where


def test_little_memory_keeps_fewer_images(folder, monkeypatch):
    monkeypatch.setattr(machine, "memory_bytes", lambda: 200_000)
    assert "2 images are decoded for each crop" in opened(folder, None).where


def test_cache_folder_is_that_of_setting_or_else_of_variable(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("NTIRE_SR_CACHE", str(tmp_path / "variable"))
    assert f"in the cache {tmp_path / 'variable'}" in opened(folder).where
    assert f"in the cache {tmp_path / 'setting'}" in opened(folder, str(tmp_path / "setting")).where
    assert cache_of(folder, "x") == cache_of(folder / ".." / folder.name, "x") != cache_of(tmp_path, "x")


def test_images_beyond_memory_limit_are_decoded_at_each_read(folder, monkeypatch):
    monkeypatch.setattr(cache, "MEMORY_BYTES", 50_000)
    images = opened(folder, None)
    assert "2 images are decoded for each crop" in images.where
    assert holds_the_files(images)


def test_cache_of_an_earlier_version_is_removed_with_a_message(folder):
    home = cache_of(folder)
    home.mkdir(parents=True)
    for name in ("pixels-0123456789abcdef.u8", ".pixels-1.u8.1-1-1.part", "index.json"):
        (home / name).write_bytes(bytes(1_000_000))
    (home / "lock").touch()
    progress = RecordedProgress()
    assert holds_the_files(opened(folder, progress=progress))
    assert progress.messages == [f"removed the cache of an earlier version in {home} (3 MB)"]
    assert files_of(home) == 4 * [".npy"]


def open_slowly(folder: Path, given: Path, seconds: float) -> None:
    """Open the images in another process: print a line before each decoding, then the digest."""
    read = cache.read_image

    def slowly(path, *note):
        time.sleep(seconds)
        sys.stdout.write("decoding\n")  # in one piece, since several threads write
        sys.stdout.flush()
        return read(path, *note)

    cache.read_image = slowly
    print("digest", cache.open_images(folder, list_images(folder, "HR", recursive=True), str(given)).digest)


def start(folder: Path, given: Path, seconds: float) -> Forked:
    return Forked(open_slowly, folder, given, seconds)


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_start_after_a_kill_while_decoding_gives_same_images(folder, tmp_path):
    given = tmp_path / "cache"
    expected = opened(folder, None).digest
    for delay in (0.0, 0.02):
        process = start(folder, given, 0.01)
        wait_until(lambda process=process: process.out, process)
        time.sleep(delay)
        process.kill()
        images = opened(folder, str(given))
        assert images.digest == expected and holds_the_files(images)
        home = cache_of(folder, str(given))
        assert files_of(home) == 4 * [".npy"], "temporary files of the killed process are removed"
        shutil.rmtree(home)


def test_kill_at_any_write_leaves_whole_records_only(folder, tmp_path, monkeypatch):
    given = str(tmp_path / "cache")
    replace = Path.replace
    for last in range(4):
        calls: list[Path] = []

        def killed(self, target, last=last, calls=calls):
            calls.append(target)
            if len(calls) > last:
                raise KeyboardInterrupt
            return replace(self, target)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", killed)
            with pytest.raises(KeyboardInterrupt):
                opened(folder, given)
        home = cache_of(folder, given)
        assert len(files_of(home)) == last
        names = count_decoding(monkeypatch)
        assert holds_the_files(opened(folder, given)) and len(names) == 4 - last
        monkeypatch.undo()
        shutil.rmtree(home)


def test_read_only_cache_is_read(folder, tmp_path, monkeypatch):
    given = str(tmp_path / "cache")
    opened(folder, given)
    make_unused(record_of(cache_of(folder, given), (40, 128)))

    def refused(*words, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "utime", refused)
    monkeypatch.setattr(Path, "unlink", refused)
    images = opened(folder, given)
    assert "none decoded now" in images.where and holds_the_files(images)


def test_two_starts_at_once_share_the_decoding_and_make_one_cache(folder, tmp_path):
    given = tmp_path / "cache"
    processes = [start(folder, given, 0.05) for _ in range(2)]
    results = [process.wait() for process in processes]
    assert [result.code for result in results] == [0, 0]
    words = [result.out.split() for result in results]
    assert {lines[-1] for lines in words} == {opened(folder, None).digest}
    assert 4 <= sum(lines.count("decoding") for lines in words) <= 8
    assert files_of(cache_of(folder, str(given))) == 4 * [".npy"]
    assert "none decoded now" in opened(folder, str(given)).where
