"""Archives and folders that others made, and files of other runs that lie around."""

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from ntire_sr.core.errors import UsageError, ValidationErrors
from ntire_sr.core.files import write_json
from ntire_sr.data.lr_images import downscale_array
from ntire_sr.models.loading import load_model
from ntire_sr.samples.image_files import write_png
from ntire_sr.samples.manifest import load_manifest
from ntire_sr.samples.sources import MOST_README_BYTES
from ntire_sr.sampling.generate import Request, generate
from ntire_sr.sampling.write_samples import USUAL_LIMITS, ProjectionLimits
from ntire_sr.submission.package import PackageRequest, pack
from ntire_sr.submission.verify import verify

CPU = torch.device("cpu")


def zipped(folder: Path, out: Path, **others: bytes) -> Path:
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(folder.glob("*.png")):
            archive.write(path, path.name)
        for name, content in others.items():
            archive.writestr(name, content)
    return out


def test_archive_parts_are_verified_together(samples, lr_folder, tmp_path):
    most = sum(path.stat().st_size for path in samples.glob("000000*.png")) + 5000
    parts = [
        path
        for path, _ in pack(PackageRequest(samples, tmp_path / "out.zip", max_size=most, split=True)).archives
    ]
    assert len(parts) == 2
    result = verify(parts, lr_folder, manifest=samples)
    assert result.passes and result.samples == 6
    alone = verify(parts[1:], lr_folder, samples=3)
    assert "0801.png (index 0): 3 of 3 samples are missing: 0 to 2" in alone.problems
    twice = verify([parts[0], shutil.copy(parts[0], tmp_path / "copy.zip"), parts[1]], lr_folder)
    assert "000000_sample00000.png in copy.zip: is in another archive, too" in twice.problems
    with pytest.raises(UsageError, match="is not an archive"):
        verify([parts[0], samples], lr_folder)


def test_number_of_samples_is_that_of_most_images(samples, lr_folder, tmp_path):
    for path in samples.glob("000000_*1.png"):
        path.unlink()
    result = verify([zipped(samples, tmp_path / "a.zip")], lr_folder)
    assert result.problems == ["0801.png (index 0): 1 of 3 samples are missing: 1"]
    (samples / "000000_sample00002.png").unlink()
    result = verify([zipped(samples, tmp_path / "b.zip")], lr_folder)
    assert result.problems == ["0801.png (index 0): 2 of 3 samples are missing: 1 to 2"]
    result = verify([zipped(tmp_path / "nothing", tmp_path / "c.zip")], lr_folder)
    assert result.problems == ["there is no sample"]


def test_a_deterministic_entry_is_a_note_and_single_copies_are_problems(samples, lr_folder, tmp_path):
    for index in (0, 1):
        for k in (1, 2):
            shutil.copy(samples / f"{index:06d}_sample00000.png", samples / f"{index:06d}_sample{k:05d}.png")
    result = verify([zipped(samples, tmp_path / "a.zip")], lr_folder)
    assert result.passes and "a deterministic entry" in result.notes[0]
    (samples / "manifest.json").unlink()
    with pytest.raises(ValidationErrors, match="the same image as"):
        pack(PackageRequest(samples, tmp_path / "out.zip", lr=lr_folder, samples=3, seconds=1, on_gpu=False))


def test_edition_and_scale_options_are_checked(samples, lr_folder, tmp_path):
    archive = zipped(samples, tmp_path / "a.zip")
    result = verify([archive], lr_folder, edition="2022")
    assert result.problems == [
        "edition 2022 asks for 100 images; there are 2",
        "edition 2022 asks for 10 samples per image, not 3",
    ]
    result = verify([archive], lr_folder, scale=8)
    wrong = "000000_sample00000.png has 128 x 96 pixels, not 256 x 192, 8 times the 32 x 24 of 0801.png"
    assert len(result.problems) == 6 and wrong in result.problems


