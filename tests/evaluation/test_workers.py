"""Interrupted, resumed and spread scorings."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ntire_sr.errors import Problems
from ntire_sr.evaluation import workers
from ntire_sr.evaluation.session import measure
from ntire_sr.images import write_png

TABLES = ("measure.csv", "measure_mean.csv", "measure_full.csv", "measure_full_mean.csv", "score.json")
AWAY = {"samples": 3, "device": "cpu", "without_lpips": "away", "with_report": False}


def tables(folder) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


def watched(monkeypatch) -> list[int]:
    """The indices of the images that are measured from now on."""
    seen = []
    plain = workers._measure

    def measured(scorer, pair, records):
        seen.append(pair.index)
        return plain(scorer, pair, records)

    monkeypatch.setattr(workers, "_measure", measured)
    return seen


def test_a_second_call_measures_nothing_again_and_gives_the_same_tables(folders, tmp_path, monkeypatch):
    seen = watched(monkeypatch)
    measure(folders.hr, folders.sr, tmp_path / "out", **AWAY)
    before = tables(tmp_path / "out")
    again = measure(folders.hr, folders.sr, tmp_path / "out", **AWAY)
    assert seen == [0, 1] and again.kept == 2
    assert tables(tmp_path / "out") == before


def test_only_what_has_changed_is_measured_again(folders, tmp_path, monkeypatch, photograph):
    measure(folders.hr, folders.sr, tmp_path / "out", **AWAY)
    changed = photograph.copy()
    changed[:8] ^= 7
    write_png(folders.sr / "000000_sample00002.png", changed)
    seen = watched(monkeypatch)
    found = measure(folders.hr, folders.sr, tmp_path / "out", **AWAY)
    fresh = measure(folders.hr, folders.sr, tmp_path / "fresh", **AWAY)
    assert seen == [0, 0, 1] and found.score == fresh.score
    measure(folders.hr, folders.sr, tmp_path / "out", **{**AWAY, "realism": ("log-spectral",)})
    assert seen == [0, 0, 1, 0, 1]


def test_damaged_records_are_measured_again(folders, tmp_path, monkeypatch):
    measure(folders.hr, folders.sr, tmp_path / "out", **AWAY)
    before = tables(tmp_path / "out")
    images = tmp_path / "out" / "images"
    (images / "000000.json").write_text('{"version": 1, "key": 3')
    content = bytearray((images / "000001.safetensors").read_bytes())
    content[-1] ^= 1
    (images / "000001.safetensors").write_bytes(content)
    seen = watched(monkeypatch)
    measure(folders.hr, folders.sr, tmp_path / "out", **AWAY)
    assert seen == [0, 1] and tables(tmp_path / "out") == before


def test_a_file_that_cannot_be_decompressed_is_named_and_the_others_figures_are_kept(
    folders, tmp_path, monkeypatch
):
    import struct
    import zlib

    path = folders.sr / "000000_sample00001.png"
    content = path.read_bytes()
    head, rest = content[:33], b"IDAT" + zlib.compress(b"too short")
    chunks = struct.pack(">I", len(rest) - 4) + rest + struct.pack(">I", zlib.crc32(rest))
    end = b"IEND"
    path.write_bytes(head + chunks + struct.pack(">I", 0) + end + struct.pack(">I", zlib.crc32(end)))
    with pytest.raises(Problems, match=r"000000_sample00001\.png is truncated or damaged"):
        measure(folders.hr, folders.sr, tmp_path / "out", **AWAY)
    assert not (tmp_path / "out" / "measure.csv").exists()
    path.write_bytes(content)
    seen = watched(monkeypatch)
    assert measure(folders.hr, folders.sr, tmp_path / "out", **AWAY).kept == 1
    assert seen == [0]


def test_several_processes_give_the_same_tables(folders, tmp_path):
    measure(folders.hr, folders.sr, tmp_path / "one", **AWAY)
    measure(folders.hr, folders.sr, tmp_path / "two", jobs=2, **AWAY)
    assert tables(tmp_path / "one") == tables(tmp_path / "two")


def command(folders, out, *more: str) -> list[str]:
    words = ["-m", "ntire_sr", "score", "--hr", folders.hr, "--sr", folders.sr, "--out", out, "--samples", 3]
    return [*map(str, words), "--without-lpips", "--no-report", "--device", "cpu", *more]


@pytest.mark.filterwarnings("default")
def test_torchrun_spreads_the_images_and_the_first_process_writes_the_same_tables(folders, tmp_path):
    measure(folders.hr, folders.sr, tmp_path / "one", **AWAY)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = command(folders, tmp_path / "two")
    result = subprocess.run([*torchrun, *words], capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("PASS") + result.stdout.count("FAIL") == 1
    assert tables(tmp_path / "one") == tables(tmp_path / "two")
    (folders.sr / "000001_sample00001.png").unlink()
    failed = subprocess.run([*torchrun, *words], capture_output=True, text=True, timeout=240)
    assert failed.returncode != 0
    assert failed.stderr.count("1 of 3 samples are missing") == 1  # listed once, by the first process
    assert 'Traceback (most recent call last):\n  File "' not in failed.stderr.split("error:")[0]


def test_a_scoring_that_is_killed_goes_on_where_it_stopped_and_counts_nothing_twice(folders, tmp_path):
    measure(folders.hr, folders.sr, tmp_path / "whole", **AWAY)
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, *command(folders, out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    first = out / "images" / "000000.json"
    until = time.monotonic() + 120
    while not first.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert first.exists()
    measure(folders.hr, folders.sr, out, **AWAY)
    assert tables(out) == tables(tmp_path / "whole")


def test_records_of_images_that_are_gone_are_removed_and_not_counted(folders, tmp_path):
    measure(folders.hr, folders.sr, tmp_path / "out", **AWAY)
    (folders.hr / "0802.png").unlink()
    for k in range(3):
        (folders.sr / f"000001_sample0000{k}.png").unlink()
    score = measure(folders.hr, folders.sr, tmp_path / "out", **AWAY).score
    assert len(score.images) == 1
    assert sorted(path.name for path in (tmp_path / "out" / "images").iterdir()) == [
        "000000.json",
        "000000.safetensors",
    ]
