"""Files that version 0.1.0 wrote, made by the commands of tests/version_0_1_0/README.md, are read as before."""

import shutil
from pathlib import Path

import pytest
import torch

from ntire_sr.core.layout import RunFolder
from ntire_sr.core.manifest import load_manifest
from ntire_sr.models.registry import load_generator, read_weights
from ntire_sr.training.loop import train
from ntire_sr.training.run_config import resume_run_config
from ntire_sr.training.status import run_state

FILES = Path(__file__).with_name("version_0_1_0")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files, where they may be written to."""
    return shutil.copytree(FILES, tmp_path / "files")


@pytest.mark.parametrize("model", ["srgan", "stochastic"])
def test_a_run_that_was_stopped_goes_on_to_the_weights_that_it_would_have_had(copy, model):
    run = RunFolder(copy / model)
    _, expected = read_weights(run.weights)  # of step 2, where the checkpoint is of step 1
    run.weights.unlink()
    assert run_state(run) == "1 of 2 steps"
    result = train(resume_run_config(run, {}), run, resume=True)
    assert result.stop_reason == "finished" and run_state(run) == "finished"
    _, found = read_weights(run.weights)
    assert found.keys() == expected.keys()
    for name, value in expected.items():  # processors differ in the last bits
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_samples_are_known_by_their_manifest_and_drawn_again_the_same(copy, ntire_sr_command):
    words = (
        "--lr",
        copy / "LR",
        "--weights",
        copy / "stochastic" / "weights.safetensors",
        "--out",
        copy / "samples",
    )
    result = ntire_sr_command("generate", *words, "--samples", 2)
    assert result.code == 0, result.err
    assert "0 samples written, 4 kept" in result.out
    manifest = load_manifest(copy / "samples")
    assert len(manifest.files) == 4
    assert {record.settings_sha256 for record in manifest.files.values()} == {manifest.settings.digest}
    result = ntire_sr_command("verify", copy / "samples", "--regenerate", 4, "--lr", copy / "LR")
    assert "4 drawn again and found the same" in result.out, result.out


def test_figures_of_a_scoring_that_was_interrupted_are_kept(copy, ntire_sr_command):
    words = ("--hr", copy / "HR", "--sr", copy / "samples", "--out", copy / "score")
    result = ntire_sr_command("score", *words, "--without-lpips", "--no-report")
    assert "2 of 2 images had been measured before; their figures were kept" in result.out


@pytest.mark.parametrize("model", ["srgan", "stochastic"])
def test_weights_build_the_generator_that_they_were_trained_in(model):
    path = FILES / model / "weights.safetensors"
    loaded = load_generator(path, None, torch.device("cpu"))
    assert (loaded.model.name, loaded.scale, loaded.facts["step"]) == (model, 4, 2)
    _, tensors = read_weights(path)
    assert all(torch.equal(loaded.generator.state_dict()[name], value) for name, value in tensors.items())
