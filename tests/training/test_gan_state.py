"""The learning rate schedule and the EMA."""

import pytest
import torch

from ntire_sr.training.gan_state import set_learning_rate, update_ema

pytestmark = pytest.mark.numerical


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
