"""The `ntire-sr` command, called as from a shell."""

import json
import os
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from conftest import TINIEST_WORDS
from networks import write_network

from ntire_sr.challenge.names import SampleName
from ntire_sr.core.files import sha256_file
from ntire_sr.models.package_weights import shipped_weights
from ntire_sr.samples.image_files import write_png
from ntire_sr.samples.manifest import load_manifest


@pytest.fixture
def in_empty_folder(tmp_path, monkeypatch, small_validation):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("lpips", [True, False])
def test_four_commands_run_in_sequence_in_an_empty_folder(in_empty_folder, ntire_sr_command, lpips):
    # the settings only make the training short; no command names a folder
    result = ntire_sr_command("train", *TINIEST_WORDS)
    assert result.code == 0 and "finished: 2 steps" in result.out, result.err
    result = ntire_sr_command("generate", "--samples", 2)
    assert result.code == 0 and "4 samples written, 0 kept" in result.out, result.err
    assert "weights runs/latest/weights.safetensors" in result.out.replace(os.sep, "/")
    result = ntire_sr_command("score", *([] if lpips else ["--without-lpips"]))
    assert result.code == 0 and "PASS" in result.out, result.err
    assert ("not measured" in result.out) == (not lpips)
    result = ntire_sr_command("package")
    assert result.code == 0 and re.search(r"sha256: [0-9a-f]{64}", result.out), result.err
    run = in_empty_folder / "runs" / "latest"
    assert sorted(path.name for path in run.iterdir()) == [
        "checkpoints", "config.json", "log.jsonl", "samples", "score", "submission-code.zip", "submission.zip", "training.html", "validation",
        "weights.safetensors",
    ]  # fmt: skip
    with zipfile.ZipFile(run / "submission.zip") as archive:
        assert len(archive.namelist()) == 5


def test_commands_without_a_run_name_the_command_to_run_first(in_empty_folder, ntire_sr_command):
    for command, advice in (
        ("generate --run mine", "run `ntire-sr train` first"),
        ("score", "does not exist"),
        ("package", "does not exist"),
    ):
        result = ntire_sr_command(*command.split())
        assert result.code == 2, command
        assert advice in result.err
        assert "Traceback" not in result.err


def manifest_of(folder) -> dict:
    return json.loads((folder / "runs" / "latest" / "samples" / "manifest.json").read_text())


def test_generate_without_a_run_uses_the_packages_weights(in_empty_folder, ntire_sr_command):
    for scale in (8, 4):
        result = ntire_sr_command("generate", "--samples", 2, "--scale", scale, "--overwrite")
        assert result.code == 0, result.err
        assert f"stochastic_x{scale}.safetensors" in result.out and "that come with the package" in result.out
        settings = manifest_of(in_empty_folder)["settings"]
        assert settings["weights_sha256"] == sha256_file(shipped_weights("stochastic", scale))
        assert (settings["model"], settings["scale"]) == ("stochastic", scale)
    result = ntire_sr_command("score", "--without-lpips", "--json")
    summary = json.loads(result.out)["summary"]
    assert summary["LRPSNR_worst_sample"] >= 50 and summary["MSE_score"] > 3


def test_generate_uses_an_unfinished_run_only_if_named(in_empty_folder, ntire_sr_command):
    assert ntire_sr_command("train", *TINIEST_WORDS, "--set", "max_minutes=1e-9").code == 0
    result = ntire_sr_command("generate", "--samples", 1)
    assert "stochastic_x4.safetensors" in result.out
    assert "runs/latest is not finished (1 of 2 steps)" in result.err.replace(os.sep, "/")
    result = ntire_sr_command("generate", "--samples", 1, "--run", "runs/latest", "--overwrite")
    assert "drawn by srgan, weights runs/latest" in result.out.replace(os.sep, "/")
    assert ntire_sr_command("train", "--resume", "--max-minutes", 0).code == 0
    result = ntire_sr_command("generate", "--samples", 1, "--overwrite")
    assert "2 steps" in result.out and "not finished" not in result.err
    result = ntire_sr_command("generate", "--scale", 8)
    assert result.code == 2 and "was trained for scale 4, not 8" in result.err


def test_bicubic_needs_no_training(in_empty_folder, ntire_sr_command):
    assert ntire_sr_command("generate", "--weights", "bicubic", "--samples", 1, "--scale", 8).code == 0
    result = ntire_sr_command("score", "--without-lpips", "--json")
    summary = json.loads(result.out)["summary"]
    assert (result.code, summary["scale"], summary["samples"], summary["passes"]) == (0, 8, 1, True)
    assert summary["LPIPS_mean"] is None


