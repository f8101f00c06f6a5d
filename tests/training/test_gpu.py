"""Training on a GPU, where there is one."""

import pytest
import torch
from conftest import TINIEST
from safetensors.torch import load_file

from ntire_sr.core.device import full_float32
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.downscale import downscale, downscale_8bit
from ntire_sr.core.images import to_tensor, to_unit
from ntire_sr.core.layout import RunFolder
from ntire_sr.core.seeding import seeded
from ntire_sr.models.stochastic_training import StochasticTrainer
from ntire_sr.training.loop import train
from ntire_sr.training.run_config import make_run_config, resume_run_config

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

VALUES = {
    **{name: value for name, value in TINIEST.items() if name != "blocks"},
    "model": "stochastic", "growth": 4, "blocks": 1, "fine_channels": 4, "latent_channels": 2,
    "device": "cuda", "steps": 4, "validation": "auto",
}  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_learns_looks_and_goes_on(precision, tmp_path):
    run = RunFolder(tmp_path)
    run_config = make_run_config({**VALUES, "precision": precision, "max_minutes": 1e-9})
    assert train(run_config, run).steps_done == 1
    assert train(resume_run_config(run, {"max_minutes": 0}), run, resume=True).steps_done == 4
    assert all(torch.isfinite(value).all() for value in load_file(run.weights).values())
    assert run.previews.is_dir()


def made(device: str, **changes) -> StochasticTrainer:
    values = {**VALUES, "features": "filters", "warm_up": 0.0, "adversarial_from": 0.0, "device": device}
    run_config = make_run_config({**values, **changes})
    return StochasticTrainer(run_config.config, run_config.settings, torch.device(device), ProcessGroup())


def test_losses_and_their_gradients_are_those_of_a_processor(photograph):
    hr = to_unit(to_tensor(photograph[:64, :64].copy()))
    drawn = (hr + 0.05 * torch.randn(2, *hr.shape[1:], generator=seeded(3))).clamp(0, 1)
    found = {}
    for device in ("cpu", "cuda"):
        trainer = made(device, precision="float32")
        samples, target = drawn.to(device).requires_grad_(), hr.to(device)
        with full_float32(trainer.device):
            terms = trainer._scores(samples, trainer.phi(samples), target, trainer.phi(target))
            (gradient,) = torch.autograd.grad(terms["loss"], samples)
        found[device] = {name: value.item() for name, value in terms.items()}, gradient.cpu()
    for name, value in found["cpu"][0].items():
        assert found["cuda"][0][name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    one, other = found["cpu"][1], found["cuda"][1]
    assert (one - other).norm() < 1e-3 * one.norm()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_a_step_draws_is_consistent_whatever_the_precision(photograph, precision):
    hr = to_unit(to_tensor(photograph[:64, :64].copy())).cuda()
    lr = to_unit(downscale_8bit(to_tensor(photograph[:64, :64].copy()), 4)).cuda()
    trainer = made("cuda", precision=precision)
    drawn, _ = trainer._draw(lr, [seeded(1, device=hr.device)])
    assert drawn.dtype == torch.float32 and drawn.shape == (2, *hr.shape[1:])
    assert (downscale(drawn, 4) - lr).abs().max() < 1e-5
