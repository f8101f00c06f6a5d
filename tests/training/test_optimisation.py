"""The learning rate and the moving average."""

import pytest
import torch

from ntire_sr.training.optimisation import set_learning_rate, update_ema

pytestmark = pytest.mark.numerical


def test_the_learning_rate_falls_along_a_cosine_to_nothing():
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=9.0)
    found = []
    for step in (0, 25, 50, 100, 120):
        set_learning_rate(optimiser, 2.0, step, 100)
        found.append(optimiser.param_groups[0]["lr"])
    assert found == pytest.approx([2.0, 1 + 0.5**0.5, 1.0, 0.0, 0.0], abs=1e-12)


def test_the_average_follows_quickly_at_first_and_by_its_decay_later():
    average, current = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    for network, value in ((average, 0.0), (current, 1.0)):
        torch.nn.init.constant_(network.weight, value)
    update_ema(average, current, 0.9, step=10)
    assert average.weight.item() == pytest.approx(0.5)  # 10 / (10 + 10) of the old
    update_ema(average, current, 0.9, step=1000)
    assert average.weight.item() == pytest.approx(0.9 * 0.5 + 0.1)
    assert current.weight.item() == 1
