"""Files that version 0.1.0 wrote, made by the commands of tests/version_0_1_0/README.md, are read as before."""

import json
import shutil
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from ntire_sr.core.device import BFLOAT16_VARIABLE, processor_computes_bfloat16
from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import read_json, write_json
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.core.settings import field_types, removed_fields, renamed_fields
from ntire_sr.evaluation.scoring.records import parse_record, score_to_json
from ntire_sr.models.earlier_names import with_current_names
from ntire_sr.models.loading import load_model
from ntire_sr.models.weights_files import read_weights
from ntire_sr.samples.manifest import SamplingSettings, load_manifest
from ntire_sr.training.checkpoints import load_checkpoint, save_checkpoint
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.loop import train
from ntire_sr.training.run_config import load_run_config, read_settings, resume_run_config
from ntire_sr.training.status import run_state
from ntire_sr.training.trainers.srgan import SrganSettings
from ntire_sr.training.trainers.stochastic_settings import StochasticSettings

pytestmark = pytest.mark.numerical

FILES = Path(__file__).with_name("version_0_1_0")
# Largest difference between weights of two processors, as a share of the step's length. Rounding differs among
# instruction sets, and Adam divides small gradients by their size: rounding errors of 1e-7 in all weights before the step
# gave up to .0024 in 25 runs, convolutions in bfloat16 .14.
MOST_OF_STEP = 0.02


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files, where they may be written to."""
    return shutil.copytree(FILES, tmp_path / "files")


@pytest.mark.parametrize("model", ["srgan", "stochastic"])
def test_stopped_0_1_0_run_resumes_to_the_same_weights(copy, model):
    run = RunFolder(copy / model)
    _, expected = read_weights(run.weights)  # of step 2, where the checkpoint is of step 1
    start = ema_of_checkpoint(run)
    run.weights.unlink()
    assert run_state(run) == "1 of 2 steps"
    result = train(resume_run_config(run, {}), run, resume=True)
    assert result.stop_reason == "finished" and run_state(run) == "finished"
    assert_same_step(read_weights(run.weights)[1], expected, start)


def ema_of_checkpoint(run: RunFolder) -> dict[str, torch.Tensor]:
    """The weights of the last checkpoint, under today's names."""
    _, state, _ = load_checkpoint(run.checkpoints)
    return with_current_names(state["training"]["average"])


def assert_same_step(
    weights: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], start: dict[str, torch.Tensor]
) -> None:
    """Compare weights that two processors trained by one step from `start`."""
    assert weights.keys() == expected.keys() == start.keys()

    def distance(first, second):
        return sum(float((first[name] - second[name]).double().square().sum()) for name in expected) ** 0.5

    assert distance(expected, start) > 0
    assert distance(weights, expected) <= MOST_OF_STEP * distance(expected, start)


