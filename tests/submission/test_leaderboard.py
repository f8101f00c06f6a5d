"""Ranking submissions: folders, archives, and those that break a rule."""

import csv
import json
import re
import zipfile

import numpy as np
import pytest
import torch
from conftest import RecordedProgress

from ntire_sr.core.errors import UsageError, ValidationErrors
from ntire_sr.core.files import write_json
from ntire_sr.evaluation.pages.tables import method_table
from ntire_sr.evaluation.score_folder import score_folder
from ntire_sr.evaluation.scoring.load_scores import read_method
from ntire_sr.models.loading import load_model
from ntire_sr.samples.extraction import extract_samples
from ntire_sr.samples.image_files import read_image, write_png
from ntire_sr.sampling.generate import Request, generate
from ntire_sr.submission import leaderboard
from ntire_sr.submission.leaderboard import ScoreOptions, make_leaderboard

WITHOUT_LPIPS = ScoreOptions(samples=3, without_lpips="in this test")


def pack_folder(folder, archive):
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.glob("*.png")):
            file.write(path, path.name)
    return archive


@pytest.fixture
def teams(samples, lr_folder, trained, tmp_path):
    """Named submissions: a folder, an archive whose samples differ less, one under 45 dB, and a damaged one."""
    loaded = load_model(trained / "weights.safetensors", None, torch.device("cpu"))
    generate(Request(lr_folder, tmp_path / "calm", samples=3, temperature=0.3), loaded, torch.device("cpu"))
    (tmp_path / "bright").mkdir()
    for path in samples.glob("*.png"):
        image = read_image(path).astype(int) + 9
        write_png(tmp_path / "bright" / path.name, image.clip(0, 255).astype(np.uint8))
    (tmp_path / "broken.zip").write_bytes(b"PK and nothing else")
    return [
        ("calm", pack_folder(tmp_path / "calm", tmp_path / "calm.zip")),
        ("broken", tmp_path / "broken.zip"),
        ("bright", pack_folder(tmp_path / "bright", tmp_path / "bright.zip")),
        ("diverse", samples),
    ]


def board_of(teams, tmp_path, **options):
    return make_leaderboard(teams, tmp_path / "HR", tmp_path / "board", options=WITHOUT_LPIPS, **options)


def ranks(board):
    values = zip(board.comparison.methods, board.comparison.values["rank"], strict=True)
    return {method.name: value.value for method, value in values}


def test_entries_are_ranked_and_broken_ones_are_rows_with_reasons(teams, tmp_path):
    board = board_of(teams, tmp_path)
    places = ranks(board)
    assert (places["diverse"], places["calm"]) == (1, 2) and np.isnan(places["bright"])
    assert [method.name for method in board.comparison.methods] == ["diverse", "calm", "bright"]
    reasons = {entry.name: entry.reason for entry in board.not_ranked}
    assert reasons.keys() == {"broken", "bright"}
    assert "is not a readable zip archive" in reasons["broken"] and "dB" in reasons["bright"]
    rows = list(csv.DictReader((tmp_path / "board" / "leaderboard.csv").read_text().splitlines()))
    assert list(rows[0])[:2] == ["method", "rank"]
    assert [row["method"] for row in rows] == ["diverse", "calm", "bright", "broken"]
    assert [row["rank"] for row in rows] == ["1.0", "2.0", "", ""]
    assert [bool(row["not_ranked"]) for row in rows] == [False, False, True, True]
    page = (tmp_path / "board" / "leaderboard.html").read_text()
    assert '<th scope="row" title="broken">broken</th><td>-</td>' in page
    assert "broken is not ranked: " in page and "ntire-sr leaderboard" in page
    table = (tmp_path / "board" / "leaderboard.tex").read_text()
    assert "broken & \\multicolumn{6}{p{" in table and "}{not ranked: " in table and "Method & rank" in table
    first = method_table(board.comparison)["columns"][0]  # of the page and the terminal
    assert first["label"] == "rank"
    content = json.loads((tmp_path / "board" / "leaderboard.json").read_text())
    assert [entry["ranked"] for entry in content["entries"]] == [True, False, False, True]


def test_second_call_measures_and_verifies_only_changed_entries(teams, tmp_path, monkeypatch):
    board_of(teams, tmp_path, pictures=0)
    verified = []
    verify = leaderboard.verify
    monkeypatch.setattr(
        leaderboard, "verify", lambda paths, *a, **k: verified.append(paths[0].name) or verify(paths, *a, **k)
    )
    board_of(teams, tmp_path, pictures=0)
    assert verified == []
    pack_folder(tmp_path / "bright", teams[0][1])  # another upload of the same team
    again = board_of(teams, tmp_path, pictures=0)
    assert verified == ["calm.zip"]
    assert {entry.name for entry in again.not_ranked} == {"calm", "broken", "bright"}


