"""The adversarial loss, the R1 penalty and the balanced weight."""

import math

import pytest
import torch
from torch import Tensor, nn

from ntire_sr.training.losses.adversarial import adversarial_loss, balanced_weight, r1_penalty

pytestmark = pytest.mark.numerical


def test_adversarial_loss_worked_out_by_hand():
    # -log sigmoid(0) = ln 2; -log sigmoid(ln 3) = ln(4 / 3); -log(1 - sigmoid(ln 3)) = ln 4
    assert adversarial_loss(torch.zeros(3), as_real=True).item() == pytest.approx(math.log(2))
    logit = torch.tensor([math.log(3)])
    assert adversarial_loss(logit, as_real=True).item() == pytest.approx(math.log(4 / 3))
    assert adversarial_loss(logit, as_real=False).item() == pytest.approx(math.log(4))


class Planes(nn.Module):
    """A discriminator with a known gradient: logits (N, L), each the sum of weight * x^2 / 2 over the image."""

    def __init__(self, *weights: float):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward(self, image: Tensor) -> Tensor:
        return image.square().sum((1, 2, 3))[:, None] / 2 * self.weights


def test_r1_penalty_worked_out_by_hand():
    # gradients 2 x at x = (1, 2) and (3, 0): squared lengths 4 * 5 and 4 * 9
    real = torch.tensor([[1.0, 2.0], [3.0, 0.0]]).view(2, 1, 1, 2)
    discriminator = Planes(2.0)
    penalty = r1_penalty(discriminator, real)
    assert penalty.item() == pytest.approx((20 + 36) / 2)
    # the penalty is 7 w^2, so that its derivative at w = 2 is 28
    penalty.backward()
    assert discriminator.weights.grad.tolist() == pytest.approx([28])
    assert not real.requires_grad


def test_r1_penalty_does_not_grow_with_the_number_of_logits():
    local = nn.Conv2d(3, 1, 2, stride=2, bias=False)
    wanted = local.weight.square().sum().item()
    for side in (2, 8, 16):
        assert r1_penalty(local, torch.rand(2, 3, side, side)).item() == pytest.approx(wanted, rel=1e-5)


def test_r1_penalty_of_a_constant_discriminator_is_zero():
    assert r1_penalty(Planes(0.0), torch.rand(2, 3, 4, 4)).item() == 0


def test_the_balanced_weight_makes_the_extra_gradient_the_stated_share():
    main, extra = torch.tensor([3.0, 4.0]), torch.tensor([100.0, 0.0], requires_grad=True)  # lengths 5 and 100
    weight = balanced_weight(main.norm(), extra.norm(), share=0.2, limit=1e4)
    assert weight.item() == pytest.approx(0.2 * 5 / 100)
    assert not weight.requires_grad
    assert (weight * extra).norm().item() == pytest.approx(1)


def test_balanced_weight_handles_zero_gradients():
    norm, none = torch.tensor(1.0), torch.tensor(0.0)
    assert balanced_weight(norm, none, 0.5, limit=8.0).item() == 8
    assert balanced_weight(none, norm, 0.5, limit=8.0).item() == 0
    assert balanced_weight(none, none, 0.5, limit=8.0).item() == 0
