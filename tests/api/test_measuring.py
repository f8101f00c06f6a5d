"""LPIPS and scores from Python: the figures of `ntire-sr score`."""

import json
import math

import numpy as np
import pytest
import torch

from ntire_sr import SampleSetMetric, lpips, score_samples
from ntire_sr.challenge.names import SampleName
from ntire_sr.challenge.pixels import to_tensor, to_unit
from ntire_sr.core.errors import NtireSrError
from ntire_sr.evaluation.score_folder import score_folder
from ntire_sr.samples.image_files import read_image, write_png

pytestmark = pytest.mark.numerical

REALISM = ("niqe", "log-spectral", "patch-frechet")


@pytest.fixture
def weights(alexnet, monkeypatch) -> None:
    monkeypatch.setenv("NTIRE_SR_LPIPS_WEIGHTS", str(alexnet))


@pytest.fixture(scope="module")
def images(photograph) -> list[tuple[np.ndarray, np.ndarray]]:
    """HR images of 96 x 128 and 70 x 83 with three samples each."""
    forms = []
    for hr in (photograph, np.ascontiguousarray(photograph[:70, :83])):
        samples = np.stack([hr] * 3)
        for k, sample in enumerate(samples):
            sample[8 + 16 * k : 24 + 16 * k, 8:40] ^= 3 + 8 * k
        forms.append((hr, samples))
    return forms


@pytest.fixture(scope="module")
def scored(images, alexnet, tmp_path_factory) -> dict:
    """What `ntire-sr score` says of them."""
    folder = tmp_path_factory.mktemp("scored")
    for index, (hr, samples) in enumerate(images):
        write_png(folder / "HR" / f"{801 + index:04d}.png", hr)
        for k, sample in enumerate(samples):
            write_png(folder / "SR" / str(SampleName(index, k)), sample)
    score_folder(
        folder / "HR",
        folder / "SR",
        folder / "out",
        samples=3,
        device="cpu",
        lpips_weights=alexnet,
        realism=REALISM,
        with_report=False,
    )
    return json.loads((folder / "out" / "score.json").read_text())


def same(measured: object, written: object) -> bool:
    """Whether a figure is the one in a file, where nan is null and infinity a text."""
    if isinstance(measured, dict):
        return measured.keys() == written.keys() and all(
            same(measured[name], written[name]) for name in measured
        )
    if isinstance(measured, list):
        return len(measured) == len(written) and all(map(same, measured, written))
    if isinstance(measured, float) and not math.isfinite(measured):
        return written == (None if math.isnan(measured) else "inf")
    return measured == written


# what a score's image has beside its figures: which files it is of
OF_FILES = {"name", "index", "samples", "record", "hr_sha256", "samples_sha256"}


def test_score_samples_gives_the_figures_of_the_score_command(images, scored, weights):
    for (hr, samples), written in zip(images, scored["images"], strict=True):
        scores = score_samples(samples, hr, 4, realism=REALISM[:2])
        assert scores.keys() == written.keys() - OF_FILES
        for name, value in scores.items():
            assert same(value, written[name]), name
        assert scores["LPIPS_mean"] > 0 and scores["r_LPIPS"] > 0 and scores["MSE_score"] > 0
    assert scores["LRPSNR_worst_uncropped"] > 40
    planes = torch.from_numpy(samples).permute(0, 3, 1, 2).contiguous()
    again = score_samples(to_unit(planes), to_unit(to_tensor(hr)), 4, realism=REALISM[:2])
    assert all(same(value, written[name]) for name, value in again.items())


def test_metric_gives_the_figures_of_the_score_summary(images, scored, weights):
    metric = SampleSetMetric(4, realism=REALISM)
    for (hr, samples), seen in zip(images, (1, 2), strict=True):
        metric.update(samples, hr)
        assert metric.compute()["images"] == seen  # asking changes nothing
    assert same(metric.compute(), scored["summary"])
    assert metric.compute()["patch-frechet"] > 0
    metric.reset()
    with pytest.raises(ValueError, match="no image has been measured"):
        metric.compute()
    metric.update(images[1][1], images[1][0])
    assert metric.compute()["LPIPS_mean"] == scored["images"][1]["LPIPS_mean"]


def test_lpips_of_equal_images_is_0_with_a_figure_per_image(images, scored, weights):
    hr, samples = images[0]
    unit = to_unit(to_tensor(hr))
    assert lpips(hr, hr) == 0 and lpips(unit, unit).tolist() == [0]  # as float in [0, 1] it was .833
    distances = lpips(samples, hr)  # a batch of three had the first one's value
    # means of one float32 map, summed in another order, which differs among instruction sets; float32 rounds to 6e-8
    assert distances.tolist() == pytest.approx(scored["images"][0]["LPIPS_of_samples"], rel=1e-5)
    assert distances.tolist() == [lpips(sample, hr) for sample in samples] and len(set(distances.tolist())) == 3
    assert lpips(samples, np.stack([hr] * 3)).tolist() == distances.tolist()
    maps = lpips(samples, hr, spatial=True)
    assert maps.shape == (3, 96, 128) and maps.dtype == np.float32
    assert maps.mean((1, 2)) == pytest.approx(distances, rel=1e-5)  # numpy's order of summation
    single = lpips(torch.from_numpy(samples[1]), hr, spatial=True)
    assert isinstance(single, torch.Tensor) and np.array_equal(single.numpy(), maps[1])
    assert not single.is_inference()


def test_lpips_weights_are_needed_only_for_lpips(images, monkeypatch):
    monkeypatch.setenv("NTIRE_SR_LPIPS_WEIGHTS", "absent.pth")
    hr, samples = images[0]
    scores = score_samples(samples[:1], hr, 4, lpips=False)
    assert math.isnan(scores["LPIPS_mean"]) and scores["LRPSNR_worst"] > 40 and math.isnan(scores["r_pixels"])
    with pytest.raises(NtireSrError, match="NTIRE_SR_LPIPS_WEIGHTS names"):
        score_samples(samples, hr, 4)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hr": np.zeros((2, 96, 128, 3), np.uint8)}, "hr is a batch of 2"),
        ({"hr": np.zeros((16, 16, 3), np.uint8)}, "hr has 16 x 16 pixels; 31 are needed"),
        (
            {"hr": np.zeros((104, 128, 3), np.uint8)},
            "samples have 128 x 96 pixels; hr .* asks for 128 x 104 to",
        ),
        ({"realism": ["niqq"]}, "unknown quality metric 'niqq'"),
        ({"realism": ["patch-frechet"]}, "patch-frechet is a figure of a data set"),
        ({"scale": 0}, "scale is 0"),
    ],
)
def test_unusable_inputs_are_refused_before_anything_is_loaded(images, change, says):
    hr, samples = images[0]
    with pytest.raises(ValueError, match=says):
        score_samples(**{"samples": samples, "hr": hr, "scale": 4, **change})


def test_metric_refuses_different_numbers_of_samples(images):
    metric = SampleSetMetric(4, lpips=False)
    metric.update(images[0][1], images[0][0])
    with pytest.raises(ValueError, match="samples has 2 samples, the images before have 3"):
        metric.update(images[0][1][:2], images[0][0])
    assert metric.compute()["images"] == 1
    with pytest.raises(ValueError, match="features of LPIPS"):
        SampleSetMetric(4, lpips=False, realism=["patch-frechet"])


def test_written_file_is_scored_like_the_drawn_image(images, tmp_path, weights):
    hr, samples = images[1]
    write_png(tmp_path / "a.png", samples[0])
    assert lpips(read_image(tmp_path / "a.png"), hr) == lpips(samples[0], hr)
