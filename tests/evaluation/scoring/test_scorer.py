"""Scoring folders: the official tables and the figures beside them."""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.evaluation.metrics import lpips_network
from ntire_sr.evaluation.metrics.lpips import LpipsValues
from ntire_sr.evaluation.metrics.lpips_network import Lpips
from ntire_sr.evaluation.metrics.lr_psnr import LrErrors, LrValues, official_crop
from ntire_sr.evaluation.metrics.maps import MAP_PX, shrink_map
from ntire_sr.evaluation.metrics.quality import QualityValues
from ntire_sr.evaluation.score_folder import score_folder
from ntire_sr.samples.image_files import write_png

pytestmark = pytest.mark.numerical

AWAY = {"device": "cpu", "without_lpips": "the trunk is away"}


@pytest.mark.parametrize("scale", [4, 8])
def test_tables_equal_those_of_the_official_scripts(device, golden, alexnet, tmp_path, scale):
    folder = golden / f"x{scale}"
    score_folder(
        folder.joinpath("HR"), folder / "SR", tmp_path, scale=scale, device=device.type, lpips_weights=alexnet
    )
    for name in ("measure.csv", "measure_mean.csv", "measure_full.csv"):
        expected, table = (pd.read_csv(place / name, index_col=0) for place in (folder, tmp_path))
        assert list(table.columns) == list(expected.columns)
        assert list(table.index) == list(expected.index)
        # 1e-4 is asked for; differences of nearly equal means are the hardest
        rtol = 2e-5 if device.type == "cpu" else 1e-4
        np.testing.assert_allclose(table.to_numpy(), expected.to_numpy(), rtol=rtol)
        assert np.isinf(expected.to_numpy()).any() == (name != "measure_full.csv")
    means = pd.read_csv(tmp_path / "measure_full_mean.csv", index_col=0)["0"]
    expected = pd.read_csv(folder / "measure_full.csv", index_col=0).mean()
    np.testing.assert_allclose(means[expected.index], expected, rtol=1e-4)


REALISM = ("niqe", "log-spectral", "patch-frechet")


def figures(folder, out, device: str, alexnet) -> dict[str, float]:
    scored = score_folder(
        folder / "HR", folder / "SR", out, lpips_weights=alexnet, device=device, realism=REALISM
    )
    return scored.score.summary()


@pytest.fixture(scope="module")
def figures_of_cpu(golden, alexnet, tmp_path_factory) -> dict[str, float]:
    return figures(golden / "x4", tmp_path_factory.mktemp("cpu"), "cpu", alexnet)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
def test_figures_of_gpu_equal_figures_of_cpu(golden, alexnet, tmp_path, figures_of_cpu):
    of_gpu = figures(golden / "x4", tmp_path, "cuda", alexnet)
    for name, value in figures_of_cpu.items():
        assert of_gpu[name] == pytest.approx(value, rel=1e-3 if name in ("niqe", "niqe_of_HR") else 1e-4), name


def test_figures_with_direct_convolutions_equal_figures_of_cpu(
    golden, alexnet, tmp_path, figures_of_cpu, monkeypatch
):
    # what LPIPS does on a GPU, done on the CPU: direct convolutions, and all vectors of a layer at once
    made = Lpips.__init__

    def without_shortcuts(self, *arguments):
        made(self, *arguments)
        self.on_processor = []

    monkeypatch.setattr(Lpips, "__init__", without_shortcuts)
    monkeypatch.setattr(lpips_network, "CACHED_FLOATS", 10**12)
    direct = figures(golden / "x4", tmp_path, "cpu", alexnet)
    for name, value in figures_of_cpu.items():
        assert direct[name] == pytest.approx(value, rel=1e-5), name


def test_lr_psnr_of_mean_error_is_finite_if_a_sample_is_exact():
    errors = LrErrors([0.0, 1.0, 3.0])
    assert errors.mean_db == math.inf
    assert errors.worst_db == pytest.approx(10 * math.log10(255**2 / 3))
    assert errors.of_mean_error_db == pytest.approx(10 * math.log10(255**2 / (4 / 3)))
    assert errors.under_required == 1  # 3 squared grey levels are 43.4 dB