def test_score_exits_with_1_under_45_db_only_with_exit_code(in_empty_folder, ntire_sr_command, photograph):
    write_png(in_empty_folder / "HR" / "0801.png", photograph)
    write_png(in_empty_folder / "SR" / str(SampleName(0, 0)), np.ascontiguousarray(photograph[::-1]))
    words = ("score", "--hr", "HR", "--sr", "SR", "--samples", 1, "--without-lpips", "--out", "out")
    result = ntire_sr_command(*words)
    assert result.code == 0 and "FAIL: 1 sample is under 45 dB" in result.out
    assert ntire_sr_command(*words, "--strict").code == 1


def test_score_measures_lpips_offline_without_any_option(in_empty_folder, ntire_sr_command):
    # NTIRE_SR_OFFLINE is set and all caches are empty, see conftest
    ntire_sr_command("generate", "--weights", "bicubic", "--samples", 1)
    result = ntire_sr_command("score", "--no-report", "--json")
    assert result.code == 0, result.err
    assert 0.1 < json.loads(result.out)["summary"]["LPIPS_mean"] < 0.6


def test_score_refuses_another_scale_than_the_samples(in_empty_folder, ntire_sr_command):
    ntire_sr_command("generate", "--weights", "bicubic", "--samples", 1)
    result = ntire_sr_command("score", "--without-lpips", "--scale", 8)
    assert result.code == 2 and "was drawn at scale 4, not 8" in result.err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("train", "--set", "bacth=3"), "try: batch"),
        (("train", "--model", "srgen"), "try: srgan"),
        (("train", "--scale", "3"), "'3' is not one of '4', '8'"),
        (("train", "--hr", "absent"), "absent does not exist"),
        (("train", "--steps", "5", "--set", "steps=6"), "steps is given twice"),
        (("train", "--stepps", "5"), "No such option"),
        (("generate", "--weights", "absent.safetensors"), "there are no weights at absent.safetensors"),
        (("generate", "--weights", "bicubic", "--lr", "."), "holds no image"),
        (("generate", "--samples", "0"), "0 is not in the range"),
        (("score", "--hr", "absent", "--without-lpips"), "does not exist"),
        (("package", "--sr", "absent", "--lr", "absent"), "does not exist"),
        (("downscale", "--hr", "."), "holds no image"),
        (("nothing",), "No such command"),
        (("trian",), "try: train"),
        (("evaluate",), "try: score"),
        (("study", "server"), "try: serve"),
    ],
)  # fmt: skip
def test_usage_error_is_one_message_with_exit_code_2(in_empty_folder, ntire_sr_command, words, part):
    result = ntire_sr_command(*words)
    assert result.code == 2
    assert part in result.err
    assert "Traceback" not in result.err


def test_dry_run_prints_the_whole_configuration_and_writes_nothing(in_empty_folder, ntire_sr_command):
    result = ntire_sr_command("train", "--dry-run", "--scale", 8, "--set", "preset=small", "--set", "gamma=0.3")
    config = json.loads(result.out)
    assert (config["scale"], config["settings"]["gamma"], config["settings"]["channels"]) == (8, 0.3, 64)
    assert list(in_empty_folder.iterdir()) == []


def test_train_on_a_finished_run_needs_resume(in_empty_folder, ntire_sr_command):
    assert ntire_sr_command("train", "--resume", *TINIEST_WORDS).code == 0
    result = ntire_sr_command("train", "--resume")
    assert result.code == 0 and "is finished: 2 steps" in result.out
    result = ntire_sr_command("train")
    assert result.code == 2 and "add --resume" in result.err


def test_train_compares_features_of_squeezenet_offline(in_empty_folder, ntire_sr_command):
    words = [word.replace("features=filters", "features=auto") for word in TINIEST_WORDS]
    result = ntire_sr_command("train", *words)
    assert result.code == 0
    assert "feature losses compare: squeezenet1_1" in result.err
    ntire_sr_command("generate", "--samples", 1)
    manifest = json.loads((in_empty_folder / "runs/latest/samples/manifest.json").read_text())
    assert manifest["features"] == "squeezenet1_1"


