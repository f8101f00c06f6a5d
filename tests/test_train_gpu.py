"""Training on a GPU, where there is one."""

import json

import pytest
import torch
from conftest import TINIEST
from safetensors.torch import load_file

from ntire_sr.layout import RunFolder
from ntire_sr.plan import plan_resumed, plan_training
from ntire_sr.train import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

VALUES = {
    **{name: value for name, value in TINIEST.items() if name != "blocks"},
    "model": "stochastic", "growth": 4, "blocks": 1, "fine_channels": 4, "latent_channels": 2,
    "device": "cuda", "steps": 4, "validation": "auto",
}  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_learns_looks_and_goes_on(precision, tmp_path):
    run = RunFolder(tmp_path)
    plan = plan_training({**VALUES, "precision": precision, "max_minutes": 1e-9})
    assert train(plan, run).steps_done == 1
    assert train(plan_resumed(run, {"max_minutes": 0}), run, resume=True).steps_done == 4
    assert all(torch.isfinite(value).all() for value in load_file(run.weights).values())
    assert run.previews.is_dir()


def test_one_step_has_the_losses_of_a_processor(tmp_path):
    losses = []
    for device in ("cuda", "cpu"):
        run = RunFolder(tmp_path / device)
        values = {**VALUES, "precision": "float32", "warm_up": 1.0, "steps": 1, "validation": "none"}
        train(plan_training({**values, "device": device}), run)
        losses.append(json.loads(run.log.read_text().splitlines()[0])["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=0.2)  # the same crops and weights, other latents
