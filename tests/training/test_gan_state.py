"""The learning rate schedule and the EMA."""

from copy import deepcopy

import pytest
import torch

from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.gan_state import (
    GanState,
    clipped_step,
    gradient_norm,
    set_learning_rate,
    update_ema,
)

pytestmark = pytest.mark.numerical
CPU = torch.device("cpu")


def test_learning_rate_decays_to_zero_along_a_cosine():
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=9.0)
    rates = []
    for step in (0, 25, 50, 100, 120):
        set_learning_rate(optimiser, 2.0, step, 100)
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([2.0, 1 + 0.5**0.5, 1.0, 0.0, 0.0], abs=1e-12)


def test_ema_decay_is_lower_in_early_steps():
    ema, current = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    for network, value in ((ema, 0.0), (current, 1.0)):
        torch.nn.init.constant_(network.weight, value)
    update_ema(ema, current, 0.9, step=10)
    assert ema.weight.item() == pytest.approx(0.5)  # 10 / (10 + 10) of the old
    update_ema(ema, current, 0.9, step=1000)
    assert ema.weight.item() == pytest.approx(0.9 * 0.5 + 0.1)
    assert current.weight.item() == 1


def test_ema_keeps_frozen_weights_as_they_are():
    ema, current = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    torch.nn.init.constant_(current.bias, 2.0)
    torch.nn.init.constant_(ema.bias, 0.0)
    current.weight.requires_grad_(False)
    before = ema.weight.clone()
    update_ema(ema, current, 0.9, step=10)
    assert torch.equal(ema.weight, before) and ema.bias.item() == 1


def network_after_steps(fused: bool, norms: list[float]) -> list[torch.Tensor]:
    """The weights of a small network after clipped steps with gradients of these norms."""
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), 0.1, weight_decay=0.0, fused=fused)
    for norm in norms:
        for parameter in network.parameters():
            parameter.grad = torch.randn_like(parameter)
        scale = norm / gradient_norm(network)
        for parameter in network.parameters():
            parameter.grad.mul_(scale)
        clipped_step(optimiser, gradient_norm(network), 1.0)
    return [parameter.detach() for parameter in network.parameters()]


def test_fused_steps_clip_as_separate_operations_do():
    for fused, plain in zip(
        *(network_after_steps(fused, [0.5, 30.0, 2.0]) for fused in (True, False)), strict=True
    ):
        assert torch.allclose(fused, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fused", [True, False])
def test_gradients_that_are_not_finite_change_no_weights(fused):
    before, after = network_after_steps(fused, [0.5]), network_after_steps(fused, [0.5, float("nan")])
    assert all(torch.equal(first, second) for first, second in zip(before, after, strict=True))


def test_state_of_an_unfused_optimiser_continues_fused():
    def open_state() -> GanState:
        def build() -> torch.nn.Module:
            return torch.nn.Conv2d(3, 4, 3)

        return GanState(build, build, torch.optim.Adam, 0.1, 0.9, TrainConfig(steps=4), CPU, ProcessGroup())

    earlier, today = open_state(), open_state()
    for state in (earlier, today):
        assert state.generator_optimiser.param_groups[0]["fused"]
    for optimiser in (earlier.generator_optimiser, earlier.discriminator_optimiser):
        optimiser.param_groups[0]["fused"] = None  # as an earlier version saved it
    earlier.generator(torch.ones(1, 3, 4, 4)).sum().backward()
    earlier.generator_optimiser.step()
    today.load_state_dict(deepcopy(earlier.state_dict()))
    for state in (earlier, today):
        state.generator.weight.grad = torch.ones_like(state.generator.weight)
        state.generator_optimiser.step()
    assert today.generator_optimiser.param_groups[0]["fused"]
    assert torch.allclose(today.generator.weight, earlier.generator.weight, rtol=1e-6)
