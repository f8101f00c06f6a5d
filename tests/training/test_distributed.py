"""Several processes at one training, as torchrun starts them, with the gloo backend."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import TINIEST
from pages import ROOT
from processes import run_group
from safetensors.torch import load_file
from waiting import PATIENCE_SECONDS

from ntire_sr.challenge.projection import project
from ntire_sr.core import distributed
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.core.seeding import make_generator
from ntire_sr.models.loading import load_model
from ntire_sr.training.loop import train
from ntire_sr.training.run_config import make_run_config

MODELS = {
    "srgan": TINIEST,
    "msgan": {**TINIEST, "diversity": "ratio", "gamma": 0.015},
    "stochastic": {
        **{name: value for name, value in TINIEST.items() if name != "blocks"},
        "model": "stochastic", "growth": 4, "blocks": 1, "fine_channels": 4, "latent_channels": 2, "warm_up": 0.0,
        "precision": "float32",
    },
    "own network": {
        **{name: value for name, value in TINIEST.items() if name != "blocks"},
        "model": f"{ROOT / 'docs' / 'networks' / 'noise.py'}:build", "warm_up": 0.0,
    },
}  # fmt: skip


def train_words(folder: Path, values: dict, *words: str) -> list[str]:
    settings = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    return ["train", "--run", str(folder), *words, *settings]


def spread(processes: int, folder: Path, values: dict, *words: str) -> str:
    """Train by several processes; their standard output."""
    results = run_group(*[train_words(folder, values, *words)] * processes)
    assert all(result.code == 0 for result in results), results
    return "".join(result.out for result in results)


def spread_by_torchrun(processes: int, folder: Path, values: dict) -> str:
    """The same by torchrun itself."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]
    command += ["-m", "--", "ntire_sr", *train_words(folder, values)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def logged(run: RunFolder) -> list[dict[str, float]]:
    return [json.loads(line) for line in run.log.read_text().splitlines()]


@pytest.mark.numerical
@pytest.mark.parametrize("model", MODELS)
def test_two_processes_have_the_losses_of_one(model, tmp_path, in_one_thread):
    values = {**MODELS[model], "batch": 4, "steps": 4}
    alone, shared = RunFolder(tmp_path / "alone"), RunFolder(tmp_path / "shared")
    train(make_run_config(values), alone)  # in one thread: with two a gradient's length is off by up to 8e-4
    start = spread_by_torchrun if model == "stochastic" else spread  # once is enough: it takes ten seconds
    said = start(2, shared.path, values)
    assert said.count("finished: 4 steps") == 1  # one process speaks
    measured = {"images_per_second", "loader_share"}
    for single, both in zip(logged(alone), logged(shared), strict=True):
        assert single.keys() == both.keys()
        # the first step begins with the same weights; later ones with weights that Adam's division has moved by up to
        # 1e-3 of a gradient's length where roundings differ, as kernels for another batch size do
        close = 2e-4 if single["step"] == 1 else 1e-2
        for name in single.keys() - measured:
            assert both[name] == pytest.approx(single[name], rel=close, abs=1e-6), (single["step"], name)
    # not the weights: what projection takes away again (a bias of the last layer) drifts with rounding
    lr = torch.rand(1, 3, 12, 12)
    images = []
    for run in (alone, shared):
        generator = load_model(values["model"], None, torch.device("cpu"), weights=run.weights).generator
        drawn = generator.sample(generator.trunk(lr), lr, generator.latents(lr, [make_generator(1)]))
        images.append(project(drawn, lr, 4))
    assert torch.allclose(*images, atol=2e-4)


def test_stopped_distributed_training_resumes_to_the_same_bits(tmp_path):
    # three, since two numbers have the same sum in either order
    values = {**MODELS["stochastic"], "batch": 3, "steps": 4}
    straight, parts = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "parts")
    spread(3, straight.path, values)
    said = spread(3, parts.path, values, "--max-minutes", "0.0000001")
    assert "stopped (time) after 1 of 4 steps" in said
    spread(3, parts.path, {}, "--resume", "--max-minutes", "0")
    uninterrupted, resumed = load_file(straight.weights), load_file(parts.weights)
    assert all(torch.equal(value, resumed[name]) for name, value in uninterrupted.items())
    assert [line["step"] for line in logged(parts)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("RANK", "x", "the variable RANK is 'x', not a whole number"),
        ("RANK", "2", "the variable RANK is 2, and WORLD_SIZE 2"),
        ("WORLD_SIZE", "", "the variable WORLD_SIZE is '', not a whole number of 1 or more"),
        ("MASTER_PORT", None, "the variable MASTER_PORT is not set"),
        ("MASTER_PORT", "99999", "give no address: 127.0.0.1:99999"),
        ("MASTER_ADDR", "", "give no address: :1"),
    ],
)
def test_broken_variables_of_torchrun_are_refused(monkeypatch, variable, value, message):
    variables = {
        "RANK": "0",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "1",
        variable: value,
    }
    for name, text in variables.items():
        if text is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, text)
    with pytest.raises(UsageError, match=message) as caught:
        ProcessGroup()
    assert "unset RANK WORLD_SIZE" in caught.value.remedy


def test_process_without_the_others_says_what_it_waits_for(monkeypatch, capfd):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name, value in {"RANK": 0, "WORLD_SIZE": 3, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(distributed, "SECONDS_BEFORE_MESSAGE", 0)
    monkeypatch.setattr(distributed, "START_MINUTES", 0.01)
    with pytest.raises(NtireSrError, match=f"process 0 of 3 cannot join the others at 127.0.0.1:{port}"):
        ProcessGroup()
    assert (
        f"process 0 of 3 (RANK and WORLD_SIZE) waits for processes 1, 2 at 127.0.0.1:{port}"
        in capfd.readouterr().err
    )


def test_batch_not_divisible_by_processes_is_refused(tmp_path):
    results = run_group(*[train_words(tmp_path, {"batch": 3})] * 2)
    assert all(result.code != 0 for result in results)
    errors = "".join(result.err for result in results)
    assert "batch 3 cannot be shared equally by 2 processes" in errors and "batch=4" in errors


def test_processes_with_different_settings_are_refused(tmp_path):
    run = tmp_path / "run"
    results = run_group(*(train_words(run, {**MODELS["srgan"], "seed": seed}) for seed in (0, 1)))
    assert all(result.code != 0 for result in results)
    assert "the processes differ in seed (process 0: 0; process 1: 1)" in results[0].err, results[0].err
    assert not (run / "config.json").exists()
