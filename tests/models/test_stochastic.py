"""The model `stochastic`: its network, its discriminator and a step of its training."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from ntire_sr.challenge.downscale import downscale
from ntire_sr.core.device import BFLOAT16_VARIABLE, full_float32
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.seeding import make_generator
from ntire_sr.models.modulation import FIRST_NOISE, MOST_SCALING, ModulatedBlock, modulation_inputs
from ntire_sr.models.stochastic import Architecture, StochasticGenerator, _Upsampling
from ntire_sr.training import gradient_guard
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.gradient_guard import EXPLODED, MOST_ROLLBACKS, RECENT, SKIPS_BEFORE_ROLLBACK
from ntire_sr.training.losses.adversarial import adversarial_loss
from ntire_sr.training.losses.discriminator import UNetDiscriminator
from ntire_sr.training.losses.features import FilterBank
from ntire_sr.training.multi_sample import draw_latents
from ntire_sr.training.trainers.registry import TRAINERS
from ntire_sr.training.trainers.stochastic import StochasticSettings, StochasticTrainer
from ntire_sr.training.trainers.stochastic_losses import Crops, EnergyLoss, FeaturedImages

pytestmark = pytest.mark.numerical

SMALL = Architecture(channels=6, growth=4, blocks=1, fine_channels=4, latent_channels=2)
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


def test_latent_changes_the_sample_only_around_its_place():
    generator = StochasticGenerator(4, SMALL)
    lr = torch.rand(1, 3, 40, 40)
    latents = generator.latents(lr, [make_generator(0)])
    fine = latents.fine.clone()
    fine[0, :, 20, 20] += 1
    trunk = generator.trunk(lr)
    one, other = (generator.sample(trunk, lr, each) for each in (latents, latents._replace(fine=fine)))
    changed = ((one - other).abs().sum(1)[0] > 0).nonzero()
    assert len(changed) > 16
    assert (changed - 82).abs().max() < 4 * 10


def test_noise_enters_every_block_with_its_strength():
    generator = StochasticGenerator(8, SMALL)
    lr = torch.rand(1, 3, 8, 8)
    latents = generator.latents(lr, [make_generator(0)])
    assert [tuple(noise.shape[2:]) for noise in latents.noise] == [(8, 8), (16, 16), (32, 32), (64, 64)]
    trunk, plain = generator.trunk(lr), generator.sample(generator.trunk(lr), lr, latents)
    for index in range(4):
        noise = list(latents.noise)
        noise[index] = noise[index] + 1
        assert not torch.equal(generator.sample(trunk, lr, latents._replace(noise=noise)), plain)
    assert all((block.strength == FIRST_NOISE).all() for block in (*generator.blocks, *generator.mid_blocks))


def test_global_latents_are_the_same_at_every_place():
    generator = StochasticGenerator(4, replace(SMALL, global_latent=True))
    latents = generator.latents(torch.rand(2, 3, 9, 6), per_crop(0))
    assert torch.equal(latents.fine, latents.fine[:, :, :1, :1].expand_as(latents.fine))
    assert not torch.equal(latents.fine[0], latents.fine[1])


def test_upsampling_adds_no_stripes_or_checkerboard():
    made = _Upsampling(5, 3).double()
    torch.nn.init.constant_(made.convolution.bias, 10.0)  # nothing meets the kink of the ReLU
    slopes = torch.randn(1, 5, 2, 1, 1).double()
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    maps = made(0.1 * (slopes[:, :, 0] * rows + slopes[:, :, 1] * columns))
    assert maps.shape == (1, 3, 16, 16)
    inside = maps[:, :, 2:-2, 2:-2]  # even where the values given are even: second differences vanish
    for axis in (2, 3):
        assert inside.diff(dim=axis).abs().max() > 1e-3
        assert inside.diff(n=2, dim=axis).abs().max() < 1e-9


def test_scaling_by_large_latents_is_bounded():
    block = ModulatedBlock(4, 2)
    with torch.no_grad():
        block.first.bias.zero_()
        block.modulation.bias.zero_()
        block.modulation.weight[4:] = 0  # no shift
        block.strength.zero_()
        block.second.weight.zero_()
        block.second.weight[range(4), range(4), 1, 1] = 1.0
        block.second.bias.zero_()
    x = torch.rand(1, 4, 9, 9)
    drawn = {
        size: block(x, modulation_inputs(torch.full((1, 2, 9, 9), size), 1), 0) - x for size in (0.0, 1e3, -1e3)
    }
    for size in (1e3, -1e3):
        ratio = drawn[size] / drawn[0.0]
        assert torch.allclose((ratio - 1).abs(), torch.tensor(MOST_SCALING), atol=1e-3)


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
    """Of places, by a discriminator that learnt for a hundred steps: `draw` gives a real image, a false
    one, and what stands beside either."""
    torch.manual_seed(0)
    phi = FilterBank()
    discriminator = UNetDiscriminator(8, [maps.shape[1] for maps in phi(torch.zeros(1, 3, 32, 32))])
    optimiser = torch.optim.AdamW(discriminator.parameters(), 1e-3, betas=(0.5, 0.99))
    right = []
    for _ in range(100):
        real, false, beside = draw()
        d_loss = [discriminator(each, phi(each), beside, phi(beside)) for each in (real, false)]
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
        other = torch.where(torch.rand(4, 1, 32, 32) < 0.5, sample, fresh)  # by itself of the same law as hr
        return hr, other, sample

    assert share_judged_right(draw) > 0.8


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
    moved = [not torch.equal(one, other) for one, other in pairwise(weights)]
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
    straight, first = trainer(), trainer()
    lr, hr = batch()
    for step in range(4):
        straight.step(lr, hr, per_crop(step))
    for step in range(2):
        first.step(lr, hr, per_crop(step))
    second = trainer()
    second.load_state_dict(first.state_dict())
    for step in range(2, 4):
        second.step(lr, hr, per_crop(step))
    for name, value in straight.weights().items():
        assert torch.equal(value, second.weights()[name])


def test_impossible_settings_are_refused():
    with pytest.raises(UsageError, match="penalty on values out of range"):
        StochasticSettings(gamma=0.55, out_of_range=0.0)
    with pytest.raises(UsageError, match=r"window_px 4 is not an odd number(.|\n)*5"):
        StochasticSettings(window_px=4)
    with pytest.raises(UsageError, match="samples 1 is too small"):
        StochasticSettings(samples=1)
