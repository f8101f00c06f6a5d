"""Scoring folders."""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from ntire_sr.errors import Failure, Problems
from ntire_sr.evaluation.consistency import LrErrors, official_crop
from ntire_sr.evaluation.run import find_pairs, score_folder, write_score
from ntire_sr.evaluation.session import measure
from ntire_sr.images import write_png
from ntire_sr.layout import SampleName


@pytest.mark.parametrize("scale", [4, 8])
def test_the_tables_equal_those_of_the_official_script(golden, alexnet, tmp_path, scale):
    folder = golden / f"x{scale}"
    measure(folder / "HR", folder / "SR", tmp_path, scale=scale, device="cpu", lpips_weights=alexnet)
    for name in ("measure.csv", "measure_mean.csv"):
        expected, found = (pd.read_csv(place / name, index_col=0) for place in (folder, tmp_path))
        assert list(found.columns) == list(expected.columns)
        assert list(found.index) == list(expected.index)
        np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=1e-4)
        assert np.isinf(expected.to_numpy()).any()


@pytest.mark.parametrize("scale", [4, 8])
def test_the_diversity_of_mse_equals_the_full_script_of_2022(golden, tmp_path, scale):
    folder = golden / f"x{scale}"
    measured = measure(
        folder / "HR", folder / "SR", tmp_path, scale=scale, device="cpu", without_lpips="the trunk is away"
    )
    expected = pd.read_csv(folder / "measure_full.csv", index_col=0)
    for row, image in enumerate(measured.score.images):
        assert image.mse_mean == pytest.approx(expected.MSE_mean_n10[row], rel=1e-4)
        assert image.mse_diversity == pytest.approx(expected.MSE_score_n10[row], rel=1e-4)


def test_figures_beside_the_official_ones_stay_finite_where_a_sample_is_exact():
    errors = LrErrors([0.0, 1.0, 3.0])
    assert errors.mean_db == math.inf
    assert errors.worst_db == pytest.approx(10 * math.log10(255**2 / 3))
    assert errors.of_mean_error_db == pytest.approx(10 * math.log10(255**2 / (4 / 3)))
    assert errors.under_required == 1  # 3 squared grey levels are 43.4 dB


def test_the_official_crop_takes_multiples_of_8_from_the_top_left():
    image = torch.arange(19 * 33).view(1, 1, 19, 33).expand(1, 3, 19, 33)
    assert torch.equal(official_crop(image), image[:, :, :16, :32])


@pytest.fixture
def folders(tmp_path, photograph):
    """HR of 96 x 128 and 70 x 83, with two samples each that are nearly the HR images."""
    hr, sr = tmp_path / "HR", tmp_path / "SR"
    for index, image in enumerate((photograph, np.ascontiguousarray(photograph[:70, :83]))):
        write_png(hr / f"{801 + index:04d}.png", image)
        for k in range(2):
            sample = image.copy()
            sample[8 + 16 * k : 24 + 16 * k, 8:40] ^= 3
            write_png(sr / str(SampleName(index, k)), sample)
    return hr, sr


def test_where_the_crop_takes_pixels_away_both_figures_are_reported(folders, tmp_path):
    hr, sr = folders
    score = score_folder(find_pairs(hr, sr, 2, 4, None), 4, None, torch.device("cpu"))
    assert score.images[0].lr_uncropped is None
    assert score.images[1].lr_uncropped is not None
    assert score.images[1].lr_uncropped.worst_db != score.images[1].lr.worst_db
    assert score.summary()["images_scored_uncropped"] == 1


def test_without_lpips_its_columns_are_empty_and_the_rest_is_measured(folders, tmp_path):
    score = score_folder(find_pairs(*folders, 2, 4, None), 4, None, torch.device("cpu"))
    write_score(score, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "measure.csv", index_col=0)
    assert table.LPIPS_mean.isna().all() and table.score.isna().all()
    assert table.LRPSNR_worst.notna().all()
    summary = json.loads((tmp_path / "out" / "score.json").read_text())["summary"]
    assert summary["LPIPS_mean"] is None
    assert summary["MSE_score"] > 0


def test_all_problems_of_a_folder_are_listed_at_once(folders, photograph):
    hr, sr = folders
    (sr / "000000_sample00001.png").unlink()
    write_png(sr / "000001_sample00000.png", np.ascontiguousarray(photograph[:40, :40]))
    (sr / "000001_sample00001.png").write_bytes(b"no image")
    write_png(sr / "000007_sample00000.png", photograph)
    write_png(sr / "stranger.png", photograph)
    with pytest.raises(Problems) as caught:
        find_pairs(hr, sr, 2, 4, None)
    text = str(caught.value)
    assert len(caught.value.problems) == 5
    for part in (
        "stranger.png is no sample's name",
        "0801.png (index 0): 1 of 2 samples are missing: 1",
        "1 samples without an HR image: 000007_sample00000.png",
        "000001_sample00000.png has 40 x 40 pixels; 0802.png (83 x 70) asks for 80 x 64 to 84 x 72",
        "000001_sample00001.png is not a PNG file",
    ):
        assert part in text


def test_a_sample_that_cannot_be_decoded_is_named_after_the_others_were_measured(folders):
    hr, sr = folders
    path = sr / "000000_sample00001.png"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(Problems, match=r"000000_sample00001\.png is truncated"):
        score_folder(find_pairs(hr, sr, 2, 4, None), 4, None, torch.device("cpu"))


def test_a_missing_trunk_is_an_error_that_names_the_way_out(folders, tmp_path):
    with pytest.raises(Failure, match="score --without-lpips"):
        measure(*folders, tmp_path / "out", samples=2)
    assert not (tmp_path / "out").exists()


def test_an_hr_image_too_small_for_lpips_is_named(folders, photograph):
    hr, sr = folders
    write_png(hr / "0801.png", np.ascontiguousarray(photograph[:30, :30]))
    with pytest.raises(Problems, match="LPIPS needs 31"):
        find_pairs(hr, sr, 2, 4, None)


def test_samples_numbered_as_the_hr_images_score_the_same(folders, tmp_path):
    hr, sr = folders
    plain = score_folder(find_pairs(hr, sr, 2, 4, None), 4, None, torch.device("cpu")).summary()
    moved = tmp_path / "moved"
    moved.mkdir()
    for index in range(2):
        for k in range(2):
            shutil.copy(sr / str(SampleName(index, k)), moved / str(SampleName(index + 801, k)))
    assert score_folder(find_pairs(hr, moved, 2, 4, None), 4, None, torch.device("cpu")).summary() == plain


def test_the_report_is_one_page_with_pictures_that_needs_no_other_file(folders, tmp_path):
    measured = measure(*folders, tmp_path / "out", samples=2, without_lpips="the trunk is away")
    page = measured.report.read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2 * 5
    assert "LPIPS was not measured: the trunk is away" in page
    assert ">nan<" not in page
    assert "http" not in page
    assert ("PASS" in page) == measured.score.passes


def test_the_deviation_picture_is_black_where_samples_agree():
    from ntire_sr.evaluation.report import deviation_picture

    one = np.full((4, 4, 3), 100, np.uint8)
    other = one.copy()
    other[0, 0] = 200
    picture = deviation_picture([one, other])
    assert picture[1:].max() < 8
    assert picture[0, 0].astype(int).sum() > 500  # 50 grey levels, above the brightest colour
