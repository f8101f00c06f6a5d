"""Training networks from outside the package, from the command to the samples of the trained network."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import TINIEST, RecordedProgress
from pages import ROOT
from safetensors.torch import load_file
from torch import nn

from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.files import make_folder, write_json
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.core.seeding import make_generator
from ntire_sr.core.settings import make
from ntire_sr.models.adapter import StderrRedirect, adapt
from ntire_sr.models.external import import_code
from ntire_sr.models.interfaces import NoSettings
from ntire_sr.models.trainable import TrainableNetwork
from ntire_sr.models.weights_files import read_weights, save_weights
from ntire_sr.samples.image_files import write_png
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.loop import train
from ntire_sr.training.run_config import make_run_config, resume_run_config
from ntire_sr.training.trainers.external import ExternalTrainer, settings_record
from ntire_sr.training.trainers.registry import trainer_spec

pytestmark = [pytest.mark.usefixtures("imports_as_before"), pytest.mark.numerical]
CPU = torch.device("cpu")

NETWORK = """from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import interpolate, pixel_shuffle


@dataclass
class Settings:
    width: int = 3
    dropout: float = 0.0
    norm: bool = False

    def __post_init__(self):
        if self.width > 9:
            raise ValueError(f"width {self.width} is above 9")


class Net(nn.Module):
    scales = (4,)
    sample_receptive_field = 3

    def __init__(self, scale, settings):
        super().__init__()
        self.scale, self.width = scale, settings.width
        norm = nn.BatchNorm2d(self.width) if settings.norm else nn.Identity()
        self.features = nn.Sequential(nn.Conv2d(3, self.width, 3, padding=1), norm, nn.Dropout(settings.dropout))
        self.detail = nn.Conv2d(2 * self.width, 3 * scale**2, 3, padding=1)

    def trunk(self, lr):
        return [self.features(lr)]

    def latents(self, lr, generator):
        return (torch.randn(1, self.width, *lr.shape[2:], generator=generator),)

    def sample(self, trunk, lr, latents):
        detail = self.detail(torch.cat((trunk[0], latents[0]), 1))
        return interpolate(lr, scale_factor=self.scale, mode="bicubic") + 0.1 * pixel_shuffle(detail, self.scale)


def build(scale, weights, device, settings: Settings):
    return Net(scale, settings)
"""
SMALL = {name: value for name, value in TINIEST.items() if name not in ("model", "channels", "blocks")}
WORDS = [word for name, value in SMALL.items() if name != "validation" for word in ("--set", f"{name}={value}")]


@pytest.fixture
def net(tmp_path, monkeypatch) -> Path:
    """A folder with the network above, as the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NETWORK)
    return tmp_path


def change(folder: Path, before: str, after: str) -> None:
    """Change the network's file."""
    text = (folder / "net.py").read_text()
    assert before in text
    (folder / "net.py").write_text(text.replace(before, after))


def trained(folder: Path, **values) -> RunFolder:
    """The run of a training of the network."""
    run = RunFolder(folder / "run")
    train(make_run_config({**SMALL, "model": f"{folder / 'net.py'}:build", **values}), run)
    return run


# ---- from the command to samples


