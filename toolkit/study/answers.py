"""The raters and their answers, in SQLite: one transaction each, durable before it is acknowledged.

The journal is a write-ahead log that is flushed to the disk at every commit (synchronous=FULL), so that neither
`kill -9` nor a power cut loses what was acknowledged. The page makes the ids of raters and answers: one that is
sent again, because its acknowledgement was lost, is recognised and not stored twice.
"""

import json
import secrets
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

from ntire_sr.core.errors import NtireSrError

SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS raters (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, mode TEXT NOT NULL, language TEXT NOT NULL, created TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS answers (
    id TEXT PRIMARY KEY, rater TEXT NOT NULL REFERENCES raters (id), trial TEXT NOT NULL,
    ranking TEXT NOT NULL, seconds REAL NOT NULL, created TEXT NOT NULL, UNIQUE (rater, trial)
);
"""
BUSY_SECONDS = 10  # that a transaction waits for another process

Value = TypeVar("Value")


@dataclass(frozen=True)
class Rater:
    """A person, or one browser of a person."""

    id: str  # 32 hexadecimal digits that the page made
    name: str  # empty: anonymous
    mode: str  # "full" or "pairs"
    language: str


@dataclass(frozen=True)
class Answer:
    """The ranking of one trial."""

    id: str  # 32 hexadecimal digits that the page made
    rater: str
    trial: str
    ranking: tuple[tuple[str, ...], ...]  # SHA-256 of the pictures, most real first; equal ones together
    seconds: float  # that the rater took
    created: str = ""  # when it was stored, UTC


class Conflict(Exception):
    """A different answer is already stored for this id, or for this rater and trial."""


class NotStored(NtireSrError):
    """The answer could not be written; nothing was changed. `reason` is "full", "read-only", "busy" or "disk"."""

    def __init__(self, reason: str, message: str, remedy: str):
        super().__init__(message, remedy)
        self.reason = reason


@dataclass(frozen=True)
class AnswerBook:
    """The open file of answers, for one thread at a time."""

    path: Path
    connection: sqlite3.Connection
    lock: threading.Lock

    def close(self) -> None:
        """Close the file; SQLite first writes its log into it, if possible."""
        with self.lock:
            self.connection.close()


def open_answers(path: Path, study_sha256: str) -> AnswerBook:
    """Open the answers to a study for writing; create the file if there is none.

    Raises:
        NotStored: the folder cannot be written to.
        NtireSrError: the file is damaged, or holds the answers to another study.
    """
    with _refusals(path):
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.executescript(SCHEMA)
            book = AnswerBook(path, connection, threading.Lock())
            stored_sha256 = fact(book, "study", study_sha256)
        except BaseException:
            connection.close()
            raise
    if stored_sha256 != study_sha256:
        book.close()
        raise NtireSrError(
            f"{path} holds the answers to another study than the study.json in this folder",
            "restore the study.json that they were given to, or move the answers away",
        )
    return book


def fact(book: AnswerBook, name: str, otherwise: str) -> str:
    """A fact about this folder, such as its token, stored with the answers; `otherwise` is stored if it is new."""

    def work(db: sqlite3.Connection) -> str:
        db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, otherwise))
        return str(db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0])

    return _in_transaction(book, work)


def token_of(book: AnswerBook) -> str:
    """The token of this study's links, made once, so that links stay valid when the server starts again."""
    return fact(book, "token", secrets.token_urlsafe(16))


def remember(book: AnswerBook, name: str, value: str) -> None:
    """Replace a fact."""
    _in_transaction(book, lambda db: db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value)))


def add_rater(book: AnswerBook, rater: Rater) -> None:
    """Store a rater; one that is there already stays.

    Raises:
        Conflict: the id has another name or mode.
        NotStored: the disk refused.
    """

    def work(db: sqlite3.Connection) -> None:
        stored = _rater(db, rater.id)
        if stored is None:
            row = (rater.id, rater.name, rater.mode, rater.language, _now())
            db.execute("INSERT INTO raters VALUES (?, ?, ?, ?, ?)", row)
        elif (stored.name, stored.mode) != (rater.name, rater.mode):
            raise Conflict("this rater is known under another name or mode")

    _in_transaction(book, work)


def find_rater(book: AnswerBook, rater: str) -> Rater | None:
    """The rater of an id."""
    with book.lock, _refusals(book.path, "read"):
        return _rater(book.connection, rater)


