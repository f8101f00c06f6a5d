"""A training step of `stochastic`: its losses, its discriminator, and what it does after a bad gradient."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from batches import assert_resumed_training_gives_the_same_bits

from ntire_sr.challenge.downscale import downscale
from ntire_sr.core.device import BFLOAT16_VARIABLE, full_float32
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.seeding import make_generator
from ntire_sr.models.stochastic import Architecture, StochasticGenerator
from ntire_sr.training import gradient_guard
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.gradient_guard import (
    EXPLODED,
    MOST_ROLLBACKS,
    RECENT,
    SKIPS_BEFORE_ROLLBACK,
    has_exploded,
)
from ntire_sr.training.losses.features import FilterBank
from ntire_sr.training.multi_sample import draw_latents
from ntire_sr.training.trainers.energy_losses import Crops, EnergyLoss, FeaturedImages
from ntire_sr.training.trainers.registry import TRAINERS
from ntire_sr.training.trainers.stochastic import StochasticSettings, StochasticTrainer

pytestmark = pytest.mark.numerical

LEARNING = StochasticSettings(
    channels=6, growth=4, blocks=1, fine_channels=4, latent_channels=2, discriminator_channels=4,
    features="filters", warm_up=0.0, adversarial_start=0.0,
)  # fmt: skip
CPU = torch.device("cpu")


def per_crop(step: int) -> list[torch.Generator]:
    return [make_generator(step, index) for index in range(2)]


def trainer(device: torch.device = CPU, **changes) -> StochasticTrainer:
    return StochasticTrainer(
        TrainConfig(steps=100, patch=32), replace(LEARNING, **changes), device, ProcessGroup()
    )


def batch(scale: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    hr = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    return downscale(hr, scale).clamp(0, 1), hr


def test_presets_have_the_documented_sizes():
    sizes = {}
    for name, values in TRAINERS["stochastic"].presets.items():
        names = Architecture.__dataclass_fields__
        architecture = Architecture(**{key: value for key, value in values.items() if key in names})
        sizes[name] = sum(p.numel() for p in StochasticGenerator(4, architecture).parameters()) / 1e6
    assert sizes["tiny"] == pytest.approx(0.28, abs=0.005)
    assert sizes["small"] == pytest.approx(4.8, abs=0.05)
    assert sizes["large"] == pytest.approx(17.4, abs=0.1)


def drawn_by(made, lr):
    drawn, _ = made.multi_sample(lr, draw_latents(made.gan.generator, lr, per_crop(0), made.settings.samples))
    return drawn


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_samples_are_lr_exact_before_rounding(device, precision):
    made = trainer(device, precision=precision)
    lr = batch()[0].to(device)
    with torch.no_grad():
        drawn = drawn_by(made, lr)
    assert drawn.shape == (4, 3, 32, 32) and drawn.dtype == torch.float32
    assert (downscale(drawn, 4) - lr.repeat(2, 1, 1, 1)).abs().max() < 1e-5
    free = drawn_by(trainer(device, projection=False), lr)
    assert (downscale(free, 4) - lr.repeat(2, 1, 1, 1)).abs().max() > 1e-3


def test_losses_and_gradients_on_every_device_equal_float64(device):
    _, hr = batch()
    drawn = (hr.repeat(2, 1, 1, 1) + 0.05 * torch.randn(4, *hr.shape[1:], generator=make_generator(3))).clamp(
        0, 1
    )
    terms, gradients = [], []
    for place, kind in ((CPU, torch.float64), (device, torch.float32)):
        phi, loss = FilterBank().to(place, kind), EnergyLoss(LEARNING, FilterBank(colour=False).to(place, kind))
        samples, target = drawn.to(place, kind).requires_grad_(), hr.to(place, kind)
        with full_float32(place):
            scores = loss(FeaturedImages(samples, phi), Crops(target, FeaturedImages(target, phi), None))
            (gradient,) = torch.autograd.grad(scores.sum(), samples)
        terms.append({name: value.item() for name, value in scores.values().items()})
        gradients.append(gradient.cpu().double())
    for name, value in terms[0].items():
        assert terms[1][name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    assert (gradients[0] - gradients[1]).norm() < 1e-3 * gradients[0].norm()


@pytest.mark.parametrize(("value", "precision"), [("1", "bfloat16"), ("0", "float32")])
def test_auto_precision_is_bfloat16_on_hardware_that_computes_it(monkeypatch, value, precision):
    monkeypatch.setenv(BFLOAT16_VARIABLE, value)
    assert trainer(precision="auto").settings.precision == precision


def test_loss_is_the_weighted_sum_of_its_terms():
    weights = {
        "pixel_weight": 0.7,
        "window_weight": 1.3,
        "filters_weight": 0.6,
        "feature_weight": 2.0,
        "best_weight": 0.4,
        "out_of_range": 3.0,
        "consistency": 1.5,
    }
    losses = trainer(**weights).step(*batch(), per_crop(0))
    expected = sum(value * losses[name.removesuffix("_weight")] for name, value in weights.items())
    assert losses["loss"] == pytest.approx(expected, rel=1e-5)


def test_adversarial_gradient_has_the_set_share():
    made = trainer(adversarial=0.2)
    lr, _ = batch()
    samples = drawn_by(made, lr).detach().requires_grad_()
    gradient = torch.randn_like(samples) * 1e-6
    adversarial_gradient, log = made._adversarial_gradient(FeaturedImages(samples, made.phi), len(lr), gradient)
    assert (adversarial_gradient.norm() / gradient.norm()).item() == pytest.approx(0.2, rel=1e-4)
    assert 0 < log["adversarial_weight"] < 1


def test_discriminator_can_learn_before_the_adversarial_start():
    made = trainer(warm_up=0.0, adversarial_start=0.04, discriminator_warmup=0.02)
    weights = [made.gan.discriminator.tail.weight.clone()]
    counted = []
    for step in range(5):
        losses = made.step(*batch(), per_crop(step))
        weights.append(made.gan.discriminator.tail.weight.clone())
        counted.append(("discriminator" in losses, "adversarial" in losses))
    assert counted == [(False, False), (False, False), (True, False), (True, False), (True, True)]
    moved = [not torch.equal(before, after) for before, after in pairwise(weights)]
    assert moved == [False, False, True, True, True]


def test_last_third_of_the_steps_draws_final_samples():
    made, counts = trainer(final_samples=3, adversarial_start=0.0, warm_up=0.0), []
    draw = made.gan.generator.sample
    made.gan.generator.sample = lambda trunk, lr, latents: counts.append(len(lr)) or draw(trunk, lr, latents)
    for done in (0, 66, 67, 99):
        made.gan.steps_done = done
        assert math.isfinite(made.step(*batch(), per_crop(done))["loss"])
    assert counts == [4, 4, 6, 6]


def test_warm_up_and_adversarial_loss_start_at_their_steps():
    made = trainer(warm_up=0.02, adversarial_start=0.04)
    kinds = []
    for step in range(6):
        losses = made.step(*batch(), per_crop(step))
        kinds.append(("feature" in losses, "discriminator" in losses))
    assert kinds == [(False, False)] * 2 + [(True, False)] * 2 + [(True, True)] * 2


def test_diversity_weight_makes_samples_differ_more():
    spread = {}
    for gamma in (0.0, 0.49):
        made = trainer(gamma=gamma, adversarial=0.0, best_weight=0.0, learning_rate=2e-3)
        for step in range(40):
            losses = made.step(*batch(), per_crop(step))
        spread[gamma] = losses["r_features"]
    assert spread[0.49] > 1.5 * spread[0.0]


def test_nan_gradients_are_skipped_and_several_restore_the_ema():
    made = trainer()
    lr, hr = batch()
    made.step(lr, hr, per_crop(0))
    before = {name: value.clone() for name, value in made.gan.generator.state_dict().items()}
    for step in range(SKIPS_BEFORE_ROLLBACK - 1):
        losses = made.step(lr, hr * math.nan, per_crop(step))
    assert losses["skipped"] == SKIPS_BEFORE_ROLLBACK - 1 and losses["rollbacks"] == 0
    assert all(torch.equal(value, before[name]) for name, value in made.gan.generator.state_dict().items())
    average = {name: value.clone() for name, value in made.gan.ema.state_dict().items()}
    losses = made.step(lr, hr * math.nan, per_crop(9))
    assert losses["rollbacks"] == 1
    assert all(torch.equal(value, average[name]) for name, value in made.gan.generator.state_dict().items())
    assert not made.gan.generator_optimiser.state


def test_ema_stays_while_steps_are_skipped():
    made = trainer()
    lr, hr = batch()
    for step in range(3):
        made.step(lr, hr, per_crop(step))
    average = {name: value.clone() for name, value in made.gan.ema.state_dict().items()}
    made.step(lr, hr * math.nan, per_crop(3))
    assert all(torch.equal(value, average[name]) for name, value in made.gan.ema.state_dict().items())


def test_exploded_weights_are_rolled_back_at_once_to_weights_that_work():
    made = trainer(warm_up=0.0, adversarial=0.0)
    lr, hr = batch()
    for step in range(3):
        losses = made.step(lr, hr, per_crop(step))
    before = losses["loss"]
    works = {name: value.clone() for name, value in made.gan.ema.state_dict().items()}
    made.gan.learning_rate = 1e6
    made.step(lr, hr, per_crop(3))  # the weights explode, and with them the EMA
    losses = made.step(lr, hr, per_crop(4))
    assert has_exploded(losses["off_range"]) and losses["rollbacks"] == losses["skipped"] == 1
    assert all(torch.equal(value, works[name]) for name, value in made.gan.ema.state_dict().items())
    made.gan.learning_rate = 1e-4
    losses = made.step(lr, hr, per_crop(4))
    assert losses["rollbacks"] == 1 and losses["loss"] < 2 * before


def test_frequent_rollbacks_end_training_and_rare_ones_do_not(monkeypatch):
    monkeypatch.setattr(gradient_guard, "SKIPS_BEFORE_ROLLBACK", 1)
    lr, hr = batch()
    made = trainer()
    for step in range(MOST_ROLLBACKS):
        made.step(lr, hr * math.nan, per_crop(step))
    made.gan.steps_done += RECENT
    assert made.step(lr, hr * math.nan, per_crop(9))["rollbacks"] == MOST_ROLLBACKS + 1
    for step in range(MOST_ROLLBACKS - 1):
        made.step(lr, hr * math.nan, per_crop(step))
    with pytest.raises(NtireSrError, match="6 rollbacks within 500 steps at step 510: training has diverged"):
        made.step(lr, hr * math.nan, per_crop(0))


def test_exploding_gradient_is_skipped_after_the_first_steps():
    made = trainer()
    made.gan.steps_done, made.guard.usual_gradient = 90, 1e-9
    before = made.gan.generator.tail.weight.clone()
    losses = made.step(*batch(), per_crop(0))
    assert losses["gradient"] > EXPLODED * 1e-9 and losses["skipped"] == 1
    assert torch.equal(made.gan.generator.tail.weight, before)


def test_resumed_training_gives_the_same_bits():
    assert_resumed_training_gives_the_same_bits(trainer, batch(), per_crop)


def test_impossible_settings_are_refused():
    with pytest.raises(UsageError, match="penalty on values out of range"):
        StochasticSettings(gamma=0.55, out_of_range=0.0)
    with pytest.raises(UsageError, match=r"window_px 4 is not an odd number(.|\n)*5"):
        StochasticSettings(window_px=4)
    with pytest.raises(UsageError, match="samples 1 is out of range"):
        StochasticSettings(samples=1)
