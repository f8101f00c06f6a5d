"""Trainings that are killed at any moment and go on. `make torture` runs the long campaigns."""

import json
import random
import shutil
import time

import pytest
import torch
from conftest import TINIEST
from processes import start_command
from safetensors.torch import load_file
from waiting import wait_until

from ntire_sr.core.run_folder import RunFolder
from ntire_sr.training.checkpoints import load_checkpoint, saved_steps
from ntire_sr.training.loop import train
from ntire_sr.training.run_config import make_run_config

STEPS = 40
VALUES = {
    "srgan": {**TINIEST, "steps": STEPS, "checkpoint_every": 3, "max_minutes": 0},
    "stochastic": {
        **{name: value for name, value in TINIEST.items() if name != "blocks"},
        "model": "stochastic", "growth": 4, "blocks": 1, "fine_channels": 4, "latent_channels": 2,
        "steps": STEPS, "checkpoint_every": 3, "max_minutes": 0,
    },
}  # fmt: skip


def campaign(model: str, kills: int, seed: int, folder) -> int:
    """Train to the end through `kills` kills; the number that struck a process that was at work.

    Half the kills fall on a moment of the start, before anything is saved, or on any other; the rest wait
    for the next checkpoint, so that the run gets on, and fall a little behind it.
    """
    chance = random.Random(seed)
    straight, killed = RunFolder(folder / "straight"), RunFolder(folder / "killed")
    train(make_run_config(VALUES[model]), straight)
    words = ["train", "--run", str(killed.path), "--resume"]
    words += [word for name, value in VALUES[model].items() for word in ("--set", f"{name}={value}")]
    struck = 0
    for number in range(kills):
        before = newest(killed)
        process = start_command(*words)
        if number % 2:
            wait_until(lambda before=before: newest(killed) != before, process)
            time.sleep(chance.uniform(0, 0.05))
        else:
            time.sleep(chance.uniform(0, 1))
        at_work = process.poll() is None
        result = process.kill()
        assert at_work or result.code == 0, result.err
        struck += at_work
        if saved_steps(killed.checkpoints):  # whole after every kill
            assert not load_checkpoint(killed.checkpoints)[2]
            assert load_file(killed.weights)
        if not at_work:  # it was faster than the kill: train once more, so that the rest strikes something
            shutil.rmtree(killed.path)
    done = start_command(*words).wait()
    assert done.code == 0, done.err
    assert newest(killed) == STEPS
    uninterrupted, resumed = load_file(straight.weights), load_file(killed.weights)
    assert all(torch.equal(value, resumed[name]) for name, value in uninterrupted.items())
    uninterrupted, resumed = (load_checkpoint(run.checkpoints)[1]["training"] for run in (straight, killed))
    assert same(uninterrupted, resumed)
    assert log_without_times(straight) == log_without_times(killed)
    return struck


def newest(run: RunFolder) -> int:
    return next((step for step, _ in saved_steps(run.checkpoints)), 0)


def same(first, second) -> bool:
    """Equal to the last bit, through dictionaries and lists."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    return first == second


def log_without_times(run: RunFolder) -> list[dict]:
    parsed = [json.loads(line) for line in run.log.read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if k not in ("images_per_second", "loader_share")} for line in parsed
    ]


@pytest.mark.parametrize("model", VALUES)
def test_random_kills_do_not_change_the_weights(model, tmp_path):
    assert campaign(model, 3, 1, tmp_path) >= 1


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("model", VALUES)
def test_many_random_kills_do_not_change_the_weights(model, seed, tmp_path):
    assert campaign(model, 12, 100 + seed, tmp_path) >= 6