def test_hostile_archives_cost_neither_time_nor_memory(lr_folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number % 1000:06d}_sample{number // 1000:05d}.png", b"")
    began = time.process_time()
    result = verify([tmp_path / "many.zip"], lr_folder)
    assert time.process_time() - began < 10  # it was 25 s when each name was compared with all
    assert not result.passes
    with zipfile.ZipFile(tmp_path / "odd.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("\0x"), b"")
        archive.writestr("readme.txt", bytes(MOST_README_BYTES + 1))
    result = verify([tmp_path / "odd.zip"], lr_folder)
    assert any("a member without a name" in line for line in result.problems)
    assert any(line.startswith("readme.txt: claims") for line in result.problems)


def test_missing_samples_are_listed_as_runs(samples, lr_folder):
    content = json.loads((samples / "manifest.json").read_text())
    write_json(samples / "manifest.json", content | {"samples": 100_000})
    result = verify([samples], lr_folder)
    assert "0802.png (index 1): 99997 of 100000 samples are missing: 3 to 99999" in result.problems
    assert len(result.problems) == 2


def test_regenerate_projects_with_the_limits_of_the_manifest(lr_folder, trained, tmp_path):
    loaded = load_model(trained / "weights.safetensors", None, CPU)
    for folder, limits in (("SR", ProjectionLimits(50.0, 3)), ("usual", USUAL_LIMITS)):
        generate(Request(lr_folder, tmp_path / folder, samples=1, projection_limits=limits), loaded, CPU)
    name = "000000_sample00000.png"
    assert (tmp_path / "SR" / name).read_bytes() != (tmp_path / "usual" / name).read_bytes()
    assert verify([tmp_path / "SR"], regenerate=2).drawn_again == [name, "000001_sample00000.png"]
    path = tmp_path / "SR" / "manifest.json"
    path.write_text(path.read_text().replace('"projection_max_rounds": 3', '"projection_max_rounds": "many"'))
    problems = verify([tmp_path / "SR"], regenerate=1).problems
    assert any(
        "cannot be drawn again: settings.hyper_parameters of the manifest" in problem for problem in problems
    )


def test_regenerate_keeps_the_other_problems_of_the_report(samples, lr_folder, tmp_path):
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    shutil.copy(lr_folder / "0801.png", fewer)
    result = verify([samples], fewer, regenerate=6)
    assert len(result.drawn_again) == 3 and any("the LR folder holds 1" in line for line in result.problems)
    (lr_folder / "0802.png").write_bytes((lr_folder / "0802.png").read_bytes()[:60])
    result = verify([samples], lr_folder, regenerate=6)
    assert len(result.drawn_again) == 3 and any("0802.png is truncated" in line for line in result.problems)


def test_weights_resolve_from_any_folder_and_missing_ones_warn(
    samples, trained, lr_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path.parent)
    assert verify([samples], regenerate=1).passes
    packed = pack(PackageRequest(samples, tmp_path / "out.zip"))
    with zipfile.ZipFile(packed.code[0]) as archive:
        assert archive.read("weights.safetensors") == (trained / "weights.safetensors").read_bytes()
        assert not [name for name in archive.namelist() if name.startswith("code/ntire_sr/models/stochastic_x")]
    (trained / "weights.safetensors").unlink()
    packed = pack(PackageRequest(samples, tmp_path / "out.zip"))
    assert len(packed.warnings) == 1 and "the archive with the code lacks them" in packed.warnings[0]
    assert {"Parameters", "Total complexity"} <= set(packed.blanks)


def test_package_weights_resolve_on_any_machine(photograph, tmp_path):
    lr = tmp_path / "LR"
    write_png(lr / "0801.png", np.ascontiguousarray(photograph[:10, :12]))  # small: the whole network draws it
    generate(Request(lr, tmp_path / "SR", samples=1), load_model("stochastic", 4, CPU), CPU)
    manifest = load_manifest(tmp_path / "SR")
    manifest.weights = "/another/machine/stochastic_x4.safetensors"
    manifest.save(tmp_path / "SR")
    assert verify([tmp_path / "SR"], regenerate=1).passes
    packed = pack(PackageRequest(tmp_path / "SR", tmp_path / "out.zip"))
    assert not packed.warnings
    # what is handed in draws the samples again by itself: their decoder, the trunk that it needs, and the code
    with zipfile.ZipFile(packed.code[0]) as archive:
        assert "trunk: derived from RealSR" in archive.read("factsheet.md").decode()
        archive.extractall(tmp_path / "handed in")
    words = ["generate", "--weights", "weights.safetensors", "--lr", lr, "--samples", "1", "--out", "again"]
    subprocess.run(
        [sys.executable, "-m", "ntire_sr", *map(str, words)],
        cwd=tmp_path / "handed in",
        env=os.environ | {"PYTHONPATH": "code"},
        check=True,
    )
    for path in (tmp_path / "SR").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "handed in" / "again" / path.name).read_bytes()


def test_fact_sheet_ignores_scores_of_other_samples(samples, trained, tmp_path):
    score = {"samples_sha256": "0" * 64, "summary": {"LPIPS_mean": 0.0123}}
    write_json(trained / "score" / "score.json", score)
    second_folder = tmp_path / "other"
    shutil.copytree(trained, second_folder)
    (second_folder / "weights.safetensors").write_bytes(b"others")
    for run in (trained, second_folder):
        packed = pack(PackageRequest(samples, tmp_path / "out.zip", run=run))
        assert "Measured by ntire-sr score" in packed.blanks
        with zipfile.ZipFile(packed.code[0]) as archive:
            assert ("config.json" in archive.namelist()) is (run == trained)
            assert "score.json" not in archive.namelist()


def test_fact_sheet_contains_the_score_of_these_samples(samples, trained, tmp_path, ntire_sr_command):
    words = (
        "score",
        "--sr",
        samples,
        "--hr",
        tmp_path / "HR",
        "--out",
        trained / "score",
        "--without-lpips",
        "--no-report",
    )
    result = ntire_sr_command(*words)
    assert result.code == 0, result.err
    packed = pack(PackageRequest(samples, tmp_path / "out.zip", run=trained))
    assert "Measured by ntire-sr score" not in packed.blanks
    with zipfile.ZipFile(packed.code[0]) as archive:
        assert "score.json" in archive.namelist()
        assert "multiply-adds per SR pixel once per image" in archive.read("factsheet.md").decode()


def test_score_in_another_folder_fills_the_fact_sheet(samples, tmp_path, ntire_sr_command):
    options = ("--without-lpips", "--no-report", "--out", tmp_path / "elsewhere" / "score")
    result = ntire_sr_command("score", "--sr", samples, "--hr", tmp_path / "HR", *options)
    assert result.code == 0, result.err
    assert "Measured by ntire-sr score" in pack(PackageRequest(samples, tmp_path / "out.zip")).blanks
    request = PackageRequest(samples, tmp_path / "out.zip", score=tmp_path / "elsewhere" / "score")
    assert "Measured by ntire-sr score" not in pack(request).blanks
    (tmp_path / "elsewhere" / "score").rename(samples.with_name("score"))
    assert "Measured by ntire-sr score" not in pack(PackageRequest(samples, tmp_path / "out.zip")).blanks
    with pytest.raises(UsageError, match=r"--score .*LR holds no score\.json of exactly these samples"):
        pack(PackageRequest(samples, tmp_path / "out.zip", score=tmp_path / "LR"))


def test_readme_in_the_sample_folder_is_a_warning(samples, tmp_path):
    (samples / "readme.txt").write_text("of an archive")
    packed = pack(PackageRequest(samples, tmp_path / "out.zip", code=False))
    assert packed.files == 6 and "package writes its own" in packed.warnings[0]


def test_swapped_and_mirrored_samples_are_named(lr_folder, tmp_path, photograph):
    first, second = photograph[:64, :96], photograph[32:96, :96]
    for number, hr in (("1", first), ("2", second)):
        write_png(tmp_path / "two" / f"{number}.png", downscale_array(np.ascontiguousarray(hr), 4))
    for index, sample in enumerate((second, second[:, ::-1])):
        write_png(tmp_path / "SR" / f"{index:06d}.png", np.ascontiguousarray(sample))
    problems = verify([tmp_path / "SR"], tmp_path / "two").problems
    assert "it fits 2.png better than its own LR image" in problems[0] and "it looks mirrored" in problems[1]


def test_archive_in_the_sample_folder_or_over_a_device_is_refused(samples, tmp_path):
    with pytest.raises(UsageError, match="is in the folder of the samples"):
        pack(PackageRequest(samples, samples / "out.zip"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="pipe is no regular file"):
        pack(PackageRequest(samples, tmp_path / "pipe"))


def test_control_characters_are_printed_as_escapes(samples, ntire_sr_command):
    content = json.loads((samples / "manifest.json").read_text())
    content["images"][0]["name"] = "\x1b]0;x\x07\x1b[2J.png"
    write_json(samples / "manifest.json", content)
    result = ntire_sr_command("verify", samples)
    assert result.code == 1 and "\x1b" not in result.out and r"\x1b[2J.png" in result.out


def test_many_files_of_one_fault_are_printed_in_a_few_lines(lr_folder, tmp_path, ntire_sr_command):
    with zipfile.ZipFile(tmp_path / "mac.zip", "w") as archive:
        for number in range(500):
            archive.writestr(f"SR/{number:06d}_sample00000.png", b"")
            archive.writestr(f"__MACOSX/SR/._{number:06d}_sample00000.png", b"")
    result = ntire_sr_command("verify", tmp_path / "mac.zip", "--lr", lr_folder)
    lines = result.out.splitlines()
    assert result.code == 1 and len(lines) < 20
    assert (
        "  - __MACOSX/SR/._000000_sample00000.png: inside a folder, which the system added; zip without it"
        in lines
    )
    assert lines.count("  - ... and 497 more like this") == 2
    printed = json.loads(ntire_sr_command("verify", tmp_path / "mac.zip", "--lr", lr_folder, "--json").out)
    assert len(printed["problems"]) == 1001
