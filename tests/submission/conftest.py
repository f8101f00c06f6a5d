"""What several tests of handing in need."""

from pathlib import Path

import pytest
import torch

from ntire_sr.models.loading import load_model
from ntire_sr.sampling.generate import Request, generate

CPU = torch.device("cpu")


@pytest.fixture
def samples(lr_folder, trained, tmp_path) -> Path:
    """Two images with three samples each and their manifest."""
    loaded = load_model(trained / "weights.safetensors", None, CPU)
    generate(Request(lr_folder, tmp_path / "SR", samples=3), loaded, CPU)
    return tmp_path / "SR"