def add_answer(book: AnswerBook, answer: Answer, replaces: str | None = None) -> None:
    """Store an answer; when this returns it is on the disk. The same answer again changes nothing.

    Args:
        book: the answers.
        answer: of a rater who is stored.
        replaces: id of the earlier answer to the same trial that this one corrects.

    Raises:
        Conflict: the id has another content, or the trial another answer than `replaces`.
        NotStored: the disk refused; nothing was stored.
    """
    ranking = json.dumps(answer.ranking)

    def work(db: sqlite3.Connection) -> None:
        same = db.execute("SELECT rater, trial, ranking FROM answers WHERE id = ?", (answer.id,)).fetchone()
        if same is not None:
            if same != (answer.rater, answer.trial, ranking):
                raise Conflict("this answer's id has another content already")
            return
        stored = db.execute(
            "SELECT id FROM answers WHERE rater = ? AND trial = ?", (answer.rater, answer.trial)
        ).fetchone()
        if (stored[0] if stored else None) != replaces:
            raise Conflict("this trial has another answer already")
        db.execute("DELETE FROM answers WHERE id = ?", (replaces,))
        row = (answer.id, answer.rater, answer.trial, ranking, answer.seconds, _now())
        db.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)", row)

    _in_transaction(book, work)


def answers_by(book: AnswerBook, rater: str) -> list[Answer]:
    """All answers of a rater, in the order in which they were stored."""
    with book.lock, _refusals(book.path, "read"):
        return _answers(book.connection, "WHERE rater = ?", (rater,))


def count(book: AnswerBook) -> tuple[int, int]:
    """Number of raters and of answers."""
    with book.lock, _refusals(book.path, "read"):
        counts = [book.connection.execute(f"SELECT COUNT(*) FROM {name}") for name in ("raters", "answers")]
        raters, answers = (rows.fetchone()[0] for rows in counts)
        return raters, answers


def read_answers(path: Path, study_sha256: str) -> tuple[list[Rater], list[Answer]]:
    """All raters and answers, also while a server writes more, and from a folder that cannot be written to.

    Raises:
        NtireSrError: the file is damaged, or belongs to another study.
    """
    if not path.is_file():
        return [], []
    with _refusals(path, "read"):
        try:
            return _read(path, study_sha256)
        except sqlite3.OperationalError:  # SQLite cannot open a write-ahead log where it may not write
            with tempfile.TemporaryDirectory(prefix="ntire-sr-") as folder:
                for part in (path, path.with_name(f"{path.name}-wal")):
                    if part.is_file():
                        shutil.copyfile(part, Path(folder) / part.name)
                return _read(Path(folder) / path.name, study_sha256)


def _read(path: Path, study_sha256: str) -> tuple[list[Rater], list[Answer]]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as db:
        db.execute("BEGIN")  # raters and answers of one moment
        stored_sha256 = db.execute("SELECT value FROM facts WHERE name = 'study'").fetchone()
        if stored_sha256 != (study_sha256,):
            raise NtireSrError(
                f"{path} holds the answers to another study than the study.json in this folder",
                "restore the study.json that they were given to",
            )
        rows = db.execute("SELECT id, name, mode, language FROM raters ORDER BY created, rowid").fetchall()
        return [Rater(*row) for row in rows], _answers(db)


def _answers(db: sqlite3.Connection, where: str = "", values: Sequence[str] = ()) -> list[Answer]:
    rows = db.execute(
        f"SELECT id, rater, trial, ranking, seconds, created FROM answers {where} ORDER BY rowid", values
    )
    return [
        Answer(row[0], row[1], row[2], tuple(map(tuple, json.loads(row[3]))), row[4], row[5]) for row in rows
    ]


def _rater(db: sqlite3.Connection, rater: str) -> Rater | None:
    row = db.execute("SELECT id, name, mode, language FROM raters WHERE id = ?", (rater,)).fetchone()
    return Rater(*row) if row else None


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _in_transaction(book: AnswerBook, work: Callable[[sqlite3.Connection], Value]) -> Value:
    """Run `work` in one transaction, which is on the disk when this returns."""
    with book.lock, _refusals(book.path):
        book.connection.execute("BEGIN IMMEDIATE")
        try:
            value = work(book.connection)
            book.connection.execute("COMMIT")
        except BaseException:
            if book.connection.in_transaction:  # SQLite itself rolls back where the disk is full
                book.connection.execute("ROLLBACK")
            raise
        return value


@contextmanager
def _refusals(path: Path, doing: str = "store") -> Iterator[None]:
    """Raise SQLite's errors as errors with a remedy."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        what = f"cannot {doing} answers in {path} ({text})"
        if "full" in text:
            raise NotStored(
                "full", what, "free some space on that disk; what was stored before is safe"
            ) from error
        if "readonly" in text or "unable to open" in text:
            raise NotStored(
                "read-only", what, "choose a folder you may write to, or change its permissions"
            ) from error
        if "locked" in text:
            raise NotStored("busy", what, "end the other program that uses the file") from error
        if isinstance(error, sqlite3.OperationalError):
            raise NotStored(
                "disk", what, "check the disk, then start again; what was stored before is safe"
            ) from error
        raise NtireSrError(
            f"{path} is damaged ({text})", "restore it from a copy, or move it away to start without answers"
        ) from error
