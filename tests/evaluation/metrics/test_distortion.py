"""PSNR and SSIM: by hand, against scikit-image on whole images, and in the outputs of `score`."""

import json
import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from ntire_sr.challenge.pixels import to_tensor
from ntire_sr.core.errors import ArgumentValueError
from ntire_sr.evaluation.metrics.base import Reference
from ntire_sr.evaluation.metrics.distortion import DistortionMetric, DistortionValues, distortion, luma

pytestmark = pytest.mark.numerical


def measured(hr: np.ndarray, samples: list[np.ndarray], border: int | None) -> DistortionValues:
    reference = Reference(to_tensor(hr), 4, border_px=border)
    metric = DistortionMetric(reference)
    for image in samples:
        metric.update(reference.sample(to_tensor(image)))
    return metric.compute()


def figure(name: str, values: DistortionValues) -> float:
    return next(figure for figure in DistortionMetric.figures if figure.name == name).of_values(values)


def test_an_error_of_one_level_has_48_db_and_luma_is_matlabs():
    hr = np.full((16, 16, 3), 100.0)
    assert distortion(hr + 1, hr)[0] == 1
    values = measured(hr.astype(np.uint8), [(hr + 1).astype(np.uint8)], 0)
    assert figure("PSNR_mean", values) == pytest.approx(48.13, abs=0.01)
    assert figure("PSNR_Y_mean", values) == pytest.approx(48.13 - 20 * math.log10(219 / 255), abs=0.01)
    # red, green, blue of rgb2ycbcr
    assert luma(255 * np.eye(3)[None]).round(3).tolist() == [[81.481, 144.553, 40.966]]


def test_equal_images_have_infinite_psnr_and_ssim_1(photograph):
    values = measured(photograph, [photograph, photograph ^ 1], 4)
    assert figure("PSNR_best", values) == math.inf and figure("SSIM_best", values) == 1
    assert figure("PSNR_worst", values) < 49 and figure("SSIM_Y_worst", values) < 1


def test_figures_equal_scikit_image_without_the_border(photograph):
    generator = np.random.default_rng(0)
    samples = [
        (photograph + generator.normal(0, 8, photograph.shape)).clip(0, 255).astype(np.uint8) for _ in range(3)
    ]
    values = measured(photograph, samples, 4)
    inner = [image[4:-4, 4:-4] for image in (photograph, *samples)]
    psnr = [peak_signal_noise_ratio(inner[0], image) for image in inner[1:]]
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    ssim = [
        structural_similarity(inner[0], image, channel_axis=2, data_range=255, **window) for image in inner[1:]
    ]
    for name, expected in (("PSNR", psnr), ("SSIM", ssim)):
        assert figure(f"{name}_mean", values) == pytest.approx(np.mean(expected))
        assert figure(f"{name}_best", values) == pytest.approx(max(expected))
        assert figure(f"{name}_worst", values) == pytest.approx(min(expected))
        # the mean of three noisy samples is nearer than each of them
        assert figure(f"{name}_of_mean", values) > max(expected)
    mean = np.mean([image.astype(float) for image in inner[1:]], axis=0)
    assert figure("PSNR_of_mean", values) == pytest.approx(
        peak_signal_noise_ratio(inner[0].astype(float), mean, data_range=255)
    )


def test_nothing_is_measured_unless_requested_and_a_wide_border_is_refused(photograph):
    values = measured(photograph, [photograph], None)
    assert values == DistortionValues() and math.isnan(figure("PSNR_mean", values))
    with pytest.raises(ArgumentValueError, match="SSIM needs 11"):
        measured(photograph, [photograph], 60)


def test_score_writes_distortion_and_the_rank_histogram(folders, tmp_path, ntire_sr_command):
    words = (
        "score",
        "--hr",
        folders.hr,
        "--sr",
        folders.sr,
        "--samples",
        3,
        "--without-lpips",
        "--out",
        tmp_path / "out",
    )
    result = ntire_sr_command(*words, "--distortion", "--border", 2, "--realism", "log-spectral")
    assert result.code == 0, result.err
    assert "PSNR (Y) of the samples' mean" in result.out and "SSIM (RGB), best sample of each" in result.out
    content = json.loads((tmp_path / "out" / "score.json").read_text())
    summary = content["summary"]
    assert summary["PSNR_worst"] <= summary["PSNR_mean"] <= summary["PSNR_best"]
    assert summary["log-spectral_best"] <= summary["log-spectral"] <= summary["log-spectral_worst"]
    assert len(content["images"][0]["SSIM_Y_of_samples"]) == 3
    assert len(content["rank_histogram"]) == 4 and sum(content["rank_histogram"]) == pytest.approx(1)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Rank of the HR image among the samples" in page and "above 3 of 3 samples" in page
    plain = ntire_sr_command(*words[:-1], tmp_path / "plain", "--no-report")
    assert plain.code == 0 and "PSNR (" not in plain.out
    result = ntire_sr_command(*words, "--border", 2)
    assert result.code == 2 and "--border without --distortion" in result.err
