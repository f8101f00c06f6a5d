"""The interface that every registered model has, and trainings with srgan."""

from dataclasses import asdict, replace

import pytest
import torch

from ntire_sr.challenge.downscale import downscale
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.seeding import make_generator, normal
from ntire_sr.models.loading import load_model
from ntire_sr.models.registry import MODELS
from ntire_sr.models.stochastic_rrdb import RrdbGenerator
from ntire_sr.models.weights_files import save_weights
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.multi_sample import MultiSampleForward, draw_latents
from ntire_sr.training.trainers.registry import TRAINERS
from ntire_sr.training.trainers.srgan import SrganSettings, SrganTrainer
from ntire_sr.training.trainers.stochastic import StochasticSettings
from ntire_sr.training.trainers.stochastic_settings import RRDB_SIZES

pytestmark = pytest.mark.numerical

SMALL = SrganSettings(channels=6, blocks=2, noise_channels=3, discriminator_channels=4, features="filters")
STOCHASTIC = StochasticSettings(channels=6, growth=4, blocks=1, fine_channels=4, latent_channels=2)
SETTINGS = {"bicubic": MODELS["bicubic"].architecture(), "srgan": SMALL, "stochastic": STOCHASTIC}
CPU = torch.device("cpu")


def per_crop(step: int) -> list[torch.Generator]:
    return [make_generator(step, index) for index in range(2)]


def test_every_registered_model_is_tested_here():
    assert MODELS.keys() == SETTINGS.keys()


@pytest.mark.parametrize("scale", [4, 8])
@pytest.mark.parametrize("name", SETTINGS)
def test_samples_have_the_stated_shape_and_depend_on_the_seed_alone(name, scale):
    model = MODELS[name]
    generator = model.build(scale, SETTINGS[name])
    lr = torch.rand(1, 3, 9, 7)
    trunk = generator.trunk(lr)
    one, again, other = (
        generator.sample(trunk, lr, generator.latents(lr, [make_generator(seed)])) for seed in (1, 1, 2)
    )
    assert one.shape == (1, 3, 9 * scale, 7 * scale)
    assert torch.equal(one, again)
    assert torch.equal(one, other) == model.deterministic


