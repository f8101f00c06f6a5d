"""Metrics of the optional library piq."""

import sys
import types

import pytest
import torch
from missing_operators import import_or_skip

from ntire_sr.challenge.pixels import to_tensor
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.evaluation.metrics.iqa import METRICS, load_metric

WITHOUT_WEIGHTS = [name for name, offered in METRICS.items() if not offered.weights]


@pytest.fixture
def stand_in(monkeypatch) -> types.ModuleType:
    """A module in the place of piq."""
    module = types.ModuleType("piq")
    monkeypatch.setitem(sys.modules, "piq", module)
    return module


@pytest.fixture
def hr(photograph) -> torch.Tensor:
    """Large enough for every metric: (1, 3, 192, 256)."""
    return to_tensor(photograph.repeat(2, 0).repeat(2, 1))


def add_noise(image: torch.Tensor, sigma: float) -> torch.Tensor:
    return (image + sigma * torch.randn(image.shape)).round().clamp(0, 255).byte()


def test_a_metric_gets_images_between_0_and_1_and_gives_a_number(stand_in):
    seen = []
    stand_in.gmsd = lambda sr, hr: seen.append((sr, hr)) or (sr - hr).abs().mean()
    metric = load_metric("gmsd")
    assert (metric.name, metric.direction, metric.needs_reference) == ("gmsd", "lower", True)
    sr, hr = torch.full((1, 3, 4, 4), 255).byte(), torch.full((1, 3, 4, 4), 51).byte()
    assert metric.call(sr, hr) == pytest.approx(0.8)
    assert seen[0][0].dtype == torch.float32 and seen[0][0].max() == 1


def test_a_metric_without_reference_gets_one_image(stand_in, monkeypatch):
    monkeypatch.delenv("NTIRE_SR_OFFLINE")
    stand_in.brisque = lambda *images: torch.tensor(float(len(images)))
    metric = load_metric("brisque")
    assert not metric.needs_reference
    assert metric.call(torch.zeros(1, 3, 4, 4).byte(), None) == 1


def test_full_reference_metric_requires_a_reference(stand_in):
    stand_in.ssim = lambda sr, hr: sr.mean()
    with pytest.raises(ValueError, match="ssim needs the HR image"):
        load_metric("ssim").call(torch.zeros(1, 3, 4, 4).byte(), None)


def test_an_unknown_name_is_refused_with_a_suggestion(stand_in):
    with pytest.raises(UsageError, match=r"unknown quality metric 'sism'\n  try: ssim"):
        load_metric("sism")


def test_missing_piq_error_names_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "piq", None)  # what Python itself does to forbid an import
    with pytest.raises(NtireSrError, match="is not installed") as caught:
        load_metric("ssim")
    assert caught.value.remedy == "pip install 'ntire-sr[iqa]'"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "raise RuntimeError('operator torchvision::nms does not exist')",
            "RuntimeError: operator torchvision::nms",
        ),
        ("import a_module_that_is_nowhere", "ModuleNotFoundError: No module named 'a_module"),
    ],
)
def test_broken_piq_import_differs_from_missing_piq(body, reason, monkeypatch, tmp_path):
    (tmp_path / "piq.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "piq", raising=False)
    with pytest.raises(NtireSrError, match="cannot be imported") as caught:
        load_metric("ssim")
    assert reason in caught.value.message
    assert "torchvision" in (caught.value.remedy or "")


def test_a_metric_that_cannot_fetch_its_weights_says_which(stand_in, monkeypatch):
    with pytest.raises(NtireSrError, match=r"dists needs dists_weights.pt, vgg16.* NTIRE_SR_OFFLINE forbids"):
        load_metric("dists")
    monkeypatch.delenv("NTIRE_SR_OFFLINE")

    def unreachable(*images):
        raise OSError("Name or service not known")

    stand_in.DISTS = stand_in.brisque = unreachable
    for name, file in (("dists", "dists_weights.pt"), ("brisque", "brisque_svm_weights.pt")):
        with pytest.raises(NtireSrError, match=f"{name} .* cannot be set up .*not known.* {file}"):
            load_metric(name)


def test_an_image_that_a_metric_cannot_measure_is_named_by_its_size():
    import_or_skip("piq")
    small = torch.zeros(1, 3, 20, 30).byte()
    with pytest.raises(NtireSrError, match="ms-ssim of an image of 30 x 20 pixels failed"):
        load_metric("ms-ssim").call(small, small)


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_more_noise_is_worse_in_the_stated_direction(name, hr):
    import_or_skip("piq")
    metric = load_metric(name)
    values = [metric.call(add_noise(hr, sigma), hr) for sigma in (0, 5, 15, 40)]
    assert values == sorted(values, reverse=metric.direction == "higher")
    assert len(set(values)) == 4


def test_every_offered_metric_exists_in_piq():
    piq = import_or_skip("piq")
    for name, offered in METRICS.items():
        assert hasattr(piq, offered.attribute), name
        assert isinstance(getattr(piq, offered.attribute), type) == offered.is_class, name


def test_ssim_of_flat_images_has_the_hand_computed_value():
    # without contrast SSIM is (2 a b + c) / (a**2 + b**2 + c) with c = .01**2 (Wang et al. 2004, eq. 6)
    import_or_skip("piq")
    a, b = torch.full((1, 3, 32, 32), 51).byte(), torch.full((1, 3, 32, 32), 102).byte()
    expected = (2 * 0.2 * 0.4 + 1e-4) / (0.2**2 + 0.4**2 + 1e-4)
    assert load_metric("ssim").call(a, b) == pytest.approx(expected, abs=2e-5)
