"""Every reader on damaged files: one clear error that names the file, or an answer; never anything else.

`make test` runs a sample, `make torture` 1,900 cases."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzzing import damaged, greatest_memory, with_odd_leaf
from PIL import Image

from ntire_sr.core.errors import NtireSrError
from ntire_sr.models.loading import load_model
from ntire_sr.models.registry import model_spec
from ntire_sr.models.weights_files import save_weights
from ntire_sr.samples.image_files import read_image, read_png
from ntire_sr.samples.manifest import load_manifest
from ntire_sr.sampling.generate import Request, generate
from ntire_sr.sampling.write_samples import read_lr_folder
from ntire_sr.submission.facts import read_team
from ntire_sr.submission.package import PackageRequest, pack
from ntire_sr.submission.verify import verify
from ntire_sr.training.run_config import make_run_config

CPU = torch.device("cpu")
MEMORY_MIB = 700  # that all cases of a reader may take together, at most


@pytest.fixture
def originals(lr_folder, trained, tmp_path, photograph) -> dict[str, Path]:
    """A whole file for each reader, in a folder of its own."""
    folder = tmp_path / "originals"
    folder.mkdir()
    image = Image.fromarray(photograph[:40, :56])
    image.save(folder / "a.png")
    image.convert("P").save(folder / "p.png")
    image.save(folder / "a.jpg", quality=80)
    image.save(folder / "a.webp", quality=80)
    shutil.copy(trained / "weights.safetensors", folder / "srgan.safetensors")
    values = {"model": "stochastic", "channels": 4, "growth": 2, "fine_channels": 2, "latent_channels": 1}
    settings = make_run_config(values).settings
    with torch.random.fork_rng():
        made = model_spec(make_run_config(values).config.model).build(4, settings)
    save_weights(
        folder / "stochastic.safetensors",
        "stochastic",
        4,
        settings,
        {name: value.contiguous() for name, value in made.state_dict().items()},
        {"step": 1},
    )
    (folder / "team.json").write_text(json.dumps({"team": "us", "leader": "me"}))
    generate(Request(lr_folder, tmp_path / "SR", samples=2), load_model("bicubic", 4, CPU), CPU)
    shutil.copy(tmp_path / "SR" / "manifest.json", folder / "manifest.json")
    pack(PackageRequest(tmp_path / "SR", folder / "out.zip", code=False))
    return {path.name: path for path in folder.iterdir()}


def whole_image(path: Path) -> None:
    image = read_image(path)
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


def whole_png(path: Path) -> None:
    assert read_png(path).shape[2] == 3


def manifest(path: Path) -> None:
    manifest = load_manifest(path.parent)
    assert manifest is not None and manifest.samples >= 1


def weights(path: Path) -> None:
    loaded = load_model(path, None, CPU)
    lr = torch.rand(1, 3, 6, 5)
    generator = loaded.generator
    drawn = generator.sample(generator.trunk(lr), lr, generator.latents(lr, [torch.Generator().manual_seed(1)]))
    assert drawn.shape == (1, 3, 6 * loaded.scale, 5 * loaded.scale)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "png": ("a.png", whole_image),
    "png, fast": ("a.png", whole_png),
    "palette": ("p.png", whole_image),
    "jpeg": ("a.jpg", whole_image),
    "webp": ("a.webp", whole_image),
    "manifest": ("manifest.json", manifest),
    "srgan": ("srgan.safetensors", weights),
    "stochastic": ("stochastic.safetensors", weights),
    "team": ("team.json", read_team),
}


def cases(reader: str, originals: dict[str, Path], folder: Path, first: int, count: int) -> int:
    """Read damaged copies; how many were refused."""
    name, read = READERS[reader]
    content, refused = originals[name].read_bytes(), 0
    folder.mkdir()
    path = folder / name
    read(shutil.copy(originals[name], path))  # whole, it can be read
    before = greatest_memory()
    for seed in range(first, first + count):
        path.write_bytes(damaged(content, seed))
        try:
            read(path)
        except NtireSrError as failure:
            refused += 1
            assert name in str(failure), (seed, str(failure))
        except BaseException as error:
            raise AssertionError(f"{reader}, seed {seed}: {type(error).__name__}: {error}") from error
        assert [file.name for file in folder.iterdir()] == [name], seed
    assert greatest_memory() - before < MEMORY_MIB
    return refused


def archives(originals: dict[str, Path], lr: Path, folder: Path, first: int, count: int) -> int:
    """Verify damaged archives; how many did not pass."""
    content, failed = originals["out.zip"].read_bytes(), 0
    folder.mkdir()
    path = folder / "out.zip"
    before = greatest_memory()
    for seed in range(first, first + count):
        path.write_bytes(damaged(content, seed))
        try:
            failed += not verify([path], lr, samples=2).passes
        except NtireSrError as failure:
            failed += 1
            assert "out.zip" in str(failure), (seed, str(failure))
        except BaseException as error:
            raise AssertionError(f"archive, seed {seed}: {type(error).__name__}: {error}") from error
        assert [file.name for file in folder.iterdir()] == ["out.zip"], seed
    assert greatest_memory() - before < MEMORY_MIB
    return failed


def folders(lr: Path, trained: Path, folder: Path, first: int, count: int) -> int:
    """Verify, pack and fill folders whose manifest says something odd; how often that was refused."""
    loaded = load_model(trained / "weights.safetensors", None, CPU)
    generate(Request(lr, folder, samples=2), loaded, CPU)
    content, refused = (folder / "manifest.json").read_text(), 0
    names = sorted(path.name for path in folder.iterdir())
    before = greatest_memory()
    for seed in range(first, first + count):
        (folder / "manifest.json").write_text(with_odd_leaf(content, seed))
        for use in (
            lambda: verify([folder], lr, regenerate=1),
            lambda: pack(PackageRequest(folder, folder.parent / "out.zip", lr=lr)),
            lambda: generate(Request(lr, folder, samples=2), loaded, CPU),
        ):
            try:
                use()
            except NtireSrError:
                refused += 1
            except BaseException as error:
                raise AssertionError(f"manifest, seed {seed}: {type(error).__name__}: {error}") from error
        assert sorted(path.name for path in folder.iterdir()) == names, seed
    assert greatest_memory() - before < MEMORY_MIB
    return refused


@pytest.mark.filterwarnings("ignore")
def test_odd_manifests_are_one_clear_error(lr_folder, trained, tmp_path):
    assert folders(lr_folder, trained, tmp_path / "SR", 0, 15) >= 15


@pytest.mark.torture
@pytest.mark.filterwarnings("ignore")
def test_many_odd_manifests_are_one_clear_error(lr_folder, trained, tmp_path):
    assert folders(lr_folder, trained, tmp_path / "SR", 1000, 300) >= 300


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_are_one_clear_error_that_names_them(reader, originals, tmp_path):
    assert cases(reader, originals, tmp_path / "damaged", 0, 25) >= 8


@pytest.mark.filterwarnings("ignore")
def test_damaged_archives_give_an_error_or_a_list_of_problems(originals, lr_folder, tmp_path):
    assert archives(originals, lr_folder, tmp_path / "damaged", 0, 25) >= 15


@pytest.mark.torture
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", READERS)
def test_many_damaged_files_are_one_clear_error_that_names_them(reader, originals, tmp_path):
    assert cases(reader, originals, tmp_path / "damaged", 1000, 160) >= 60


@pytest.mark.torture
@pytest.mark.filterwarnings("ignore")
def test_many_damaged_archives_give_an_error_or_a_list_of_problems(originals, lr_folder, tmp_path):
    assert archives(originals, lr_folder, tmp_path / "damaged", 1000, 160) >= 100


def test_hostile_names_are_escaped_and_stay_in_the_folder(lr_folder, tmp_path, monkeypatch, ntire_sr_command):
    monkeypatch.chdir(tmp_path)
    generate(Request(lr_folder, tmp_path / "SR", samples=1), load_model("bicubic", 4, CPU), CPU)
    hostile = [
        "\x1b[2Jcleared.png",
        "two\nlines.png",
        "half \udcff.png",
        "-rf.png",
        "$(touch owned).png",
        "a" * 240 + ".png",
    ]
    for name in hostile:
        shutil.copy(tmp_path / "SR" / "000000_sample00000.png", tmp_path / "SR" / name)
        shutil.copy(lr_folder / "0801.png", lr_folder / name)
        (lr_folder / ("broken" + name)).write_bytes(b"no image")
    before = set(tmp_path.rglob("*"))
    for words in (
        ("package", "--sr", "SR", "--out", "out.zip"),
        ("verify", "SR"),
        ("generate", "--lr", lr_folder, "--weights", "bicubic", "--out", "again"),
        ("score", "--sr", "SR", "--hr", lr_folder, "--without-lpips", "--out", "score"),
    ):
        result = ntire_sr_command(*words)
        assert result.code in (1, 2), words
        assert "\x1b" not in result.err + result.out and "Traceback" not in result.err
    assert set(tmp_path.rglob("*")) == before
    assert len(read_lr_folder(tmp_path / "SR", 4)) == len(hostile) + 2
