"""The kit for a new GPU, on the CPU and with tiny sizes."""

import argparse
import importlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINIEST
from safetensors.torch import load_file, save_file

from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.models.package_weights import trunk_files
from ntire_sr.models.weights_files import needed_trunk, read_weights
from ntire_sr.samples.image_files import read_image, write_png

ROOT = Path(__file__).parents[2]
TINY_STOCHASTIC = {
    **{
        name: TINIEST[name]
        for name in ("batch", "patch", "channels", "blocks", "discriminator_channels", "features")
    },
    "growth": 4,
    "fine_channels": 4,
    "latent_channels": 2,
    "final_samples": 3,
    "start_from": "none",
}
SET_WORDS = [word for name, value in TINY_STOCHASTIC.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.fixture
def gpu():
    return importlib.import_module("gpu")


@pytest.fixture
def export():
    return importlib.import_module("gpu_export")


@pytest.fixture
def pack():
    return importlib.import_module("gpu_pack")


def options_of(tmp_path: Path, **values) -> argparse.Namespace:
    out, work = tmp_path / "out", tmp_path / "work"
    out.mkdir()
    work.mkdir()
    defaults = {
        "device": "cpu",
        "tests": None,
        "test_seconds": 1.0,
        "speed_seconds": 60.0,
        "preset": "tiny",
        "set": [],
    }
    return argparse.Namespace(**{**defaults, "out": out, "work": work, "width": 64, "height": 64, **values})


# weights in several files


def test_exported_weights_join_to_the_same_in_16_bits(tmp_path, trained, export):
    weights = RunFolder(trained).weights
    paths = export.export(weights, tmp_path, most_bytes=2000)
    assert len(paths) > 2 and all(path.stat().st_size < 2000 + 20_000 for path in paths)
    message = export.join(tmp_path, tmp_path / "joined.safetensors")
    assert "cut off" not in message
    metadata, tensors = read_weights(tmp_path / "joined.safetensors")
    assert metadata["model"] == "srgan" and "part" not in metadata
    for name, value in load_file(weights).items():
        assert torch.equal(tensors[name], value.half()), name


def test_export_removes_files_of_another_number_of_parts(tmp_path, trained, export):
    weights = RunFolder(trained).weights
    assert len(export.export(weights, tmp_path, most_bytes=2000)) > 2
    (path,) = export.export(weights, tmp_path)
    assert list(tmp_path.glob("weights_*")) == [path]


def test_missing_parts_of_weights_are_named(tmp_path, trained, export):
    paths = export.export(RunFolder(trained).weights, tmp_path, most_bytes=2000)
    paths[1].unlink()
    with pytest.raises(NtireSrError, match=f"lacks part 2 of {len(paths)}"):
        export.join(tmp_path, tmp_path / "joined.safetensors")


def test_parts_of_two_steps_are_joined_with_a_message(tmp_path, trained, export):
    paths = export.export(RunFolder(trained).weights, tmp_path, most_bytes=2000)
    metadata, tensors = export.read(paths[0])
    save_file(tensors, paths[0], {**metadata, "facts": json.dumps({"step": 1})})
    assert "parts are of different steps" in export.join(tmp_path, tmp_path / "joined.safetensors")


def test_numbers_beyond_16_bits_stay_float32(export):
    assert export.in_16_bits(torch.tensor([1e5])).dtype == torch.float32
    assert export.in_16_bits(torch.tensor([1.5])).dtype == torch.float16


# packing


def test_packed_crops_fill_the_budget_most_detailed_first(tmp_path, pack, photograph):
    image = np.zeros((96, 192, 3), np.uint8)
    image[:64, 64:128] = photograph[:64, :64]  # the only place with detail
    paths = [tmp_path / "HR" / f"{number}.png" for number in range(2)]
    for path in paths:
        write_png(path, image)
    number, used = pack.pack_crops(list(paths), tmp_path / "crops", 64, 95, 1 << 20)
    files = sorted((tmp_path / "crops").glob("*.jpg"))
    assert number == len(files) == 6 and used == sum(path.stat().st_size for path in files)
    assert all(read_image(path).shape == (64, 64, 3) for path in files)
    detail = [int(read_image(path).std() > 10) for path in files]
    assert detail == [1, 1, 0, 0, 0, 0]  # the most detailed of each photograph, then the others
    difference = read_image(files[0]).astype(int) - image[:64, 64:128]
    assert np.abs(difference).mean() < 2
    few, size = pack.pack_crops(list(paths), tmp_path / "few", 64, 95, files[0].stat().st_size + 10)
    assert few == 1 and size <= files[0].stat().st_size + 10


def test_kit_has_the_whole_package_but_other_weights(tmp_path, pack, photograph, capsys):
    kit = tmp_path / "kits" / "kit"
    write_png(tmp_path / "HR" / "a.png", photograph[:64, :128])
    pack.main(["--hr", str(tmp_path / "HR"), "--out", str(kit), "--side", "64"])
    assert "0 wheels and 2 crops of 64 px" in capsys.readouterr().out
    assert [path.name for path in kit.parent.iterdir()] == ["kit"]
    assert {"LICENSE", "benchmarks", "crops", "ntire_sr", "pyproject.toml", "tests"} == {
        path.name for path in kit.iterdir()
    }
    sources = [(ROOT / "toolkit", kit / "ntire_sr")]
    sources += [(ROOT / name, kit / "ntire_sr" / name) for name in ("models", "evaluation", "submission")]
    missing = [
        path.name
        for source, copy in sources
        for path in source.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and not (copy / path.relative_to(source)).is_file()
    ]
    weights = ROOT / "models" / "stochastic_x4.safetensors"
    needed = {weights, *trunk_files(needed_trunk(weights))}
    assert sorted(missing) == sorted(
        path.name for path in (ROOT / "models").glob("*.safetensors") if path not in needed
    )
    assert (kit / "benchmarks" / "gpu.py").is_file() and (kit / "tests" / "conftest.py").is_file()
    assert pack.folder_bytes(kit) < 50 * 2**20  # leaves room for crops


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hr", "nowhere"], "nowhere does not exist"),
        (["--hr", "HR", "--wheels", "HR"], "holds no wheels"),
        (["--hr", "HR", "--side", "256"], "no photograph in .* has a crop of 256 px"),
        (["--hr", "HR", "--mebibytes", "1"], "MiB too large without crops"),
    ],
)
def test_failed_packing_leaves_no_folder(tmp_path, pack, photograph, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pack, "copy_code", lambda kit: (pack.make_folder(kit) / "a").write_bytes(bytes(2**21)))
    write_png(tmp_path / "HR" / "a.png", photograph[:64, :128])
    with pytest.raises(NtireSrError, match=message):
        pack.main([*words, "--out", "kit"])
    assert [path.name for path in tmp_path.iterdir()] == ["HR"]