def test_command_trains_a_network_that_draws_and_regenerates(
    net, lr_folder, photograph, monkeypatch, ntire_sr_command
):
    write_png(net / "small" / "a.png", photograph[:64, :64].copy())
    words = ["--model", "net.py:build", "--run", "run", *WORDS, "--set", "width=5", "--set", "validation=small"]
    result = ntire_sr_command("train", *words)
    assert result.code == 0 and "training net.py:build x4 (preset tiny)" in result.err, result.err
    assert "val_lpips" in json.loads((net / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert (net / "run" / "training.html").is_file()
    config = json.loads((net / "run" / "config.json").read_text())
    assert config["model"] == f"{net / 'net.py'}:build" and config["settings"]["width"] == 5
    tensors = load_file(net / "run" / "weights.safetensors")
    assert tensors["detail.weight"].shape == (48, 10, 3, 3)  # the module's own names

    (net / "elsewhere").mkdir()
    monkeypatch.chdir(net / "elsewhere")  # the run finds its network from any folder
    result = ntire_sr_command("generate", "--run", "../run", "--lr", "../LR", "--samples", 2, "--out", "drawn")
    assert result.code == 0 and result.out.count("drawn by net.py:build, weights ../run/weights.saf") == 1, (
        result.err
    )
    assert ", 2 steps)" in result.out
    result = ntire_sr_command("verify", "drawn", "--regenerate", 1, "--model", "../net.py:build")
    assert "1 drawn again and found the same" in result.out and result.out.endswith("PASS\n"), result.out
    result = ntire_sr_command("models", "check", "../net.py:build", "--weights", "../run/weights.safetensors")
    assert result.out.endswith("PASS\n"), result.out

    # its code runs only where it or its run is named
    result = ntire_sr_command("generate", "--weights", "../run/weights.safetensors", "--lr", "../LR")
    assert result.code == 2 and "holds weights of net.py:build, a network from outside" in result.err
    (net / "net.py").unlink()
    result = ntire_sr_command("generate", "--run", "../run", "--lr", "../LR")
    assert result.code == 2 and f"the file {net / 'net.py'} does not exist" in result.err
    result = ntire_sr_command("train", "--run", "../run", "--resume")
    assert result.code == 2 and f"the file {net / 'net.py'} does not exist" in result.err


def test_stopped_training_of_a_network_resumes_to_the_same_bits(net, tmp_path):
    values = {**SMALL, "model": "net.py:build", "steps": 3, "dropout": 0.3, "norm": True, "seed": 5}
    straight, parts = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "parts")
    train(make_run_config(values), straight)
    train(make_run_config({**values, "max_minutes": 1e-9}), parts)
    result = train(resume_run_config(parts, {"max_minutes": 0, "model": "net.py:build"}), parts, resume=True)
    assert result.stop_reason == "finished"
    tensors, resumed = load_file(straight.weights), load_file(parts.weights)
    assert all(torch.equal(value, resumed[name]) for name, value in tensors.items())
    assert tensors["features.1.num_batches_tracked"] == 3  # buffers of the EMA follow the generator's


def test_network_of_a_changed_file_draws_if_its_tensors_fit(net, lr_folder, ntire_sr_command):
    run = trained(net)
    change(net, "return Net", "print()\n    return Net")
    words = ["generate", "--run", run.path, "--lr", "LR", "--samples", 1, "--only", "000000_sample00000"]
    result = ntire_sr_command(*words)
    assert "; its code has changed since the training" in result.out, result.err
    assert ntire_sr_command("train", "--run", run.path, "--resume", "--steps", 3).code == 0
    change(net, "nn.Conv2d(3, self.width, 3, padding=1)", "nn.Conv2d(3, self.width, 1)")
    expected = "net.py:build is not the network of this training: its tensor features.0.weight is (3, 3, 1, 1), that of"
    result = ntire_sr_command(*words)
    assert result.code == 1 and expected in result.err
    result = ntire_sr_command("train", "--run", run.path, "--resume", "--steps", 4)
    assert result.code == 1 and expected in result.err


def test_changed_code_is_named_when_a_run_resumes(net):
    progress = RecordedProgress()
    run = trained(net, max_minutes=1e-9)
    change(net, "0.1 * pixel", "0.2 * pixel")
    train(resume_run_config(run, {"max_minutes": 0}), run, resume=True, progress=progress)
    assert any("the code of net.py:build has changed" in text for text in progress.messages)


def test_training_starts_from_the_weights_of_another(net):
    first = trained(net, width=4)
    values = {
        **SMALL,
        "model": "net.py:build",
        "start_from": str(first.weights),
        "steps": 1,
        "learning_rate": 1e-9,
    }
    second = RunFolder(net / "second")
    run_config = make_run_config(values)
    assert run_config.config.preset == "finetune" and run_config.settings.width == 4
    train(run_config, second)
    tensors, started = load_file(second.weights), load_file(first.weights)
    assert all(torch.allclose(value, started[name], atol=1e-6) for name, value in tensors.items())
    assert json.loads(read_weights(second.weights)[0]["facts"])["start_from_sha256"]


def test_training_starts_from_a_file_that_the_network_reads(net):
    reading = "if weights:\n        network.load_state_dict(torch.load(weights))"
    change(
        net, "return Net(scale, settings)", f"network = Net(scale, settings)\n    {reading}\n    return network"
    )
    code = import_code("net.py:build")
    torch.save(code.build(4, None, CPU, seed=9).state_dict(), "mine.pth")
    values = {"start_from": "mine.pth", "steps": 1, "learning_rate": 1e-9}
    tensors = load_file(trained(net, **values).weights)
    assert all(
        torch.allclose(tensors[name], value, atol=1e-6) for name, value in torch.load("mine.pth").items()
    )


# ---- settings


def test_unknown_setting_of_a_network_suggests_its_own(net, ntire_sr_command):
    result = ntire_sr_command("train", "--model", "net.py:build", "--set", "widht=4", "--dry-run")
    assert result.code == 2 and "unknown setting 'widht'\n  try: width" in result.err
    result = ntire_sr_command("train", "--model", "net.py:build", "--set", "width=wide", "--dry-run")
    assert result.code == 2 and "width 'wide' is not a whole number" in result.err
    result = ntire_sr_command("train", "--model", "net.py:build", "--set", "width=10", "--dry-run")
    assert (
        result.code == 1
        and "ValueError when its settings were made: width 10 is above 9 (net.py, line" in result.err
    )
    result = ntire_sr_command("train", "--model", "net.py:build", "--set", "gamma=0.4", "--dry-run")
    settings = json.loads(result.out)["settings"]
    assert (settings["width"], settings["gamma"], settings["precision"]) == (3, 0.4, "float32")


def code_with(settings: object) -> SimpleNamespace:
    return SimpleNamespace(label="net.py:build", settings=settings, make_settings=lambda values: values)


def test_settings_that_train_cannot_give_are_refused():
    @dataclass
    class Widths:
        widths: tuple = ()

    @dataclass
    class Taken:
        gamma: int = 1

    with pytest.raises(NtireSrError, match=r"its setting widths is declared as .*which --set cannot give"):
        settings_record(code_with(Widths()))
    with pytest.raises(NtireSrError, match="its setting gamma has the name of a setting of train"):
        settings_record(code_with(Taken()))


def test_settings_without_a_data_class_are_refused_by_name(net):
    change(net, "settings: Settings)", "settings)")
    with pytest.raises(
        NtireSrError, match=r"net\.py:build: its parameter settings is not annotated with"
    ) as caught:
        import_code("net.py:build")
    assert caught.value.remedy.startswith("settings: Settings, where Settings is a data class")
    for parameter in ("settings=None", "**settings"):  # the function can be called without them
        (net / "net.py").write_text(f"def build(scale, weights, device, {parameter}): ...")
        assert import_code("net.py:build").settings == NoSettings()


def test_resume_with_another_model_names_that_of_the_run(net):
    (net / "other.py").write_text("")
    run_config = make_run_config({**SMALL, "model": "net.py:build"})
    run = RunFolder(net / "run")
    make_folder(run.path)
    write_json(run.config, run_config.as_json())
    for asked, message in (
        ("other.py:build", f"{run.path} was trained with net.py:build, not other.py:build"),
        ("srgan", f"{run.path} was trained with net.py:build, not srgan"),
        ("nets/net.py:build", f"{run.path} was trained with {net}/net.py:build, not {net}/nets/net.py:build"),
    ):
        with pytest.raises(UsageError) as caught:
            resume_run_config(run, {"model": asked})
        assert caught.value.message == message
        assert f"ntire-sr train --run {run.path} --resume" in caught.value.remedy
    assert resume_run_config(run, {"model": "net.py:build"}).as_json() == run_config.as_json()


def test_default_settings_of_the_function_are_those_of_training(tmp_path):
    head = "from __future__ import annotations\n"
    text = NETWORK.replace("settings: Settings)", "settings: Settings = Settings(width=7))")
    (tmp_path / "net.py").write_text(head + text)
    assert import_code(f"{tmp_path / 'net.py'}:build").settings.width == 7
    assert make_run_config({**SMALL, "model": f"{tmp_path / 'net.py'}:build"}).settings.width == 7


# ---- forms of networks


def conv(scale: int = 4) -> nn.Conv2d:
    return nn.Conv2d(3, 3 * scale**2, 3, padding=1)


class Whole(nn.Module):
    """Draws from a random generator, without trunk and latents."""

    def __init__(self):
        super().__init__()
        self.conv = conv()

    def sample(self, lr, generator):
        assert len(lr) == 1
        return nn.functional.pixel_shuffle(
            self.conv(lr + torch.randn(lr.shape, generator=generator, device=lr.device)), 4
        )


class Parts(nn.Module):
    """A dictionary as trunk, and latents in a list."""

    def __init__(self):
        super().__init__()
        self.conv = conv()

    def trunk(self, lr):
        return {"maps": (lr, None)}

    def latents(self, lr, generator):
        return [torch.randn(lr.shape, generator=generator, device=lr.device)]

    def sample(self, trunk, lr, latents):
        return nn.functional.pixel_shuffle(self.conv(trunk["maps"][0] + latents[0]), 4)


@pytest.mark.parametrize("form", [Whole, Parts])
def test_batches_of_a_network_are_the_images_that_it_draws_alone(form):
    network = form()
    batched = TrainableNetwork(network, "net", 4, StderrRedirect())
    lr = torch.rand(3, 3, 6, 8)
    drawn = batched.sample(batched.trunk(lr), lr, batched.latents(lr, [make_generator(n) for n in range(3)]))
    alone = adapt(network, "net", 4, CPU, StderrRedirect())
    for n in range(3):
        one = lr[n : n + 1]
        image = alone.sample(alone.trunk(one), one, alone.latents(one, [make_generator(n)]))
        assert torch.allclose(drawn[n], image[0], atol=1e-6)


def trainer_of(form, folder: Path, device: torch.device = CPU) -> ExternalTrainer:
    """A trainer of what `form` makes."""
    (folder / "net.py").write_text("def build(scale, weights, device): ...")
    code = import_code(f"{folder / 'net.py'}:build")
    object.__setattr__(code, "function", lambda scale, weights, device: form())
    settings = make(settings_record(code), {"features": "filters", "discriminator_channels": 4, "warm_up": 0})
    return ExternalTrainer(code, TrainConfig(patch=32), settings, device, ProcessGroup())


def step(trainer: ExternalTrainer, number: int = 0) -> dict[str, float]:
    """One step on two random crops."""
    lr, hr = (torch.rand(2, 3, side, side, generator=make_generator(number)) for side in (8, 32))
    generators = [make_generator(number, index, device=trainer.device) for index in range(2)]
    return trainer.step(lr.to(trainer.device), hr.to(trainer.device), generators)


@pytest.mark.parametrize("form", [Whole, Parts])
def test_networks_of_every_form_take_a_training_step(form, tmp_path, device):
    trainer = trainer_of(form, tmp_path, device)
    before = trainer.gan.generator.network.conv.weight.clone()
    assert step(trainer)["skipped"] == 0
    assert not torch.equal(trainer.gan.generator.network.conv.weight, before)
    assert trainer.weights().keys() == {"conv.weight", "conv.bias"}
    ema, lr = (
        trainer.gan.ema,
        torch.rand(1, 3, 8, 8, device=device),
    )  # as a validation draws, with generators on the CPU
    assert ema.sample(ema.trunk(lr), lr, ema.latents(lr, [make_generator(0)])).shape == (1, 3, 32, 32)


class Shared(Whole):
    """A tied, a frozen and an unused layer."""

    def __init__(self):
        super().__init__()
        self.tied, self.unused, self.frozen = self.conv, nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.frozen.requires_grad_(False)

    def sample(self, lr, generator):
        return super().sample(self.frozen(lr), generator) + nn.functional.pixel_shuffle(self.tied(lr), 4)


def test_tied_frozen_and_unused_layers_resume_and_are_saved(tmp_path):
    straight, parts = (trainer_of(Shared, tmp_path) for _ in range(2))
    assert straight.messages == ["2 parameters of net.py:build without a gradient: unused.weight, unused.bias"]
    step(straight), step(parts)
    state = parts.state_dict()
    assert "frozen.weight" in state["generator"] and "frozen.weight" not in state["average"]
    parts = trainer_of(Shared, tmp_path)
    parts.load_state_dict(state)
    step(straight, 1), step(parts, 1)
    weights, resumed = straight.weights(), parts.weights()
    assert all(torch.equal(value, resumed[name]) for name, value in weights.items())
    save_weights(tmp_path / "weights.safetensors", "net.py:build", 4, straight.settings, weights, {})
    Shared().load_state_dict(load_file(tmp_path / "weights.safetensors"))


class Learned(Whole):
    """Noise whose strength is learned, starts at zero and is never below."""

    def __init__(self):
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(()))

    def sample(self, lr, generator):
        noise = self.strength.clamp(min=0) * torch.randn(lr.shape, generator=generator).to(lr)
        return nn.functional.pixel_shuffle(self.conv(lr + noise), 4)


