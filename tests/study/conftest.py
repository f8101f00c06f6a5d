"""A small study, and a server for it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from studying import CHECKS, METHODS, PLACES, SIZE, Inputs, Server, serving

from ntire_sr.challenge.names import SampleName
from ntire_sr.samples.image_files import write_png
from ntire_sr.study.folder import Study, StudyFolder, load_study
from ntire_sr.study.make import make_study


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory, photograph: np.ndarray) -> Inputs:
    """Two HR images of 96 x 128 and two samples of each method, which are noise on the image or a blurred one."""
    folder = tmp_path_factory.mktemp("inputs")
    random = np.random.default_rng(0)
    for index, image in enumerate((photograph, np.ascontiguousarray(photograph[::-1]))):
        write_png(folder / "HR" / f"{801 + index:04d}.png", image)
        for k in range(2):
            noise = random.integers(-9, 10, image.shape)
            for name, base in zip(METHODS, (image, cv2.GaussianBlur(image, (0, 0), 2)), strict=True):
                write_png(
                    folder / name / str(SampleName(index, k)), np.clip(base + noise, 0, 255).astype(np.uint8)
                )
    return Inputs(folder / "HR", [(name, folder / name) for name in METHODS])


@pytest.fixture(scope="session")
def first_study(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the study lies that `study_folder` copies."""
    out = tmp_path_factory.mktemp("study") / "study"
    make_study(inputs.hr, inputs.sr, out, places=PLACES, size=SIZE, check=CHECKS, texture=0, lr=True)
    return out


@pytest.fixture
def study_folder(tmp_path: Path, first_study: Path) -> StudyFolder:
    """A study of two methods: a copy that tests may change."""
    return StudyFolder(shutil.copytree(first_study, tmp_path / "study"))


@pytest.fixture
def study(study_folder: StudyFolder) -> Study:
    return load_study(study_folder)[0]


@pytest.fixture
def server(study_folder: StudyFolder) -> Iterator[Server]:
    with serving(study_folder) as (running, _):
        yield running
