"""Drawing samples."""

import json
import re
import shutil

import cv2
import msgspec
import numpy as np
import pytest
import torch
from processes import start_command
from waiting import wait_until

from ntire_sr.challenge.downscale import lr_psnr_db
from ntire_sr.challenge.names import SampleName
from ntire_sr.challenge.pixels import to_tensor
from ntire_sr.core.device import full_float32
from ntire_sr.core.errors import NtireSrError, UsageError, ValidationErrors
from ntire_sr.core.files import sha256_file
from ntire_sr.core.seeding import make_generator
from ntire_sr.models.loading import load_model
from ntire_sr.samples.image_files import MOST_PIXELS, read_image, write_png
from ntire_sr.samples.manifest import load_manifest
from ntire_sr.sampling.generate import Request, generate, parse_only
from ntire_sr.sampling.sampler import scale_latents

pytestmark = pytest.mark.numerical

CPU = torch.device("cpu")


@pytest.fixture
def srgan(trained):
    return load_model(trained / "weights.safetensors", None, CPU)


def digests(folder):
    return {path.name: sha256_file(path) for path in sorted(folder.glob("*.png"))}


def draw(lr, out, loaded, **options):
    return generate(Request(lr, out, **options), loaded, CPU)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_samples_are_8bit_rgb_of_the_right_size_with_50_dB(device, precision, lr_folder, trained, tmp_path):
    out, loaded = tmp_path / "SR", load_model(trained / "weights.safetensors", None, device)
    drawn = generate(Request(lr_folder, out, samples=3, precision=precision), loaded, device)
    assert (drawn.manifest.device, drawn.manifest.settings.precision) == (device.type, precision)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [str(SampleName(index, k)) for index in range(2) for k in range(3)] + ["manifest.json"]
    )
    for index, lr_path in enumerate(sorted(lr_folder.iterdir())):
        lr = to_tensor(read_image(lr_path))
        for k in range(3):
            name = str(SampleName(index, k))
            sr = to_tensor(read_image(out / name))
            assert list(sr.shape) == [1, 3, lr.shape[2] * 4, lr.shape[3] * 4]
            reached = lr_psnr_db(sr, lr, 4)
            assert reached >= 50
            assert drawn.manifest.files[name].lr_psnr_db == pytest.approx(reached, abs=1e-4)
    assert len(set(digests(out).values())) == 6


def test_samples_of_every_device_match_float64(device, trained):
    lr, samples = torch.rand(1, 3, 24, 32, generator=make_generator(0)), []
    for place, kind in ((CPU, torch.float64), (device, torch.float32)):
        loaded = load_model(trained / "weights.safetensors", None, place)
        loaded.generator.to(kind)
        unit, latents = (
            lr.to(place, kind),
            [maps.to(kind) for maps in loaded.generator.latents(lr.to(place), [make_generator(1)])],
        )
        with torch.no_grad(), full_float32(place):
            samples.append(loaded.generator.sample(loaded.generator.trunk(unit), unit, latents).cpu().double())
    assert (samples[0] - samples[1]).abs().max() < 1e-4


def test_manifest_records_how_each_file_was_drawn(lr_folder, srgan, trained, tmp_path):
    draw(lr_folder, tmp_path / "SR", srgan, samples=2, seed=5)
    content = json.loads((tmp_path / "SR" / "manifest.json").read_text())
    settings = content["settings"]
    assert (settings["model"], settings["scale"], settings["seed"], settings["projection"]) == (
        "srgan",
        4,
        5,
        True,
    )
    assert settings["weights_sha256"] == sha256_file(trained / "weights.safetensors")
    assert settings["hyper_parameters"]["channels"] == 4
    assert content["features"] == "filters"
    assert content["versions"]["torch"] == torch.__version__
    assert content["lr"] == "../LR"
    for name, record in content["files"].items():
        assert record["sha256"] == sha256_file(tmp_path / "SR" / name)
    assert len({record["seed"] for record in content["files"].values()}) == 4
    assert load_manifest(tmp_path / "SR").files.keys() == content["files"].keys()


