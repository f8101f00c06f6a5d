"""Terms of training losses, each with a value worked out by hand."""

import math

import pytest
import torch

from ntire_sr.training.losses.adversarial import adversarial_loss, feature_distance

pytestmark = pytest.mark.numerical


def test_feature_distance_worked_out_by_hand():
    # layer 1: 4 channels, each 1 apart: 4 / sqrt(4) = 2; layer 2: 1 channel, 3 apart at half the places: 1.5
    one = [torch.zeros(1, 4, 2, 2), torch.zeros(1, 1, 1, 2)]
    other = [torch.ones(1, 4, 2, 2), torch.tensor([[[[3.0, 0.0]]]])]
    assert feature_distance(one, other).item() == pytest.approx((2 + 1.5) / 2)


def test_feature_distance_is_symmetric_and_zero_for_equal_maps():
    one, other = [torch.randn(2, 3, 4, 4)], [torch.randn(2, 3, 4, 4)]
    assert feature_distance(one, other) == feature_distance(other, one)
    assert feature_distance(one, one) == 0


def test_adversarial_loss_worked_out_by_hand():
    # -log sigmoid(0) = ln 2; -log sigmoid(ln 3) = ln(4 / 3); -log(1 - sigmoid(ln 3)) = ln 4
    assert adversarial_loss(torch.zeros(3), as_real=True).item() == pytest.approx(math.log(2))
    logit = torch.tensor([math.log(3)])
    assert adversarial_loss(logit, as_real=True).item() == pytest.approx(math.log(4 / 3))
    assert adversarial_loss(logit, as_real=False).item() == pytest.approx(math.log(4))
