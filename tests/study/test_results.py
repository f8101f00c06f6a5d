"""From answers to results: what the command prints, writes and leaves out."""

import csv
import json
import math

import pytest

from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.files import write_json
from ntire_sr.evaluation.scoring.opinion import load_opinions
from ntire_sr.study.answers import Answer, Rater, add_answer, add_rater, open_answers
from ntire_sr.study.folder import load_study
from ntire_sr.study.results import study_results
from ntire_sr.study.trials import trials_of

BEST_FIRST = ["HR", "sharp", "between", "soft", "bicubic"]


def rate(folder, name, order=BEST_FIRST, mode="full", trials=None):
    """Answers of one rater to all trials; what `order` lacks is last, all with one rank."""
    study, digest = load_study(folder)
    book = open_answers(folder.answers, digest)
    number = sum(map(ord, name or "?"))
    rater = Rater(f"{number:032x}", name, mode, "en")
    add_rater(book, rater)
    of = {digest: method for place in study.places for method, digest in place.candidates.items()}
    for turn, trial in enumerate(trials_of(study, rater.id, mode)[:trials]):
        ranked = [[d] for method in order for d in trial.candidates if of[d] == method]
        rest = [d for d in trial.candidates if of[d] not in order]
        tiers = tuple(map(tuple, [*ranked, *([rest] if rest else [])]))
        add_answer(book, Answer(f"{number:024x}{turn:08x}", rater.id, trial.id, tiers, 3.0))
    book.close()


def results(folder, **options):
    return study_results(folder.path, folder.path, **options)


def test_mor_first_places_and_wins_follow_from_the_answers(study_folder):
    rate(study_folder, "Ada")
    rate(study_folder, "Bob")
    rate(study_folder, "Cyd", ["sharp", "HR", "between", "soft", "bicubic"])
    summary = results(study_folder)
    by_name = {standing.name: standing for standing in summary.standings}
    assert [standing.name for standing in summary.standings] == ["HR", "sharp", "soft"]
    assert by_name["HR"].mor.value == pytest.approx(4 / 3) and by_name["sharp"].mor.value == pytest.approx(
        5 / 3
    )
    assert by_name["soft"].mor.value == 3.0 and by_name["HR"].first_share == pytest.approx(2 / 3)
    assert summary.as_json()["wins"]["HR"]["sharp"] == {"won": 10.0, "of": 15}
    assert summary.answers == 15 and summary.kept == 3
    # rank sums of every place: HR 4, sharp 5, soft 9: S = 14, W = 12 * 14 / (9 * 24)
    assert summary.agreement == pytest.approx(168 / 216)
    assert by_name["HR"].strength > by_name["sharp"].strength > by_name["soft"].strength > 0
    assert any("as if it had tied once more" in note for note in summary.notes)  # soft was never before another


def test_places_are_listed_with_the_most_disputed_first(study_folder, study):
    rate(study_folder, "Ada")
    rate(study_folder, "Bob")
    disputed = study.of_kind("place")[3]
    digest = load_study(study_folder)[1]
    book = open_answers(study_folder.answers, digest)
    add_rater(book, Rater("c" * 32, "Cyd", "full", "en"))
    tiers = tuple((disputed.candidates[name],) for name in ("soft", "sharp", "HR"))
    add_answer(book, Answer("d" * 32, "c" * 32, disputed.id, tiers, 1.0))
    book.close()
    summary = results(study_folder)
    assert summary.places[0].place == disputed
    # ranks HR 1, 1, 3; sharp 2, 2, 2; soft 3, 3, 1: sums 5, 6, 7, S = 2, W = 24 / (9 * 24)
    assert summary.places[0].agreement == pytest.approx(1 / 9) and summary.places[1].agreement == 1.0
    assert summary.agreement == pytest.approx((4 + 1 / 9) / 5)
    assert any("not checked yet: Cyd" in note for note in summary.notes)


def test_raters_who_fail_a_check_are_named_and_excluded(study_folder):
    rate(study_folder, "Ada")
    rate(study_folder, "Mallory", ["bicubic", "soft", "between", "sharp", "HR"])
    rate(study_folder, "Bored", [])  # everything has the same rank: that is no pass
    rate(study_folder, "", mode="pairs")
    summary = results(study_folder)
    assert {rater.name: (rater.failed, rater.kept) for rater in summary.raters if rater.name[0] != "a"} == {
        "Ada": (0, True), "Mallory": (2, False), "Bored": (2, False),
    }  # fmt: skip
    assert "failed checks and are left out: Mallory (2 of 2), Bored (2 of 2)" in summary.notes
    assert summary.kept == 2 and summary.standings[0].name == "HR"
    everyone = results(study_folder, keep_all=True)
    assert everyone.kept == 4 and any(
        "are kept all the same: Mallory (2 of 2), Bored" in note for note in everyone.notes
    )
    assert everyone.standings[0].mor.value > summary.standings[0].mor.value