def test_single_photograph_is_drawn_and_named_after_it(lr_folder, ntire_sr_command, tmp_path):
    image = read_image(lr_folder / "0802.png")
    cv2.imwrite(str(tmp_path / "my photo.jpg"), image[:, :, ::-1])
    out = tmp_path / "SR"
    result = ntire_sr_command(
        "generate", "--lr", tmp_path / "my photo.jpg", "--weights", "bicubic", "--samples", 2, "--out", out, "--names", "input"
    )  # fmt: skip
    assert result.code == 0, result.err
    assert result.err.count("JPEG, whose block edges") == 1
    names = sorted(path.name for path in (tmp_path / "SR_named").iterdir())
    assert names == ["my photo_sample00000.png", "my photo_sample00001.png"]
    assert (tmp_path / "SR_named" / names[0]).read_bytes() == (out / "000000_sample00000.png").read_bytes()
    for command in (("verify", out, "--regenerate", 1), ("view", out)):
        assert ntire_sr_command(*command).code == 0


def test_too_large_photograph_names_the_size_that_fits_and_leaves_no_folder(ntire_sr_command, tmp_path):
    write_png(tmp_path / "huge.png", np.zeros((3000, 4000, 3), np.uint8))
    result = ntire_sr_command(
        "generate", "--lr", tmp_path / "huge.png", "--weights", "bicubic", "--out", tmp_path / "SR"
    )
    assert result.code == 1 and not (tmp_path / "SR").exists()
    width, height = map(int, re.search(r"downscale it to (\d+) x (\d+) or less", result.err).groups())
    assert (
        width * height * 16 <= MOST_PIXELS < (width + 2) * (height + 2) * 16
        and abs(width / height - 4 / 3) < 0.01
    )


def test_temperature_scales_the_latents_and_is_recorded(lr_folder, srgan, tmp_path):
    spread = {}
    for temperature in (0.0, 0.5, 1.0):
        folder = tmp_path / f"{temperature}"
        drawn = draw(lr_folder, folder, srgan, samples=2, temperature=temperature, projection=False)
        first, second = (read_image(folder / f"000000_sample0000{k}.png").astype(float) for k in range(2))
        spread[temperature] = np.abs(first - second).mean()
        assert drawn.manifest.settings.temperature == temperature
        assert load_manifest(folder).settings == drawn.manifest.settings
    assert spread[0.0] == 0 < spread[0.5] < spread[1.0]
    draw(lr_folder, tmp_path / "default", srgan, samples=2, projection=False)
    assert digests(tmp_path / "default") == digests(tmp_path / "1.0")
    with pytest.raises(UsageError, match=r"temperature: 0\.5 there, 0\.8 asked for"):
        draw(lr_folder, tmp_path / "0.5", srgan, samples=2, temperature=0.8, projection=False)


def test_digest_of_settings_without_temperature_stays_that_of_0_1_0(lr_folder, srgan, tmp_path):
    settings = draw(lr_folder, tmp_path / "SR", srgan, samples=1).manifest.settings
    assert settings.digest != msgspec.structs.replace(settings, temperature=0.9).digest
    content = json.loads((tmp_path / "SR" / "manifest.json").read_text())
    del content["settings"]["temperature"]
    (tmp_path / "SR" / "manifest.json").write_text(json.dumps(content))
    assert load_manifest(tmp_path / "SR").settings == settings
    assert draw(lr_folder, tmp_path / "SR", srgan, samples=1).kept == 2


def test_temperature_without_latents_is_refused(lr_folder, ntire_sr_command, tmp_path):
    out = tmp_path / "SR"
    result = ntire_sr_command(
        "generate", "--lr", lr_folder, "--out", out, "--weights", "bicubic", "--temperature", "0.8"
    )
    assert result.code != 0 and "bicubic is deterministic" in result.err and not out.exists()
    with pytest.raises(UsageError, match="this network returns none"):
        scale_latents(torch.Generator(), 0.5)


@pytest.mark.parametrize("temperature", ["-0.1", "2.1", "nan", "warm"])
def test_temperature_out_of_range_is_refused(temperature, lr_folder, ntire_sr_command, tmp_path):
    result = ntire_sr_command(
        "generate", "--lr", lr_folder, "--out", tmp_path / "SR", "--temperature", temperature
    )
    assert result.code == 2 and "temperature" in result.err and not (tmp_path / "SR").exists()


