"""Weights files that `load_model` reads and refuses."""

from dataclasses import asdict

import pytest
import torch

from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.seeding import make_generator
from ntire_sr.models.loading import load_model
from ntire_sr.models.registry import MODELS
from ntire_sr.models.weights_files import save_weights
from ntire_sr.training.trainers.srgan import SrganSettings

pytestmark = pytest.mark.numerical

SMALL = SrganSettings(channels=6, blocks=2, noise_channels=3, discriminator_channels=4, features="filters")
CPU = torch.device("cpu")


def weights_of(generator: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.contiguous() for name, value in generator.state_dict().items()}


def test_generator_loaded_from_its_file_draws_the_same(tmp_path):
    made = MODELS["srgan"].build(4, SMALL)
    path = tmp_path / "w.safetensors"
    save_weights(path, "srgan", 4, SMALL, weights_of(made), {"step": 3})
    loaded = load_model(path, None, CPU)
    assert (loaded.scale, loaded.hyper_parameters, loaded.facts, loaded.name) == (
        4,
        asdict(SMALL),
        {"step": 3},
        "srgan",
    )
    lr = torch.rand(1, 3, 8, 8)
    latents = loaded.generator.latents(lr, [make_generator(5)])
    expected = made.sample(made.trunk(lr), lr, latents)
    assert torch.equal(loaded.generator.sample(loaded.generator.trunk(lr), lr, latents), expected)


def test_weights_for_another_scale_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, "srgan", 4, SMALL, weights_of(MODELS["srgan"].build(4, SMALL)), {})
    with pytest.raises(UsageError, match=r"w\.safetensors was trained for scale 4, not 8"):
        load_model(path, 8, CPU)


def test_missing_foreign_damaged_and_nan_weights_are_refused(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(UsageError, match="there are no weights at"):
        load_model(tmp_path / "absent.safetensors", None, CPU)
    with pytest.raises(UsageError, match="no weights of srgan for scale 8 come with the package"):
        load_model("srgan", 8, CPU)
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(NtireSrError, match=r"foreign\.safetensors holds no weights of ntire-sr"):
        load_model(tmp_path / "foreign.safetensors", None, CPU)
    (tmp_path / "damaged.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(NtireSrError, match=r"damaged\.safetensors is no readable"):
        load_model(tmp_path / "damaged.safetensors", None, CPU)
    weights = weights_of(MODELS["srgan"].build(4, SMALL))
    weights["tail.bias"] = weights["tail.bias"] * float("nan")
    save_weights(tmp_path / "nan.safetensors", "srgan", 4, SMALL, weights, {})
    with pytest.raises(NtireSrError, match="not finite"):
        load_model(tmp_path / "nan.safetensors", None, CPU)
    save_weights(tmp_path / "cut.safetensors", "srgan", 4, SMALL, {"tail.bias": torch.zeros(3)}, {})
    with pytest.raises(NtireSrError, match="do not fit the model srgan"):
        load_model(tmp_path / "cut.safetensors", None, CPU)
