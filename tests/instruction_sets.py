"""Run the numerical tests as other x86 processors would, for `make test-isa`.

Each setting limits oneDNN, PyTorch's own kernels, MKL and OpenBLAS to the instructions of an older processor; in
the last one `train` takes this processor for one that computes bfloat16. The instruction set that this processor
uses without a limit is left to `make test`, and run only with `--all`. Prints a table; the exit code is 1 if a test
failed. Further arguments are passed to pytest.
"""

import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEAST_SETTINGS = 3
BFLOAT16_VARIABLE = "NTIRE_SR_BFLOAT16"
PROCESSES = 2
CHECK = """
import os, torch
if os.environ["ATEN_CPU_CAPABILITY"] != torch.backends.cpu.get_cpu_capability().lower():
    raise SystemExit(f"PyTorch uses {torch.backends.cpu.get_cpu_capability()}")
torch.nn.functional.conv2d(torch.ones(4, 16, 64, 64), torch.ones(16, 16, 3, 3))
"""
# a word in the name that oneDNN's log gives to each limit
ONEDNN_LOG = {"SSE41": "SSE4.1", "AVX2": "AVX2", "AVX512_CORE": "AVX-512", "AVX512_CORE_AMX": "AMX"}


@dataclass(frozen=True)
class Setting:
    """Instruction sets that the libraries are limited to."""

    onednn: str  # ONEDNN_MAX_CPU_ISA
    aten: str  # ATEN_CPU_CAPABILITY
    flags: frozenset[str]  # what /proc/cpuinfo calls the instructions that it takes
    bfloat16: bool = False  # whether `train` believes that the processor computes bfloat16

    @property
    def name(self) -> str:
        return f"oneDNN {self.onednn}, ATen {self.aten}" + (", bfloat16" if self.bfloat16 else "")

    def environment(self) -> dict[str, str]:
        """Environment variables of a process that computes with these instruction sets."""
        mkl, openblas = {
            "default": ("SSE4_2", "Nehalem"),
            "avx2": ("AVX2", "Haswell"),
            "avx512": ("AVX512", "SkylakeX"),
        }[self.aten]
        return {
            "ONEDNN_MAX_CPU_ISA": self.onednn,
            "ATEN_CPU_CAPABILITY": self.aten,
            "MKL_ENABLE_INSTRUCTIONS": mkl,
            "OPENBLAS_CORETYPE": openblas,
            BFLOAT16_VARIABLE: str(int(self.bfloat16)),
        }


AVX2 = frozenset({"avx2", "fma"})
AVX512 = AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
SETTINGS = (
    Setting("SSE41", "default", frozenset({"sse4_1"})),
    Setting("AVX2", "avx2", AVX2),
    Setting("AVX512_CORE", "avx512", AVX512),
    Setting("AVX512_CORE_AMX", "avx512", AVX512 | {"amx_tile", "amx_int8", "amx_bf16"}),
)
MIXED = Setting("SSE41", "avx2", AVX2)  # where the others are fewer than three


def processor_flags() -> frozenset[str]:
    """Instruction sets of this machine as /proc/cpuinfo names them; none where it is not Linux on x86."""
    path = Path("/proc/cpuinfo")
    if platform.machine() not in ("x86_64", "AMD64") or not path.exists():
        return frozenset()
    line = re.search(r"^flags\s*:(.*)$", path.read_text(), re.MULTILINE)
    return frozenset(line[1].split()) if line else frozenset()


def available_settings(flags: frozenset[str]) -> list[Setting]:
    """The settings that a processor with these flags can run, without that for bfloat16."""
    settings = [setting for setting in SETTINGS if setting.flags <= flags]
    if 0 < len(settings) < LEAST_SETTINGS and MIXED.flags <= flags:
        settings.insert(1, MIXED)
    return settings


def check(setting: Setting) -> None:
    """Raise an error if PyTorch does not follow the limits, and warn if oneDNN's log does not name its own."""
    environment = {**os.environ, **setting.environment(), "ONEDNN_VERBOSE": "all"}
    result = subprocess.run([sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{setting.name} has no effect: {result.stderr.strip()}")
    isa = re.search(r"cpu,isa:(.*)", result.stdout)
    if isa is None or ONEDNN_LOG[setting.onednn] not in isa[1]:
        # the names differ from version to version of oneDNN
        print(f"warning: oneDNN's log says {isa[1] if isa else 'nothing about instructions'}", flush=True)


def run_tests(setting: Setting, words: list[str]) -> tuple[list[object], bool]:
    """Run the numerical tests under one setting.

    Returns:
        The row of the table (setting, passed, failed, skipped, minutes), and whether all is well.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            *(sys.executable, "-m", "pytest", "-q", "-m", "numerical and not torture"),
            *("-n", str(PROCESSES), "--dist", "worksteal", f"--junitxml={report}", *words),
        ]
        start = time.monotonic()
        code = subprocess.run(command, cwd=ROOT, env={**os.environ, **setting.environment()}).returncode
        minutes = (time.monotonic() - start) / 60
        if not report.exists():
            return [setting.name, 0, "no report", 0, f"{minutes:.1f}"], False
        suite = ElementTree.parse(report).getroot()[0]
        tests, failures, errors, skipped = (
            int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")
        )
    failed = failures + errors
    return [setting.name, tests - failed - skipped, failed, skipped, f"{minutes:.1f}"], code == 0


def main() -> None:
    settings = available_settings(processor_flags())
    if not settings:
        print("instruction sets can be limited on Linux with an x86 processor only: nothing was run")
        return
    newest, words = settings[-1], sys.argv[1:]
    if "--all" in words:
        words.remove("--all")
    else:
        settings.pop()
    settings.append(Setting(newest.onednn, newest.aten, newest.flags, bfloat16=True))
    rows: list[list[object]] = [["setting", "passed", "failed", "skipped", "minutes"]]
    succeeded = True
    for setting in settings:
        print(f"== {setting.name}", flush=True)
        check(setting)
        row, passed = run_tests(setting, words)
        rows.append(row)
        succeeded = succeeded and passed
    width = max(len(str(row[0])) for row in rows)
    for name, *figures in rows:
        print(f"{name:<{width}}" + "".join(f"{figure:>10}" for figure in figures))
    sys.exit(not succeeded)


if __name__ == "__main__":
    main()