def test_official_crop_keeps_multiples_of_8_from_the_top_left():
    image = torch.arange(19 * 33).view(1, 1, 19, 33).expand(1, 3, 19, 33)
    assert torch.equal(official_crop(image), image[:, :, :16, :32])


def test_uncropped_lr_psnr_is_reported_if_the_crop_removes_pixels(folders, tmp_path):
    score = score_folder(folders.hr, folders.sr, tmp_path / "out", samples=3, **AWAY).score
    whole, cropped = (image.of(LrValues) for image in score.images)
    assert whole.lr_errors_uncropped == []
    assert len(cropped.lr_errors_uncropped) == 3
    assert cropped.lr_errors_uncropped != cropped.lr_errors
    assert score.summary()["images_scored_uncropped"] == 1


def test_without_lpips_only_its_columns_are_empty(folders, tmp_path):
    score_folder(folders.hr, folders.sr, tmp_path / "out", samples=3, **AWAY)
    table = pd.read_csv(tmp_path / "out" / "measure.csv", index_col=0)
    assert table.LPIPS_mean.isna().all() and table.score.isna().all()
    assert table.LRPSNR_worst.notna().all()
    full = pd.read_csv(tmp_path / "out" / "measure_full.csv", index_col=0)
    assert full.LPIPS_score_n3.isna().all() and full.MSE_score_n3.notna().all()
    written = json.loads((tmp_path / "out" / "score.json").read_text())
    assert written["summary"]["LPIPS_mean"] is None
    assert written["summary"]["MSE_score"] > 0
    assert written["standing_2021"] is None


def test_summary_has_mean_best_and_worst_lpips_of_the_samples(golden, alexnet, tmp_path):
    folder = golden / "x4"
    score = score_folder(folder / "HR", folder / "SR", tmp_path, lpips_weights=alexnet, device="cpu").score
    summary, lpips = score.summary(), [image.of(LpipsValues).lpips for image in score.images]
    assert summary["LPIPS_mean"] == pytest.approx(np.mean(lpips))
    assert summary["LPIPS_best_sample"] == pytest.approx(np.mean([min(of_image) for of_image in lpips]))
    assert summary["LPIPS_worst_sample"] == pytest.approx(np.mean([max(of_image) for of_image in lpips]))
    assert summary["LRPSNR_mean"] == math.inf
    assert math.isfinite(summary["LRPSNR_of_mean_error"])
    assert summary["samples_under_45_dB"] == score.under_required > 0
    curve = score.curves()["LPIPS_score"]
    assert curve[0] == 0
    assert curve[-1] == pytest.approx(summary["score"])


def test_missing_file_of_lpips_weights_is_an_error(folders, tmp_path):
    with pytest.raises(NtireSrError, match=r"--lpips-weights names .*absent\.pth, which is not a file"):
        score_folder(folders.hr, folders.sr, tmp_path / "out", samples=3, lpips_weights=tmp_path / "absent.pth")
    assert not (tmp_path / "out").exists()


def test_samples_numbered_from_801_or_901_score_the_same(folders, tmp_path):
    plain = score_folder(folders.hr, folders.sr, tmp_path / "plain", samples=3, **AWAY).score.summary()
    for first in (801, 901):
        moved = tmp_path / f"moved{first}"
        moved.mkdir()
        for index in range(2):
            for k in range(3):
                name = SampleName(index + first, k)
                shutil.copy(folders.sr / str(SampleName(index, k)), moved / str(name))
        summary = score_folder(folders.hr, moved, tmp_path / f"out{first}", samples=3, **AWAY).score.summary()
        assert summary == plain


def test_single_samples_named_without_number_are_scored(folders, tmp_path):
    single = tmp_path / "single"
    single.mkdir()
    for index in range(2):
        shutil.copy(folders.sr / str(SampleName(index, 0)), single / f"{index:06d}.png")
    score = score_folder(folders.hr, single, tmp_path / "out", samples=1, **AWAY).score
    assert score.summary()["MSE_score"] == 0
    assert math.isnan(score.summary()["r_pixels"])
    assert (tmp_path / "out" / "report.html").exists()


