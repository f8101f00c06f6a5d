"""Weights files of other programs, from the file to the upload."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.pretrained import read_tensors
from ntire_sr.models.loading import load_model
from ntire_sr.models.rrdb import expected_shapes
from ntire_sr.samples.manifest import load_manifest
from ntire_sr.sampling.generate import Request, generate
from ntire_sr.sampling.sampler import Sampler
from ntire_sr.submission.verify import verify

CPU = torch.device("cpu")


def rrdb_tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: 0.05 * torch.randn(shape, generator=generator) for name, shape in expected_shapes(1).items()}


@pytest.fixture
def rrdb_file(tmp_path):
    path = tmp_path / "esrgan.pth"
    torch.save({"params": {}, "params_ema": rrdb_tensors(), "iter": 5}, path)
    return path


def test_rrdbnet_file_draws_scores_packs_and_is_drawn_again(rrdb_file, lr_folder, ntire_sr_command, tmp_path):
    sr, lr, hr = tmp_path / "samples", lr_folder, tmp_path / "HR"
    for words in (
        ("generate", "--weights", rrdb_file, "--lr", lr, "--samples", 1, "--out", sr),
        ("score", "--hr", hr, "--sr", sr, "--without-lpips", "--out", tmp_path / "score"),
        ("package", "--sr", sr, "--out", tmp_path / "out.zip"),
        ("verify", tmp_path / "out.zip", "--lr", lr, "--manifest", sr, "--regenerate", 1),
    ):
        result = ntire_sr_command(*words)
        assert result.code == 0, result.err
    manifest = load_manifest(sr)
    assert (manifest.settings.model, manifest.settings.deterministic, manifest.code) == ("RRDBNet", True, None)
    assert min(record.lr_psnr_db for record in manifest.files.values()) >= 50


def test_tiles_of_an_rrdbnet_change_no_pixel(rrdb_file):
    loaded = load_model(rrdb_file, None, CPU)
    lr = torch.rand(1, 3, 70, 30, generator=torch.Generator().manual_seed(1))
    images = []
    for tile in (0, 8):
        sampler = Sampler(loaded, CPU, half=False, tile=tile)
        images.append(sampler.sample(lr, sampler.trunk(lr), seed=0))
    assert (images[0] - images[1]).abs().max() < 1e-4  # rounding of sums; a grey level is 4e-3


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: {"state_dict": {f"module.{name}": value for name, value in tensors.items()}},
        lambda tensors: {"generator": tensors, "discriminator": {"a": torch.zeros(1)}},
        lambda tensors: {f"generator.{n}": v for n, v in tensors.items()} | {"critic.bias": torch.zeros(1)},
        lambda tensors: {"model": {"params_ema": {f"_orig_mod.module.{n}": v for n, v in tensors.items()}}},
    ],
)
def test_wrappers_and_prefixes_are_removed(wrap, tmp_path):
    tensors = rrdb_tensors()
    torch.save(wrap(tensors), tmp_path / "net.pt")
    unwrapped = read_tensors(tmp_path / "net.pt", nested=True)
    assert unwrapped.keys() == tensors.keys()
    assert load_model(tmp_path / "net.pt", None, CPU).name == "RRDBNet"


def test_safetensors_file_of_another_program_is_opened(tmp_path):
    save_file({f"module.{name}": value for name, value in rrdb_tensors().items()}, tmp_path / "net.safetensors")
    assert load_model(tmp_path / "net.safetensors", 4, CPU).name == "RRDBNet"


def test_scale_of_another_network_is_refused(rrdb_file):
    with pytest.raises(UsageError, match=r"esrgan\.pth: RRDBNet draws scale 4, not 8"):
        load_model(rrdb_file, 8, CPU)


def test_unknown_network_without_spandrel_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    torch.save({"layers.0.attn.qkv.weight": torch.zeros(3, 3)}, tmp_path / "swinir.pth")
    with pytest.raises(UsageError, match=r"holds no weights of ntire-sr[\s\S]*ntire-sr\[spandrel\]"):
        load_model(tmp_path / "swinir.pth", 4, CPU)


def test_file_without_tensors_is_refused(tmp_path):
    (tmp_path / "net.pth").write_text("no weights")
    with pytest.raises(NtireSrError, match=r"net\.pth is no readable weights file"):
        load_model(tmp_path / "net.pth", 4, CPU)
    torch.save({"epoch": 3}, tmp_path / "net.pth")
    with pytest.raises(NtireSrError, match="is not a dictionary of tensors"):
        load_model(tmp_path / "net.pth", 4, CPU)


class Doubling(torch.nn.Module):
    """Stands for a network that spandrel opens."""

    def __init__(self, factor: int):
        super().__init__()
        self.factor, self.weight = factor, torch.nn.Parameter(torch.ones(1))

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(lr, scale_factor=self.factor) * self.weight


class Descriptor:
    """The part of spandrel's ImageModelDescriptor that is used."""

    def __init__(self, scale: int):
        self.scale, self.model = scale, Doubling(scale)
        self.architecture = SimpleNamespace(name="SwinIR")

    def eval(self) -> "Descriptor":
        return self

    def __call__(self, lr: torch.Tensor) -> torch.Tensor:
        return self.model(lr)