def test_study_gives_the_final_rank(teams, tmp_path):
    board = board_of(teams, tmp_path, pictures=0)
    digests = {m.name: read_method(m.name, m.folder).samples_sha256 for m in board.comparison.methods}
    opinions = [
        {"name": name, "samples_sha256": digests[name], "mor": mor}
        for name, mor in (("diverse", 3.0), ("calm", 1.0), ("bright", 2.0))
    ]
    content = {"format": 1, "candidates": 4, "raters": 5, "answers": 50, "methods": opinions}
    write_json(tmp_path / "results.json", content)
    board = board_of(teams, tmp_path, pictures=0, study=tmp_path / "results.json")
    # diverse: first in S_n, second in MOR of the two that are eligible; calm the other way round
    assert {name: rank for name, rank in ranks(board).items() if rank == rank} == {"diverse": 1.5, "calm": 1.5}
    assert [value.value for value in board.comparison.values["MOR"]] == [1.0, 3.0, 2.0]


def test_names_that_occur_twice_are_refused(samples, tmp_path):
    with pytest.raises(UsageError, match="the name a occurs twice"):
        board_of([("a", samples), ("a", samples)], tmp_path)


def test_command_names_entries_after_their_files(teams, tmp_path, ntire_sr_command):
    paths = [teams[0][1], teams[1][1], f"ours={teams[3][1]}"]
    out = tmp_path / "board"
    result = ntire_sr_command(
        "leaderboard",
        *paths,
        "--hr",
        tmp_path / "HR",
        "--out",
        out,
        "--without-lpips",
        "--pictures",
        0,
        "--samples",
        3,
    )
    assert result.code == 0, result.err
    assert "calm" in result.out and "ours" in result.out and str(out) in result.out
    assert re.search(r"│ broken +│ +- │", result.out) and "broken is not ranked: " in result.out
    assert (out / "entries" / "calm" / "score" / "score.json").is_file()


def test_number_of_samples_comes_from_the_files_without_a_manifest(samples, tmp_path, ntire_sr_command):
    archive = pack_folder(samples, tmp_path / "team.zip")
    words = ("score", "--hr", tmp_path / "HR", "--sr", archive, "--without-lpips", "--no-report")
    result = ntire_sr_command(*words)
    assert result.code == 0, result.err
    assert f"{archive} has no manifest; by its files it has 3 samples per image" in result.err
    assert "the challenge asks for 10" in result.err
    last = max(samples.glob("000000_*.png"))
    last.unlink()  # other images still have three
    pack_folder(samples, archive)
    result = ntire_sr_command(*words)
    assert result.code == 1 and "1 of 3 samples are missing: 2" in result.err
    assert f"scoring {archive} against" in result.err


def test_leaderboard_takes_the_number_of_samples_from_the_entries(teams, tmp_path):
    progress = RecordedProgress()
    board = make_leaderboard(
        teams[:2], tmp_path / "HR", tmp_path / "board", options=ScoreOptions(without_lpips="no"), pictures=0,
        progress=progress,
    )  # fmt: skip
    assert [method.name for method in board.comparison.methods] == ["calm"]
    assert "the entries have 3 samples per image, where the challenge asks for 10" in str(progress.messages)


def test_entries_with_different_numbers_of_samples_are_refused(teams, tmp_path):
    for path in (tmp_path / "bright").glob("*_sample00002.png"):
        path.unlink()
    pack_folder(tmp_path / "bright", teams[2][1])
    with pytest.raises(UsageError, match=r"different numbers of samples per image: calm 3, bright 2"):
        make_leaderboard(teams[:3], tmp_path / "HR", tmp_path / "board")


def test_missing_archive_is_called_an_archive(tmp_path, lr_folder, ntire_sr_command):
    result = ntire_sr_command("score", "--hr", tmp_path / "HR", "--sr", tmp_path / "nothere.zip")
    assert result.code == 2 and f"the archive {tmp_path / 'nothere.zip'} does not exist" in result.err


def test_score_of_an_archive_equals_that_of_its_folder(samples, tmp_path, ntire_sr_command):
    archive = pack_folder(samples, tmp_path / "team.zip")
    result = ntire_sr_command(
        "score", "--hr", tmp_path / "HR", "--sr", archive, "--samples", 3, "--without-lpips"
    )
    assert result.code == 0, result.err
    of_archive = read_method("a", tmp_path / "team_score")
    of_folder = score_folder(tmp_path / "HR", samples, tmp_path / "score", without_lpips="no").score
    assert of_archive.samples_sha256 == of_folder.samples_sha256


def test_unsafe_members_of_an_archive_are_not_extracted(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as file:
        file.writestr("../000000_sample00000.png", b"x")
    with pytest.raises(ValidationErrors, match="leaves the folder"):
        extract_samples([tmp_path / "evil.zip"], tmp_path / "inner" / "samples")
    assert not (tmp_path / "inner").exists() or not any((tmp_path / "inner").rglob("*.png"))
