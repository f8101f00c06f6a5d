"""Training of `stochastic` on a pretrained trunk, frozen or not, and the weights that it saves."""

import json

import pytest
import torch
from conftest import TINIEST
from safetensors.torch import save_file

from ntire_sr.challenge.downscale import downscale_8bit
from ntire_sr.challenge.pixels import to_tensor, to_unit
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import UsageError
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.core.seeding import make_generator
from ntire_sr.models.loading import load_model
from ntire_sr.models.rrdb import RrdbTrunk, expected_shapes, read_rrdb
from ntire_sr.models.stochastic_rrdb import RrdbGenerator
from ntire_sr.models.weights_files import read_weights
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.loop import train
from ntire_sr.training.run_config import make_run_config, resume_run_config
from ntire_sr.training.trainers.stochastic import StochasticTrainer
from ntire_sr.training.trainers.stochastic_settings import StochasticSettings

pytestmark = pytest.mark.numerical

TINY = {
    **{key: value for key, value in TINIEST.items() if key != "channels"},
    "model": "stochastic",
    "latent_channels": 2,
    "adapter_blocks": 1,
    "warm_up": 0.0,
}


@pytest.fixture(scope="module")
def parent_file(tmp_path_factory):
    """An RRDBNet of one block with small random weights."""
    generator = torch.Generator().manual_seed(3)
    tensors = {
        name: torch.randn(shape, generator=generator) * 0.03 if len(shape) > 1 else torch.zeros(shape)
        for name, shape in expected_shapes(1).items()
    }
    path = tmp_path_factory.mktemp("parent") / "rrdb.safetensors"
    # 16-bit weights, as networks are published
    save_file({name: value.half().float() for name, value in tensors.items()}, path)
    return path


def trainer(path, photograph, **changes) -> StochasticTrainer:
    settings = StochasticSettings(
        blocks=1, latent_channels=2, discriminator_channels=4, features="filters", **{"warm_up": 0.0, **changes}
    )
    config = TrainConfig(model="stochastic", steps=20, patch=64, trunk=str(path))
    return StochasticTrainer(config, settings, torch.device("cpu"), ProcessGroup())


def test_warm_up_learns_the_image_of_the_parent(parent_file, photograph):
    made = trainer(parent_file, photograph, warm_up=1.0, learning_rate=1e-3)
    hr = torch.cat([to_unit(to_tensor(photograph[top : top + 64, :64].copy())) for top in (0, 32)])
    lr = to_unit(downscale_8bit((hr * 255).to(torch.uint8), 4))
    losses = [
        made.step(lr, hr, [make_generator(step, crop) for crop in range(2)])["loss"] for step in range(12)
    ]
    assert losses[-1] < 0.8 * losses[0]


def test_frozen_trunk_does_not_change_and_unfrozen_trunk_learns(parent_file, photograph):
    hr = to_unit(to_tensor(photograph[:64, :64].copy()))
    lr = to_unit(downscale_8bit(to_tensor(photograph[:64, :64].copy()), 4))
    published, _ = read_rrdb(parent_file)
    for frozen in (True, False):
        made = trainer(parent_file, photograph, trunk_frozen=frozen, adversarial_start=0.0)
        for step in range(2):
            made.step(lr, hr, [make_generator(step)])
        weights = made.weights()
        same = [
            torch.equal(weights[f"rrdb.{name}"].float(), published[name]) for name in RrdbTrunk(1).state_dict()
        ]
        assert all(same) if frozen else not any(same[::2])
        assert weights["rrdb.conv_first.weight"].dtype == (torch.float16 if frozen else torch.float32)
        assert weights["upsample_convs.0.weight"].dtype == torch.float32


def test_run_on_a_frozen_trunk_resumes_and_its_weights_hold_the_trunk(parent_file, tmp_path):
    values = {**TINY, "trunk": str(parent_file), "steps": 3, "warm_up": 0.4, "checkpoint_every": 1}
    straight, parts = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "parts")
    train(make_run_config(values), straight)
    train(make_run_config({**values, "max_minutes": 1e-9}), parts)
    assert train(resume_run_config(parts, {"max_minutes": 0}), parts, resume=True).stop_reason == "finished"
    uninterrupted, resumed = read_weights(straight.weights), read_weights(parts.weights)
    assert uninterrupted[0] == resumed[0] and uninterrupted[1].keys() == resumed[1].keys()
    assert all(torch.equal(value, resumed[1][name]) for name, value in uninterrupted[1].items())
    loaded = load_model(straight.weights, None, torch.device("cpu"))
    assert isinstance(loaded.generator, RrdbGenerator) and loaded.generator.trunk_receptive_field == 15 + 2 + 2
    # another training starts from them with trunk and sizes, without the trunk's file
    begun = make_run_config({**TINY, "start_from": str(straight.weights), "steps": 1})
    assert begun.settings.rrdb and begun.settings.groups == 1
    train(begun, RunFolder(tmp_path / "begun"))
    _, tensors = read_weights(RunFolder(tmp_path / "begun").weights)
    published, _ = read_rrdb(parent_file)
    assert torch.equal(tensors["rrdb.conv_body.weight"].float(), published["conv_body.weight"])


def test_trunks_that_do_not_fit_are_refused(parent_file, tmp_path):
    with pytest.raises(UsageError, match="srgan is not built on a pretrained trunk"):
        make_run_config({"model": "srgan", "trunk": str(parent_file)})
    with pytest.raises(UsageError, match="x4 network"):
        train(make_run_config({**TINY, "trunk": str(parent_file), "scale": 8}), RunFolder(tmp_path / "run"))


def test_settings_in_weights_describe_the_network(parent_file, tmp_path):
    run = RunFolder(tmp_path)
    train(make_run_config({**TINY, "trunk": str(parent_file), "steps": 1}), run)
    metadata, _ = read_weights(run.weights)
    settings = json.loads(metadata["settings"])
    assert settings["rrdb"] and settings["groups"] == 1 and settings["channels"] == 64
    assert str(parent_file) not in json.dumps(metadata)  # no path of the machine that trained it
