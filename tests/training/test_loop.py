"""Training runs: what they leave behind, and going on after an interruption."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from conftest import TINIEST, TINIEST_WORDS, RecordedProgress
from processes import start_command
from safetensors.torch import load_file
from waiting import wait_until

from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.models.loading import load_model
from ntire_sr.models.weights_files import save_weights
from ntire_sr.samples.image_files import write_png
from ntire_sr.training import checkpoints as checkpoint
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.loop import train
from ntire_sr.training.run_config import load_run_config, make_run_config, resume_run_config
from ntire_sr.training.status import is_finished

pytestmark = pytest.mark.numerical


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(run.weights)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_run_writes_config_log_weights_and_two_checkpoints(tmp_path):
    run = RunFolder(tmp_path)
    run_config = make_run_config({**TINIEST, "steps": 4, "precision": "float32"})
    result = train(run_config, run)
    assert (result.stop_reason, result.steps_done) == ("finished", 4)
    assert [step for step, _ in checkpoint.saved_steps(run.checkpoints)] == [4, 3]
    lines = [json.loads(line) for line in run.log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert load_run_config(run) == run_config
    assert not list(tmp_path.rglob("*.part"))


def test_resumed_run_equals_the_uninterrupted_one(tmp_path):
    straight, parts = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "parts")
    run_config = make_run_config({**TINIEST, "steps": 5})
    train(run_config, straight)
    # the time limit ends the first call after its first step
    train(make_run_config({**TINIEST, "steps": 5, "max_minutes": 1e-9}), parts)
    assert not is_finished(parts, run_config.config.steps)
    result = train(resume_run_config(parts, {"max_minutes": 0}), parts, resume=True)
    assert result.stop_reason == "finished"
    assert same(weights(straight), weights(parts))
    assert [json.loads(line)["step"] for line in parts.log.read_text().splitlines()] == [1, 2, 3, 4, 5]


def test_a_killed_run_resumes_to_the_same_bits(tmp_path):
    run_config = make_run_config({**TINIEST, "steps": 30, "max_minutes": 0})
    straight, killed = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "killed")
    train(run_config, straight)
    words = ["train", "--run", str(killed.path), *TINIEST_WORDS, "--resume", "--max-minutes", "0"]
    words[words.index("steps=2")] = "steps=30"
    for _ in range(5):  # on a busy machine the run may end before it is killed
        process = start_command(*words)
        wait_until(lambda: checkpoint.saved_steps(killed.checkpoints), process)
        process.kill()
        if checkpoint.saved_steps(killed.checkpoints)[0][0] < 30:
            break
        shutil.rmtree(killed.path)
    assert 1 <= checkpoint.saved_steps(killed.checkpoints)[0][0] < 30, "the run was killed under way"
    train(resume_run_config(killed, {}), killed, resume=True)
    assert same(weights(straight), weights(killed))


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_sigterm_ends_a_run_with_a_checkpoint_and_exit_code_0(tmp_path):
    words = ["train", "--run", str(tmp_path / "r"), *TINIEST_WORDS, "--max-minutes", "0"]
    words[words.index("steps=2")] = "steps=100000"
    process = start_command(*words)
    run = RunFolder(tmp_path / "r")
    wait_until(run.log.exists, process)
    process.send_signal(signal.SIGTERM)
    result = process.wait()
    assert result.code == 0, result.err
    assert "stopped (SIGTERM) after" in result.out
    assert run.weights.exists() and checkpoint.saved_steps(run.checkpoints)


def test_resume_without_checkpoint_starts_and_after_the_end_does_nothing(tmp_path):
    run = RunFolder(tmp_path)
    run_config = make_run_config(TINIEST)
    assert train(run_config, run, resume=True).steps_done == 2
    before = run.weights.stat().st_mtime_ns
    assert is_finished(run, run_config.config.steps)
    assert train(resume_run_config(run, {}), run, resume=True).stop_reason == "finished"
    assert run.weights.stat().st_mtime_ns == before


def test_an_existing_run_is_never_overwritten(tmp_path):
    run = RunFolder(tmp_path)
    train(make_run_config(TINIEST), run)
    with pytest.raises(UsageError, match="already holds a run\n  try: add --resume"):
        train(make_run_config(TINIEST), run)


def test_resume_may_change_steps_but_not_the_run(tmp_path):
    run = RunFolder(tmp_path)
    train(make_run_config(TINIEST), run)
    run_config = resume_run_config(run, {"steps": "3", "checkpoint_every": 5, "gamma": "0.4"})
    assert (run_config.config.steps, run_config.config.checkpoint_every) == (3, 5)
    assert train(run_config, run, resume=True).steps_done == 3
    with pytest.raises(UsageError, match=r"was started with gamma=0\.4, not 0\.3"):
        resume_run_config(run, {"gamma": "0.3"})
    with pytest.raises(UsageError, match="try: gamma"):
        resume_run_config(run, {"gama": "0.3"})


def test_resume_with_other_photographs_is_refused(tmp_path):
    write_png(tmp_path / "hr" / "a.png", np.zeros((64, 64, 3), np.uint8))
    run = RunFolder(tmp_path / "run")
    values = {**TINIEST, "hr": str(tmp_path / "hr"), "validation": "none", "cache": "none"}
    train(make_run_config(values), run)
    write_png(tmp_path / "hr" / "a.png", np.ones((64, 64, 3), np.uint8))
    with pytest.raises(UsageError, match=r"not those that the run in .* was started with"):
        train(resume_run_config(run, {"steps": 3}), run, resume=True)


def test_damaged_newest_checkpoint_is_skipped_with_a_warning(tmp_path):
    run = RunFolder(tmp_path)
    run_config = make_run_config({**TINIEST, "steps": 3})
    train(run_config, run)
    expected = weights(run)
    newest = checkpoint.saved_steps(run.checkpoints)[0][1]
    newest.write_bytes(newest.read_bytes()[:100])
    run.weights.unlink()
    progress = RecordedProgress()
    train(run_config, run, True, progress)
    assert "skipped" in "\n".join(progress.messages)
    assert same(weights(run), expected)
    for _, path in checkpoint.saved_steps(run.checkpoints):
        path.write_bytes(b"")
    with pytest.raises(NtireSrError, match="no checkpoint can be read"):
        train(run_config, run, resume=True)


def test_a_failed_save_is_an_error_and_keeps_the_earlier_checkpoints(tmp_path, monkeypatch):
    run = RunFolder(tmp_path)
    train(make_run_config(TINIEST), run)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NtireSrError, match="No space left"):
        train(resume_run_config(run, {"steps": 4}), run, resume=True)
    monkeypatch.undo()
    assert checkpoint.load_checkpoint(run.checkpoints)[0] == 2


@pytest.mark.parametrize(
    ("rate", "message"), [(1e30, "training has diverged"), (1.0, "grey levels out of range at step")]
)
def test_a_diverged_training_stops_with_its_step(tmp_path, rate, message):
    with pytest.raises(NtireSrError, match=message) as caught:
        train(
            make_run_config({**TINIEST, "steps": 50, "learning_rate": rate, "checkpoint_every": 100}),
            RunFolder(tmp_path),
        )
    assert caught.value.remedy.endswith("no checkpoint was written before")


def test_diverged_training_names_the_checkpoint_that_is_kept(tmp_path):
    values = {**TINIEST, "steps": 3, "learning_rate": 100.0, "checkpoint_every": 1}
    with pytest.raises(NtireSrError) as caught:
        train(make_run_config(values), RunFolder(tmp_path))
    assert caught.value.remedy.endswith("the checkpoint of step 1 is kept")
    assert checkpoint.saved_steps(RunFolder(tmp_path).checkpoints)[0][0] == 1


def test_failed_start_leaves_no_empty_folder(tmp_path):
    (tmp_path / "HR").mkdir()
    (tmp_path / "HR" / "1.png").write_bytes(b"damaged")
    with pytest.raises(NtireSrError):
        train(make_run_config({**TINIEST, "hr": str(tmp_path / "HR")}), RunFolder(tmp_path / "runs" / "r"))
    assert not (tmp_path / "runs").exists()


def test_training_starts_from_matching_tensors_of_other_weights(tmp_path):
    first, same_again, larger = (RunFolder(tmp_path / name) for name in ("first", "same", "larger"))
    train(make_run_config(TINIEST), first)
    values = {**TINIEST, "learning_rate": 1e-12, "ema_decay": 0.0, "start_from": str(first.weights)}
    progress = RecordedProgress()
    train(make_run_config(values), same_again, progress=progress)
    assert all(
        torch.allclose(value, weights(same_again)[name], atol=1e-8) for name, value in weights(first).items()
    )
    assert same_again.weights.read_bytes().count(b"start_from_sha256") == 1
    train(make_run_config({**values, "scale": 8, "steps": 1}), larger, progress=progress)
    assert all(
        torch.allclose(value, weights(larger)[name], atol=1e-8) for name, value in weights(first).items()
    )
    count = len(weights(first))
    assert "\n".join(progress.messages).count(f"initialised with {count} of the {count} tensors") == 2
    first.weights.unlink()  # a run that goes on needs it no more
    assert train(resume_run_config(larger, {"steps": 2}), larger, resume=True).steps_done == 2
    assert larger.weights.read_bytes().count(b"start_from_sha256") == 1


def test_unsuitable_initial_weights_are_refused(tmp_path):
    run, second_run = RunFolder(tmp_path / "first"), RunFolder(tmp_path / "other")
    train(make_run_config(TINIEST), run)
    strange = tmp_path / "strange.safetensors"
    save_weights(strange, "srgan", 4, make_run_config(TINIEST).settings, {"head": torch.zeros(1)}, {})
    for changes, said in (
        ({"start_from": str(tmp_path / "absent")}, "there are no weights at"),
        ({"start_from": str(strange)}, "no tensor of .* fits"),
        ({"start_from": str(run.weights), "model": "stochastic"}, "holds weights of srgan, not of stochastic"),
    ):
        with pytest.raises(UsageError, match=said):
            train(make_run_config({**TINIEST, **changes}), second_run)


def test_seed_determines_the_generator(tmp_path):
    trained = []
    for number, seed in enumerate((1, 1, 2)):
        run = RunFolder(tmp_path / str(number))
        train(make_run_config({**TINIEST, "seed": seed}), run)
        trained.append(weights(run))
    assert same(trained[0], trained[1])
    assert not same(trained[0], trained[2])


def test_training_does_not_disturb_the_callers_random_numbers(tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    train(make_run_config(TINIEST), RunFolder(tmp_path))
    assert torch.equal(torch.rand(1), expected)


def test_cuda_is_refused_without_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="this torch sees no CUDA GPU"):
        train(make_run_config({**TINIEST, "device": "cuda"}), RunFolder(tmp_path))


def test_resume_keeps_the_values_that_auto_chose(tmp_path):
    straight, parts = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "parts")
    auto = {**TINIEST, "features": "auto", "steps": 3}
    train(make_run_config(auto), straight)
    train(make_run_config({**auto, "max_minutes": 1e-9}), parts)
    assert load_run_config(parts).settings.features == "squeezenet1_1"
    train(resume_run_config(parts, {"max_minutes": 0}), parts, resume=True)
    assert same(weights(straight), weights(parts))


def test_checkpoints_without_a_configuration_still_count_as_a_run(tmp_path):
    run = RunFolder(tmp_path)
    train(make_run_config(TINIEST), run)
    run.config.unlink()
    with pytest.raises(UsageError, match="already holds a run"):
        train(make_run_config(TINIEST), run)
    with pytest.raises(UsageError, match="belong to a run with channels=4"):
        train(make_run_config({**TINIEST, "channels": 8}), run, resume=True)
    assert train(make_run_config({**TINIEST, "steps": 3}), run, resume=True).steps_done == 3


def test_damaged_log_does_not_stop_a_resume(tmp_path):
    run = RunFolder(tmp_path)
    train(make_run_config(TINIEST), run)
    with open(run.log, "ab") as file:
        file.write(b'{"step": 3, "lo\xff')
    train(resume_run_config(run, {"steps": 3}), run, resume=True)
    assert [json.loads(line)["step"] for line in run.log.read_text().splitlines()] == [1, 2, 3]


def test_run_resumes_from_another_working_directory(tmp_path, monkeypatch, photograph):
    write_png(tmp_path / "data" / "a.png", photograph)
    monkeypatch.chdir(tmp_path)
    run = RunFolder(tmp_path / "run")
    train(make_run_config({**TINIEST, "hr": "data"}), run)
    monkeypatch.chdir(tmp_path / "data")
    assert train(resume_run_config(run, {"steps": 3}), run, resume=True).steps_done == 3


def test_run_reports_the_cache_and_resumes_without_it(tmp_path, photograph):
    write_png(tmp_path / "data" / "a.png", photograph)
    straight, parts = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "parts")
    values = {**TINIEST, "hr": str(tmp_path / "data"), "steps": 3}
    progress = RecordedProgress()
    train(make_run_config({**values, "cache": str(tmp_path / "cache")}), straight, progress=progress)
    assert f"decoded images: in the cache {tmp_path / 'cache'}" in "\n".join(progress.messages)
    train(make_run_config({**values, "max_minutes": 1e-9}), parts)
    train(resume_run_config(parts, {"max_minutes": 0, "cache": "none"}), parts, True, progress)
    assert "decoded images: in memory" in "\n".join(progress.messages)
    assert same(weights(straight), weights(parts))


def test_log_has_the_share_of_time_waiting_for_batches(tmp_path):
    run = RunFolder(tmp_path)
    train(make_run_config(TINIEST), run)
    lines = [json.loads(line) for line in run.log.read_text().splitlines()]
    assert all(0 <= line["loader_share"] <= 1 for line in lines)  # rounded to four digits


def test_checkpoint_without_a_newer_setting_resumes(tmp_path):
    run = RunFolder(tmp_path)
    run_config = make_run_config({**TINIEST, **TrainConfig.EARLIER})
    train(run_config, run)
    step, path = checkpoint.saved_steps(run.checkpoints)[0]
    state = torch.load(path, weights_only=True)
    for name in TrainConfig.EARLIER:
        del state["plan"][name]
    checkpoint.save_checkpoint(run.checkpoints, step, state)
    assert train(resume_run_config(run, {"steps": 3}), run, resume=True).steps_done == 3


def test_weights_file_records_the_digest_of_the_images(tmp_path):
    from safetensors import safe_open

    from ntire_sr.data.patches import PatchDataset

    run = RunFolder(tmp_path)
    train(make_run_config(TINIEST), run)
    with safe_open(run.weights, "pt") as file:
        facts = json.loads(file.metadata()["facts"])
    assert facts["data_sha256"] == PatchDataset(None, 32, 4).digest


def test_div2k_validation_names_in_training_give_a_warning(tmp_path, photograph):
    for name in ("0801.png", "0002.png"):
        write_png(tmp_path / "hr" / name, photograph)
    progress = RecordedProgress()
    train(
        make_run_config({**TINIEST, "hr": str(tmp_path / "hr")}), RunFolder(tmp_path / "run"), progress=progress
    )
    assert "1 image named as DIV2K's validation or test (0801.png)" in "\n".join(progress.messages)


def test_weights_file_has_the_last_validation_figures_after_a_resume(tmp_path, photograph):
    write_png(tmp_path / "val" / "a.png", photograph)
    run = RunFolder(tmp_path / "run")
    values = {**TINIEST, "validation": str(tmp_path / "val"), "validate_every": 2, "steps": 3}
    train(make_run_config({**values, "max_minutes": 1e-9}), run)
    assert facts(run)["metrics"] == {}
    train(resume_run_config(run, {"max_minutes": 0, "steps": 2}), run, resume=True)
    metrics = facts(run)["metrics"]
    assert metrics["step"] == 2 and metrics["val_lr_psnr_worst"] >= 50
    train(resume_run_config(run, {"steps": 2, "checkpoint_every": 1}), run, resume=True)
    assert facts(run)["metrics"] == metrics


def facts(run: RunFolder) -> dict:
    return load_model(run.weights, None, torch.device("cpu")).facts
