"""The start of x8 weights from x4 weights, and the measure of the LR pixels' grid."""

from pathlib import Path

import pytest
import torch

from ntire_sr.models.stochastic_rrdb import RrdbGenerator
from ntire_sr.training.trainers.stochastic_settings import RRDB_SIZES, StochasticSettings

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_x8_network_has_the_layers_of_the_x4_network(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from initialise_x8 import initialised

    sizes = {**RRDB_SIZES, "rrdb": True, "groups": 1, "blocks": 1, "adapter_blocks": 1, "latent_channels": 2}
    x4 = RrdbGenerator(4, StochasticSettings(**sizes))
    for value in x4.adapter.parameters():  # they start as zeros
        value.data.normal_()
    x8 = initialised(x4)
    lr = torch.rand(1, 3, 6, 7)
    doubled = torch.nn.functional.interpolate(x4.features(lr), scale_factor=2, mode="bilinear")
    assert torch.allclose(x8.trunk(lr), x4.adapter(doubled), rtol=1e-4, atol=1e-5)
    trunk, latents = x8.trunk(lr), x8.latents(lr, [torch.Generator().manual_seed(1)])
    assert torch.equal(x8.sample(trunk, lr, latents), x4.sample(trunk, lr, latents))


@pytest.mark.parametrize("scale", [4, 8])
def test_dots_with_the_period_of_lr_pixels_are_measured(monkeypatch, scale):
    monkeypatch.syspath_prepend(str(FOLDER))
    from lr_grid import energy_by_place

    noise = torch.rand(2, 3, 264, 264, generator=torch.Generator().manual_seed(0))
    even = energy_by_place(noise, scale)
    assert even.shape == (scale, scale) and even.max() / even.min() < 1.3
    noise[:, :, 2::scale, 1::scale] += 2
    dotted = energy_by_place(noise, scale)
    assert dotted.argmax() == 2 * scale + 1 and dotted.max() / dotted.min() > 10