def test_wheels_are_unpacked_into_the_kit(tmp_path, pack):
    with zipfile.ZipFile(tmp_path / "a-1-py3-none-any.whl", "w") as archive:
        archive.writestr("a/__init__.py", "")
    assert pack.unpack_wheels(tmp_path, tmp_path / "kit") == 1
    assert (tmp_path / "kit" / "site" / "a" / "__init__.py").is_file()


# the parts of the command


def test_steps_are_planned_for_both_numbers_of_samples(gpu):
    # 625 s less 25 s for the start, of which 95 %: two thirds of the steps take .5 s, one third takes 2 s
    assert gpu.plan_steps(625 / 60, {"samples": 0.5, "final_samples": 2.0}) == 570
    assert gpu.plan_steps(0.01, {"samples": 0.5, "final_samples": 2.0}) == 3
    # where the second number was not measured it counts twice the first; without both .5 s are assumed
    assert gpu.plan_steps(625 / 60, {"samples": 0.5}) == gpu.plan_steps(625 / 60, {}) == 855


def test_kit_on_the_path_before_anything_else(gpu, tmp_path, monkeypatch):
    (tmp_path / "ntire_sr").mkdir()
    monkeypatch.setattr(gpu, "KIT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", "earlier")
    settings = gpu.environment(tmp_path)
    assert settings["PYTHONPATH"].split(gpu.os.pathsep) == [str(tmp_path), str(tmp_path / "site"), "earlier"]
    assert settings["NTIRE_SR_OFFLINE"] == "1" and settings["NTIRE_SR_CACHE"] == str(tmp_path / "cache")


