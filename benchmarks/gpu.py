"""What a new GPU can do, in one command: the device tests, the speed, and a training.

    python KIT/benchmarks/gpu.py --out OUT [--minutes 8] [--parts tests speed train] [--device auto]

KIT is the folder that `gpu_pack.py` makes; it needs Python, torch and no network. The tests take about a minute, the
speed two, the training `--minutes`. OUT gets at most 8 files under 16 MB each: report.md, tests.txt, the weights in 16 bits in
three files, log.jsonl and preview.png. They are written as soon as there is something to write, so that a machine
that stops early leaves what it has done. `gpu_export.py` joins the weights.

This program uses only Python's own modules until KIT is on the path.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
KIT = HERE.parent
PARTS = ("tests", "speed", "train")
TEST_SECONDS, SPEED_SECONDS = 90, 180  # limits
SAVE_SECONDS = 45  # between two exports of the weights
START_SECONDS = 25  # of a training: imports, decoding, the first steps
GUESSED_SECONDS = 0.5  # per step, where it could not be measured
SHARE = 0.95  # of the time that the steps are planned for
PATIENCE_SECONDS = 60  # for a training that should have stopped


class Report:
    """report.md, which is complete after every line; earlier calls with the same folder stay in it."""

    def __init__(self, out: Path):
        self.path = out / "report.md"

    def add(self, line: str) -> None:
        print(line, flush=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def environment(work: Path) -> dict[str, str]:
    """The environment of all parts: KIT's package and wheels, no downloads, caches in `work`."""
    found = dict(os.environ, NTIRE_SR_OFFLINE="1", NTIRE_SR_CACHE=str(work / "cache"), PYTHONUNBUFFERED="1")
    if (KIT / "ntire_sr").is_dir():
        paths = [str(KIT), str(KIT / "site"), os.environ.get("PYTHONPATH", "")]
        found["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return found


def device_test_files() -> list[str]:
    """The test files with tests of numbers on a device."""
    paths = sorted((KIT / "tests").rglob("test_*.py"))
    return [str(path) for path in paths if re.search(r"def test_\w+\([^)]*\bdevice\b", path.read_text("utf-8"))]


def run_tests(options: argparse.Namespace, report: Report, settings: dict[str, str]) -> None:
    """Run the tests that compare a device's numbers; tests.txt has their output."""
    kind = "cpu" if options.device == "cpu" else "cuda"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default"]
    command += ["-k", options.tests or kind, *device_test_files()]
    path = options.out / "tests.txt"
    with open(path, "w", encoding="utf-8") as file:
        try:
            code = subprocess.run(
                command,
                cwd=KIT,
                env=settings,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=options.test_seconds,
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    ended = "stopped by the time limit; so far" if code == -1 else f"exit code {code}"
    report.add(f"device tests ({kind}): {ended}: {lines[-1] if lines else 'no output'}")


def run_speed(
    options: argparse.Namespace, report: Report, settings: dict[str, str], *words: str
) -> dict[str, float]:
    """Measure the speed; returns the seconds of a step by its number of samples, empty if they were not measured."""
    target = options.work / "speed.json"
    target.unlink(missing_ok=True)  # of an earlier call
    command = [sys.executable, str(HERE / "gpu_speed.py"), "--device", options.device, "--out", str(target)]
    command += ["--width", str(options.width), "--height", str(options.height)]
    command += [*crop_words(), *setting_words(options), *words]
    with subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, text=True) as process:
        limit = threading.Timer(options.speed_seconds, process.terminate)
        limit.start()
        assert process.stdout
        try:
            for line in process.stdout:
                report.add(line.rstrip())
            process.wait()
        finally:  # also where this program is stopped
            limit.cancel()
            process.terminate()
    if process.returncode:
        report.add(f"measuring the speed ended early, with exit code {process.returncode}")
    return json.loads(target.read_text()) if target.is_file() else {}


def crop_words() -> list[str]:
    """The option for the packed crops; without them the photographs of scikit-image are used."""
    crops = KIT / "crops"
    return ["--hr", str(crops)] if crops.is_dir() else []


def setting_words(options: argparse.Namespace) -> list[str]:
    return [word for value in (f"preset={options.preset}", *options.set) for word in ("--set", value)]


def plan_steps(minutes: float, seconds: dict[str, float]) -> int:
    """The number of steps that fit into the time, two thirds with the first number of samples."""
    first = seconds.get("samples", GUESSED_SECONDS)
    final = seconds.get("final_samples", 2 * first)
    return max(3, int(SHARE * max(1.0, 60 * minutes - START_SECONDS) / (2 / 3 * first + 1 / 3 * final)))


def train(
    options: argparse.Namespace, report: Report, settings: dict[str, str], seconds: dict[str, float]
) -> None:
    """Train as long as `--minutes` says, and copy weights, log and preview to OUT as they change."""
    run, step = options.work / "run", seconds.get("samples", GUESSED_SECONDS)
    if not seconds:
        report.add(f"no step was measured: {GUESSED_SECONDS} s are assumed")
    steps = plan_steps(options.minutes, seconds)
    every = max(1, min(steps, int(options.save_seconds / step)))
    planned = [f"steps={steps}", f"checkpoint_every={every}", f"validate_every={2 * every}"]
    words = [word for value in planned for word in ("--set", value)]
    command = [sys.executable, "-m", "ntire_sr", "train", "--run", str(run), "--device", options.device]
    command += ["--max-minutes", str(options.minutes), *crop_words(), *setting_words(options), *words]
    report.add(f"training: {steps} steps are planned for {options.minutes:g} minutes, saved every {every}")
    until = time.monotonic() + 60 * options.minutes + PATIENCE_SECONDS
    saved = 0.0
    with open(options.work / "train.txt", "wb") as output:
        process = subprocess.Popen(command, env=settings, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None and time.monotonic() < until:
                time.sleep(0.2)
                saved = copy_results(run, options.out, saved)
        finally:  # also where this program is stopped
            end(process)
            last = (options.work / "train.txt").read_text("utf-8", errors="replace").strip().splitlines()[-3:]
            report.add(f"training ended with exit code {process.returncode}: {' '.join(last)}")
            copy_results(run, options.out, saved)
    if (options.out / "log.jsonl").is_file():
        report.add(f"last line of the log: {(options.out / 'log.jsonl').read_text().splitlines()[-1]}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a training, which saves its weights first."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def copy_results(run: Path, out: Path, saved: float) -> float:
    """Copy what has changed since `saved`, the time of change of the weights; returns the new time."""
    weights = run / "weights.safetensors"
    changed = weights.stat().st_mtime if weights.is_file() else 0.0
    if changed == saved:
        return saved
    from gpu_export import export  # needs torch and KIT

    export(weights, out)
    previews = sorted((run / "previews").glob("*.png"))
    for source, name in ((run / "log.jsonl", "log.jsonl"), *((path, "preview.png") for path in previews[-1:])):
        if source.is_file():
            shutil.copy(source, out / name)
    return changed


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=8.0, help="of training")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--preset", default="gpu")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="settings of the training"
    )
    parser.add_argument("--work", type=Path, help="folder of the run and of caches; none: a temporary one")
    parser.add_argument("--tests", help="expression of tests, instead of all those of the device")
    parser.add_argument("--width", type=int, default=2040, help="of the image that is drawn and scored")
    parser.add_argument("--height", type=int, default=1352)
    parser.add_argument("--test-seconds", type=float, default=TEST_SECONDS, help="limit of the tests")
    parser.add_argument(
        "--speed-seconds", type=float, default=SPEED_SECONDS, help="limit of measuring the speed"
    )
    parser.add_argument(
        "--save-seconds", type=float, default=SAVE_SECONDS, help="between two saves of the weights"
    )
    options = parser.parse_args(words)
    options.out.mkdir(parents=True, exist_ok=True)
    options.work = options.work or Path(tempfile.mkdtemp(prefix="ntire_sr_gpu_"))
    options.work.mkdir(parents=True, exist_ok=True)
    if "train" in options.parts and (options.work / "run").exists():
        parser.error(f"--work {options.work} holds a run; another folder, or remove it")
    settings, report = environment(options.work), Report(options.out)
    sys.path[:0] = [path for path in settings.get("PYTHONPATH", "").split(os.pathsep) if path]
    seconds: dict[str, float] = {}
    if "tests" in options.parts:
        run_tests(options, report, settings)
    if "speed" in options.parts:
        seconds = run_speed(options, report, settings)
    if "train" in options.parts:
        seconds = seconds or run_speed(options, report, settings, "--only", "train")
        train(options, report, settings, seconds)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that `finally` is reached
    main()