def test_a_sample_depends_neither_on_order_nor_count_nor_file_names(lr_folder, srgan, tmp_path):
    draw(lr_folder, tmp_path / "whole", srgan, samples=4)
    whole = digests(tmp_path / "whole")
    draw(lr_folder, tmp_path / "few", srgan, samples=2)
    few = digests(tmp_path / "few")
    assert all(whole[name] == digest for name, digest in few.items())
    draw(lr_folder, tmp_path / "few", srgan, samples=4)
    assert digests(tmp_path / "few") == whole
    alone = tmp_path / "one image"
    alone.mkdir()
    shutil.copy(lr_folder / "0802.png", alone / "other name.png")
    draw(alone, tmp_path / "alone", srgan, samples=4)
    assert digests(tmp_path / "alone")["000000_sample00003.png"] == whole["000001_sample00003.png"]


def test_any_sample_can_be_drawn_again_alone(lr_folder, srgan, tmp_path):
    draw(lr_folder, tmp_path / "whole", srgan, samples=3)
    only = parse_only(["000001_sample00002"])
    drawn = draw(lr_folder, tmp_path / "alone", srgan, samples=3, only=only)
    assert digests(tmp_path / "alone") == {
        "000001_sample00002.png": digests(tmp_path / "whole")["000001_sample00002.png"]
    }
    assert drawn.written == 1
    with pytest.raises(UsageError, match=r"000007_sample00000\.png: .* holds 2 images"):
        draw(lr_folder, tmp_path / "alone", srgan, samples=3, only=parse_only(["000007_sample00000.png"]))
    with pytest.raises(UsageError, match="no sample's name"):
        parse_only(["7"])
    with pytest.raises(UsageError, match=r"000000_sample00004\.png: .* holds 3 samples per image"):
        draw(lr_folder, tmp_path / "alone", srgan, only=parse_only(["000000_sample00004"]))
    beyond = draw(lr_folder, tmp_path / "alone", srgan, samples=5, only=parse_only(["000000_sample00004"]))
    assert beyond.manifest.samples == 5
    draw(lr_folder, tmp_path / "whole", srgan, only=only)
    assert load_manifest(tmp_path / "whole").samples == 3  # a finished folder stays one
    new = draw(lr_folder, tmp_path / "new", srgan, only=only)
    assert new.manifest.samples == 3


def test_two_seeds_draw_different_samples(lr_folder, srgan, tmp_path):
    for seed in (0, 1):
        draw(lr_folder, tmp_path / str(seed), srgan, samples=1, seed=seed)
    assert not set(digests(tmp_path / "0").values()) & set(digests(tmp_path / "1").values())


def test_valid_samples_are_kept_and_damaged_ones_drawn_again(lr_folder, srgan, tmp_path):
    out = tmp_path / "SR"
    draw(lr_folder, out, srgan, samples=2)
    before = digests(out)
    (out / "000000_sample00001.png").unlink()
    (out / "000001_sample00000.png").write_bytes(b"half a file")
    drawn = draw(lr_folder, out, srgan, samples=2)
    assert (drawn.written, drawn.kept) == (2, 2)
    assert digests(out) == before


def test_folder_of_other_samples_is_refused_with_the_differences(lr_folder, srgan, tmp_path):
    out = tmp_path / "SR"
    draw(lr_folder, out, srgan, samples=1)
    with pytest.raises(UsageError, match="seed: 0 there, 1 asked for"):
        draw(lr_folder, out, srgan, samples=1, seed=1)
    with pytest.raises(UsageError, match="model: srgan there, bicubic asked for"):
        draw(lr_folder, out, load_model("bicubic", 4, CPU), samples=1)
    (lr_folder / "0802.png").unlink()
    with pytest.raises(UsageError, match="lr: 2 images there, 1 asked for"):
        draw(lr_folder, out, srgan, samples=1)
    drawn = draw(lr_folder, out, srgan, samples=1, seed=1, overwrite=True)
    assert drawn.manifest.settings.seed == 1
    assert list(digests(out)) == ["000000_sample00000.png"]


