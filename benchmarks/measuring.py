"""What several benchmarks do: call ntire-sr in a process of its own, draw samples and score them."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from ntire_sr.core.files import read_json

SAMPLES = 10


def command(*words: object, threads: int) -> float:
    """Call ntire-sr; its processor seconds."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "ntire_sr", *map(str, words)],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def draw(weights: str | Path, scale: int, lr: Path, out: Path, threads: int, samples: int = SAMPLES) -> None:
    """Samples of each LR image, what is there already is kept."""
    words = ("--lr", lr, "--weights", weights, "--scale", scale, "--samples", samples, "--out", out)
    command("generate", *words, threads=threads)


def score(samples: Path, hr: Path, out: Path, scale: int, threads: int) -> dict[str, Any]:
    """`score.json` of these samples, with NIQE."""
    words = ("--sr", samples, "--hr", hr, "--out", out, "--scale", scale, "--realism", "niqe", "--no-report")
    command("score", *words, threads=threads)
    return read_json(out / "score.json", "score")
