"""Precision of drawing: bfloat16 where the device computes it, and what a folder of samples was drawn in."""

import pytest
import torch
from conftest import RecordedProgress
from torch import nn

from ntire_sr.challenge.names import SampleName
from ntire_sr.core.device import BFLOAT16_VARIABLE
from ntire_sr.core.errors import UsageError
from ntire_sr.core.seeding import make_generator
from ntire_sr.models.loading import LoadedModel, load_model
from ntire_sr.models.srgan import SrganArchitecture, SrganGenerator
from ntire_sr.models.stochastic import Architecture, StochasticGenerator
from ntire_sr.models.stochastic_rrdb import RrdbGenerator
from ntire_sr.samples.image_files import read_image, write_png
from ntire_sr.sampling.generate import Request, generate
from ntire_sr.sampling.sampler import Sampler
from ntire_sr.sampling.tolerance import TOLERANCES
from ntire_sr.submission.verify import verify

pytestmark = pytest.mark.numerical

CPU = torch.device("cpu")
SIZES = {"groups": 1, "blocks": 1, "latent_channels": 2}
GENERATORS = {
    "srgan": lambda: SrganGenerator(4, SrganArchitecture(channels=4, blocks=2)),
    "stochastic": lambda: StochasticGenerator(4, Architecture(**SIZES, channels=8, growth=4, fine_channels=4)),
    "stochastic with a pretrained trunk": lambda: RrdbGenerator(4, Architecture(**SIZES, rrdb=True)),
}


def loaded_model(name: str) -> LoadedModel:
    torch.manual_seed(0)
    generator = GENERATORS[name]().eval().requires_grad_(False)
    return LoadedModel(name=name, deterministic=False, generator=generator, scale=4)


@pytest.fixture
def srgan(trained):
    return load_model(trained / "weights.safetensors", None, CPU)