def test_quality_metrics_measure_samples_and_hr_images(golden, alexnet, tmp_path):
    folder = golden / "x4"
    names = ("niqe", "log-spectral", "patch-frechet")
    score = score_folder(
        folder / "HR", folder / "SR", tmp_path, lpips_weights=alexnet, realism=names, device="cpu", samples=3
    ).score
    summary = score.summary()
    assert all(summary[name] > 0 for name in names)
    assert summary["niqe_of_HR"] > 0 and "log-spectral_of_HR" not in summary
    assert [len(image.of(QualityValues).realism["niqe"]) for image in score.images] == [3, 3]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "NIQE" in page and "estimate of realism" in page


def test_unusable_quality_metrics_are_refused_before_reading_files(folders, tmp_path):
    with pytest.raises(UsageError, match=r"unknown quality metric 'niqq'(.|\n)*try: niqe"):
        score_folder(folders.hr, folders.sr, tmp_path / "out", realism=("niqq",), **AWAY)
    with pytest.raises(UsageError, match="measured on the features of LPIPS"):
        score_folder(folders.hr, folders.sr, tmp_path / "out", realism=("patch-frechet",), **AWAY)
    assert not (tmp_path / "out").exists()


def test_hundreds_of_samples_are_scored_and_pictured(tmp_path, photograph):
    small = np.ascontiguousarray(photograph[:32, :32])
    write_png(tmp_path / "HR" / "0801.png", small)
    for k in range(260):  # more than fit into a map of bytes
        sample = small.copy()
        sample[k % 32, k // 32] ^= 9
        write_png(tmp_path / "SR" / str(SampleName(0, k)), sample)
    score = score_folder(tmp_path / "HR", tmp_path / "SR", tmp_path / "out", samples=260, **AWAY).score
    assert len(score.curves()["MSE_score"]) == 260


def test_note_counts_images_with_undefined_s_n(folders, tmp_path):
    shutil.copy(folders.hr / "0801.png", folders.sr / str(SampleName(0, 1)))
    measured = score_folder(folders.hr, folders.sr, tmp_path / "out", samples=3, **AWAY)
    assert math.isfinite(measured.score.summary()["MSE_score"])
    page = measured.report.read_text(encoding="utf-8")
    assert "A sample equals its HR image in 1 image: S_n is undefined there" in page


def test_small_maps_are_area_means_of_at_most_640_pixels():
    whole = torch.rand(1, 1, 1280, 320)
    small = shrink_map(whole)
    assert small.shape == (1, 1, MAP_PX, 160)
    assert small[0, 0, 3, 7].item() == pytest.approx(whole[0, 0, 6:8, 14:16].mean().item())
    assert torch.equal(shrink_map(small), small)


def test_report_is_one_page_with_pictures(folders, tmp_path):
    measured = score_folder(folders.hr, folders.sr, tmp_path / "out", samples=3, **AWAY)
    page = measured.report.read_text(encoding="utf-8")
    assert "LPIPS was not measured: the trunk is away" in page
    assert ">nan<" not in page
    assert 'src="http' not in page and "url(http" not in page
    assert ("PASS" in page) == measured.score.passes
    # whole and detail of LR, HR, three samples and their deviation, of two images
    assert page.count('"data:image/') == 2 * 2 * 6


def test_terminal_shows_the_score_among_published_rows(golden, alexnet, ntire_sr_command, tmp_path):
    folder = golden / "x4"
    result = ntire_sr_command(
        "score", "--hr", folder / "HR", "--sr", folder / "SR", "--out", tmp_path, "--lpips-weights", alexnet,
        "--no-report", "--device", "cpu",
    )  # fmt: skip
    assert result.code == 0
    assert "this score" in result.out and "Deepest (NCSR)" in result.out
    assert "on these images only" in result.out
    assert not (tmp_path / "report.html").exists()
    as_json = ntire_sr_command(
        "score", "--hr", folder / "HR", "--sr", folder / "SR", "--out", tmp_path, "--lpips-weights", alexnet,
        "--json", "--no-report", "--device", "cpu",
    )  # fmt: skip
    content = json.loads(as_json.out)
    assert content["summary"] == json.loads((tmp_path / "score.json").read_text())["summary"]
    assert content["standing_2021"]["rank_by_S_10"] == 3
