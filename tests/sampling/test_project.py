"""Another program's images, made LR-exact."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import RecordedProgress
from processes import start_command
from waiting import wait_until

from ntire_sr.challenge.downscale import lr_psnr_db
from ntire_sr.challenge.pixels import to_8bit, to_array, to_tensor, to_unit
from ntire_sr.challenge.projection import bicubic_upsample
from ntire_sr.core.errors import NtireSrError, UsageError, ValidationErrors
from ntire_sr.core.files import sha256_file
from ntire_sr.data.lr_images import downscale_array
from ntire_sr.models.loading import load_model
from ntire_sr.samples.image_files import read_image, write_png
from ntire_sr.samples.manifest import load_manifest
from ntire_sr.sampling import project as module
from ntire_sr.sampling.generate import Request, generate
from ntire_sr.sampling.project import ProjectRequest, before_and_after, project_folder

pytestmark = pytest.mark.numerical

CPU = torch.device("cpu")
NAMES = "{stem}_{sample}"


def draw(lr_path: Path, seed: int) -> np.ndarray:
    """What another program might draw: an enlargement with noise, far from exact."""
    sr = bicubic_upsample(to_unit(to_tensor(read_image(lr_path))), 4)
    noise = torch.randn(sr.shape, generator=torch.Generator().manual_seed(seed))
    return to_array(to_8bit(sr + 0.03 * noise))


@pytest.fixture
def foreign(lr_folder: Path, tmp_path: Path) -> Path:
    """Two samples, numbered from 1, of each of the two LR images."""
    for path in lr_folder.iterdir():
        for k in (1, 2):
            write_png(tmp_path / "theirs" / f"{path.stem}_{k}.png", draw(path, k))
    return tmp_path / "theirs"


def project(sr: Path, lr: Path, out: Path, **options):
    return project_folder(ProjectRequest(sr, lr, out, **{"names": NAMES, **options}), CPU)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(folder.glob("*.png"))}


def test_every_image_becomes_a_sample_of_50_dB_with_its_source(foreign, lr_folder, tmp_path):
    filled = project(foreign, lr_folder, tmp_path / "SR", model_name="Theirs", seconds=1.5, on_gpu=True)
    assert (filled.written, filled.kept, filled.complete) == (4, 0, True)
    manifest = load_manifest(tmp_path / "SR")
    settings = manifest.settings
    assert (settings.model, settings.external, settings.scale, settings.seed) == ("Theirs", True, 4, None)
    assert (manifest.samples, manifest.seconds_per_sample, manifest.on_gpu) == (2, 1.5, True)
    assert (manifest.lr, manifest.sources) == ("../LR", "../theirs")
    assert sorted(manifest.files) == sorted(digests(tmp_path / "SR")) == [
        f"00000{index}_sample0000{k}.png" for index in (0, 1) for k in (0, 1)
    ]  # fmt: skip
    for name, record in manifest.files.items():
        stem, k = f"080{int(name[:6]) + 1}", int(name[-5])
        source = foreign / f"{stem}_{k + 1}.png"
        assert (record.source.file, record.source.sha256) == (source.name, sha256_file(source))
        lr = to_tensor(read_image(lr_folder / f"{stem}.png"))
        before, after = (
            lr_psnr_db(to_tensor(read_image(path)), lr, 4) for path in (source, tmp_path / "SR" / name)
        )
        assert before == pytest.approx(record.source.lr_psnr_db, abs=1e-4) and 30 < before < 45
        assert after == pytest.approx(record.lr_psnr_db, abs=1e-4) and after >= 50
        # near the source, not anything else that is exact
        moved = read_image(tmp_path / "SR" / name).astype(int) - read_image(source)
        assert np.abs(moved).mean() < 4
    both = before_and_after(manifest)
    assert both[0].under_required == 4 and both[1].under_required == 0 and both[1].worst_db >= 50


def test_scale_8_and_jpeg_are_accepted(tmp_path, photograph):
    from PIL import Image

    from ntire_sr.data.lr_images import make_lr

    write_png(tmp_path / "HR" / "a.png", photograph)
    make_lr(tmp_path / "HR", tmp_path / "LR", 8)
    (tmp_path / "theirs").mkdir()
    Image.fromarray(photograph).save(tmp_path / "theirs" / "a.jpg", quality=60)
    project(tmp_path / "theirs", tmp_path / "LR", tmp_path / "SR", names=None)
    manifest = load_manifest(tmp_path / "SR")
    assert manifest.settings.scale == 8 and list(manifest.files) == ["000000_sample00000.png"]
    assert manifest.files["000000_sample00000.png"].lr_psnr_db >= 50
    with pytest.raises(
        ValidationErrors, match=r"a\.jpg has 128 x 96 pixels, not 64 x 48, 4 times the 16 x 12 of a\.png"
    ):
        project(tmp_path / "theirs", tmp_path / "LR", tmp_path / "other", names=None, scale=4)


def test_all_problems_are_listed_at_once_and_nothing_is_written(foreign, lr_folder, tmp_path, photograph):
    (foreign / "0801_2.png").write_bytes((foreign / "0801_2.png").read_bytes()[:200])
    write_png(foreign / "0802_1.png", np.ascontiguousarray(photograph[:60, :80]))
    shutil.copy(foreign / "0802_2.png", foreign / "0802_02.png")
    write_png(foreign / "stray.png", photograph)
    write_png(foreign / "0804_1.png", photograph)
    write_png(lr_folder / "0803.png", np.ascontiguousarray(photograph[:24, :32]))
    (lr_folder / "0804.png").write_bytes(b"no image")
    (foreign / "notes.txt").write_text("not an image, and no business of ours")
    with pytest.raises(ValidationErrors) as caught:
        project(foreign, lr_folder, tmp_path / "SR")
    assert [problem.removeprefix(f"{tmp_path}{os.sep}") for problem in caught.value.problems] == [
        "1 sample without an image: stray.png",
        "0802_02.png and 0802_2.png: the same sample of 0802.png",
        "0803.png (index 2): 2 of 2 samples are missing: 1 to 2",
        "0804.png (index 3): 1 of 2 samples are missing: 2",
        f"{Path('LR', '0804.png')} is not a PNG, JPEG or WebP image, or its header is damaged",
        "0801_2.png is truncated or damaged (image file is truncated)",
        "0802_1.png has 80 x 60 pixels, not 80 x 64, 4 times the 20 x 16 of 0802.png",
    ]
    assert not (tmp_path / "SR").exists()


def test_error_suggests_a_fitting_pattern(foreign, lr_folder, tmp_path):
    with pytest.raises(ValidationErrors, match=r"--names '\{stem\}_\{sample\}' fits all of them"):
        project(foreign, lr_folder, tmp_path / "SR", names=None)
    for path in foreign.iterdir():
        (tmp_path / "nested" / path.stem[:4]).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "nested" / path.stem[:4] / f"{path.stem[5:]}.png")
    with pytest.raises(UsageError, match=r"--names '\{stem\}/\{sample\}' if there is a folder per LR image"):
        project(tmp_path / "nested", lr_folder, tmp_path / "SR", names=None)
    project(tmp_path / "nested", lr_folder, tmp_path / "SR", names="{stem}/{sample}")
    assert load_manifest(tmp_path / "SR").files["000000_sample00001.png"].source.file == "0801/2.png"
    with pytest.raises(UsageError, match="lies in the folder of the SR images"):
        project(tmp_path / "nested", lr_folder, tmp_path / "nested" / "SR", names="{stem}/{sample}")


def test_invalid_folders_names_and_run_times_are_refused(foreign, lr_folder, tmp_path):
    for out, says in ((foreign, "folder of the SR images"), (lr_folder, "folder of the LR images")):
        with pytest.raises(UsageError, match=says):
            project(foreign, lr_folder, out)
    with pytest.raises(UsageError, match="does not exist"):
        project(tmp_path / "absent", lr_folder, tmp_path / "SR")
    with pytest.raises(UsageError, match="holds no image"):
        project(foreign, lr_folder, tmp_path / "SR", names="{stem}/x/{sample}")
    for name in ("", " ", "a\nb"):
        with pytest.raises(UsageError, match="is not a valid name"):
            project(foreign, lr_folder, tmp_path / "SR", model_name=name)
    for seconds in (float("nan"), float("inf"), -1):
        with pytest.raises(UsageError, match="is not a run time"):
            project(foreign, lr_folder, tmp_path / "SR", seconds=seconds)
    assert not (tmp_path / "SR").exists()


def test_samples_of_unchanged_sources_are_kept_and_others_written(foreign, lr_folder, tmp_path):
    out = tmp_path / "SR"
    project(foreign, lr_folder, out)
    before = digests(out)
    (out / "000000_sample00001.png").unlink()
    (out / "000001_sample00000.png").write_bytes(b"half a file")
    filled = project(foreign, lr_folder, out)
    assert (filled.written, filled.kept) == (2, 2) and digests(out) == before
    # another image under the name of a source
    write_png(foreign / "0801_1.png", draw(lr_folder / "0801.png", 9))
    with pytest.raises(UsageError, match=r"sr: 0801_1\.png is another image"):
        project(foreign, lr_folder, out)
    assert digests(out) == before
    filled = project(foreign, lr_folder, out, overwrite=True)
    assert (filled.written, filled.kept) == (1, 3)
    changed = digests(out)
    assert {name for name in before if before[name] != changed[name]} == {"000000_sample00000.png"}
    # more samples are added, and fewer refused
    for stem in ("0801", "0802"):
        write_png(foreign / f"{stem}_3.png", draw(lr_folder / f"{stem}.png", 3))
    filled = project(foreign, lr_folder, out)
    assert (filled.written, filled.kept, filled.manifest.samples) == (2, 4, 3)
    for stem in ("0801", "0802"):
        (foreign / f"{stem}_3.png").unlink()
    with pytest.raises(UsageError, match="samples: 3 per image there, 2 asked for"):
        project(foreign, lr_folder, out)
    assert project(foreign, lr_folder, out, overwrite=True).written == 4
    assert digests(out) == {name: digest for name, digest in changed.items() if "00002" not in name}


def test_samples_of_two_programs_are_refused_in_one_folder(foreign, lr_folder, tmp_path):
    theirs, ours, bicubic = tmp_path / "SR", tmp_path / "ours", load_model("bicubic", 4, CPU)
    project(foreign, lr_folder, theirs, model_name="bicubic")
    generate(Request(lr_folder, ours, samples=2), bicubic, CPU)
    with pytest.raises(UsageError, match="external: True there, False asked for"):
        generate(Request(lr_folder, theirs, samples=2), bicubic, CPU)
    with pytest.raises(UsageError, match="external: False there, True asked for"):
        project(foreign, lr_folder, ours, model_name="bicubic")
    with pytest.raises(UsageError, match="model: bicubic there, SwinIR asked for"):
        project(foreign, lr_folder, theirs, model_name="SwinIR")


def test_run_time_can_be_added_later(foreign, lr_folder, tmp_path):
    out = tmp_path / "SR"
    project(foreign, lr_folder, out)
    assert (load_manifest(out).seconds_per_sample, load_manifest(out).on_gpu) == (None, None)
    assert project(foreign, lr_folder, out, seconds=2.5, on_gpu=False).written == 0
    project(foreign, lr_folder, out)
    assert (load_manifest(out).seconds_per_sample, load_manifest(out).on_gpu) == (2.5, False)


def test_infeasible_lr_image_is_listed_and_other_images_are_written(foreign, lr_folder, tmp_path):
    checkerboard = np.repeat((np.indices((16, 16)).sum(0) % 2 * 255)[:, :, None], 3, 2).astype(np.uint8)
    write_png(lr_folder / "0800.png", checkerboard)
    for k in (1, 2):
        write_png(foreign / f"0800_{k}.png", draw(lr_folder / "0800.png", k))
    for _ in range(2):
        with pytest.raises(
            ValidationErrors, match=r"1 problem\n  - 0800\.png: no 8-bit image downscales to it"
        ):
            project(foreign, lr_folder, tmp_path / "SR")
    assert [name[:6] for name in digests(tmp_path / "SR")] == ["000001", "000001", "000002", "000002"]
    filled = project(foreign, lr_folder, tmp_path / "SR", allow_infeasible=True)
    assert (filled.written, filled.kept) == (2, 4) and "0800.png (best: " in filled.infeasible[0]


def test_source_changed_during_projection_is_an_error(foreign, lr_folder, tmp_path, monkeypatch):
    real = module.open_samples

    def changing(*words, **options):
        write_png(foreign / "0802_2.png", draw(lr_folder / "0802.png", 9))
        return real(*words, **options)

    monkeypatch.setattr(module, "open_samples", changing)
    with pytest.raises(NtireSrError, match=r"0802_2\.png was changed while it was being projected"):
        project(foreign, lr_folder, tmp_path / "SR")
    assert "000001_sample00001.png" not in digests(tmp_path / "SR")


def test_torchrun_divides_images_and_a_later_call_completes_them(foreign, lr_folder, tmp_path, monkeypatch):
    project(foreign, lr_folder, tmp_path / "alone")
    monkeypatch.setenv("MASTER_ADDR", "here")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for number, complete in (("1", False), ("0", True)):
        monkeypatch.setenv("RANK", number)
        filled = project(foreign, lr_folder, tmp_path / "shared")
        assert (filled.written, filled.complete) == (2, complete)
    with pytest.raises(UsageError, match="--overwrite by several processes"):
        project(foreign, lr_folder, tmp_path / "shared", overwrite=True)
    assert digests(tmp_path / "shared") == digests(tmp_path / "alone")
    monkeypatch.setenv("RANK", "1")
    project(foreign, lr_folder, tmp_path / "died")
    monkeypatch.delenv("MASTER_ADDR")
    filled = project(foreign, lr_folder, tmp_path / "died")
    assert (filled.written, filled.kept, filled.complete) == (2, 2, True)


def test_project_after_kill_gives_the_same_files(foreign, lr_folder, tmp_path):
    for path in sorted(foreign.iterdir()):
        for k in range(3, 31):
            shutil.copy(path, foreign / f"{path.stem[:4]}_{k}.png")
    killed = tmp_path / "killed"
    words = ["project", "--sr", foreign, "--lr", lr_folder, "--out", killed, "--names", NAMES]
    process = start_command(*words)
    wait_until(lambda: len(list(killed.glob("*.png"))) >= 3, process)
    process.kill()
    there = len(list(killed.glob("*.png")))
    assert 3 <= there < 60, "the call was killed under way"
    filled = project(foreign, lr_folder, killed)
    assert there - 1 <= filled.kept <= there and filled.complete and filled.written + filled.kept == 60
    project(foreign, lr_folder, tmp_path / "straight")
    assert digests(killed) == digests(tmp_path / "straight")
    assert sorted(path.name for path in killed.iterdir() if path.suffix != ".png") == ["manifest.json"]


def test_project_prints_lr_psnr_before_and_after(foreign, lr_folder, tmp_path, ntire_sr_command):
    words = ("project", "--sr", foreign, "--lr", lr_folder, "--out", tmp_path / "SR", "--names", NAMES)
    result = ntire_sr_command(*words)
    assert result.code == 0, result.err
    assert "4 images projected, 0 kept" in result.out and "samples under 45 dB │ 4      │ 0" in result.out
    content = json.loads(ntire_sr_command(*words, "--json").out)
    assert (content["written"], content["kept"], content["complete"], content["scale"]) == (0, 4, True, 4)
    assert content["before"]["under_required"] == 4 and content["after"]["worst_db"] >= 50
    record = content["files"]["000001_sample00001.png"]
    assert record["source"] == "0802_2.png" and record["before_db"] < 45 < record["after_db"]
    wrong = ntire_sr_command(*words, "--names", "{stem}")
    assert (
        wrong.code == 1
        and "4 samples without an image: 0801_1.png, 0801_2.png, 0802_1.png, 0802_2.png" in wrong.err
        and "Traceback" not in wrong.err
    )


@pytest.mark.parametrize(
    ("mistake", "text"), [(lambda sr: sr[:, ::-1], "mirrored"), (lambda sr: sr[..., ::-1], "BGR")]
)
def test_image_with_a_mistake_is_refused_unless_allowed(foreign, lr_folder, tmp_path, mistake, text):
    write_png(foreign / "0801_1.png", np.ascontiguousarray(mistake(read_image(foreign / "0801_1.png"))))
    with pytest.raises(ValidationErrors, match=text) as caught:
        project(foreign, lr_folder, tmp_path / "SR")
    assert len(caught.value.problems) == 1 and "0801_1.png looks" in caught.value.problems[0]
    assert "--allow-mismatch" in caught.value.remedy and not (tmp_path / "SR").exists()
    progress = RecordedProgress()
    request = ProjectRequest(foreign, lr_folder, tmp_path / "SR", names=NAMES, allow_mismatch=True)
    assert project_folder(request, CPU, progress).written == 4
    (warning,) = [text for text in progress.messages if text.startswith("warning")]
    assert warning.startswith("warning: 0801_1.png looks")


def test_images_in_another_order_are_named_with_the_image_that_fits(tmp_path, photograph):
    for number, top in enumerate((0, 32), start=1):
        hr = np.ascontiguousarray(photograph[top : top + 64, :96])
        write_png(tmp_path / "LR" / f"{number}.png", downscale_array(hr, 4))
        write_png(tmp_path / "SR" / f"{3 - number}.png", hr)
    with pytest.raises(ValidationErrors, match=r"1\.png fits 2\.png better than its own LR image"):
        project(tmp_path / "SR", tmp_path / "LR", tmp_path / "out", names=None)


def test_names_of_other_spelling_are_paired_and_that_is_reported(lr_folder, tmp_path):
    for path in list(lr_folder.iterdir()):
        write_png(tmp_path / "SR" / f"{path.stem}_SR.PNG", draw(path, 0))
        path.rename(path.with_name(f"{path.stem}_bicLRx4.png"))
    progress = RecordedProgress()
    request = ProjectRequest(tmp_path / "SR", lr_folder, tmp_path / "out")
    assert project_folder(request, CPU, progress).written == 2
    assert [text for text in progress.messages if text.startswith("note")] == [
        "note: SR and LR images are paired by their names without regard to suffixes such as x4 or _LR: "
        "0801_SR.png with 0801_bicLRx4.png"
    ]
