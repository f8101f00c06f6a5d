"""The losses as a public module, and the training loop of the documentation."""

import runpy
import shutil
import sys

from pages import ROOT
from processes import Forked

from ntire_sr import losses
from ntire_sr.samples.image_files import write_png


def test_every_public_loss_has_a_docstring():
    for name in losses.__all__:
        assert (getattr(losses, name).__doc__ or "").strip(), name


def run_script(path: str, *words: str) -> None:
    sys.argv = [path, *words]
    sys.path.insert(0, "")
    runpy.run_path(path, run_name="__main__")


def test_documented_training_loop_ends_with_samples_and_a_score(
    lr_folder, photograph, tmp_path, monkeypatch, ntire_sr_command
):
    for name in ("noise.py", "training_loop.py"):
        shutil.copy(ROOT / "docs" / "networks" / name, tmp_path)
    write_png(tmp_path / "photographs" / "a.png", photograph)
    monkeypatch.chdir(tmp_path)
    trained = Forked(run_script, "training_loop.py", "photographs", "noise.pth", "2").wait()
    assert trained.code == 0 and "step 0: loss" in trained.out, trained.err
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
