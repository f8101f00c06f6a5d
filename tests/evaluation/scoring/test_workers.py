"""Interrupted, resumed and spread scorings."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import RecordedProgress
from processes import run_group, start_command
from waiting import PATIENCE_SECONDS, wait_until

from ntire_sr.core.errors import UsageError, ValidationErrors
from ntire_sr.evaluation.score_folder import score_folder
from ntire_sr.evaluation.scoring import workers
from ntire_sr.samples.image_files import write_png

TABLES = ("measure.csv", "measure_mean.csv", "measure_full.csv", "measure_full_mean.csv", "score.json")
AWAY = {"samples": 3, "device": "cpu", "without_lpips": "away", "with_report": False}


def tables(folder) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


def watched(monkeypatch) -> list[int]:
    """The indices of the images that are measured from now on."""
    seen = []
    plain = workers._measure

    def measured(scorer, pair, records, count):
        seen.append(pair.index)
        return plain(scorer, pair, records, count)

    monkeypatch.setattr(workers, "_measure", measured)
    return seen


def test_second_call_measures_nothing_and_gives_the_same_tables(folders, tmp_path, monkeypatch):
    seen = watched(monkeypatch)
    score_folder(folders.hr, folders.sr, tmp_path / "out", **AWAY)
    before = tables(tmp_path / "out")
    again = score_folder(folders.hr, folders.sr, tmp_path / "out", **AWAY)
    assert seen == [0, 1] and again.kept == 2
    assert tables(tmp_path / "out") == before


def test_score_reports_progress_after_each_sample(folders, tmp_path):
    progress = RecordedProgress()
    score_folder(folders.hr, folders.sr, tmp_path / "out", progress=progress, **AWAY)
    assert ("score", 6, [1, 2, 3, 4, 5, 6]) in progress.tasks


def test_only_changed_images_are_measured_again(folders, tmp_path, monkeypatch, photograph):
    score_folder(folders.hr, folders.sr, tmp_path / "out", **AWAY)
    changed = photograph.copy()
    changed[:8] ^= 7
    write_png(folders.sr / "000000_sample00002.png", changed)
    seen = watched(monkeypatch)
    result = score_folder(folders.hr, folders.sr, tmp_path / "out", **AWAY)
    fresh = score_folder(folders.hr, folders.sr, tmp_path / "fresh", **AWAY)
    assert seen == [0, 0, 1] and result.score == fresh.score
    score_folder(folders.hr, folders.sr, tmp_path / "out", **{**AWAY, "realism": ("log-spectral",)})
    assert seen == [0, 0, 1, 0, 1]


def test_damaged_records_are_measured_again(folders, tmp_path, monkeypatch):
    score_folder(folders.hr, folders.sr, tmp_path / "out", **AWAY)
    before = tables(tmp_path / "out")
    images = tmp_path / "out" / "records"
    (images / "000000.json").write_text('{"version": 1, "key": 3')
    content = bytearray((images / "000001.safetensors").read_bytes())
    content[-1] ^= 1
    (images / "000001.safetensors").write_bytes(content)
    seen = watched(monkeypatch)
    score_folder(folders.hr, folders.sr, tmp_path / "out", **AWAY)
    assert seen == [0, 1] and tables(tmp_path / "out") == before


def test_undecodable_file_is_named_and_other_images_are_kept(folders, tmp_path, monkeypatch):
    import struct
    import zlib

    path = folders.sr / "000000_sample00001.png"
    content = path.read_bytes()
    head, rest = content[:33], b"IDAT" + zlib.compress(b"too short")
    chunks = struct.pack(">I", len(rest) - 4) + rest + struct.pack(">I", zlib.crc32(rest))
    end = b"IEND"
    path.write_bytes(head + chunks + struct.pack(">I", 0) + end + struct.pack(">I", zlib.crc32(end)))
    with pytest.raises(ValidationErrors, match=r"000000_sample00001\.png is truncated or damaged"):
        score_folder(folders.hr, folders.sr, tmp_path / "out", **AWAY)
    assert not (tmp_path / "out" / "measure.csv").exists()
    path.write_bytes(content)
    seen = watched(monkeypatch)
    assert score_folder(folders.hr, folders.sr, tmp_path / "out", **AWAY).kept == 1
    assert seen == [0]


@pytest.fixture
def two_threads() -> Iterator[None]:
    """This process has two threads, as two workers have together."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def test_several_workers_give_the_same_tables(folders, tmp_path, alexnet, two_threads):
    score_folder(folders.hr, folders.sr, tmp_path / "one", **AWAY)
    progress = RecordedProgress()
    score_folder(folders.hr, folders.sr, tmp_path / "two", workers=2, progress=progress, **AWAY)
    assert next(counts[-1] for name, _, counts in progress.tasks if name == "score") == 6
    assert tables(tmp_path / "one") == tables(tmp_path / "two")
    # matrix products of other thread counts end in other last bits
    csv_tables = []
    for count in (1, 2):
        out = tmp_path / f"lpips{count}"
        score_folder(
            folders.hr,
            folders.sr,
            out,
            **{**AWAY, "without_lpips": None},
            lpips_weights=alexnet,
            workers=count,
        )
        csv_tables.append(pd.read_csv(out / "measure_full.csv", index_col=0))
    # S_n is a difference of means over a mean, so rounding of 1e-6 counts a hundredfold where it is small
    is_score = csv_tables[0].columns.str.endswith("score")
    pd.testing.assert_frame_equal(*(table.loc[:, ~is_score] for table in csv_tables), rtol=2e-5)
    pd.testing.assert_frame_equal(*(table.loc[:, is_score] for table in csv_tables), rtol=2e-5, atol=1e-3)