class Unsupported(Exception):
    pass


def spandrel_that_finds(descriptor: Descriptor | None) -> SimpleNamespace:
    class ModelLoader:
        def __init__(self, device):
            self.device = device

        def load_from_state_dict(self, tensors):
            if descriptor is None:
                raise Unsupported
            return descriptor

    return SimpleNamespace(
        ModelLoader=ModelLoader,
        ImageModelDescriptor=Descriptor,
        UnsupportedModelError=Unsupported,
        __version__="0.4",
    )


def test_network_of_spandrel_draws_at_its_scale(lr_folder, monkeypatch, tmp_path):
    torch.save({"weight": torch.ones(1)}, tmp_path / "swinir.pth")
    monkeypatch.setitem(sys.modules, "spandrel", spandrel_that_finds(Descriptor(8)))
    loaded = load_model(tmp_path / "swinir.pth", None, CPU)
    assert (loaded.name, loaded.scale, loaded.deterministic) == ("SwinIR", 8, True)
    generate(Request(lr_folder, tmp_path / "SR", samples=1), loaded, CPU)
    assert verify([tmp_path / "SR"], regenerate=1).drawn_again
    settings = json.loads((tmp_path / "SR" / "manifest.json").read_text())["settings"]
    assert (settings["model"], settings["precision"]) == ("SwinIR", "float32")


def test_network_that_spandrel_cannot_use_is_refused(monkeypatch, tmp_path):
    torch.save({"weight": torch.ones(1)}, tmp_path / "net.pth")
    for descriptor, message in (
        (Descriptor(2), "a SwinIR of scale 2"),
        (None, "no network that spandrel 0.4 knows"),
    ):
        monkeypatch.setitem(sys.modules, "spandrel", spandrel_that_finds(descriptor))
        with pytest.raises(UsageError, match=message):
            load_model(tmp_path / "net.pth", None, CPU)


def test_spandrel_itself_opens_an_esrgan_of_other_sizes(lr_folder, tmp_path):
    try:
        from spandrel.architectures.ESRGAN import ESRGAN
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision of another torch
        pytest.skip(f"spandrel cannot be imported: {error}")
    torch.save(ESRGAN(num_filters=4, num_blocks=1, scale=4).state_dict(), tmp_path / "small.pth")
    loaded = load_model(tmp_path / "small.pth", None, CPU)
    assert (loaded.name, loaded.scale) == ("ESRGAN", 4)
    generate(Request(lr_folder, tmp_path / "SR", samples=1), loaded, CPU)
