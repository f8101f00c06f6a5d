"""The training of `srgan`: each term of its loss, warm-up, precision and resuming."""

from dataclasses import replace

import pytest
import torch
from batches import assert_resumed_training_gives_the_same_bits

from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import UsageError
from ntire_sr.core.seeding import make_generator
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.trainers.srgan import SrganSettings, SrganTrainer

pytestmark = pytest.mark.numerical

SMALL = SrganSettings(channels=6, blocks=2, noise_channels=3, discriminator_channels=4, features="filters")
CPU = torch.device("cpu")


def per_crop(step: int) -> list[torch.Generator]:
    return [make_generator(step, index) for index in range(2)]


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
    losses = trainer(beta=1.0, gamma=0.2, adversarial=0.01).step(lr, hr, per_crop(0))
    two = trainer(beta=3.0, gamma=0.4, adversarial=0.05).step(lr, hr, per_crop(0))
    assert two["consistency"] == pytest.approx(3 * losses["consistency"], rel=1e-5)
    assert two["diversity"] == pytest.approx(2 * losses["diversity"], rel=1e-5)
    assert two["adversarial"] == pytest.approx(5 * losses["adversarial"], rel=1e-5)
    assert two["content"] == losses["content"]


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
    assert ["adversarial" in step_names for step_names in names] == [False, False, True]


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
    assert names[0] == names[1] == {"content", "consistency", "loss", "off_range"}
    assert {"diversity", "adversarial", "r_features"} <= names[2]


def test_bfloat16_training_of_srgan_stays_near_float32():
    lr, hr = batch()
    losses = [trainer(precision=name).step(lr, hr, per_crop(0)) for name in ("float32", "bfloat16")]
    for name in ("content", "consistency"):  # bfloat16 keeps 8 bits, and errors of many pixels average out
        assert losses[1][name] == pytest.approx(losses[0][name], rel=2**-8)
        assert losses[1][name] != losses[0][name]


def test_resumed_training_gives_the_same_bits():
    assert_resumed_training_gives_the_same_bits(trainer, batch(), per_crop)


def test_ratio_diversity_is_latent_distance_over_sample_distance():
    made = trainer(diversity="ratio", gamma=0.1)
    zeros, threes = torch.zeros(1, 2, 3, 3), torch.full((1, 2, 3, 3), 3.0)
    pairs = [torch.cat((zeros, threes)), torch.cat((threes[:, :, :1, :1], zeros[:, :, :1, :1]))]
    assert made._diversity_loss(torch.tensor(0.5), pairs).item() == pytest.approx(3 / (0.5 + 1e-5))
    assert trainer()._diversity_loss(torch.tensor(0.5), pairs).item() == -0.5
    losses = made.step(*batch(), per_crop(0))
    assert losses["diversity"] == pytest.approx(0.1 * 1.128 / losses["pair_distance_features"], rel=0.1)
    with pytest.raises(UsageError, match=r"diversity 'ration' is unknown(.|\n)*ratio"):
        trainer(diversity="ration")
