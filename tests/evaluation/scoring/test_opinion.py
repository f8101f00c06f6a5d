"""What people said, beside a score."""

import json

import pytest

from ntire_sr.challenge.published import RESULTS_2021
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.files import write_json
from ntire_sr.evaluation.score_folder import score_folder
from ntire_sr.evaluation.scoring.opinion import final_ranks, load_opinions

BASELINES = ("SRFlow (baseline)", "ESRGAN (baseline)", "ground truth")


@pytest.mark.parametrize(
    ("scale", "published"),
    [
        (4, {"SSS": 5.5, "BeWater": 3.5, "CIPLAB": 3.0, "njtech&seu": 3.0, "Deepest (NCSR)": 1.5}),
        (8, {"SR_DL": 5.0, "SSS": 5.5, "BeWater": 4.0, "CIPLAB": 3.0, "Deepest (NCSR)": 1.5}),
    ],
)
def test_final_ranks_equal_the_published_ones(scale, published):
    teams = [entry for entry in RESULTS_2021[scale] if entry.team not in BASELINES]
    diversity = {entry.team: entry.diversity for entry in teams}
    mor = {entry.team: entry.mor for entry in teams if entry.mor is not None}
    assert final_ranks(diversity, mor) == published


def results_of(method, folder, **others):
    content = {
        "format": 1, "candidates": 3, "raters": 12, "answers": 300,
        "methods": [
            {"name": "mine", "samples_sha256": method, "mor": 2.25, "mor_low": 2.1, "mor_high": 2.4, "S_10": None},
            {"name": "other", "samples_sha256": "0" * 64, "mor": 2.0, "mor_low": None, "mor_high": None, "S_10": 20.0},
        ],
        **others,
    }  # fmt: skip
    write_json(folder / "results.json", content)
    return folder / "results.json"


def scored(folders, out, **options):
    return score_folder(folders.hr, folders.sr, out, samples=3, without_lpips="no", with_report=True, **options)


def test_score_shows_the_opinion_rank_of_its_samples(folders, tmp_path, capsys, ntire_sr_command):
    digest = scored(folders, tmp_path / "score").score.samples_sha256
    file = results_of(digest, tmp_path)
    result = ntire_sr_command(
        "score", "--hr", folders.hr, "--sr", folders.sr, "--samples", 3, "--out", tmp_path / "score", "--without-lpips", "--study", tmp_path
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "2.25 (2.10 to 2.40)" in result.out and "3 candidates, 12 raters" in result.out
    assert "not known: it takes S_10 of every method" in result.out
    summary = json.loads((tmp_path / "score" / "score.json").read_text())["summary"]
    assert (summary["MOR"], summary["MOR_low"], summary["final_rank"]) == (2.25, 2.1, None)
    assert "2.25 (2.10 to 2.40)" in (tmp_path / "score" / "report.html").read_text(encoding="utf-8")
    of_second_method = scored(folders, tmp_path / "score", study=file, study_method="other")
    assert of_second_method.score.summary()["MOR"] == 2.0


def test_final_rank_uses_s_10_of_all_methods(tmp_path):
    opinions = load_opinions(results_of("a", tmp_path))
    assert opinions.final_rank("mine", {"mine": 25.0}) == 1.5  # first in S_10, second in MOR
    assert opinions.final_rank("mine", {"mine": 15.0}) == 2.0
    assert opinions.final_rank("mine", {}) is None


def test_samples_outside_the_study_and_unknown_names_are_refused(folders, tmp_path):
    file = results_of("another digest", tmp_path)
    with pytest.raises(
        UsageError, match=r"shows none of these samples, but those of mine, other[\s\S]*--study-method"
    ):
        scored(folders, tmp_path / "score", study=file)
    with pytest.raises(UsageError, match=r"no method mien\n  try: mine"):
        scored(folders, tmp_path / "score", study=file, study_method="mien")
    with pytest.raises(UsageError, match="--study-method without --study"):
        scored(folders, tmp_path / "score", study_method="mine")
    assert not (tmp_path / "score" / "score.json").exists()


def test_missing_results_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"results\.json does not exist"):
        load_opinions(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "that this version reads"),
        ({"methods": [{}]}, r"is damaged: .*missing required field `name` - at `\$\.methods\[0\]`"),
        (
            {"methods": [{"name": "a", "samples_sha256": "", "mor": "2"}]},
            r"is damaged: .* at `\$\.methods\[0\]\.mor`",
        ),
        ({"methods": [{"name": "a", "samples_sha256": "", "MOR": 2}]}, r"is damaged: .*unknown field `MOR`"),
        ({"raters": 1.5}, r"is damaged: Expected `int`, got `float` - at `\$\.raters`"),
    ],
)
def test_damaged_results_are_refused_with_the_path_of_the_field(tmp_path, change, message):
    results_of("a", tmp_path, **change)
    with pytest.raises(NtireSrError, match=message):
        load_opinions(tmp_path)


def test_results_that_are_no_object_are_refused(tmp_path):
    write_json(tmp_path / "results.json", [])
    with pytest.raises(NtireSrError, match="that this version reads"):
        load_opinions(tmp_path)
