"""A folder of another program's images, projected, through score, package and verify."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ntire_sr.samples.image_files import read_image, write_png


@pytest.fixture
def theirs(lr_folder: Path, tmp_path: Path, ntire_sr_command) -> Path:
    """Two images with two samples each."""
    for path in lr_folder.iterdir():
        for k in (0, 1):
            image = np.kron(read_image(path), np.ones((4, 4, 1), np.uint8))
            image[k::2] = np.minimum(image[k::2], 250) + 5
            write_png(tmp_path / "theirs" / f"{path.stem}_{k}.png", image)
    return tmp_path / "theirs"


def project(theirs: Path, lr: Path, ntire_sr_command, *words: object) -> Path:
    out = theirs.parent / "SR"
    command = ("project", "--sr", theirs, "--lr", lr, "--out", out, "--names", "{stem}_{sample}", *words)
    result = ntire_sr_command(*command)
    assert result.code == 0, result.err
    return out


def test_projected_folder_passes_score_package_and_verify(theirs, lr_folder, tmp_path, ntire_sr_command):
    stated = ("--model-name", "Theirs", "--seconds", 1.5, "--gpu")
    out = project(theirs, lr_folder, ntire_sr_command, *stated)
    words = ("score", "--hr", tmp_path / "HR", "--sr", out, "--out", tmp_path / "score", "--without-lpips")
    result = ntire_sr_command(*words)
    assert result.code == 0 and "PASS" in result.out and "2 images x 2 samples, scale 4" in result.out
    assert "Theirs (another program), projected by ntire-sr" in (tmp_path / "score" / "report.html").read_text()
    archive = tmp_path / "theirs.zip"
    result = ntire_sr_command("package", "--sr", out, "--out", archive)
    assert result.code == 0, result.err
    for fact in ("Weights (SHA-256)", "Parameters", "Seeds", "Ensembles", "Test-time augmentation"):
        assert fact in result.out  # only the team knows
    with zipfile.ZipFile(archive) as packed:
        assert packed.read("readme.txt").decode().splitlines() == [
            "runtime per image [s] : 1.50",
            "CPU[1] / GPU[0] : 0",
            "Extra Data [1] / No Extra Data [0] : 1",
            "Other description : Theirs",
        ]
    with zipfile.ZipFile(tmp_path / "theirs-code.zip") as packed:
        sheet, how = packed.read("factsheet.md").decode(), packed.read("REPRODUCE.md").decode()
        assert json.loads(packed.read("manifest.json"))["settings"]["external"] is True
    assert "**Run time:** 1.50 s per sample on a GPU" in sheet and "Theirs, scale 4" in sheet
    assert "ntire-sr project" in how and "generate" not in how
    for words in ((out,), (archive, "--lr", lr_folder, "--manifest", out)):
        result = ntire_sr_command("verify", *words)
        assert result.code == 0 and result.out.endswith("PASS\n"), result.out
    result = ntire_sr_command("verify", out, "--regenerate", 1)
    assert result.code == 2 and "only it can draw them again" in result.err


def test_package_requires_the_run_time_of_external_samples(theirs, lr_folder, tmp_path, ntire_sr_command):
    out = project(theirs, lr_folder, ntire_sr_command, "--cpu")
    result = ntire_sr_command("package", "--sr", out, "--out", tmp_path / "a.zip")
    assert result.code == 2 and "--seconds NUMBER with --gpu or --cpu" in result.err
    assert ntire_sr_command("package", "--sr", out, "--out", tmp_path / "a.zip", "--seconds", 3).code == 0
    with zipfile.ZipFile(tmp_path / "a.zip") as packed:
        assert (
            packed.read("readme.txt").decode().startswith("runtime per image [s] : 3.00\nCPU[1] / GPU[0] : 1")
        )


def test_errors_about_external_samples_do_not_suggest_generate(theirs, lr_folder, tmp_path, ntire_sr_command):
    out = project(theirs, lr_folder, ntire_sr_command, "--seconds", 1, "--cpu")
    (out / "000000_sample00001.png").unlink()
    result = ntire_sr_command("package", "--sr", out, "--out", tmp_path / "a.zip")
    assert result.code == 1 and "`ntire-sr project` projects again" in result.err
    assert "generate" not in result.err
    (out / "manifest.json").unlink()
    words = ("package", "--sr", out, "--lr", lr_folder, "--samples", 2, "--seconds", 1, "--cpu")
    result = ntire_sr_command(*words, "--out", tmp_path / "a.zip")
    assert result.code == 1 and "`ntire-sr project` gives" in result.err and "generate" not in result.err
    result = ntire_sr_command("score", "--sr", theirs, "--hr", tmp_path / "HR", "--without-lpips")
    assert result.code == 1 and "`ntire-sr project` gives" in result.err and "generate" not in result.err
    for command in (("score", "--sr"), ("package", "--sr"), ("verify",)):
        result = ntire_sr_command(*command, tmp_path / "absent")
        assert result.code == 2 and "generate" not in result.err, command
    for command in ("score", "package"):  # where nothing is named, the next step is generate
        result = ntire_sr_command(command, "--run", tmp_path / "run")
        assert result.code == 2 and "run `ntire-sr generate` first" in result.err


def test_equal_samples_of_a_deterministic_program_are_packed(theirs, lr_folder, tmp_path, ntire_sr_command):
    for path in theirs.glob("*_0.png"):
        path.with_name(path.name.replace("_0", "_1")).write_bytes(path.read_bytes())
    out = project(theirs, lr_folder, ntire_sr_command, "--seconds", 1, "--cpu")
    assert json.loads((out / "manifest.json").read_text())["settings"]["deterministic"] is True
    assert ntire_sr_command("package", "--sr", out, "--out", tmp_path / "a.zip", "--no-code").code == 0