@pytest.mark.parametrize("name", GENERATORS)
def test_weights_and_maps_are_bfloat16_in_every_layer(name):
    loaded, types = loaded_model(name), set()

    def note_types(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        types.update(value.dtype for value in (*inputs, output, *layer.parameters()))

    sampler = Sampler(loaded, CPU, half=True, tile=0)
    for layer in sampler.generator.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note_types)
    lr = torch.rand(1, 3, 12, 10, generator=make_generator(0))
    sampler.sample(lr, sampler.trunk(lr), 1)
    assert types == {torch.bfloat16}
    assert {value.dtype for value in loaded.generator.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", GENERATORS)
def test_bfloat16_sample_is_close_to_the_float32_sample(name):
    loaded, tolerance = loaded_model(name), TOLERANCES["bfloat16"]
    lr = torch.rand(1, 3, 12, 10, generator=make_generator(0))
    samples = []
    for half in (False, True):
        sampler = Sampler(loaded, CPU, half, tile=0)
        samples.append(sampler.sample(lr, sampler.trunk(lr), 1))
    difference = 255 * (samples[0] - samples[1]).abs()
    assert samples[1].dtype == torch.float32
    assert 0 < difference.max() <= tolerance.most and difference.mean() <= tolerance.mean


@pytest.mark.parametrize(("value", "precision"), [("1", "bfloat16"), ("0", "float32")])
def test_auto_precision_of_generate_is_that_of_the_processor(monkeypatch, lr_folder, srgan, tmp_path, value, precision):  # fmt: skip
    monkeypatch.setenv(BFLOAT16_VARIABLE, value)
    drawn = generate(Request(lr_folder, tmp_path / "SR", samples=1), srgan, CPU)
    assert drawn.manifest.settings.precision == precision


@pytest.mark.parametrize(("value", "there"), [("1", "float32"), ("0", "bfloat16")])
def test_resume_only_and_verify_use_the_precision_of_the_manifest(monkeypatch, lr_folder, srgan, trained, tmp_path, value, there):  # fmt: skip
    out = tmp_path / "SR"
    generate(Request(lr_folder, out, samples=1, precision=there), srgan, CPU)
    monkeypatch.setenv(BFLOAT16_VARIABLE, value)  # auto in a new folder would be the other precision
    content = (out / "000000_sample00000.png").read_bytes()
    (out / "000000_sample00000.png").unlink()
    resumed = generate(Request(lr_folder, out, samples=2), srgan, CPU)
    assert resumed.manifest.settings.precision == there and (resumed.written, resumed.kept) == (3, 1)
    assert (out / "000000_sample00000.png").read_bytes() == content
    (out / "000000_sample00000.png").unlink()
    generate(Request(lr_folder, out, only=frozenset({SampleName(0, 0)})), srgan, CPU)
    assert (out / "000000_sample00000.png").read_bytes() == content
    result = verify([out], lr_folder, weights=str(trained / "weights.safetensors"), regenerate=4, seed=1)
    assert not result.problems and len(result.drawn_again) == 4
    with pytest.raises(UsageError, match=f"precision: {there} there"):
        second = "bfloat16" if there == "float32" else "float32"
        generate(Request(lr_folder, out, samples=2, precision=second), srgan, CPU)


@pytest.mark.parametrize(
    ("precision", "levels", "same"),
    [("float32", 1, True), ("float32", 2, False), ("bfloat16", 16, True), ("bfloat16", 17, False)],
)
def test_verify_allows_the_differences_of_the_precision(lr_folder, srgan, trained, tmp_path, precision, levels, same):  # fmt: skip
    out = tmp_path / "SR"
    only = frozenset({SampleName(0, 0)})
    generate(Request(lr_folder, out, only=only, precision=precision), srgan, CPU)
    path = out / "000000_sample00000.png"
    image = read_image(path).copy()
    value = int(image[0, 0, 0])
    image[0, 0, 0] = value + levels if value < 128 else value - levels
    write_png(path, image)
    result = verify([out], lr_folder, weights=str(trained / "weights.safetensors"), regenerate=1)
    assert result.drawn_again == ([path.name] if same else [])
    assert any(f"by up to {levels} grey levels" in problem for problem in result.problems) is not same


def test_generate_warns_that_bfloat16_is_emulated(monkeypatch, lr_folder, srgan, tmp_path):
    monkeypatch.setenv(BFLOAT16_VARIABLE, "0")
    progress = RecordedProgress()
    generate(Request(lr_folder, tmp_path / "SR", samples=1, precision="bfloat16"), srgan, CPU, progress)
    assert "cpu has no instructions for bfloat16, so drawing in it takes long" in progress.messages


def test_generate_prints_number_size_precision_and_time(lr_folder, srgan, tmp_path):
    progress = RecordedProgress()
    generate(Request(lr_folder, tmp_path / "SR", samples=2, precision="float32"), srgan, CPU, progress)
    assert progress.messages[0] == "generate: 4 samples of 2 images, 80 x 64 to 128 x 96 pixels, in float32"
    assert progress.messages[1].startswith("the first image took 0 s; the rest takes about 0 s")
    (tmp_path / "SR" / "000001_sample00001.png").unlink()
    progress = RecordedProgress()
    generate(Request(lr_folder, tmp_path / "SR", samples=2, precision="float32"), srgan, CPU, progress)
    assert progress.messages == ["generate: 1 sample of 1 image, 80 x 64 pixels, in float32"]


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("tile", [0, 7])
def test_progress_within_an_image_reaches_its_total(name, tile):
    loaded, progress = loaded_model(name), RecordedProgress()
    if name == "stochastic with a pretrained trunk":
        loaded.generator.level_tile_px = 9
    lr = torch.rand(1, 3, 24, 30, generator=make_generator(0))
    sampler = Sampler(loaded, CPU, False, tile, progress=progress)
    sampler.sample(lr, sampler.trunk(lr, "a.png, trunk"), 1, "a.png, sample 3")
    assert [task[0] for task in progress.tasks] == ["a.png, trunk", "a.png, sample 3"]
    for _, total, counts in progress.tasks:
        assert counts == list(range(1, total + 1))
    assert progress.tasks[1][1] > (1 if tile or name != "srgan" else 0)
