"""Samples from Python: the bytes that `ntire-sr generate` writes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ntire_sr import downscale, list_models, load
from ntire_sr.challenge.names import SampleName
from ntire_sr.challenge.pixels import to_tensor, to_unit
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.models.registry import MODELS
from ntire_sr.models.weights_files import save_weights
from ntire_sr.samples.image_files import read_image, write_png

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A tiny `stochastic` that was never trained."""
    torch.manual_seed(0)
    model = MODELS["stochastic"]
    settings = model.architecture(channels=8, blocks=1)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    tensors = {name: value.contiguous() for name, value in model.build(4, settings).state_dict().items()}
    save_weights(path, "stochastic", 4, settings, tensors, {})
    return path


def written(out: Path, index: int, count: int) -> np.ndarray:
    return np.stack([read_image(out / str(SampleName(index, number))) for number in range(count)])


def test_sample_returns_what_generate_writes_for_every_image_form(
    weights, lr_folder, tmp_path, ntire_sr_command
):
    words = ("generate", "--lr", lr_folder, "--weights", weights, "--seed", 7, "--device", "cpu")
    assert ntire_sr_command(*words, "--samples", 3, "--out", tmp_path / "SR").code == 0
    generator = load(weights, device="cpu")
    for index, path in enumerate(sorted(lr_folder.iterdir())):
        lr, expected = read_image(path), written(tmp_path / "SR", index, 3)
        assert len({image.tobytes() for image in expected}) == 3
        assert np.array_equal(generator.sample(lr, k=3, seed=7), expected)
        assert np.array_equal(generator.sample(lr, k=1, seed=7, first=2), expected[2:])
        planes = to_tensor(lr).contiguous()  # another order in memory
        for form in (torch.from_numpy(lr), planes, to_unit(planes)):
            samples = generator.sample(form, k=2, seed=7)
            assert isinstance(samples, torch.Tensor) and np.array_equal(samples.numpy(), expected[:2])
        assert not np.array_equal(generator.sample(lr, k=1, seed=8), expected[:1])
    assert ntire_sr_command(*words, "--samples", 1, "--tile", 6, "--out", tmp_path / "tiled").code == 0
    assert np.array_equal(generator.sample(lr, k=1, seed=7, tile=6), written(tmp_path / "tiled", 1, 1))
    assert ntire_sr_command(*words, "--samples", 1, "--no-projection", "--out", tmp_path / "raw").code == 0
    assert np.array_equal(generator.sample(lr, k=1, seed=7, project=False), written(tmp_path / "raw", 1, 1))


def test_load_reads_scale_and_digest_from_the_weights_file(weights):
    generator = load(weights, device=torch.device("cpu"))
    assert (generator.name, generator.scale, generator.deterministic) == ("stochastic", 4, False)
    assert generator.weights == weights and len(generator.weights_sha256) == 64
    assert len(repr(generator)) < 400
    assert load("bicubic", 8).sample(np.zeros((4, 5, 3), np.uint8), k=1).shape == (1, 32, 40, 3)


def test_samples_can_be_used_by_autograd(weights):
    samples = load(weights, device="cpu").sample(torch.zeros(1, 3, 4, 4), k=1)
    factor = torch.ones(1, requires_grad=True)
    (samples.float() * factor).sum().backward()  # tensors of inference mode cannot be saved for this
    assert factor.grad == samples.float().sum()


def test_infeasible_lr_image_is_an_error_unless_allowed(tmp_path, ntire_sr_command):
    board = np.repeat((np.indices((8, 8)).sum(0) % 2 * 255)[..., None], 3, 2).astype(np.uint8)
    generator = load("bicubic", device="cpu")
    with pytest.raises(NtireSrError, match="no 8-bit image downscales to lr; the closest reaches") as raised:
        generator.sample(board, k=1)
    assert "allow_infeasible=True" in raised.value.remedy
    write_png(tmp_path / "LR" / "1.png", board)
    words = ("--lr", tmp_path / "LR", "--weights", "bicubic", "--samples", 1, "--device", "cpu")
    assert ntire_sr_command("generate", *words, "--allow-infeasible", "--out", tmp_path / "SR").code == 0
    assert np.array_equal(generator.sample(board, k=1, allow_infeasible=True), written(tmp_path / "SR", 0, 1))