def test_downscale_makes_the_lr_images(in_empty_folder, ntire_sr_command, photograph):
    write_png(in_empty_folder / "HR" / "0801.png", photograph)
    assert ntire_sr_command("downscale", "--hr", "HR", "--scale", 8).code == 0
    assert [path.name for path in (in_empty_folder / "LRx8").iterdir()] == ["0801.png"]


def test_demo_ends_with_tables_reports_and_archive_and_resumes(in_empty_folder, ntire_sr_command, monkeypatch):
    from ntire_sr.training.run_config import make_run_config

    monkeypatch.setattr(
        "ntire_sr.training.run_config.make_run_config",
        lambda values: make_run_config({**dict(w.split("=") for w in TINIEST_WORDS[1::2]), **values}),
    )
    result = ntire_sr_command("demo", "--steps", 2, "--samples", 2)
    assert result.code == 0, result.err
    for part in (
        "LR-PSNR, worst single sample",
        "S_2",
        "report: ",
        "archive: ",
        "the weights that were trained here\n",
        "the weights that come with the package\n",
        "LPIPS, mean",
        "Diversity S_2 (LPIPS)",
    ):
        assert part in result.out
    for place in ("score", "shipped/score"):
        page = (in_empty_folder / "runs/demo" / place / "report.html").read_text(encoding="utf-8")
        assert "Diversity S_2 (LPIPS)" in page and "not measured" not in page
    assert {
        load_manifest(in_empty_folder / "runs/demo" / place).settings.weights_sha256
        for place in ("samples", "shipped/samples")
    } == {
        sha256_file(in_empty_folder / "runs/demo/weights.safetensors"),
        sha256_file(shipped_weights("stochastic", 4)),
    }
    again = ntire_sr_command("demo", "--steps", 2, "--samples", 2)
    assert again.code == 0
    assert "runs/demo is finished: 2 steps" in again.out.replace(os.sep, "/")
    assert again.out.count("0 samples written, 4 kept") == 2
    more = ntire_sr_command("demo", "--steps", 3, "--samples", 3)
    assert more.code == 0
    assert "6 samples written, 0 kept" in more.out and "2 samples written, 4 kept" in more.out
    result = ntire_sr_command("demo", "--steps", 3, "--samples", 3, "--json", "--quiet")
    facts = json.loads(result.out)  # one object, without the output of the four commands
    assert result.err == "" and facts.keys() == {"run", "weights", "scores", "package", "seconds"}
    assert [score["summary"]["samples"] for score in facts["scores"]] == [3, 3]
    assert facts["package"]["samples"] == 6


def test_doctor_shows_versions_and_paths_of_pretrained_files(ntire_sr_command, monkeypatch, tmp_path):
    facts = json.loads(ntire_sr_command("doctor", "--json").out)
    assert facts["torch"] and "alexnet_features.safetensors (package)" in facts["alexnet"]
    assert "not on this machine; will be fetched from https://download.pytorch.org" in facts["vgg19"]
    monkeypatch.setenv("NTIRE_SR_LPIPS_WEIGHTS", str(tmp_path / "absent.pth"))
    result = ntire_sr_command("doctor")
    assert result.code == 0 and "unusable: NTIRE_SR_LPIPS_WEIGHTS names" in result.out