def test_study_without_counted_answers_is_an_error(study_folder):
    with pytest.raises(NtireSrError, match=r"no ranking can be used: 0 answers from 0 raters"):
        results(study_folder)
    rate(study_folder, "Bored", [])
    with pytest.raises(NtireSrError, match=r"1 rater, of whom 0 passed the checks[\s\S]*--keep-all"):
        results(study_folder)
    rate(study_folder, "New", trials=2)  # practice only
    with pytest.raises(NtireSrError, match="no ranking can be used"):
        results(study_folder)


def test_command_prints_and_writes_the_results(study_folder, ntire_sr_command, tmp_path):
    rate(study_folder, "Ada [red]")
    rate(study_folder, "=Bob()")
    table = tmp_path / "answers.csv"
    result = ntire_sr_command("study", "results", study_folder.path, "--csv", table, "--out", tmp_path / "out")
    assert result.code == 0, result.err
    for part in (
        "2 methods and HR, 2 raters, 10 rankings",
        "MOR",
        "Ada [red]",
        "Kendall's W 1.00",
        "results.html",
    ):
        assert part in result.out
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 2 * (5 * 3 + 2 * 2 + 2 + 3)
    assert {row["name"] for row in rows} == {"Ada [red]", "'=Bob()"}  # no formula
    assert {row["rank"] for row in rows if row["candidate"] == "HR"} == {"1"}
    printed = json.loads(ntire_sr_command("study", "results", study_folder.path, "--json").out)
    assert printed == json.loads((study_folder.results).read_text())
    assert [method["name"] for method in printed["methods"]] == ["sharp", "soft"]
    opinions = load_opinions(study_folder.path)
    assert (opinions.raters, opinions.answers, opinions.candidates) == (2, 10, 3)
    assert [(m.name, m.mor) for m in opinions.methods] == [("sharp", 2.0), ("soft", 3.0)]


def test_page_shows_pictures_and_escapes_names(study_folder):
    rate(study_folder, "Ada & Bob")
    summary = results(study_folder)
    page = summary.page.read_text(encoding="utf-8")
    assert "Ada &amp; Bob" in page and page.count('<img src="data:image/webp;base64,') == 5 * 3
    assert "script" not in page.replace("prescription", "") and "default-src 'none'" in page


def test_final_rank_needs_scores_of_all_methods(study_folder, tmp_path):
    rate(study_folder, "Ada")
    rate(study_folder, "Bob")
    for name, s_10 in (("sharp", 10.0), ("soft", 20.0)):
        write_json(tmp_path / name / "score.json", {"curves": {"LPIPS_score": [0.0] * 9 + [s_10]}})
    summary = results(study_folder, scores=[("sharp", tmp_path / "sharp"), ("soft", tmp_path / "soft")])
    assert {standing.name: (standing.diversity, standing.final) for standing in summary.standings} == {
        "HR": (None, None), "sharp": (10.0, 1.5), "soft": (20.0, 1.5),
    }  # fmt: skip
    part = results(study_folder, scores=[("sharp", tmp_path / "sharp")])
    assert all(standing.final is None for standing in part.standings)
    assert "no final rank without S_10 of soft: give it with --score" in part.notes
    with pytest.raises(UsageError, match="the study has no such method"):
        results(study_folder, scores=[("other", tmp_path / "sharp")])
    write_json(tmp_path / "few" / "score.json", {"curves": {"LPIPS_score": [0.0]}})
    with pytest.raises(UsageError, match=r"holds no S_10 of LPIPS"):
        results(study_folder, scores=[("sharp", tmp_path / "few")])


def test_results_do_not_write_to_the_study_folder(study_folder, tmp_path):
    rate(study_folder, "Ada")
    before = {path.name for path in study_folder.path.iterdir()}
    summary = study_results(study_folder.path, tmp_path / "out")
    assert math.isfinite(summary.standings[0].mor.value)
    assert {path.name for path in study_folder.path.iterdir()} - {
        "answers.sqlite-wal",
        "answers.sqlite-shm",
    } == before
