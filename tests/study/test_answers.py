"""Answers are stored once, or not at all."""

import sqlite3

import pytest

from ntire_sr.core.errors import NtireSrError
from ntire_sr.study.answers import (
    Answer,
    Conflict,
    NotStored,
    Rater,
    add_answer,
    add_rater,
    answers_by,
    count,
    find_rater,
    open_answers,
    read_answers,
    token_of,
)

ADA = Rater("a" * 32, "Ada", "full", "en")


def answer(number=1, trial="t1", ranking=(("x",), ("y", "z"))):
    return Answer(f"{number:032x}", ADA.id, trial, ranking, 2.5)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.sqlite"


@pytest.fixture
def book(path):
    opened = open_answers(path, "study")
    add_rater(opened, ADA)
    yield opened
    opened.close()


def test_answers_are_read_as_they_were_stored(book, path):
    add_answer(book, answer(1))
    add_answer(book, answer(2, "t2", (("y",), ("x",))))
    assert find_rater(book, ADA.id) == ADA and find_rater(book, "b" * 32) is None
    raters, answers = read_answers(path, "study")  # while it is open for writing
    assert raters == [ADA] and answers == answers_by(book, ADA.id)
    assert [(a.trial, a.ranking, a.seconds) for a in answers] == [
        ("t1", (("x",), ("y", "z")), 2.5),
        ("t2", (("y",), ("x",)), 2.5),
    ]


def test_each_commit_is_flushed_to_the_disk(book):
    assert book.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert book.connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_repeated_answer_is_stored_once(book):
    for _ in range(3):
        add_rater(book, ADA)
        add_answer(book, answer())
    assert count(book) == (1, 1)


def test_same_id_with_another_content_is_a_conflict(book):
    add_answer(book, answer())
    for changed_answer in (answer(1, "t2"), answer(1, ranking=(("y",), ("x",)))):
        with pytest.raises(Conflict):
            add_answer(book, changed_answer)
    with pytest.raises(Conflict):
        add_rater(book, Rater(ADA.id, "Eve", "full", "en"))
    assert count(book) == (1, 1) and answers_by(book, ADA.id)[0].ranking == (("x",), ("y", "z"))


def test_trial_has_one_answer_unless_it_is_a_correction(book):
    add_answer(book, answer(1))
    with pytest.raises(Conflict):
        add_answer(book, answer(2))
    with pytest.raises(Conflict):
        add_answer(book, answer(2), replaces=answer(7).id)
    for _ in range(2):  # the correction may be sent again, too
        add_answer(book, answer(2, ranking=(("z",),)), replaces=answer(1).id)
    assert [(a.id, a.ranking) for a in answers_by(book, ADA.id)] == [(answer(2).id, (("z",),))]


def test_answer_of_unknown_rater_is_not_stored(book):
    with pytest.raises(NtireSrError):
        add_answer(book, Answer("1" * 32, "c" * 32, "t1", (("x",),), 1.0))
    assert count(book) == (1, 0)


def test_full_disk_stores_nothing_until_there_is_space_again(book, path):
    used = book.connection.execute("PRAGMA page_count").fetchone()[0]
    book.connection.execute(f"PRAGMA max_page_count={used}")  # SQLite's own error of a full disk
    stored = 0
    with pytest.raises(NotStored, match=r"database or disk is full[\s\S]*free some space") as error:
        for number in range(1, 200):
            add_answer(book, answer(number, f"t{number}", (("x" * 64,),) * 4))
            stored = number
    assert error.value.reason == "full" and stored < 199
    assert count(book) == (1, stored)
    book.connection.execute("PRAGMA max_page_count=1000000")
    add_answer(book, answer(stored + 1, f"t{stored + 1}"))
    assert len(read_answers(path, "study")[1]) == stored + 1


def test_read_only_file_is_named_with_a_remedy(book, path):
    book.connection.execute("PRAGMA query_only=1")
    with pytest.raises(NotStored, match=r"answers\.sqlite \(attempt to write a readonly") as error:
        add_answer(book, answer())
    assert error.value.reason == "read-only"
    book.connection.execute("PRAGMA query_only=0")
    assert count(book) == (1, 0)
    with pytest.raises(NotStored, match="unable to open"):
        open_answers(path.parent / "absent" / "answers.sqlite", "study")


def test_answers_of_another_study_and_damaged_file_are_refused(book, path):
    with pytest.raises(NtireSrError, match="answers to another study"):
        open_answers(path, "other")
    with pytest.raises(NtireSrError, match="answers to another study"):
        read_answers(path, "other")
    broken = path.with_name("broken.sqlite")
    broken.write_bytes(b"no database at all, but long enough to be one" * 100)
    for opened in (open_answers, read_answers):
        with pytest.raises(NtireSrError, match=r"broken\.sqlite is damaged"):
            opened(broken, "study")


def test_answers_in_the_log_are_read_from_a_read_only_folder(book, path, monkeypatch):
    from ntire_sr.study import answers as module

    add_answer(book, answer())
    assert path.with_name("answers.sqlite-wal").stat().st_size > 0
    real, refused = sqlite3.connect, []

    def connect(name, **options):
        if str(path.parent) in name:
            refused.append(name)
            raise sqlite3.OperationalError("unable to open database file")
        return real(name, **options)

    monkeypatch.setattr(module.sqlite3, "connect", connect)
    assert len(read_answers(path, "study")[1]) == 1 and refused


def test_token_stays_the_same(book, path):
    token = token_of(book)
    reopened = open_answers(path, "study")
    assert token_of(reopened) == token and len(token) >= 20
    reopened.close()
