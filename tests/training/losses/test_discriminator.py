"""The U-Net discriminator of pairs of samples."""

from collections.abc import Callable

import pytest
import torch

from ntire_sr.training.losses.adversarial import adversarial_loss
from ntire_sr.training.losses.discriminator import UNetDiscriminator
from ntire_sr.training.losses.features import FilterBank


@pytest.mark.numerical
def test_discriminator_has_a_logit_per_pixel_and_sees_the_whole_patch():
    phi = FilterBank()
    image = torch.rand(2, 3, 64, 64, requires_grad=True)
    features = phi(image)
    discriminator = UNetDiscriminator(4, [maps.shape[1] for maps in features]).eval()
    beside = torch.rand(2, 3, 64, 64)
    logits = discriminator(image, features, beside, phi(beside))
    assert logits.shape == (2, 1, 64, 64)
    (gradient,) = torch.autograd.grad(logits[0, 0, 32, 32], image)
    seen = gradient[0].abs().sum(0).nonzero()
    assert (seen.max(0).values - seen.min(0).values).min() > 40
    assert gradient[1].abs().max() == 0  # images are judged one by one


@pytest.mark.numerical
def test_discriminator_in_bfloat16_is_close_to_float32(device):
    phi = FilterBank()
    image, partner = torch.rand(2, 2, 3, 32, 32)
    logits = []
    for half in (False, True):
        torch.manual_seed(0)
        discriminator = UNetDiscriminator(8, [maps.shape[1] for maps in phi(image)], half).eval().to(device)
        features = [[maps.to(device) for maps in phi(images)] for images in (image, partner)]
        logits.append(discriminator(image.to(device), features[0], partner.to(device), features[1]))
    assert logits[1].dtype == torch.float32
    assert 0 < (logits[0] - logits[1]).norm() < 0.02 * logits[0].norm()


def share_judged_right(draw: Callable[[], tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> float:
    """Share of places that a discriminator judges correctly after a hundred steps.

    Args:
        draw: gives a real image, a generated one, and another sample for both.
    """
    torch.manual_seed(0)
    phi = FilterBank()
    discriminator = UNetDiscriminator(8, [maps.shape[1] for maps in phi(torch.zeros(1, 3, 32, 32))])
    optimiser = torch.optim.AdamW(discriminator.parameters(), 1e-3, betas=(0.5, 0.99))
    right = []
    for _ in range(100):
        real, false, beside = draw()
        d_loss = [discriminator(image, phi(image), beside, phi(beside)) for image in (real, false)]
        loss = adversarial_loss(d_loss[0], True) + adversarial_loss(d_loss[1], False)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        right.append(((d_loss[0] > 0).float().mean() + (d_loss[1] < 0).float().mean()).item() / 2)
    return sum(right[-10:]) / 10


def noise() -> torch.Tensor:
    return torch.rand(4, 3, 32, 32)


def test_discriminator_learns_a_texture_difference_in_100_steps():
    assert share_judged_right(lambda: (noise(), 0.5 + (noise() - 0.5) * 0.6, noise())) > 0.8


def test_discriminator_detects_samples_that_are_too_similar():
    def draw():
        hr, sample, fresh = noise(), noise(), noise()
        similar = torch.where(torch.rand(4, 1, 32, 32) < 0.5, sample, fresh)  # by itself of the same law as hr
        return hr, similar, sample

    assert share_judged_right(draw) > 0.8
