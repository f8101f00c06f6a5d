"""Packing that is killed at any moment leaves whole archives or none."""

import os
import random
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from waiting import wait_until

from ntire_sr.core.files import sha256_file
from ntire_sr.models.loading import load_model
from ntire_sr.sampling.generate import Request, generate


def campaign(lr: Path, folder: Path, kills: int, seed: int) -> int:
    """Pack through kills at random moments; how many struck a process at work."""
    chance = random.Random(seed)
    cpu = torch.device("cpu")
    generate(Request(lr, folder / "SR", samples=40), load_model("bicubic", 4, cpu), cpu)

    def command(out: Path) -> list[str]:
        return [sys.executable, "-m", "ntire_sr", "package", "--sr", str(folder / "SR"), "--out", str(out)]

    straight, killed = folder / "straight", folder / "killed"
    subprocess.run(command(straight / "a.zip"), check=True, capture_output=True)
    expected = {path.name: sha256_file(path) for path in straight.iterdir()}
    struck = 0
    killed.mkdir()
    for number in range(kills):
        process = subprocess.Popen(command(killed / "a.zip"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if number % 2:  # until an archive is being written
            wait_until(lambda: any(path.suffix == ".part" for path in killed.iterdir()), process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, 0.05) if number % 2 else chance.uniform(0, 6))
        at_work = process.poll() is None
        process.kill()
        error = process.communicate()[1]
        assert at_work or process.returncode == 0, error
        struck += at_work
        for path in killed.glob("*.zip"):  # whole under its name, always
            assert sha256_file(path) == expected[path.name]
            assert zipfile.ZipFile(path).testzip() is None
    subprocess.run(command(killed / "a.zip"), check=True, capture_output=True)
    assert {path.name: sha256_file(path) for path in killed.iterdir()} == expected
    return struck


@pytest.mark.skipif(os.name != "posix", reason="on Windows a killed process holds its files for a while")
def test_package_after_kills_gives_the_same_archives(lr_folder, tmp_path):
    assert campaign(lr_folder, tmp_path, 3, 1) >= 1


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(2))
def test_package_after_many_kills_gives_the_same_archives(lr_folder, tmp_path, seed):
    assert campaign(lr_folder, tmp_path, 10, 100 + seed) >= 4