def command(folders, out, *more: str) -> list[str]:
    words = ["score", "--hr", folders.hr, "--sr", folders.sr, "--out", out, "--samples", 3]
    return [*map(str, words), "--without-lpips", "--no-report", "--device", "cpu", *more]


def test_two_processes_give_the_same_tables(folders, tmp_path):
    score_folder(folders.hr, folders.sr, tmp_path / "one", **AWAY)
    words = command(folders, tmp_path / "two")
    first, second = run_group(words, words)
    assert first.code == second.code == 0, first.err + second.err
    printed = first.out + second.out
    assert printed.count("PASS") + printed.count("FAIL") == 1
    assert tables(tmp_path / "one") == tables(tmp_path / "two")
    (folders.sr / "000001_sample00001.png").unlink()
    first, second = run_group(words, words)
    assert first.code != 0 and second.code != 0
    errors = first.err + second.err
    assert errors.count("1 of 3 samples are missing") == 1  # listed once, by the first process
    assert "Traceback" not in errors


def test_killed_scoring_is_resumed_with_the_same_tables(folders, tmp_path):
    score_folder(folders.hr, folders.sr, tmp_path / "whole", **AWAY)
    out = tmp_path / "killed"
    process = start_command(*command(folders, out))
    first = out / "records" / "000000.json"
    wait_until(first.exists, process)
    process.kill()
    assert first.exists()
    score_folder(folders.hr, folders.sr, out, **AWAY)
    assert tables(out) == tables(tmp_path / "whole")


def test_record_key_depends_on_scale_samples_files_and_metrics(folders, alexnet):
    from dataclasses import replace

    from ntire_sr.evaluation.scoring.matching import match_samples
    from ntire_sr.evaluation.scoring.scorer import Scorer, Settings

    pair = match_samples(folders.hr, folders.sr, 3, 4).images[0]
    plain = Settings(4, lpips=False)
    keys = [Scorer(plain).key(changed_pair) for changed_pair in (pair, replace(pair, numbers=(0, 1, 3)))]
    keys.append(Scorer(plain).key(replace(pair, digests=(*pair.digests[:3], "0"))))
    keys.append(Scorer(plain).key(replace(pair, hr=pair.hr.with_name("other.png"))))
    for changed in (
        replace(plain, scale=8),
        replace(plain, lpips=True, lpips_weights=alexnet),
        replace(plain, realism=("log-spectral",)),
    ):
        keys.append(Scorer(changed).key(pair))
    assert len(set(keys)) == len(keys)
    both = [replace(plain, realism=names) for names in (("niqe", "log-spectral"), ("log-spectral", "niqe"))]
    assert Scorer(both[0]).key(pair) == Scorer(both[1]).key(pair)


def test_other_files_in_the_records_folder_are_kept(folders, tmp_path):
    records = tmp_path / "out" / "records"
    records.mkdir(parents=True)
    for name in ("0801.json", "000009.json", "000009.safetensors", "notes.json"):
        (records / name).write_text('{"mine": true}')
    score_folder(folders.hr, folders.sr, tmp_path / "out", **AWAY)
    assert {"0801.json", "000009.json", "000009.safetensors", "notes.json"} <= {
        path.name for path in records.iterdir()
    }


def test_outdated_report_is_removed(folders, tmp_path):
    score_folder(folders.hr, folders.sr, tmp_path / "out", **{**AWAY, "with_report": True})
    assert (tmp_path / "out" / "report.html").exists()
    score_folder(folders.hr, folders.sr, tmp_path / "out", **{**AWAY, "samples": 2})
    assert not (tmp_path / "out" / "report.html").exists()


def test_out_inside_the_samples_folder_is_refused(folders):
    with pytest.raises(UsageError, match="lies in the folder of samples"):
        score_folder(folders.hr, folders.sr, folders.sr / "score", **AWAY)


def children_of(process: subprocess.Popen) -> list[int]:
    """Process ids of the workers that have begun."""
    numbers = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = path.read_text().rpartition(")")[2].split()[1]
            if int(parent) == process.pid and b"spawn_main" in path.with_name("cmdline").read_bytes():
                numbers.append(int(path.parent.name))
    return numbers


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_command(folders, tmp_path, ending):
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as under nohup: the command would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "ntire_sr", *command(folders, tmp_path / "out", "--workers", "2")],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: len(children_of(process)) == 2, process)
    workers_begun = children_of(process)
    time.sleep(0.5)  # they are importing torch
    if ending == signal.SIGINT:
        os.killpg(process.pid, ending)  # as Ctrl-C does
    else:
        process.kill()
    _, error = process.communicate(timeout=PATIENCE_SECONDS)
    assert workers_begun
    if ending == signal.SIGINT:
        assert process.returncode == 130 and "Traceback" not in error
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers_begun))


def test_records_of_removed_images_are_deleted(folders, tmp_path):
    score_folder(folders.hr, folders.sr, tmp_path / "out", **AWAY)
    (folders.hr / "0802.png").unlink()
    for k in range(3):
        (folders.sr / f"000001_sample0000{k}.png").unlink()
    score = score_folder(folders.hr, folders.sr, tmp_path / "out", **AWAY).score
    assert len(score.images) == 1
    assert sorted(path.name for path in (tmp_path / "out" / "records").iterdir()) == [
        "000000.json",
        "000000.safetensors",
    ]