def test_samples_without_a_manifest_are_refused(lr_folder, srgan, tmp_path, photograph):
    write_png(tmp_path / "SR" / "000000_sample00000.png", photograph)
    with pytest.raises(UsageError, match="1 sample without a manifest"):
        draw(lr_folder, tmp_path / "SR", srgan)


def infeasible() -> np.ndarray:
    checkerboard = (np.indices((16, 16)).sum(0) % 2 * 255).astype(np.uint8)
    return np.repeat(checkerboard[:, :, None], 3, 2)


def test_invalid_manifest_is_an_error_and_can_be_overwritten(lr_folder, srgan, tmp_path):
    out = tmp_path / "SR"
    out.mkdir()
    (out / "manifest.json").write_text("{")
    with pytest.raises(NtireSrError, match=r"manifest\.json is not valid JSON"):
        draw(lr_folder, out, srgan, samples=1)
    assert draw(lr_folder, out, srgan, samples=1, overwrite=True).written == 2
    for make in (lambda path: path.mkdir(), lambda path: path.symlink_to("nowhere")):
        folder = tmp_path / f"other{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        make(folder / "manifest.json")
        with pytest.raises(NtireSrError, match=r"manifest\.json is not a regular file"):
            draw(lr_folder, folder, srgan, samples=1)


def test_output_into_the_lr_folder_is_refused(lr_folder, srgan):
    before = digests(lr_folder)
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="is the folder of the LR images"):
            draw(lr_folder, lr_folder, srgan, samples=1, overwrite=overwrite)
    assert digests(lr_folder) == before


def test_lr_image_with_too_large_samples_is_refused(lr_folder, srgan, tmp_path, monkeypatch):
    from ntire_sr.sampling import write_samples as module

    monkeypatch.setattr(module, "MOST_PIXELS", 32 * 24 * 16 - 1)
    with pytest.raises(ValidationErrors, match="would have more than the 0 megapixels"):
        draw(lr_folder, tmp_path / "SR", srgan, samples=1)


def test_infeasible_lr_image_is_not_drawn_twice(lr_folder, srgan, tmp_path, monkeypatch):
    write_png(lr_folder / "0800.png", infeasible())
    out = tmp_path / "SR"
    for _ in range(2):
        with pytest.raises(
            ValidationErrors, match=r"1 problem\n  - 0800\.png: no 8-bit image downscales to it"
        ):
            draw(lr_folder, out, srgan, samples=1)
        monkeypatch.setattr(srgan.generator, "sample", None)


def test_infeasible_lr_image_is_named_and_others_are_drawn(lr_folder, srgan, tmp_path):
    write_png(lr_folder / "0800.png", infeasible())
    out = tmp_path / "SR"
    with pytest.raises(
        ValidationErrors, match=r"0800\.png: no 8-bit image downscales to it; the best reaches 1\d\.\d dB"
    ):
        draw(lr_folder, out, srgan, samples=1)
    assert list(digests(out)) == ["000001_sample00000.png", "000002_sample00000.png"]
    drawn = draw(lr_folder, out, srgan, samples=1, allow_infeasible=True)
    assert "000000_sample00000.png" in digests(out)
    record = load_manifest(out).images[0]
    assert record.infeasible and 5 < record.best_db < 20
    assert not load_manifest(out).images[1].infeasible
    assert drawn.infeasible and "0800.png" in drawn.infeasible[0]


def test_sample_under_45_dB_of_a_feasible_lr_image_is_a_named_error(lr_folder, srgan, tmp_path, monkeypatch):
    from ntire_sr.challenge.projection import project_uint8
    from ntire_sr.sampling import write_samples as module

    monkeypatch.setattr(
        module,
        "project_uint8",
        lambda sr, lr, scale, *limits: project_uint8(torch.rand_like(sr), lr, scale, max_rounds=1),
    )
    with pytest.raises(
        ValidationErrors, match=r"000000_sample00000\.png reaches \d+\.\d dB of 45 after 1 rounds"
    ):
        draw(lr_folder, tmp_path / "SR", srgan, samples=1)
    assert digests(tmp_path / "SR") == {}