def reached(of: torch.Tensor, inputs: list[torch.Tensor], middle: int, side: int) -> int:
    """How far from LR pixel `middle` lie the LR pixels that a number depends on."""
    found = 0
    for gradient in torch.autograd.grad(of, inputs, retain_graph=True, allow_unused=True):
        if gradient is not None:
            touched = gradient[0].abs().sum(0).nonzero().div(gradient.shape[2] // side, rounding_mode="floor")
            found = max(found, int((touched - middle).abs().max()) if len(touched) else 0)
    return found


@pytest.mark.parametrize("scale", [4, 8])
@pytest.mark.parametrize("name", SETTINGS)
def test_no_pixel_depends_on_more_than_the_stated_receptive_fields(name, scale):
    generator = MODELS[name].build(scale, SETTINGS[name])
    side = 2 * max(generator.trunk_receptive_field, generator.sample_receptive_field) + 5
    middle = side // 2
    lr = torch.rand(1, 3, side, side, requires_grad=True)
    trunk = generator.trunk(lr)
    factor = trunk.shape[2] // side
    far = max(
        reached(trunk[0, :, at, at].sum(), [lr], middle, side)
        for at in (middle * factor, middle * factor + factor - 1)
    )
    assert (
        generator.trunk_receptive_field - 2 <= far <= generator.trunk_receptive_field
    )  # the fact is no mere upper bound

    inputs = [lr, trunk.detach().requires_grad_()]
    latents = generator.latents(lr, [make_generator(0)])
    leaves = [each for part in latents or () for each in (part if isinstance(part, list) else [part])]
    inputs += [each.requires_grad_() for each in leaves]
    sr = generator.sample(inputs[1], lr, latents)
    far = max(
        reached(sr[0, :, at, at].sum(), inputs, middle, side)
        for at in (middle * scale, middle * scale + scale - 1)
    )
    assert generator.sample_receptive_field - 2 <= far <= generator.sample_receptive_field


def batch(scale: int = 4):
    hr = torch.rand(2, 3, 32, 32)
    return torch.nn.functional.avg_pool2d(hr, scale), hr


def trainer(**changes) -> SrganTrainer:
    return SrganTrainer(
        TrainConfig(steps=10, patch=32), replace(SMALL, adversarial_start=0.0, **changes), CPU, ProcessGroup()
    )


def test_loss_is_the_weighted_sum_of_its_terms():
    losses = trainer(alpha=1.0, beta=2.0, gamma=0.3).step(*batch(), per_crop(0))
    parts = losses["content"] + losses["consistency"] + losses["diversity"] + losses["adversarial"]
    assert losses["loss"] == pytest.approx(parts, rel=1e-5)
    assert losses["diversity"] < 0 < losses["consistency"]


def test_each_coefficient_scales_only_its_term():
    lr, hr = batch()
    one = trainer(beta=1.0, gamma=0.2, adversarial=0.01).step(lr, hr, per_crop(0))
    two = trainer(beta=3.0, gamma=0.4, adversarial=0.05).step(lr, hr, per_crop(0))
    assert two["consistency"] == pytest.approx(3 * one["consistency"], rel=1e-5)
    assert two["diversity"] == pytest.approx(2 * one["diversity"], rel=1e-5)
    assert two["adversarial"] == pytest.approx(5 * one["adversarial"], rel=1e-5)
    assert two["content"] == one["content"]


def test_diversity_loss_makes_samples_differ_more():
    lr, hr = batch()
    spread = {}
    for gamma in (0.0, 0.45):
        made = trainer(gamma=gamma, adversarial=0.0, learning_rate=2e-3)
        for step in range(30):
            losses = made.step(lr, hr, per_crop(step))
        spread[gamma] = losses["r_features"]
    assert spread[0.45] > 1.2 * spread[0.0]


def test_adversarial_loss_starts_at_the_set_step():
    made = trainer()
    made.settings = replace(made.settings, adversarial_start=0.2)
    names = [made.step(*batch(), per_crop(step)).keys() for step in range(3)]
    assert ["adversarial" in found for found in names] == [False, False, True]


def test_discriminator_on_features_learns_and_reaches_the_generator():
    made = trainer(discriminator="features", adversarial=1.0, gamma=0.0)
    before = [value.clone() for value in made.gan.discriminator.parameters()]
    losses = made.step(*batch(), per_crop(0))
    assert losses["discriminator"] == pytest.approx(2 * 0.693, abs=0.5)  # untrained logits are near 0
    changed = [not torch.equal(a, b) for a, b in zip(before, made.gan.discriminator.parameters(), strict=True)]
    assert all(changed) and {"adversarial", "content"} <= losses.keys()
    with pytest.raises(UsageError, match="discriminator 'feature' is unknown"):
        trainer(discriminator="feature")


def test_warm_up_learns_by_l1_and_lr_term_alone():
    made = trainer(warm_up=0.2)
    names = [set(made.step(*batch(), per_crop(step))) for step in range(3)]
    assert names[0] == names[1] == {"content", "consistency", "loss"}
    assert {"diversity", "adversarial", "r_features"} <= names[2]


def test_bfloat16_training_of_srgan_stays_near_float32():
    lr, hr = batch()
    losses = [trainer(precision=name).step(lr, hr, per_crop(0)) for name in ("float32", "bfloat16")]
    for name in ("content", "consistency"):  # bfloat16 keeps 8 bits, and errors of many pixels average out
        assert losses[1][name] == pytest.approx(losses[0][name], rel=2**-8)
        assert losses[1][name] != losses[0][name]


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


def test_generator_loaded_from_its_file_draws_the_same(tmp_path):
    made = trainer()
    path = tmp_path / "w.safetensors"
    save_weights(path, "srgan", 4, SMALL, made.weights(), {"step": 3})
    loaded = load_model(path, None, CPU)
    assert (loaded.scale, loaded.hyper_parameters, loaded.facts, loaded.name) == (
        4,
        asdict(SMALL),
        {"step": 3},
        "srgan",
    )
    lr = torch.rand(1, 3, 8, 8)
    latents = loaded.generator.latents(lr, [make_generator(5)])
    expected = made.gan.ema.sample(made.gan.ema.trunk(lr), lr, latents)
    assert torch.equal(loaded.generator.sample(loaded.generator.trunk(lr), lr, latents), expected)


def test_weights_for_another_scale_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, "srgan", 4, SMALL, trainer().weights(), {})
    with pytest.raises(UsageError, match=r"w\.safetensors was trained for scale 4, not 8"):
        load_model(path, 8, CPU)


