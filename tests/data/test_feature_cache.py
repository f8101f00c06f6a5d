"""The cache of a frozen trunk's features: equal to those computed, whole after a kill, never of another image."""

import os
import shutil
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import batch_of
from processes import Forked
from torch.nn import functional
from waiting import wait_until

from ntire_sr.challenge.downscale import downscale_8bit
from ntire_sr.challenge.pixels import to_tensor, to_unit
from ntire_sr.core.errors import NtireSrError
from ntire_sr.data import feature_cache
from ntire_sr.data.feature_cache import TURNS, FeatureCache, turned
from ntire_sr.data.image_cache import cache_of, open_images
from ntire_sr.data.patches import PatchDataset
from ntire_sr.samples.folders import list_images
from ntire_sr.samples.image_files import write_png

SIZES = ((72, 96), (50, 67), (64, 64))


def compute(lr: torch.Tensor) -> torch.Tensor:
    """Like a trunk: 64 maps that depend on surroundings, and differently on each side."""
    kernel = torch.arange(64 * 3 * 25, dtype=torch.float32).reshape(64, 3, 5, 5).mul(0.37).sin()
    return functional.conv2d(lr, kernel, padding=2)


@pytest.fixture
def folder(tmp_path, photograph):
    for number, (height, width) in enumerate(SIZES):
        write_png(
            tmp_path / "HR" / f"{number}.png",
            np.ascontiguousarray(photograph[:height, number : number + width]),
        )
    return tmp_path / "HR"


def images_of(folder: Path, cache: str | None = "auto"):
    return open_images(folder, list_images(folder, "HR"), cache)


def opened(folder: Path, cache: str | None = "auto", orientations: int = 1, key: str = "a", fill: bool = True):
    images = images_of(folder, cache)
    made = FeatureCache(images, range(len(images.paths)), 4, orientations, compute, key)
    return made, made.fill() if fill else 0


def computed(cache: FeatureCache, number: int, turn: int = 0) -> np.ndarray:
    return cache.crop(number, turn, 0, 0, 99)


@pytest.mark.parametrize("cache", ["auto", None])
def test_crop_features_are_cut_out_of_whole_photographs_features(folder, cache):
    made, _ = opened(folder, cache, orientations=8)
    source = PatchDataset(folder, 32, 4, cache)
    source.attach(made)
    seen = set()
    for step in range(40):
        batch = batch_of(source, 1, 0, step, torch.device("cpu"))
        (place,) = source.places(1, 0, step)
        seen.add(place.turn)
        pixels = source.images.read(place.image)
        height, width = (side // 4 * 4 for side in pixels.shape[:2])
        whole = turned(pixels[:height, :width], place.turn).copy()
        maps = compute(to_unit(downscale_8bit(to_tensor(whole), 4)))
        # the crop lies on the LR image's pixels, and its HR pixels are those of the turned photograph there
        at = [
            (top, left)
            for top in range(0, whole.shape[0] - 31, 4)
            for left in range(0, whole.shape[1] - 31, 4)
            if torch.equal(to_unit(to_tensor(whole[top : top + 32, left : left + 32].copy())), batch.hr)
        ]
        assert len(at) == 1
        top, left = (value // 4 for value in at[0])
        assert batch.features is not None
        assert torch.equal(batch.features, maps[:, :, top : top + 8, left : left + 8].half().float())
    assert seen == set(TURNS)


def test_crops_are_aligned_with_lr_pixels_only_with_features(folder):
    plain, cut = PatchDataset(folder, 32, 4), PatchDataset(folder, 32, 4)
    cut.attach(opened(folder, orientations=2)[0])
    places = {
        name: [place for step in range(30) for place in patches.places(4, 0, step)]
        for name, patches in (("plain", plain), ("cut", cut))
    }
    assert {place.top % 4 for place in places["plain"]} == {0, 1, 2, 3}
    assert {place.top % 4 for place in places["cut"]} | {place.left % 4 for place in places["cut"]} == {0}
    assert {place.turn for place in places["cut"]} == {0, 2} and {
        place.turn for place in places["plain"]
    } == set(TURNS)


def test_features_are_computed_once_and_again_for_changed_images(folder, photograph):
    made, count = opened(folder)
    assert count == 3 and opened(folder)[1] == 0
    before = computed(made, 1).copy()
    write_png(folder / "1.png", np.ascontiguousarray(photograph[10:60, 5:72]))
    (folder / "2.png").unlink()
    made, count = opened(folder)
    assert count == 1 and not np.array_equal(computed(made, 1), before)
    assert opened(folder, key="another trunk")[1] == 2
    assert opened(folder, orientations=2)[1] == 2


def test_damaged_and_deleted_features_are_computed_again(folder):
    made, _ = opened(folder)
    (home,) = cache_of(folder).glob("features-*")
    expected = [computed(made, number).copy() for number in range(3)]
    truncated, overwritten, *_ = sorted(home.iterdir())
    truncated.write_bytes(truncated.read_bytes()[:-100])
    overwritten.write_bytes(b"nothing")
    made, count = opened(folder)
    assert count == 2
    shutil.rmtree(home)
    assert all(np.array_equal(computed(made, number), expected[number]) for number in range(3)), (
        "also during the training"
    )


def compute_slowly(folder: Path, cache: Path) -> None:
    """Fill the cache in another process, and print a line for each computation."""

    def slowly(lr):
        time.sleep(0.05)
        print("computing", flush=True)
        return compute(lr)

    images = images_of(folder, str(cache))
    print("computed", FeatureCache(images, range(len(images.paths)), 4, 4, slowly, "a").fill())


def start(folder: Path, cache: Path) -> Forked:
    return Forked(compute_slowly, folder, cache)


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_kill_leaves_whole_files_only_and_the_rest_is_computed(folder, tmp_path):
    cache = tmp_path / "cache"
    process = start(folder, cache)
    wait_until(lambda: process.out.count("computing\n") >= 3, process)
    process.kill()
    made, count = opened(folder, str(cache), orientations=4)
    assert (
        count <= 12 - 2
    )  # the files of the first two lines were whole; more may have followed before the kill
    kept, _ = opened(folder, None, orientations=4)
    assert all(
        np.array_equal(computed(made, number, turn), computed(kept, number, turn))
        for number in range(3)
        for turn in TURNS[:4]
    )
    (home,) = cache_of(folder, str(cache)).glob("features-*")
    assert len(list(home.iterdir())) == 12


def test_two_processes_at_once_share_the_work(folder, tmp_path):
    processes = [start(folder, tmp_path / "cache") for _ in range(2)]
    results = [process.wait() for process in processes]
    assert [result.code for result in results] == [0, 0]
    assert 12 <= sum(result.out.count("computing") for result in results) <= 24
    assert opened(folder, str(tmp_path / "cache"), orientations=4)[1] == 0


def test_shares_of_all_ranks_fill_the_cache(folder):
    made, _ = opened(folder, orientations=2, fill=False)
    assert [made.fill((rank, 4)) for rank in range(4)] == [2, 2, 1, 1]
    assert made.fill() == 0


def test_too_little_disk_or_memory_is_refused_before_computing(folder, monkeypatch):
    opened(folder, fill=False)  # decodes the images, which need room, too
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(1000))
    with pytest.raises(NtireSrError, match=r"take 0\.\d MB, and .* has 0\.0 MB left") as caught:
        opened(folder)
    assert "cached_orientations=0" in str(caught.value.remedy)
    monkeypatch.setattr(feature_cache, "MEMORY_BYTES", 1000)
    with pytest.raises(NtireSrError, match="more than is kept in memory"):
        opened(folder, None)
