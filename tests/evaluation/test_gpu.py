"""Scoring on a GPU."""

import pytest
import torch

from ntire_sr.evaluation.score_folder import score_folder
from ntire_sr.evaluation.scorer import Scorer


@pytest.fixture
def gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("this machine has no GPU that torch can use")


def compared(folder, tmp_path, device: str, alexnet):
    names = ("niqe", "log-spectral", "patch-frechet")
    return score_folder(
        folder / "HR", folder / "SR", tmp_path / device, lpips_weights=alexnet, device=device, realism=names
    ).score.summary()


def test_a_gpu_gives_the_figures_of_a_processor(gpu, golden, alexnet, tmp_path):
    expected, found = (compared(golden / "x4", tmp_path, device, alexnet) for device in ("cpu", "cuda"))
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-3 if name in ("niqe", "niqe_of_HR") else 1e-4), name


def test_the_way_of_other_devices_gives_the_figures_of_processors(golden, alexnet, tmp_path, monkeypatch):
    # the branches for GPUs, run on the processor
    expected = compared(golden / "x4", tmp_path, "cpu", alexnet)
    plain = Scorer.__init__

    def without_shortcuts(self, settings):
        plain(self, settings)
        self.lpips.on_processor = []

    monkeypatch.setattr(Scorer, "__init__", without_shortcuts)
    found = compared(golden / "x4", tmp_path / "direct", "cpu", alexnet)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name