def test_device_tests_report_their_last_line(gpu, tmp_path, monkeypatch):
    called = []

    def run(command, stdout, timeout, **words):
        called.append(command)
        stdout.write("....\n3 passed in 2 s\n")
        return argparse.Namespace(returncode=0)

    monkeypatch.setattr(gpu.subprocess, "run", run)
    options = options_of(tmp_path)
    gpu.run_tests(options, gpu.Report(options.out), {})
    assert called[0][called[0].index("-k") + 1] == "cpu"
    assert any(word.endswith("test_device.py") for word in called[0])
    assert (options.out / "report.md").read_text() == "device tests (cpu): exit code 0: 3 passed in 2 s\n"


def test_device_tests_beyond_their_time_are_reported(gpu, tmp_path, monkeypatch):
    def run(command, stdout, timeout, **words):
        stdout.write("tests/a.py ...")
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(gpu.subprocess, "run", run)
    options = options_of(tmp_path, device="cuda")
    gpu.run_tests(options, gpu.Report(options.out), {})
    assert (
        "device tests (cuda): stopped by the time limit; so far: tests/a.py"
        in (options.out / "report.md").read_text()
    )


def test_speed_lines_are_reported_and_steps_returned(gpu, tmp_path, monkeypatch):
    script = "import sys; print('train: 1 s'); open(sys.argv[sys.argv.index('--out') + 1], 'w').write('{\"samples\": 1}')"
    (tmp_path / "gpu_speed.py").write_text(script)
    monkeypatch.setattr(gpu, "HERE", tmp_path)
    options = options_of(tmp_path)
    assert gpu.run_speed(options, gpu.Report(options.out), dict(gpu.os.environ)) == {"samples": 1}
    assert (options.out / "report.md").read_text() == "train: 1 s\n"


def test_slow_speed_part_ends_at_its_limit(gpu, tmp_path, monkeypatch):
    (tmp_path / "gpu_speed.py").write_text("import time; time.sleep(60)")
    monkeypatch.setattr(gpu, "HERE", tmp_path)
    options = options_of(tmp_path, speed_seconds=0.2)
    (options.work / "speed.json").write_text('{"samples": 1}')  # of an earlier call
    assert gpu.run_speed(options, gpu.Report(options.out), dict(gpu.os.environ)) == {}
    assert "ended early" in (options.out / "report.md").read_text()


def test_results_are_copied_when_the_weights_change(gpu, tmp_path, trained):
    saved = gpu.copy_results(trained, tmp_path, 0.0)
    names = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert saved > 0 and names == ["log.jsonl", "weights_1of1.safetensors"]
    (tmp_path / "log.jsonl").unlink()
    assert gpu.copy_results(trained, tmp_path, saved) == saved
    assert not (tmp_path / "log.jsonl").exists()


def test_speed_is_measured_with_tiny_sizes(tmp_path, alexnet, monkeypatch, capsys):
    speed = importlib.import_module("gpu_speed")
    monkeypatch.setenv("NTIRE_SR_LPIPS_WEIGHTS", str(alexnet))
    monkeypatch.setattr(speed, "matrix_rate", lambda device, kind: 1e9)
    monkeypatch.setattr(speed, "seconds_of", lambda work, device, times: (work(), 0.5)[1])
    target, sizes = tmp_path / "speed.json", ("--width", "256", "--height", "256", "--steps", "1")
    speed.main(["--device", "cpu", "--out", str(target), *sizes, "--set", "preset=tiny", *SET_WORDS])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" on ")[0] for line in lines[1:]] == ["train", "train", "generate", "score"]
    assert "2 samples" in lines[1] and "3 samples" in lines[2] and "64 x 64" in lines[3]
    assert json.loads(target.read_text()).keys() == {"samples", "final_samples"}


def test_seconds_are_the_median_after_two_other_calls(monkeypatch):
    speed, clock, calls = importlib.import_module("gpu_speed"), iter([0.0, 9.0, 10.0, 12.0, 20.0, 21.0]), []
    monkeypatch.setattr(speed, "waited", lambda device: next(clock))
    assert speed.seconds_of(lambda: calls.append(1), torch.device("cpu"), 3) == 2.0
    assert len(calls) == 5


