"""Why samples are under 45 dB, as far as score finds it."""

import json

import cv2
import numpy as np
import pytest
import torch
from conftest import RecordedProgress

from ntire_sr.core.errors import ValidationErrors
from ntire_sr.data.lr_images import downscale_array
from ntire_sr.evaluation.score_folder import score_folder
from ntire_sr.evaluation.scoring.load_scores import read_method
from ntire_sr.models.loading import load_model
from ntire_sr.samples.image_files import write_png
from ntire_sr.sampling.generate import Request, generate

CPU = torch.device("cpu")


def score(tmp_path, progress=None, **options):
    return score_folder(
        tmp_path / "HR", tmp_path / "SR", tmp_path / "score", samples=1, without_lpips="for speed",
        with_report=False, device="cpu", **({"progress": progress} if progress else {}), **options,
    ).score  # fmt: skip


@pytest.fixture
def hr(tmp_path, photograph) -> list[np.ndarray]:
    """Two images of 48 x 64, written as HR images 2 and 10, which as text have the order 10, 2."""
    images = [np.ascontiguousarray(photograph[top : top + 48, :64]) for top in (0, 40)]
    for name, image in zip(("2", "10"), images, strict=True):
        write_png(tmp_path / "HR" / f"{name}.png", image)
    return images


def draw(tmp_path, lr: dict[str, np.ndarray]) -> None:
    for name, image in lr.items():
        write_png(tmp_path / "LR" / f"{name}.png", image)
    generate(Request(tmp_path / "LR", tmp_path / "SR", samples=1), load_model("bicubic", 4, CPU), CPU)


def test_natural_order_of_samples_is_named(tmp_path, hr):
    for index, image in enumerate(hr):
        write_png(tmp_path / "SR" / f"{index:06d}.png", image)
    reasons = score(tmp_path).reasons
    assert (
        "000000.png of 10.png fits 2.png better" in reasons[0] and "order of their names as text" in reasons[-1]
    )


def test_mirrored_sample_is_named(tmp_path, hr):
    for index, image in enumerate(reversed(hr)):
        write_png(tmp_path / "SR" / f"{index:06d}.png", np.ascontiguousarray(image[:, :: 1 if index else -1]))
    (reason,) = score(tmp_path).reasons
    assert "000000.png of 10.png looks mirrored" in reason


def test_lr_images_that_are_no_official_downscale_are_named(tmp_path, hr):
    draw(
        tmp_path,
        {
            name: cv2.resize(image, (16, 12), interpolation=cv2.INTER_AREA)
            for name, image in zip(("2", "10"), hr, strict=True)
        },
    )
    result = score(tmp_path)
    assert not result.passes
    assert "The LR images of 2 images are not the official downscale" in result.reasons[0]
    assert "`ntire-sr downscale`" in result.reasons[0]
    assert read_method("a", tmp_path / "score").samples == 1


@pytest.mark.parametrize(("names", "how"), [(("2x4", "10x4"), "suffixes"), (("B", "a"), "case")])
def test_images_are_paired_by_name_not_by_position(tmp_path, hr, names, how):
    if how == "case":
        for old, new in (("2", "b"), ("10", "A")):
            (tmp_path / "HR" / f"{old}.png").rename(tmp_path / "HR" / f"{new}.png")
    draw(tmp_path, dict(zip(names, (downscale_array(image, 4) for image in hr), strict=True)))
    progress = RecordedProgress()
    result = score(tmp_path, progress)
    assert result.passes and result.reasons == []
    (note,) = [text for text in progress.messages if text.startswith("note")]
    assert f"without regard to {how}" in note


def test_pattern_pairs_systematic_names_and_the_error_suggests_it(tmp_path, hr):
    draw(
        tmp_path,
        {f"small {name}": downscale_array(image, 4) for name, image in zip(("2", "10"), hr, strict=True)},
    )
    with pytest.raises(ValidationErrors, match="out of order") as caught:
        score(tmp_path)
    assert caught.value.remedy.startswith("--lr-names 'small {stem}', which fits all names")
    assert score(tmp_path, lr_names="small {stem}").passes


def test_mean_of_some_images_says_of_how_many(tmp_path, hr, photograph, ntire_sr_command):
    write_png(tmp_path / "HR" / "2.png", np.ascontiguousarray(np.tile(photograph, (2, 2, 1))))
    write_png(tmp_path / "SR" / "000000.png", hr[1])
    write_png(tmp_path / "SR" / "000001.png", np.ascontiguousarray(np.tile(photograph, (2, 2, 1))))
    words = (
        "score",
        "--hr",
        tmp_path / "HR",
        "--sr",
        tmp_path / "SR",
        "--samples",
        1,
        "--without-lpips",
        "--no-report",
    )
    result = ntire_sr_command(*words, "--realism", "niqe")
    assert "(mean of 1 of 2 images)" in result.out
    assert "niqe is undefined for 1 of 2 samples, which its mean leaves out." in result.out
    printed = json.loads(ntire_sr_command(*words, "--realism", "niqe", "--json").out)
    assert printed["summary"]["images_defined"] == dict.fromkeys(
        ("niqe", "niqe_of_HR", "niqe_best", "niqe_worst"), 1
    )