@pytest.fixture
def processor_with_bfloat16(monkeypatch):
    """A processor that reports bfloat16 in hardware; where it has none, torch emulates it."""
    monkeypatch.delenv(BFLOAT16_VARIABLE, raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert processor_computes_bfloat16()


def without(run: RunFolder, names: set[str]) -> None:
    """Take settings out of a run's configuration and its last checkpoint."""
    config = read_json(run.config, "configuration")
    step, state, _ = load_checkpoint(run.checkpoints)
    for content in (config, config["settings"], state["plan"], state["plan"]["settings"]):
        for name in names & content.keys():
            del content[name]
    write_json(run.config, config)
    save_checkpoint(run.checkpoints, step, state)


def test_resume_without_precision_trains_in_float32_on_any_processor(copy, processor_with_bfloat16):
    run = RunFolder(copy / "stochastic")
    _, expected = read_weights(run.weights)
    start = ema_of_checkpoint(run)
    without(run, {*TrainConfig.EARLIER, *StochasticSettings.EARLIER})
    train(resume_run_config(run, {}), run, resume=True)
    assert load_run_config(run).settings.precision == "float32"
    assert_same_step(read_weights(run.weights)[1], expected, start)


def saved_fields() -> dict[type, set[str]]:
    """Record -> the fields that version 0.1.0 saved."""
    configs = {
        model: json.loads((FILES / model / "config.json").read_text()) for model in ("srgan", "stochastic")
    }
    return {
        TrainConfig: set(configs["srgan"]),
        SrganSettings: set(configs["srgan"]["settings"]),
        StochasticSettings: set(configs["stochastic"]["settings"]),
    }


@pytest.mark.parametrize("record", saved_fields())
def test_fields_added_since_0_1_0_have_earlier_values(record):
    names = {field.name for field in fields(record)}
    earlier = getattr(record, "EARLIER", {})
    renamed, removed = renamed_fields(record), removed_fields(record)
    saved = {renamed.get(name, name) for name in saved_fields()[record]} - removed.keys()
    assert names - saved <= earlier.keys() <= names


@pytest.mark.parametrize("index", [0, 1])
def test_score_records_of_0_1_0_are_read_without_loss(index):
    content = read_json(FILES / "score" / "records" / f"{index:06d}.json", "record")
    head, score = parse_record(content, "record")
    assert (
        score_to_json(score) | {name: content[name] for name in ("version", "key", "tensors_sha256")} == content
    )
    assert (head.version, score.index) == (1, index)


@pytest.mark.parametrize("model", ["srgan", "stochastic"])
def test_missing_settings_have_the_values_of_their_version(copy, model):
    run = RunFolder(copy / model)
    earlier = {**TrainConfig.EARLIER, **getattr(load_run_config(run).trainer.settings, "EARLIER", {})}
    without(run, set(earlier))
    run_config = load_run_config(run)
    for name, value in earlier.items():
        record = run_config.config if name in field_types(TrainConfig) else run_config.settings
        assert getattr(record, name) == value, name
    settings = read_settings(run.config, {})
    assert {name: settings[name] for name in earlier} == earlier
    assert run_config.config.cached_orientations != TrainConfig.cached_orientations  # auto today


def test_resume_ignores_presets_and_initial_weights(copy, monkeypatch):
    run = RunFolder(copy / "stochastic")
    config = read_json(run.config, "configuration") | {"start_from": str(copy / "gone.safetensors")}
    write_json(run.config, config)
    monkeypatch.setitem(load_run_config(run).trainer.presets, "tiny", {"adapter_blocks": 2, "sharp": 0.5})
    run_config = resume_run_config(run, {"steps": 3})
    assert (run_config.settings.adapter_blocks, run_config.config.sharp, run_config.config.steps) == (0, 0.0, 3)


@pytest.mark.parametrize("name", ["batch", "gamma"])
def test_configuration_without_a_setting_of_0_1_0_is_damaged(copy, name):
    run = RunFolder(copy / "stochastic")
    without(run, {name})
    with pytest.raises(NtireSrError, match=rf"config\.json is damaged \({name} missing"):
        load_run_config(run)


def test_samples_of_0_1_0_are_recognised_and_regenerate(copy, ntire_sr_command):
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


def test_interrupted_0_1_0_scoring_keeps_its_results(copy, ntire_sr_command):
    words = ("--hr", copy / "HR", "--sr", copy / "samples", "--out", copy / "score")
    result = ntire_sr_command("score", *words, "--without-lpips", "--no-report")
    assert "2 of 2 images had been measured before; their figures were kept" in result.out


@pytest.mark.parametrize("model", ["srgan", "stochastic"])
def test_weights_of_0_1_0_build_their_generator(model):
    path = FILES / model / "weights.safetensors"
    loaded = load_model(path, None, torch.device("cpu"))
    assert (loaded.name, loaded.scale, loaded.facts["step"]) == (model, 4, 2)
    _, tensors = read_weights(path)
    assert all(torch.equal(loaded.generator.state_dict()[name], value) for name, value in tensors.items())


def test_manifest_of_0_1_0_saved_again_changes_three_keys_only(copy):
    folder = copy / "samples"
    before = json.loads((folder / "manifest.json").read_text())
    load_manifest(folder).save(folder)
    after = json.loads((folder / "manifest.json").read_text())
    assert before["settings"].pop("test_time_augmentation") is False
    for image in after["images"]:
        image["unreachable"], image["reachable_db"] = image.pop("infeasible"), image.pop("best_db")
    assert {after.pop(name) for name in ("code", "sources", "seconds")} == {None}
    assert {after["settings"].pop(name) for name in SamplingSettings.EARLIER} == {None, False, 1.0}
    assert after == before


def test_samples_of_0_1_0_keep_the_digest_of_their_settings(copy):
    manifest = load_manifest(copy / "samples")
    assert {record.settings_sha256 for record in manifest.files.values()} == {manifest.settings.digest}
