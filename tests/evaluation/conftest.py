"""Folders of samples to score."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ntire_sr.core.images import write_png
from ntire_sr.core.layout import SampleName


@dataclass(frozen=True)
class Folders:
    """HR images and their samples."""

    hr: Path
    sr: Path


@pytest.fixture
def folders(tmp_path, photograph) -> Folders:
    """HR of 96 x 128 and 70 x 83, with three samples each that are nearly the HR images."""
    found = Folders(tmp_path / "HR", tmp_path / "SR")
    for index, image in enumerate((photograph, np.ascontiguousarray(photograph[:70, :83]))):
        write_png(found.hr / f"{801 + index:04d}.png", image)
        for k in range(3):
            sample = image.copy()
            sample[8 + 16 * k : 24 + 16 * k, 8:40] ^= 3
            write_png(found.sr / str(SampleName(index, k)), sample)
    return found
