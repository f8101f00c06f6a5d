"""The page of samples without scores, and its contact sheet."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.evaluation.pages.sample_page import list_viewed, write_sample_page
from ntire_sr.samples.image_files import write_png


@pytest.fixture
def drawn(lr_folder, tmp_path):
    """Three samples of each of two LR images, which differ by noise."""
    sr, noise = tmp_path / "SR", np.random.default_rng(0)
    for index, (height, width) in enumerate(((96, 128), (72, 84))):
        base = noise.integers(60, 180, (height, width, 3))
        for number in range(3):
            sample = base + noise.integers(-9, 10, base.shape)
            write_png(sr / str(SampleName(index, number)), sample.astype(np.uint8))
    return sr


def gallery(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])["gallery"]


def test_page_shows_samples_mean_deviation_and_differences(drawn, tmp_path):
    write_sample_page(tmp_path / "view.html", list_viewed(drawn, None, None))
    first, second = gallery(tmp_path / "view.html")
    keys = ["0", "1", "2", "mean", "deviation", "difference"]
    assert [picture["key"] for picture in first["pictures"]] == keys
    assert [sample["label"] for sample in first["pictures"][-1]["samples"]] == [
        "sample 0",
        "sample 1",
        "sample 2",
    ]
    assert (second["width"], second["height"]) == (84, 72)  # not cropped to multiples of 8


def test_lr_and_hr_images_are_shown_where_they_are_given(drawn, lr_folder, tmp_path):
    images = list_viewed(drawn, lr_folder, tmp_path / "HR")
    worst = write_sample_page(tmp_path / "view.html", images[:1], sheet=tmp_path / "sheet.png")
    assert {"hr", "lr"} <= {picture["key"] for picture in gallery(tmp_path / "view.html")[0]["pictures"]}
    assert len(worst) == 1 and worst[0] < 45 and "45 are required" in (tmp_path / "view.html").read_text()
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 6 * 90 and sheet.height > 90  # LR, HR, three samples, deviation


def test_single_sample_has_no_deviation(drawn, tmp_path):
    for path in drawn.glob("*sample0000[12].png"):
        path.unlink()
    write_sample_page(tmp_path / "view.html", list_viewed(drawn, None, None))
    assert [picture["key"] for picture in gallery(tmp_path / "view.html")[0]["pictures"]] == ["0"]


def test_wrong_folders_are_refused(drawn, lr_folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no samples"):
        list_viewed(tmp_path / "empty", None, None)
    (lr_folder / "0802.png").unlink()
    with pytest.raises(UsageError, match=r"holds 1 LR image, and .* has samples of image 1"):
        list_viewed(drawn, lr_folder, None)
    write_png(drawn / "000000_sample00001.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(NtireSrError, match="differ in size"):
        write_sample_page(tmp_path / "view.html", list_viewed(drawn, None, None))


def test_generate_names_the_command_that_views_its_samples(lr_folder, ntire_sr_command, tmp_path):
    out = tmp_path / "my samples"
    drawn = ntire_sr_command(
        "generate", "--weights", "bicubic", "--lr", lr_folder, "--samples", 1, "--out", out
    )
    assert f"ntire-sr view '{out}'" in drawn.out
    viewed = ntire_sr_command("view", out, "--sheet", tmp_path / "sheet.png")
    assert viewed.code == 0, viewed.err
    assert (tmp_path / "my samples_view.html").is_file() and (tmp_path / "sheet.png").is_file()
    assert "lr" in {picture["key"] for picture in gallery(tmp_path / "my samples_view.html")[0]["pictures"]}


def test_samples_flicker_in_the_browser(drawn, open_html, tmp_path):
    write_sample_page(tmp_path / "view.html", list_viewed(drawn, None, None))
    page = open_html((tmp_path / "view.html").read_text(encoding="utf-8"))
    right = page.locator("#caption-right b")
    assert right.inner_text() == "◨ sample 0"
    page.keyboard.press("s")
    assert right.inner_text() == "◨ sample 1"
    page.keyboard.press("i")
    assert right.inner_text() == "◨ difference to mean" and "sample 2 of 3" in page.inner_text("#sample")
    page.keyboard.press("0")
    page.keyboard.press("a")
    page.locator("#caption-right b", has_text="sample 1").wait_for()
    page.keyboard.press("a")
    assert page.get_attribute("[data-do=flicker]", "aria-pressed") == "false"
