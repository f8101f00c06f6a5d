"""Packing that is killed at any moment leaves whole archives or none."""

import os
import random
import time
import zipfile
from pathlib import Path

import pytest
import torch
from processes import Forked, start_command
from waiting import wait_until

from ntire_sr.core.files import sha256_file
from ntire_sr.models.loading import load_model
from ntire_sr.sampling.generate import Request, generate


def campaign(lr: Path, folder: Path, kills: int, seed: int) -> int:
    """Pack through kills at random moments; how many struck a process at work."""
    chance = random.Random(seed)
    cpu = torch.device("cpu")
    generate(Request(lr, folder / "SR", samples=40), load_model("bicubic", 4, cpu), cpu)

    def start(out: Path) -> Forked:
        return start_command("package", "--sr", folder / "SR", "--out", out)

    straight, killed = folder / "straight", folder / "killed"
    assert start(straight / "a.zip").wait().code == 0
    expected = {path.name: sha256_file(path) for path in straight.iterdir()}
    struck = 0
    killed.mkdir()
    for number in range(kills):
        process = start(killed / "a.zip")
        if number % 2:  # until an archive is being written
            wait_until(lambda: any(path.suffix == ".part" for path in killed.iterdir()), process)
        time.sleep(chance.uniform(0, 0.05) if number % 2 else chance.uniform(0, 0.5))
        at_work = process.poll() is None
        result = process.kill()
        assert at_work or result.code == 0, result.err
        struck += at_work
        for path in killed.glob("*.zip"):  # whole under its name, always
            assert sha256_file(path) == expected[path.name]
            assert zipfile.ZipFile(path).testzip() is None
    assert start(killed / "a.zip").wait().code == 0
    assert {path.name: sha256_file(path) for path in killed.iterdir()} == expected
    return struck


@pytest.mark.skipif(os.name != "posix", reason="on Windows a killed process holds its files for a while")
def test_package_after_kills_gives_the_same_archives(lr_folder, tmp_path):
    assert campaign(lr_folder, tmp_path, 3, 1) >= 1


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(2))
def test_package_after_many_kills_gives_the_same_archives(lr_folder, tmp_path, seed):
    assert campaign(lr_folder, tmp_path, 10, 100 + seed) >= 4