def test_allow_unreachable_is_a_deprecated_spelling_that_warns(tmp_path, ntire_sr_command):
    board = np.repeat((np.indices((8, 8)).sum(0) % 2 * 255)[..., None], 3, 2).astype(np.uint8)
    generator = load("bicubic", device="cpu")
    with pytest.warns(DeprecationWarning, match="use allow_infeasible"):
        samples = generator.sample(board, k=1, allow_unreachable=True)
    assert np.array_equal(samples, generator.sample(board, k=1, allow_infeasible=True))
    write_png(tmp_path / "LR" / "1.png", board)
    words = ("--lr", tmp_path / "LR", "--weights", "bicubic", "--samples", 1, "--device", "cpu")
    result = ntire_sr_command("generate", *words, "--allow-unreachable", "--out", tmp_path / "SR", "--json")
    images = json.loads(result.out)
    assert result.code == 0 and "--allow-unreachable is deprecated; use --allow-infeasible" in result.err
    assert images["infeasible"] == images["unreachable"] and len(images["infeasible"]) == 1


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"lr": np.zeros((2, 8, 8, 3), np.uint8)}, ValueError, "lr is 2 of 8 x 8 pixels; expected one image"),
        ({"lr": np.zeros((3, 8, 3), np.uint8)}, ValueError, "lr is 1 of 8 x 3 pixels; .* sides of 4 or more"),
        ({"k": 0}, ValueError, "k is 0"),
        ({"k": 2.0}, TypeError, "k is 2.0, no integer"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"tile": "auto"}, TypeError, "tile is 'auto', no integer"),
        ({"first": -1}, ValueError, "first is -1"),
        ({"temperature": "hot"}, TypeError, "temperature is a str"),
        ({"temperature": 2.5}, ValueError, "temperature is 2.5"),
        ({"temperature": 0.5}, ValueError, "bicubic is deterministic"),
        ({"precision": "float16"}, ValueError, "precision is 'float16'"),
    ],
)
def test_wrong_arguments_of_sample_are_named(arguments, kind, message):
    with pytest.raises(kind, match=message):
        load("bicubic", device="cpu").sample(**{"lr": np.zeros((8, 8, 3), np.uint8), **arguments})


def test_wrong_arguments_of_load_are_named_with_a_remedy(weights, tmp_path):
    for arguments, message, remedy in (
        ({"name_or_file": "stochastik"}, "no weights at stochastik, and no model has this name", "stochastic"),
        (
            {"name_or_file": "srgan", "scale": 8},
            "no weights of srgan for scale 8 come with the package",
            "a weights file",
        ),
        ({"name_or_file": weights, "scale": 8}, "was trained for scale 4, not 8", "scale 4, or other weights"),
        ({"name_or_file": "absent", "weights": weights}, "no weights at absent", "or a network such as"),
        ({"scale": 3}, "scale 3 is not supported", "4 or 8"),
    ):
        with pytest.raises(ValueError, match=message) as raised:
            load(**arguments)
        assert isinstance(raised.value, UsageError) and remedy in raised.value.remedy
    for device in ("gpu", torch.device("mps"), "cuda:99"):
        with pytest.raises(ValueError, match="device") as raised:
            load("bicubic", device=device)
        assert raised.value.remedy == "auto, cpu, cuda or cuda:N"
    with pytest.raises(TypeError, match="name_or_file is a NoneType"):
        load(None)
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing")
    with pytest.raises(NtireSrError, match="no readable safetensors file"):
        load(tmp_path / "damaged.safetensors")


def test_list_models_gives_scales_that_need_no_weights_file():
    own = [model for model in list_models() if model.origin == "ntire-sr"]
    assert [model.name for model in own] == list(MODELS)
    for model in own:
        assert model.summary and model.deterministic == MODELS[model.name].deterministic
        for scale in model.scales:
            assert load(model.name, scale, "cpu").scale == scale
    assert {model.name: model.scales for model in list_models()}["srgan"] == (4,)


def test_load_takes_a_network_from_outside_by_file_or_module(photograph, monkeypatch):
    lr = downscale(np.ascontiguousarray(photograph[:32, :48]), 4)
    name = f"{Path(__file__).parents[2] / 'docs' / 'networks' / 'noise.py'}:build"
    own = load(name)
    samples = own.sample(lr, k=2)
    assert samples.shape == (2, 32, 48, 3) and not np.array_equal(*samples)
    assert np.array_equal(own.sample(lr, k=1, first=1)[0], samples[1])
    assert (own.weights, own.deterministic) == (None, False)
    with pytest.raises(ValueError, match="there are no weights at absent"):
        load(name, weights="absent.pth")
    monkeypatch.syspath_prepend(Path(name).parent)
    assert np.array_equal(load("noise:build").sample(lr, k=2), samples)


class Noisy(torch.nn.Module):
    """A small network with noise and dropout."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 48, 3, padding=1), torch.nn.Dropout(0.5), torch.nn.PixelShuffle(4)
        )

    def sample(self, lr, generator):
        return self.layers(lr) + 0.1 * torch.rand(lr.shape[0], 3, 1, 1, generator=generator)


def test_load_takes_a_module_and_leaves_it_as_it_is(photograph):
    lr, network = downscale(np.ascontiguousarray(photograph[:32, :48]), 4), Noisy()
    generator = load(network, scale=4)
    assert (generator.name, generator.weights, generator.device.type) == ("Noisy", None, "cpu")
    samples = generator.sample(lr, k=2)
    assert samples.shape == (2, 32, 48, 3) and not np.array_equal(*samples)
    assert np.array_equal(generator.sample(lr, k=2), samples)  # without dropout
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())
    with torch.no_grad():
        network.layers[0].weight.mul_(2)  # as a training would change it
    assert not np.array_equal(generator.sample(lr, k=2), samples)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"name_or_file": Noisy}, TypeError, "name_or_file is a type"),
        ({"name_or_file": torch.nn.Conv2d(3, 3, 1)}, TypeError, "name_or_file is a Conv2d"),
        (
            {"name_or_file": Noisy(), "weights": "my.pth"},
            ValueError,
            "weights are given for a network that exists",
        ),
        ({"name_or_file": Noisy(), "scale": 3}, ValueError, "scale 3 is not supported"),
    ],
)
def test_wrong_objects_are_refused_by_load(arguments, kind, message):
    with pytest.raises(kind, match=message):
        load(**arguments)