def test_failed_measurement_leaves_the_others(tmp_path, monkeypatch, capsys):
    speed = importlib.import_module("gpu_speed")

    def fail(*arguments):
        raise RuntimeError("out of memory")

    for name in ("measure_training", "measure_scoring"):
        monkeypatch.setattr(speed, name, fail)
    monkeypatch.setattr(speed, "measure_drawing", lambda hr, device: print("drawn"))
    speed.main(["--device", "cpu", "--out", str(tmp_path / "speed.json")])
    assert capsys.readouterr().out.splitlines()[1:] == [
        "failed: RuntimeError: out of memory", "drawn", "failed: RuntimeError: out of memory"
    ]  # fmt: skip


def test_training_leaves_weights_log_and_report(tmp_path, gpu):
    out = tmp_path / "out"
    speed = {"samples": 100.0, "final_samples": 100.0}
    options = options_of(
        tmp_path, minutes=5.0, save_seconds=0.4, set=[word for word in SET_WORDS if word != "--set"]
    )
    options.set += ["validation=none", "log_every=1"]
    gpu.train(options, gpu.Report(out), gpu.environment(options.work), speed)
    report = (out / "report.md").read_text()
    assert "training: 3 steps are planned" in report and "training ended with exit code 0" in report
    assert [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()] == [1, 2, 3]
    assert len(list(out.iterdir())) == 3 and (out / "weights_1of1.safetensors").is_file()


@pytest.mark.parametrize(("on_signal", "code"), [("saved.touch(); sys.exit(0)", 0), ("pass", -9)])
def test_stopped_program_ends_the_training_and_copies_the_rest(tmp_path, gpu, monkeypatch, on_signal, code):
    script = f"""
import pathlib, signal, sys, time
run = pathlib.Path(sys.argv[sys.argv.index("--run") + 1])
run.mkdir()
saved = run / "saved"
def end(number, frame):
    {on_signal}
signal.signal(signal.SIGTERM, end)
(run / "started").touch()
time.sleep(60)
"""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "ntire_sr.py").write_text(script)
    copied = []

    def copy_results(run, out, saved):
        copied.append((run / "saved").exists())
        if (run / "started").exists() and not stopped:
            stopped.append(True)
            raise SystemExit(143)
        return saved

    stopped: list[bool] = []
    monkeypatch.setattr(gpu, "copy_results", copy_results)
    monkeypatch.setattr(gpu, "PATIENCE_SECONDS", 10 if code == 0 else 0.2)
    options = options_of(tmp_path, minutes=5.0, save_seconds=45.0)
    with pytest.raises(SystemExit):
        gpu.train(options, gpu.Report(options.out), {**os.environ, "PYTHONPATH": str(tmp_path / "modules")}, {})
    assert copied[-1] == (code == 0)
    assert f"training ended with exit code {code}" in (options.out / "report.md").read_text()


def test_work_folder_with_a_run_is_refused(tmp_path, gpu, capsys):
    (tmp_path / "run").mkdir()
    with pytest.raises(SystemExit):
        gpu.main(["--out", str(tmp_path / "out"), "--work", str(tmp_path)])
    assert "holds a run" in capsys.readouterr().err


def test_report_keeps_the_lines_of_earlier_calls(tmp_path, gpu):
    for line in ("tests", "speed"):
        gpu.Report(tmp_path).add(line)
    assert (tmp_path / "report.md").read_text() == "tests\nspeed\n"


def test_command_runs_the_parts_in_order(tmp_path, gpu, monkeypatch):
    called = []
    monkeypatch.setattr(gpu, "run_tests", lambda *arguments: called.append("tests"))
    monkeypatch.setattr(gpu, "run_speed", lambda *arguments: called.append(arguments[3:]) or {})
    monkeypatch.setattr(gpu, "train", lambda *arguments: called.append("train"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    gpu.main(["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")])
    assert called == ["tests", (), ("--only", "train"), "train"]
    called.clear()
    gpu.main(["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), "--parts", "speed"])
    assert called == [()]
