"""The losses as a public module, and the training loop of the documentation."""

import shutil
import subprocess
import sys

from pages import ROOT

from ntire_sr import losses
from ntire_sr.samples.image_files import write_png


def test_every_public_loss_has_a_docstring():
    for name in losses.__all__:
        assert (getattr(losses, name).__doc__ or "").strip(), name


def test_documented_training_loop_ends_with_samples_and_a_score(
    lr_folder, photograph, tmp_path, monkeypatch, ntire_sr_command
):
    for name in ("noise.py", "training_loop.py"):
        shutil.copy(ROOT / "docs" / "networks" / name, tmp_path)
    write_png(tmp_path / "photographs" / "a.png", photograph)
    monkeypatch.chdir(tmp_path)
    words = ["training_loop.py", "photographs", "noise.pth", "2"]
    trained = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert trained.returncode == 0 and "step 0: loss" in trained.stdout, trained.stderr
    for command in (
        (
            "generate",
            "--model",
            "noise.py:build",
            "--weights",
            "noise.pth",
            "--lr",
            "LR",
            "--samples",
            2,
            "--out",
            "trained",
        ),
        ("score", "--hr", "HR", "--sr", "trained", "--without-lpips", "--out", "score"),
    ):
        result = ntire_sr_command(*command)
        assert result.code == 0, result.err
