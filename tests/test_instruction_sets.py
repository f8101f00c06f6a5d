"""Samples drawn under two instruction sets, and the choice of settings of tests/instruction_sets.py."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from instruction_sets import AVX2, AVX512, SETTINGS, available_settings, check, processor_flags

from ntire_sr.samples.image_files import read_image, write_png
from ntire_sr.samples.manifest import load_manifest
from ntire_sr.sampling.tolerance import TOLERANCES, same_sample
from ntire_sr.submission.verify import verify

pytestmark = pytest.mark.numerical

AVAILABLE = available_settings(processor_flags())
needs_settings = pytest.mark.skipif(len(AVAILABLE) < 2, reason="needs Linux on an x86 processor with AVX2")
DRAWINGS = (("float32", 4), ("float32", 8), ("bfloat16", 4))
DRAW = f"""
import sys
from pathlib import Path
import torch
from ntire_sr.models.loading import load_model
from ntire_sr.sampling.generate import Request, generate

lr, out, cpu = Path(sys.argv[1]), Path(sys.argv[2]), torch.device("cpu")
for precision, scale in {DRAWINGS!r}:
    request = Request(lr, out / f"{{precision}}_x{{scale}}", samples=2, precision=precision)
    generate(request, load_model("stochastic", scale, cpu), cpu)
"""


@pytest.fixture(scope="module")
def drawings(tmp_path_factory, photograph) -> tuple[Path, list[Path]]:
    """A folder of LR images, and two of samples: under the oldest and the newest instruction set."""
    folder = tmp_path_factory.mktemp("drawings")
    write_png(folder / "LR" / "0801.png", np.ascontiguousarray(photograph[30:42, 40:54]))
    outs = [folder / "oldest", folder / "newest"]
    for setting, out in zip((AVAILABLE[0], AVAILABLE[-1]), outs, strict=True):
        environment = {**os.environ, **setting.environment()}
        subprocess.run([sys.executable, "-c", DRAW, folder / "LR", out], env=environment, check=True)
    return folder / "LR", outs


@needs_settings
@pytest.mark.parametrize(("precision", "scale"), DRAWINGS)
def test_samples_of_two_instruction_sets_are_within_tolerance(drawings, precision, scale):
    folders = [out / f"{precision}_x{scale}" for out in drawings[1]]
    for name in load_manifest(folders[0]).files:
        first, second = (read_image(folder / name).astype(int) for folder in folders)
        assert np.abs(first - second).max() <= TOLERANCES[precision].most
        assert np.abs(first - second).mean() <= (0.01 if precision == "float32" else TOLERANCES[precision].mean)


@needs_settings
@pytest.mark.parametrize(("precision", "scale"), DRAWINGS)
def test_verify_regenerates_samples_of_other_instruction_sets(drawings, precision, scale):
    lr, outs = drawings
    for out in outs:  # this process computes with those of the machine, or of `make test-isa`
        result = verify([out / f"{precision}_x{scale}"], lr, regenerate=2)
        assert not result.problems and len(result.drawn_again) == 2


@needs_settings
def test_another_sample_of_the_same_image_exceeds_the_tolerance(drawings):
    for precision, scale in DRAWINGS:
        folder = drawings[1][0] / f"{precision}_x{scale}"
        first, second = (read_image(folder / name) for name in load_manifest(folder).files)
        assert same_sample(first, first, precision) and not same_sample(first, second, precision)


@needs_settings
def test_requested_instruction_set_is_used():
    check(AVAILABLE[0])


def test_processor_flags_determine_the_tested_settings():
    def names(flags):
        return [setting.name for setting in available_settings(flags)]

    assert names(frozenset()) == []
    assert names(frozenset({"sse4_1"})) == ["oneDNN SSE41, ATen default"]
    assert names(AVX2 | {"sse4_1"}) == [
        "oneDNN SSE41, ATen default",
        "oneDNN SSE41, ATen avx2",
        "oneDNN AVX2, ATen avx2",
    ]
    assert names(AVX512 | {"sse4_1"}) == [setting.name for setting in SETTINGS[:3]]
    assert names(AVX512 | {"sse4_1", "amx_tile", "amx_int8", "amx_bf16"}) == [s.name for s in SETTINGS]