class Global(Whole):
    """Noise from the global random generator, which is seeded for each sample."""

    def sample(self, lr, generator):
        return nn.functional.pixel_shuffle(self.conv(lr + torch.randn_like(lr)), 4)


class Dropped(Whole):
    """Noise from dropout only, which is off when samples are drawn."""

    def sample(self, lr, generator):
        return nn.functional.pixel_shuffle(self.conv(nn.functional.dropout(lr, 0.5, self.training)), 4)


def test_noise_that_starts_at_zero_or_is_global_is_accepted(tmp_path):
    assert trainer_of(Learned, tmp_path).gan.generator.network.strength == 0  # as it was built
    assert trainer_of(Global, tmp_path).messages == []


def test_samples_that_differ_only_by_dropout_are_refused(tmp_path):
    with pytest.raises(NtireSrError, match="samples do not depend on its noise") as caught:
        trainer_of(Dropped, tmp_path)
    assert "draw noise in sample with its generator" in caught.value.remedy


# ---- networks that are refused


@pytest.mark.parametrize(
    ("before", "after", "part"),
    [
        ("return Net(scale, settings)", "return 1 / 0", "ZeroDivisionError while it was built: division by zero (net.py, line"),
        ("return Net(scale, settings)", "return 3", "returned a int, not an object with a method sample"),
        ("(nn.Module)", "", "returned a Net, and train needs a torch.nn.Module"),
        ("return [self.features(lr)]", "raise KeyError('maps')", "raised KeyError in trunk: 'maps' (net.py, line"),
        ("return [self.features(lr)]", "return [self.features(lr)[:1]]", "trunk returned a torch.float32 tensor of shape (1, 3, 8, 8), not one of 2"),
        ("return (torch.randn(1,", "return (torch.randn(2,", "latents returned a torch.float32 tensor of shape (2, 3, 8, 8), not one of 1"),
        ("        return interpolate(", "        return detail + interpolate(", "RuntimeError in sample: The size of tensor a (8) must match"),
        ("    def sample(", "    def sample(self, trunk, lr, latents):\n        return self.detail(lr.repeat(1, 2, 1, 1))\n\n    def unused(", "sample returned a torch.float32 tensor of shape (4, 48, 8, 8), not a floating"),
        ("+ 0.1 *", "+ float('nan') *", "sample returned values that are NaN or infinite"),
        ("+ 0.1 *", "+ 255 + 0.1 *", "sample returned values of up to 25"),
        ("    scales =", "    deterministic = True\n    scales =", "states deterministic = True, and train teaches networks to draw samples"),
        ("return Net(scale, settings)", "return Net(scale, settings).requires_grad_(False)", "a module without parameters that learn"),
        ("    def sample(", "    @torch.no_grad()\n    def sample(", "samples have no gradient at the network's parameters"),
        ("trunk[0], latents[0]), 1", "trunk[0], trunk[0]), 1", "the network's samples do not depend on its noise: two samples of one LR image are equal"),
        ("sample_receptive_field", "trunk_receptive_field", "trunk returned a list, not one tensor, as trunk_receptive_field requires"),
        ("scales = (4,)", "scales = (8,)", "draws scale 8, not 4"),
        ("    def sample(", "    def sampel(", "not an object with a method sample(lr, generator)"),
    ],
)  # fmt: skip
def test_network_that_cannot_train_gives_one_error_and_no_folder(net, before, after, part):
    change(net, before, after)
    if before == "(nn.Module)":
        change(net, "        super().__init__()\n", "")
    with pytest.raises(NtireSrError) as caught:
        trained(net)
    assert part in caught.value.message and "\n" not in caught.value.message and caught.value.remedy
    assert "net.py" in caught.value.message and not (net / "run").exists()


def test_setting_of_another_network_is_refused_before_the_code_is_built(net):
    with pytest.raises(UsageError, match=r"trunk: net\.py:build is not built on a pretrained trunk"):
        make_run_config({**SMALL, "model": "net.py:build", "trunk": "rrdb.pth"})
    with pytest.raises(UsageError, match=r"the file absent\.py does not exist"):
        trainer_spec("absent.py:build")
    with pytest.raises(UsageError, match=r"net\.py names no function"):
        trainer_spec("net.py")


def test_example_of_the_docs_can_be_trained_by_name():
    spec = trainer_spec(f"{ROOT / 'docs' / 'networks' / 'noise.py'}:build")
    assert make(spec.settings, {"channels": 8}).channels == 8 and {"tiny", "finetune"} <= spec.presets.keys()
