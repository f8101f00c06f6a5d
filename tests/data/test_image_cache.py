"""Decoded images on disk: made once, kept up to date, and whole after whatever happened."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import RecordedProgress

from ntire_sr.core.errors import NtireSrError, ValidationErrors
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.data import image_cache as cache
from ntire_sr.data.image_cache import Images, cache_of, decoded, pixels_digest
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
    return decoded(folder, list_images(folder, "HR", recursive=True), given, progress)


def holds_the_files(images: Images) -> bool:
    return all(
        np.array_equal(images.read(number), read_image(path)) for number, path in enumerate(images.paths)
    )


def count_decoding(monkeypatch) -> list[str]:
    """The names of the files that are decoded from now on."""
    names: list[str] = []

    def counted(path):
        names.append(path.name)
        return read_image(path)

    monkeypatch.setattr(cache, "read_image", counted)
    return names


def files_of(home: Path) -> list[str]:
    return sorted(path.suffix or path.name for path in home.iterdir())


def test_a_second_start_decodes_nothing_and_reads_the_same_images(folder, monkeypatch):
    first = opened(folder)
    assert holds_the_files(first) and "4 decoded now" in first.where
    names = count_decoding(monkeypatch)
    second = opened(folder)
    assert names == [] and holds_the_files(second) and "none decoded now" in second.where
    assert second.digest == first.digest == opened(folder, None).digest
    assert files_of(cache_of(folder)) == [".json", ".u8", "lock"]
    assert not second.read(0).flags.writeable


def test_only_new_and_changed_files_are_decoded_again_and_removed_ones_leave(folder, monkeypatch, photograph):
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
    assert before.read(0).shape == (40, 128, 3), "a training that still reads the old file is not disturbed"
    assert files_of(cache_of(folder)) == [".json", ".u8", "lock"]


def test_the_digest_is_of_pixels_and_order_whatever_the_folder_and_the_times(folder, tmp_path):
    digest = opened(folder).digest
    folder.rename(tmp_path / "elsewhere")
    os.utime(tmp_path / "elsewhere" / "0.png", ns=(1, 1))
    assert opened(tmp_path / "elsewhere").digest == digest
    assert pixels_digest(np.zeros((2, 3, 3), np.uint8)) != pixels_digest(np.zeros((3, 2, 3), np.uint8))


@pytest.mark.parametrize("damage", ["truncated", "longer", "missing", "index", "half", "checksum", "text"])
def test_a_damaged_cache_is_noticed_and_made_again(folder, damage, monkeypatch):
    opened(folder)
    home = cache_of(folder)
    index, pixels = home / "index.json", next(home.glob("*.u8"))
    if damage == "truncated":
        pixels.write_bytes(pixels.read_bytes()[:-1])
    elif damage == "longer":
        pixels.write_bytes(pixels.read_bytes() + b"1")
    elif damage == "missing":
        pixels.unlink()
    else:
        text = index.read_text()
        damaged = {"index": "[]", "half": text[: len(text) // 2], "text": "\x00"}
        index.write_text(damaged.get(damage, text.replace('"height": 40', '"height": 41')))
    names = count_decoding(monkeypatch)
    progress = RecordedProgress()
    assert holds_the_files(opened(folder, progress=progress))
    assert len(names) == 4
    assert "is damaged and is made again" in progress.messages[0]


def test_all_broken_images_are_named_and_the_others_need_not_be_decoded_again(folder, monkeypatch):
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


def test_a_folder_of_broken_images_alone_leaves_no_cache(tmp_path):
    (tmp_path / "HR").mkdir()
    (tmp_path / "HR" / "a.png").write_bytes(b"no image")
    with pytest.raises(ValidationErrors, match=r"a\.png"):
        opened(tmp_path / "HR")
    assert files_of(cache_of(tmp_path / "HR")) == ["lock"]


def test_a_full_disk_leaves_the_images_in_memory_unless_a_folder_was_asked_for(folder, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    images = opened(folder)
    assert images.where.startswith("in memory") and "No space left on device" in images.where
    assert holds_the_files(images)
    assert files_of(cache_of(folder)) == ["lock"]
    with pytest.raises(NtireSrError, match=r"(?s)No space left on device.*try: free some space"):
        opened(folder, str(tmp_path / "cache"))
    monkeypatch.setenv("NTIRE_SR_CACHE", str(tmp_path / "cache"))
    with pytest.raises(NtireSrError, match="No space left on device"):
        opened(folder)


def test_the_cache_lies_where_the_setting_says_or_else_the_variable(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("NTIRE_SR_CACHE", str(tmp_path / "variable"))
    assert f"in the cache {tmp_path / 'variable'}" in opened(folder).where
    assert f"in the cache {tmp_path / 'setting'}" in opened(folder, str(tmp_path / "setting")).where
    assert cache_of(folder, "x") == cache_of(folder / ".." / folder.name, "x") != cache_of(tmp_path, "x")


def test_what_does_not_fit_into_memory_is_decoded_when_it_is_asked_for(folder, monkeypatch):
    monkeypatch.setattr(cache, "MEMORY_BYTES", 50_000)
    images = opened(folder, None)
    assert "2 images are decoded for each crop" in images.where
    assert holds_the_files(images)


# a start of its own process, that says when it began to write, and ends with the digest
START = """
import sys, time
from pathlib import Path
from ntire_sr.data import image_cache as cache
from ntire_sr.samples.folders import list_images
read = cache.read_image