def test_missing_foreign_damaged_and_nan_weights_are_refused(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(UsageError, match="there are no weights at"):
        load_model(tmp_path / "absent.safetensors", None, CPU)
    with pytest.raises(UsageError, match="no weights of srgan for scale 4 come with the package"):
        load_model("srgan", None, CPU)
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(NtireSrError, match=r"foreign\.safetensors holds no weights of ntire-sr"):
        load_model(tmp_path / "foreign.safetensors", None, CPU)
    (tmp_path / "damaged.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(NtireSrError, match=r"damaged\.safetensors is no readable"):
        load_model(tmp_path / "damaged.safetensors", None, CPU)
    weights = trainer().weights()
    weights["tail.bias"] = weights["tail.bias"] * float("nan")
    save_weights(tmp_path / "nan.safetensors", "srgan", 4, SMALL, weights, {})
    with pytest.raises(NtireSrError, match="not finite"):
        load_model(tmp_path / "nan.safetensors", None, CPU)
    save_weights(tmp_path / "cut.safetensors", "srgan", 4, SMALL, {"tail.bias": torch.zeros(3)}, {})
    with pytest.raises(NtireSrError, match="do not fit the model srgan"):
        load_model(tmp_path / "cut.safetensors", None, CPU)


def test_ratio_diversity_is_latent_distance_over_sample_distance():
    made = trainer(diversity="ratio", gamma=0.1)
    one, other = torch.zeros(1, 2, 3, 3), torch.full((1, 2, 3, 3), 3.0)
    pairs = [torch.cat((one, other)), torch.cat((other[:, :, :1, :1], one[:, :, :1, :1]))]
    assert made._diversity_loss(torch.tensor(0.5), pairs).item() == pytest.approx(3 / (0.5 + 1e-5))
    assert trainer()._diversity_loss(torch.tensor(0.5), pairs).item() == -0.5
    losses = made.step(*batch(), per_crop(0))
    assert losses["diversity"] == pytest.approx(0.1 * 1.128 / losses["pair_distance_features"], rel=0.1)
    with pytest.raises(UsageError, match=r"diversity 'ration' is unknown(.|\n)*ratio"):
        trainer(diversity="ration")


def test_forward_gives_samples_in_order_and_lr_error_before_projection():
    generator = MODELS["srgan"].build(4, SMALL)
    lr = torch.rand(2, 3, 8, 8)
    latents = draw_latents(generator, lr, per_crop(0), 3)
    free, error = MultiSampleForward(generator, 3, projection=False)(lr, latents)
    exact, same_error = MultiSampleForward(generator, 3, projection=True)(lr, latents)
    assert free.shape == exact.shape == (6, 3, 32, 32)
    assert error.item() == pytest.approx((downscale(free, 4) - lr.repeat(3, 1, 1, 1)).abs().mean().item())
    assert error.item() == pytest.approx(same_error.item())
    assert (downscale(exact, 4) - lr.repeat(3, 1, 1, 1)).abs().max() < 1e-5
    # the second sample of the second image is its own: the same whoever is beside it
    alone = [normal(per_crop(0)[1:] * 3, 3, 8, 8, device=CPU)[1], latents[0][3]]
    assert torch.equal(*alone)
    half, _ = MultiSampleForward(generator, 3, projection=True, half=True)(lr, latents)
    assert half.dtype == torch.float32
    assert (half - exact).abs().max() < 0.1
    assert (downscale(half, 4) - lr.repeat(3, 1, 1, 1)).abs().max() < 1e-5  # the projection is never bfloat16


def test_cached_features_replace_the_trunk_and_the_adapter_learns():
    sizes = StochasticSettings(**RRDB_SIZES, rrdb=True, groups=1, blocks=1, latent_channels=2, adapter_blocks=1)
    generator = RrdbGenerator(4, sizes)
    torch.nn.init.normal_(generator.adapter[0].second.weight, std=0.1)
    forward, lr = MultiSampleForward(generator, 2, projection=True), torch.rand(2, 3, 8, 8)
    latents, features = draw_latents(generator, lr, per_crop(0), 2), generator.features(lr).detach()
    drawn, error = forward(lr, latents)
    again, same_error = forward(lr, latents, features)
    assert torch.equal(drawn, again) and torch.equal(error, same_error)
    other, _ = forward(lr, latents, 0.5 * features)
    assert not torch.equal(drawn, other)
    again.sum().backward()
    assert generator.adapter[0].first.weight.grad.abs().sum() > 0
    assert generator.rrdb.conv_first.weight.grad is None


@pytest.mark.parametrize("name", ["srgan", "stochastic"])
def test_checkpoint_keys_are_those_of_version_0_1_0(name):
    networks = {"generator", "average", "discriminator", "generator_optimiser", "discriminator_optimiser"}
    counts = {"usual_gradient", "skipped", "skipped_in_a_row", "rolled_back"} if name == "stochastic" else set()
    settings = replace(SETTINGS[name], features="filters")
    made = TRAINERS[name].trainer(TrainConfig(patch=32), settings, CPU, ProcessGroup())
    assert made.state_dict().keys() == {"steps_done"} | networks | counts
