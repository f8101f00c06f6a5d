"""The bodies of posts: raters and answers, as typed records with checked values."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from ntire_sr.core.errors import is_printable
from ntire_sr.study.answers import Answer, Rater
from ntire_sr.study.folder import MODES, Study
from ntire_sr.study.trials import Trial

LONGEST_NAME = 80  # of a rater, in characters
MOST_SECONDS = 7 * 86400  # that are stored for one answer; a page may stay open for longer

Id = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
Post = TypeVar("Post")


class RequestError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class RaterPost(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /api/raters."""

    id: Id
    name: str
    mode: str
    language: Annotated[str, Meta(pattern=r"\A[A-Za-z-]{1,20}\Z")]


class AnswerPost(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /api/answers."""

    id: Id
    rater: str
    trial: str
    ranking: list[Annotated[list[str], Meta(min_length=1)]]  # pictures, most real first; equal ones together
    seconds: Annotated[float, Meta(ge=0)]
    replaces: Id | None = None  # id of the answer that this one corrects


def decode_post(body: bytes, kind: type[Post]) -> Post:
    """The record in a body.

    Raises:
        RequestError: it is not JSON, or a field is missing, unknown or has the wrong type; its path is given.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(400, "malformed", str(error)) from error


def parse_rater(post: RaterPost, study: Study) -> Rater:
    """The rater in a body.

    Raises:
        RequestError: the name is too long or unprintable, or the study does not offer the mode.
    """
    name = " ".join(post.name.split())
    if len(name) > LONGEST_NAME or not is_printable(name) or set(name) & set("<>"):
        raise RequestError(400, "name", f"a name has at most {LONGEST_NAME} characters and neither < nor >")
    if post.mode not in (MODES if study.mode == "either" else (study.mode,)):
        raise RequestError(400, "malformed", "the study does not offer this mode")
    return Rater(post.id, name, post.mode, post.language)


def parse_answer(post: AnswerPost, trials: Mapping[str, Trial]) -> Answer:
    """The answer in a body.

    Args:
        post: the body.
        trials: the rater's, by id.

    Raises:
        RequestError: the rater has no such trial, or the answer ranks other pictures than those of the trial.
    """
    trial = trials.get(post.trial)
    if trial is None:
        raise RequestError(404, "unknown", "this rater has no such trial")
    if sorted(digest for tier in post.ranking for digest in tier) != sorted(trial.candidates):
        raise RequestError(400, "malformed", "ranking does not hold each picture of the trial once")
    tiers = tuple(tuple(sorted(tier)) for tier in post.ranking)
    return Answer(post.id, post.rater, trial.id, tiers, min(post.seconds, MOST_SECONDS))