def test_doctor_names_version_of_imported_cv2_not_of_a_package(tmp_path):
    (tmp_path / "cv2.py").write_text("__version__ = '4.10.0'\n")  # as of opencv-python
    (tmp_path / "skimage.py").write_text("raise ImportError('libGL.so.1 is missing')\n")
    result = subprocess.run(
        [sys.executable, "-m", "ntire_sr", "doctor", "--json"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    facts = json.loads(result.stdout)
    assert facts["opencv"] == "4.10.0"
    assert facts["scikit-image"] == "cannot be imported: libGL.so.1 is missing"


def test_interruption_exits_with_130_and_full_disk_with_1(in_empty_folder, ntire_sr_command, monkeypatch):
    def interrupted(*words, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("ntire_sr.commands.doctor.examine", interrupted)
    assert ntire_sr_command("doctor").code == 130

    def full(*words):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ntire_sr.commands.doctor.examine", full)
    result = ntire_sr_command("doctor")
    assert result.code == 1 and "No space left on device" in result.err and "try: free some space" in result.err


def test_help_imports_neither_torch_nor_numpy():
    words = [
        sys.executable,
        "-c",
        "import sys, ntire_sr.commands.cli as c; sys.argv[1:] = ['train', '--help']\ntry: c.main()\nfinally: print('torch' in sys.modules, 'numpy' in sys.modules)",
    ]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    assert result.stdout.endswith("False False\n")


def test_score_imports_no_library_that_it_does_not_use():
    code = (
        "import sys, ntire_sr.commands.score, ntire_sr.evaluation.score_folder, ntire_sr.evaluation.pages.terminal\n"
        "print([name for name in ('pandas', 'scipy', 'skimage', 'jinja2', 'lpips', 'torchvision') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


def test_python_m_ntire_sr_is_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "ntire_sr", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("ntire-sr, version ")


def test_refused_generate_leaves_the_run_unchanged(in_empty_folder, ntire_sr_command):
    assert ntire_sr_command("generate", "--weights", "bicubic", "--samples", 1).code == 0
    refused = ntire_sr_command("generate", "--weights", "bicubic", "--samples", 1, "--scale", 8)
    assert refused.code == 2 and "scale: 4 there, 8 asked for" in refused.err
    assert ntire_sr_command("package").code == 0


def test_score_measures_fewer_samples_than_the_folder_has(in_empty_folder, ntire_sr_command):
    ntire_sr_command("train", *TINIEST_WORDS)
    ntire_sr_command("generate", "--samples", 3)
    result = ntire_sr_command("score", "--without-lpips", "--samples", 2, "--json")
    assert result.code == 0 and json.loads(result.out)["summary"]["samples"] == 2


def test_running_out_of_memory_is_one_clear_error(in_empty_folder, ntire_sr_command, monkeypatch):
    def too_large(*words):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("ntire_sr.training.loop.train", too_large)
    result = ntire_sr_command("train", *TINIEST_WORDS)
    assert result.code == 1 and "out of memory" in result.err


def test_file_instead_of_run_folder_is_a_usage_error(in_empty_folder, ntire_sr_command):
    (in_empty_folder / "file").write_text("")
    result = ntire_sr_command("train", "--run", "file", *TINIEST_WORDS)
    assert result.code == 2 and "a file stands where a folder is needed" in result.err


def test_package_accepts_a_description_with_invalid_unicode(in_empty_folder, ntire_sr_command):
    ntire_sr_command("generate", "--weights", "bicubic", "--samples", 1)
    assert ntire_sr_command("package", "--description", "odd \udcff").code == 0


def test_data_check_exits_with_1_for_forbidden_or_broken_files(in_empty_folder, ntire_sr_command, photograph):
    write_png(in_empty_folder / "HR" / "0001.png", photograph)
    write_png(in_empty_folder / "HR" / "small.png", np.ascontiguousarray(photograph[:20]))
    result = ntire_sr_command("data", "check", "--hr", "HR", "--patch", 32, "--validation", "HR")
    assert result.code == 1 and "in the validation set" in result.out
    write_png(in_empty_folder / "other" / "a.png", np.ascontiguousarray(255 - photograph))
    words = ("data", "check", "--hr", "HR", "--patch", 32, "--validation", "other")
    result = ntire_sr_command(*words)
    assert result.code == 0 and result.out.rstrip().endswith("PASS"), result.err
    assert "small.png" in result.out
    write_png(in_empty_folder / "HR" / "0900x4.png", np.ascontiguousarray(photograph[:, :40]))
    (in_empty_folder / "HR" / "b.png").write_bytes(b"")
    result = ntire_sr_command(*words, "--json")
    findings = json.loads(result.out)
    assert result.code == 1 and not findings["passes"]
    assert findings["forbidden"] == ["0900x4.png (DIV2K validation)"] and len(findings["unreadable"]) == 1
    assert ntire_sr_command("data", "check", "--hr", "absent").code == 2


@pytest.mark.usefixtures("imports_as_before")
@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_earlier_attribute_of_a_network_is_noted_on_stderr(tmp_path, ntire_sr_command, quiet):
    body = (
        "def build(scale, weights, device):\n    net = Net(scale)\n    net.sample_reach = None\n    return net"
    )
    write_png(tmp_path / "LR" / "0801.png", np.full((8, 8, 3), 128, np.uint8))
    words = ("--model", f"{write_network(tmp_path, body)}:build", "--lr", tmp_path / "LR", "--samples", 1)
    result = ntire_sr_command("generate", *words, "--out", tmp_path / "SR", *quiet)
    assert result.code == 0, result.err
    note = "warning: my_net.py:build: the attribute sample_reach is deprecated; rename it to sample_receptive_field"
    assert (note in result.err) is not bool(quiet)
