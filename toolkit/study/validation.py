"""What the bodies of posts may hold: raters and answers, checked field by field."""

import re
from collections.abc import Mapping
from typing import Any

from ntire_sr.study.answers import Answer, Rater
from ntire_sr.study.folder import MODES, Study
from ntire_sr.study.trials import Trial

LONGEST_NAME = 80  # of a rater, in characters
MOST_SECONDS = 7 * 86400.0
ID = re.compile(r"[0-9a-f]{32}")


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def parse_rater(body: Mapping[str, Any], study: Study) -> Rater:
    """The rater in a body.

    Raises:
        Refused: something is missing, unknown or of another kind.
    """
    name = " ".join(text_in(body, "name").split())
    if len(name) > LONGEST_NAME or not name.isprintable() or set(name) & set("<>"):
        raise Refused(400, "name", f"a name has at most {LONGEST_NAME} characters and neither < nor >")
    mode = text_in(body, "mode")
    if mode not in (MODES if study.mode == "either" else (study.mode,)):
        raise Refused(400, "malformed", "the study does not offer this mode")
    language = text_in(body, "language")
    if not re.fullmatch(r"[A-Za-z-]{1,20}", language):
        raise Refused(400, "malformed", "language is no language's code")
    return Rater(_id_in(body, "id"), name, mode, language)


def parse_answer(body: Mapping[str, Any], trials: Mapping[str, Trial]) -> tuple[Answer, str | None]:
    """The answer in a body, and the id of the answer that it replaces.

    Args:
        body: as the page sends it.
        trials: the rater's, by id.

    Raises:
        Refused: something is missing, unknown or of another kind; or it ranks other pictures than the trial's.
    """
    trial = trials.get(text_in(body, "trial"))
    if trial is None:
        raise Refused(404, "unknown", "this rater has no such trial")
    ranking = body.get("ranking")
    if not (isinstance(ranking, list) and all(isinstance(tier, list) and tier for tier in ranking)):
        raise Refused(400, "malformed", "ranking is no list of lists of pictures")
    flat = [digest for tier in ranking for digest in tier]
    if not all(isinstance(digest, str) for digest in flat) or sorted(flat) != sorted(trial.candidates):
        raise Refused(400, "malformed", "ranking does not hold each picture of the trial once")
    seconds = body.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise Refused(400, "malformed", "seconds is no number")
    if not 0 <= seconds <= MOST_SECONDS:  # false for nan, too
        raise Refused(400, "malformed", "seconds is out of range")
    replaces = None if body.get("replaces") is None else _id_in(body, "replaces")
    tiers = tuple(tuple(sorted(tier)) for tier in ranking)
    return Answer(_id_in(body, "id"), text_in(body, "rater"), trial.id, tiers, float(seconds)), replaces


def text_in(body: Mapping[str, Any], name: str) -> str:
    """The text of this name in a body; refused where there is none."""
    value = body.get(name)
    if not isinstance(value, str):
        raise Refused(400, "malformed", f"{name} is no text")
    return value


def _id_in(body: Mapping[str, Any], name: str) -> str:
    value = text_in(body, name)
    if not ID.fullmatch(value):
        raise Refused(400, "malformed", f"{name} is no id")
    return value