def slowly(path):
    time.sleep(float(sys.argv[3]))
    sys.stdout.write("decoding\\n")  # in one piece, since several threads write
    sys.stdout.flush()
    return read(path)

cache.read_image = slowly
folder = Path(sys.argv[1])
print("digest", cache.decoded(folder, list_images(folder, "HR", recursive=True), sys.argv[2]).digest)
"""


def start(folder: Path, given: Path, seconds: float) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", START, str(folder), str(given), str(seconds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_a_start_that_was_killed_while_it_made_the_cache_is_followed_by_a_good_one(
    folder, tmp_path, photograph
):
    given = tmp_path / "cache"
    expected = opened(folder, None).digest
    for delay in (0.0, 0.02):
        process = start(folder, given, 0.01)
        assert process.stdout is not None and process.stdout.readline() == "decoding\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert opened(folder, str(given)).digest == expected
        assert files_of(cache_of(folder, str(given))) == [".json", ".u8", "lock"]
        next(folder.glob("2.png")).touch()


def test_pixels_of_before_that_a_killed_start_left_are_removed_by_the_next(folder, tmp_path, monkeypatch):
    given = str(tmp_path / "cache")
    opened(folder, given)
    home = cache_of(folder, given)
    (home / "pixels-0123456789abcdef.u8").write_bytes(b"of an earlier state")
    with monkeypatch.context() as patched:
        patched.setattr(os, "access", lambda path, mode: False)  # a cache that may only be read
        assert holds_the_files(opened(folder, given))
    assert files_of(home) == [".json", ".u8", ".u8", "lock"]
    assert "none decoded now" in opened(folder, given).where
    assert files_of(home) == [".json", ".u8", "lock"]


def test_a_kill_at_any_write_leaves_the_cache_of_before(folder, tmp_path, monkeypatch, photograph):
    given = str(tmp_path / "cache")
    opened(folder, given)
    before = opened(folder, given)
    replace = Path.replace
    for last in range(2):  # the pixels' name is given first, then the index's
        write_png(folder / f"new{last}.png", photograph)
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
        found = cache._load(cache_of(folder, given))
        assert found is not None and len(found[0]) == len(before.paths)
        before = opened(folder, given)
        assert holds_the_files(before)


def test_two_starts_at_once_make_one_cache_and_both_go_on(folder, tmp_path):
    given = tmp_path / "cache"
    processes = [start(folder, given, 0.05) for _ in range(2)]
    said = [process.communicate()[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert {words[-1] for words in said} == {opened(folder, None).digest}
    assert sum(words.count("decoding") for words in said) == 4, "the second one waited for the first"
    assert files_of(cache_of(folder, str(given))) == [".json", ".u8", "lock"]


def test_without_locks_two_starts_at_once_both_make_the_cache_and_go_on(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "try_lock", lambda file: None)
    given = str(tmp_path / "cache")
    inside = threading.Barrier(2)
    monkeypatch.setattr(cache, "_is_current", lambda *words: inside.wait() < 0)  # never, and both meet there
    found: list[Images] = []
    threads = [threading.Thread(target=lambda: found.append(opened(folder, given))) for _ in range(2)]
    opened_before = opened(folder, None)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    assert [images.digest for images in found] == 2 * [opened_before.digest]
    assert all(holds_the_files(images) for images in found)
    assert "none decoded now" in opened(folder, given).where
