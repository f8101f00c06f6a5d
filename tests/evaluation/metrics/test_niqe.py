"""NIQE: features, the distance, the model that comes with the package, and what the score prefers."""

import math

import cv2
import numpy as np
import pytest
import torch
from conftest import RecordedProgress, photographs, shared_path

from ntire_sr.challenge.downscale import downscale
from ntire_sr.challenge.pixels import to_tensor
from ntire_sr.core.errors import NtireSrError, UsageError, ValidationErrors
from ntire_sr.data.photographs import TRAINING_PHOTOGRAPHS, embedded_photographs
from ntire_sr.evaluation.metrics import niqe as module
from ntire_sr.evaluation.metrics.niqe import (
    FEATURES,
    Pristine,
    _moments,
    _parameters,
    block_features,
    distance,
    fit,
    load_pristine,
    luma,
    niqe,
    save_pristine,
)
from ntire_sr.samples.image_files import read_image, write_png

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def published() -> Pristine:
    """The model of the authors' release."""
    with np.load(shared_path("weights/niqe_pris_params.npz")) as content:
        return Pristine(
            torch.from_numpy(content["mu_pris_param"][0]), torch.from_numpy(content["cov_pris_param"])
        )


def asymmetric_gaussian(samples: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Shape, left and right scale of each of N sets (N, ...)."""
    return _parameters(_moments(samples))


def distorted(image: np.ndarray) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(0).standard_normal(image.shape)
    images = {"hr": image}
    images |= {f"blur {s}": cv2.GaussianBlur(image, (0, 0), s) for s in (0.7, 1, 1.5, 2, 3)}
    images |= {
        f"noise {s}": (image + s * noise).clip(0, 255).round().astype(np.uint8) for s in (2, 4, 8, 16, 32)
    }
    return images


def generalised_gaussian(shape: float, count: int) -> torch.Tensor:
    """|x| ** shape follows a gamma distribution: (4, count), scale 1."""
    magnitude = torch.distributions.Gamma(1 / shape, 1.0).sample((4, count)).double() ** (1 / shape)
    return magnitude * torch.where(torch.rand(4, count) < 0.5, -1.0, 1.0)


@pytest.mark.parametrize("shape", [0.7, 1.0, 2.0, 4.0])
def test_gaussian_fit_recovers_known_shape_and_scale(shape):
    fitted, left, right = asymmetric_gaussian(3 * generalised_gaussian(shape, 100_000))
    assert fitted.mean() == pytest.approx(shape, rel=0.03)
    assert left.mean() == pytest.approx(3, rel=0.03)
    assert right.mean() == pytest.approx(3, rel=0.03)


def test_unit_gaussian_has_shape_2_and_scale_root_2():
    shape, left, _ = asymmetric_gaussian(torch.randn(4, 200_000, dtype=torch.float64))
    assert shape.mean() == pytest.approx(2, abs=0.03)
    assert left.mean() == pytest.approx(math.sqrt(2), abs=0.02)


def test_asymmetric_fit_recovers_both_scales():
    # the density falls from one peak, so a side's share of the samples is its share of the scales
    samples = generalised_gaussian(1.0, 300_000).abs()
    samples = torch.where(torch.rand_like(samples) < 0.25, -samples, 3 * samples)
    shape, left, right = asymmetric_gaussian(samples)
    assert shape.mean() == pytest.approx(1, abs=0.03)
    assert left.mean() == pytest.approx(1, abs=0.03)
    assert right.mean() == pytest.approx(3, abs=0.06)


def test_samples_of_one_sign_have_no_parameters():
    for values in asymmetric_gaussian(torch.tensor([[0.0, 0.0], [1.0, 2.0], [-1.0, 0.0]])):
        assert values.isnan().all()


def test_niqe_distance_in_one_dimension_is_hand_computed():
    # values 1 and 3: mean 2, variance 2; pristine mean -1, variance 4; 3 / sqrt((2 + 4) / 2) = sqrt(3)
    pristine = Pristine(torch.tensor([-1.0]).double(), torch.tensor([[4.0]]).double())
    assert distance(torch.tensor([[1.0], [3.0]]), pristine) == pytest.approx(math.sqrt(3))


def test_niqe_distance_of_diagonal_covariances_is_hand_computed():
    # means (2, 1), variances (2, 2) without correlation, as four corners of a square have 4 / 3 each;
    # (C + P) / 2 = diag((4 / 3 + 2 / 3) / 2, (4 / 3 + 8 / 3) / 2) = diag(1, 2): sqrt(2**2 / 1 + 4**2 / 2)
    corners = torch.tensor([[1.0, 0.0], [1.0, 2.0], [3.0, 0.0], [3.0, 2.0]])
    pristine = Pristine(torch.tensor([0.0, -3.0]).double(), torch.diag(torch.tensor([2 / 3, 8 / 3]).double()))
    assert distance(corners, pristine) == pytest.approx(math.sqrt(12))


def test_constant_feature_is_handled_by_the_pseudo_inverse():
    pristine = Pristine(torch.zeros(2).double(), torch.diag(torch.tensor([4.0, 0.0]).double()))
    assert distance(torch.tensor([[2.0, 5.0]]), pristine) == pytest.approx(2 / math.sqrt(2))


def test_flat_blocks_are_excluded_and_a_flat_image_has_no_score():
    pristine = Pristine(torch.zeros(1).double(), torch.eye(1).double())
    values = torch.tensor([[1.0], [math.nan], [3.0]])
    assert distance(values, pristine) == distance(values[[0, 2]], pristine)
    assert math.isnan(niqe(torch.full((1, 3, 96, 200), 255, dtype=torch.uint8), load_pristine()))
    assert math.isnan(niqe(torch.zeros(1, 3, 95, 200, dtype=torch.uint8), load_pristine()))


def test_luma_equals_matlabs_for_black_white_and_red():
    colours = torch.tensor([[0, 0, 0], [255, 255, 255], [255, 0, 0]], dtype=torch.uint8)
    assert luma(colours.T.reshape(1, 3, 1, 3)).flatten().tolist() == [16, 235, 81]  # 16 + 65.481


def test_blocks_are_measured_separately_in_reading_order(photograph):
    image = to_tensor(np.tile(photograph[:96, :96], (2, 3, 1)))
    changed = image.clone()
    changed[:, :, 110:180, 110:180] = torch.randint(0, 256, (1, 3, 70, 70), dtype=torch.uint8)
    before, after = block_features(image), block_features(changed)
    assert before.shape == (6, FEATURES)
    assert ((before != after).any(1)).tolist() == [False, False, False, False, True, False]


def test_pixels_outside_whole_blocks_are_ignored(photograph):
    image = to_tensor(photograph)
    assert image.shape[2:] == (96, 128)
    changed = image.clone()
    changed[:, :, :, 96:] = 0
    assert torch.equal(block_features(image), block_features(changed))


def test_niqe_features_ignore_brightness_and_mirror_for_a_negative(photograph):
    grey = torch.from_numpy(photograph[:96, :96, 1].copy()).double()[None, None] / 2
    features = module._features_and_sharpness(grey)[0]
    assert torch.allclose(features, module._features_and_sharpness(grey + 40)[0], rtol=1e-5)
    negative = module._features_and_sharpness(200 - grey)[0]
    # products keep their sign, and the coefficients' mean scale does not know the sides
    assert torch.allclose(features[:, 1:18], negative[:, 1:18], rtol=1e-9)


def test_second_niqe_scale_is_the_unrounded_bicubic_downscale():
    grey = torch.rand(192, 96, dtype=torch.float64) * 200
    assert torch.allclose(module._half(grey), downscale(grey[None, None], 2)[0, 0], atol=1e-10)


def test_local_mean_and_deviation_equal_a_plain_convolution():
    grey = torch.rand(40, 30, dtype=torch.float64) * 200
    taps = torch.exp(-(torch.arange(-3, 4).double() ** 2) / (2 * (7 / 6) ** 2))
    window = (taps[:, None] * taps / taps.sum() ** 2)[None, None]
    mean = torch.nn.functional.conv2d(grey[None, None], window)
    variance = torch.nn.functional.conv2d(grey.square()[None, None], window) - mean**2
    normalised, deviation = module._mscn(grey)
    assert torch.allclose(deviation, variance[0, 0].sqrt())
    assert torch.allclose(normalised, ((grey[3:-3, 3:-3] - mean) / (variance.sqrt() + 1))[0, 0])


def test_baboon_has_the_score_of_the_authors_matlab_release(published):
    # 5.72957338 is what BasicSR's documentation of its NIQE states for MATLAB R2021a
    baboon = to_tensor(read_image(shared_path("data/test/set14/baboon.png")))
    assert niqe(baboon, published) == pytest.approx(5.72957338, abs=2e-6)


def test_packages_niqe_model_describes_its_photographs():
    pristine = load_pristine()
    assert (pristine.photographs, pristine.blocks) == (321, 1977)
    assert "CC BY-SA 4.0" in pristine.description and "/" not in pristine.description
    assert torch.linalg.eigvalsh(pristine.covariance).min() > 0


def test_photographs_are_best_and_more_blur_or_noise_is_worse_on_average():
    rows = [[niqe(to_tensor(im), load_pristine()) for im in distorted(p).values()] for p in photographs()]
    means = np.mean(rows, 0)
    hr, blur, noise = means[:1], means[1:6], means[6:]
    for order in (np.concatenate([hr, blur]), np.concatenate([hr, noise])):
        assert (np.diff(order) > 0).all(), order


def test_packages_and_published_niqe_models_rank_distortions_alike(published):
    own, theirs = [], []
    for photograph in photographs():
        for image in distorted(photograph).values():
            features = block_features(to_tensor(image))
            own.append(distance(features, load_pristine()))
            theirs.append(distance(features, published))
    processes = [np.argsort(np.argsort(values)) for values in (own, theirs)]
    assert np.corrcoef(processes)[0, 1] > 0.93
    assert 2 < np.mean(theirs[::11]) < 5  # the photographs themselves


@pytest.fixture
def folder(tmp_path):
    for index, path in enumerate(embedded_photographs(TRAINING_PHOTOGRAPHS)):
        write_png(tmp_path / f"{index}.png", read_image(path))
    return tmp_path


def test_fitted_niqe_model_is_saved_and_loaded_without_loss(folder):
    progress = RecordedProgress()
    paths = sorted(folder.glob("*.png"))
    pristine = fit(paths, "four photographs", sharp_share=0.2, progress=progress)
    assert progress.tasks == [("fit", 4, [1, 2, 3, 4])]
    assert pristine.photographs == 4 and pristine.blocks > FEATURES
    save_pristine(folder / "model.safetensors", pristine)
    again = load_pristine(folder / "model.safetensors")
    assert torch.equal(again.mean, pristine.mean) and torch.equal(again.covariance, pristine.covariance)
    assert (again.photographs, again.blocks, again.sha256, again.description) == (
        4,
        pristine.blocks,
        pristine.sha256,
        "four photographs",
    )
    assert fit(paths[::-1], sharp_share=0.2).sha256 == pristine.sha256


def test_only_blocks_sharper_than_the_threshold_are_used(folder):
    paths = sorted(folder.glob("*.png"))
    expected = 0
    for path in paths:
        features, sharpness = module._features_and_sharpness(luma(to_tensor(read_image(path))))
        assert sharpness.shape == features.shape[:1]
        expected += int(((sharpness > 0.3 * sharpness.max()) & ~features.isnan().any(1)).sum())
    assert fit(paths, sharp_share=0.3).blocks == expected


def test_all_unreadable_photographs_are_named_at_once(folder):
    (folder / "a.png").write_bytes(b"nothing")
    (folder / "b.png").write_bytes(b"nothing")
    with pytest.raises(ValidationErrors) as caught:
        fit(sorted(folder.glob("*.png")))
    assert len(caught.value.problems) == 2
    assert "a.png" in caught.value.problems[0] and "b.png" in caught.value.problems[1]


def test_too_few_blocks_are_refused(tmp_path, photograph):
    write_png(tmp_path / "one.png", photograph)
    with pytest.raises(UsageError, match=r"1 photographs .* have 1 sharp blocks; more than 36"):
        fit([tmp_path / "one.png"])
    with pytest.raises(UsageError, match="0 photographs"):
        fit([])


def test_a_file_that_holds_something_else_is_refused(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "x.safetensors"
    with pytest.raises(NtireSrError, match=r"cannot read .*x.safetensors"):
        load_pristine(path)
    path.write_bytes(b"nothing at all")
    with pytest.raises(NtireSrError, match="is not a readable NIQE model"):
        load_pristine(path)
    mean, covariance = torch.zeros(FEATURES), torch.eye(FEATURES)
    save_file({"mean": mean[:5].clone(), "covariance": covariance}, path)
    with pytest.raises(NtireSrError, match="not the mean and covariance of 36 features"):
        load_pristine(path)
    save_file({"mean": mean, "covariance": covariance}, path, {"block": "64"})
    with pytest.raises(NtireSrError, match="blocks of 64 pixels"):
        load_pristine(path)
    save_file({"mean": mean / 0, "covariance": covariance}, path, {"block": "96"})
    with pytest.raises(NtireSrError, match="not finite"):
        load_pristine(path)