def test_no_projection_writes_the_networks_output(lr_folder, srgan, tmp_path):
    drawn = draw(lr_folder, tmp_path / "SR", srgan, samples=1, projection=False)
    assert drawn.worst_db < 50
    assert not load_manifest(tmp_path / "SR").settings.projection


def test_all_broken_lr_images_are_named_before_anything_is_drawn(lr_folder, srgan, tmp_path, photograph):
    (lr_folder / "0803.png").write_bytes(b"no image")
    write_png(lr_folder / "0804.png", np.ascontiguousarray(photograph[:3]))
    with pytest.raises(ValidationErrors) as caught:
        draw(lr_folder, tmp_path / "SR", srgan)
    assert "0803.png" in str(caught.value) and "0804.png" in str(caught.value)
    assert not (tmp_path / "SR").exists()


def test_nan_in_a_sample_is_an_error(lr_folder, srgan, tmp_path):
    with torch.no_grad():
        srgan.generator.tail.bias.fill_(float("nan"))
    with pytest.raises(NtireSrError, match="drew NaN or infinite values"):
        draw(lr_folder, tmp_path / "SR", srgan)


def test_an_lr_image_may_be_grey_or_jpeg_and_of_any_size(srgan, tmp_path, photograph):
    from PIL import Image

    (tmp_path / "LR").mkdir()
    Image.fromarray(photograph[:17, :23]).convert("L").save(tmp_path / "LR" / "a.png")
    Image.fromarray(photograph[:21, :14]).save(tmp_path / "LR" / "b.jpg", quality=95)
    drawn = draw(tmp_path / "LR", tmp_path / "SR", srgan, samples=1)
    assert drawn.worst_db >= 50
    assert read_image(tmp_path / "SR" / "000000_sample00000.png").shape == (68, 92, 3)


def test_killed_call_resumes_to_the_same_files(lr_folder, trained, tmp_path):
    words = ["generate", "--lr", lr_folder, "--weights", trained / "weights.safetensors"]
    killed, straight = tmp_path / "killed", tmp_path / "straight"
    process = start_command(*words, "--out", killed, "--samples", 400)
    wait_until(lambda: len(list(killed.glob("*.png"))) >= 3, process)
    process.kill()
    assert 3 <= len(list(killed.glob("*.png"))) < 800, "the call was killed under way"
    loaded = load_model(trained / "weights.safetensors", None, CPU)
    manifest = load_manifest(killed)
    manifest.samples = 4  # to be done with it sooner
    manifest.save(killed)
    draw(lr_folder, killed, loaded, samples=4)
    draw(lr_folder, straight, loaded, samples=4)
    whole = digests(straight)
    assert {name: digest for name, digest in digests(killed).items() if name in whole} == whole
    assert all(load_manifest(killed).files[name].sha256 == digest for name, digest in whole.items())


def test_full_disk_leaves_a_folder_that_can_be_resumed(lr_folder, srgan, tmp_path, monkeypatch):
    from ntire_sr.samples import sample_folder as module

    written = []

    def full(path, image):
        if len(written) == 2:
            raise NtireSrError(f"cannot write {path}: No space left on device")
        written.append(path)
        return write_png(path, image)

    monkeypatch.setattr(module, "write_png", full)
    with pytest.raises(NtireSrError, match="No space left"):
        draw(lr_folder, tmp_path / "SR", srgan, samples=3)
    monkeypatch.undo()
    drawn = draw(lr_folder, tmp_path / "SR", srgan, samples=3)
    assert (drawn.kept, drawn.written) == (2, 4)


def test_overwrite_keeps_samples_of_the_same_settings(lr_folder, srgan, tmp_path):
    draw(lr_folder, tmp_path / "SR", srgan, samples=2)
    assert draw(lr_folder, tmp_path / "SR", srgan, samples=2, overwrite=True).kept == 4
    with pytest.raises(UsageError, match="--only draws single samples"):
        draw(lr_folder, tmp_path / "SR", srgan, only=parse_only(["000000_sample00000"]), overwrite=True)
    assert len(digests(tmp_path / "SR")) == 4
