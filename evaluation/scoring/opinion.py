"""Opinions of people: mean opinion ranks that `ntire-sr study results` wrote, and the challenge's final rank.

The challenge ranks by the mean of two ranks: in S_10, and in the mean opinion rank (MOR) of a human study.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from ntire_sr.core.errors import NtireSrError, UsageError, suggestion
from ntire_sr.core.files import read_json
from ntire_sr.core.records import to_record

FORMAT = 1
FILE_NAME = "results.json"


class MethodOpinion(Struct, frozen=True, forbid_unknown_fields=True):
    """Mean opinion rank of one method in a study."""

    name: str
    samples_sha256: str  # over all its sample files, see `files.sha256_of_digests`
    mor: float | None = None  # mean opinion rank, 1 is best; None: not enough answers
    low: float | None = field(default=None, name="mor_low")  # ends of the 95 % interval
    high: float | None = field(default=None, name="mor_high")
    first_share: float | None = None  # share of the rankings in which it is first
    strength: float | None = None  # Bradley-Terry, geometric mean 1
    S_10: float | None = None  # in per cent, if the study was given the scores
    final_rank: float | None = None  # among the methods of the study


class Opinions(Struct, frozen=True, forbid_unknown_fields=True):
    """The results of a study, as `results.json` holds them."""

    methods: tuple[MethodOpinion, ...]
    candidates: int  # methods and the HR image
    raters: int
    answers: int
    # for readers of the file; nothing here uses them
    format: int = FORMAT
    study_sha256: str = ""
    agreement: float | None = field(default=None, name="agreement_W")
    HR: dict[str, Any] = {}
    wins: dict[str, Any] = {}
    raters_kept_and_left_out: list[dict[str, Any]] = []
    places: list[dict[str, Any]] = []
    notes: list[str] = []

    def of(self, samples_sha256: str, name: str | None = None) -> MethodOpinion:
        """The opinion on these samples, or on the method with a given name.

        Raises:
            UsageError: the study shows neither.
        """
        names = [method.name for method in self.methods]
        for method in self.methods:
            if method.name == name or (name is None and method.samples_sha256 == samples_sha256):
                return method
        if name is None:
            raise UsageError(
                f"the study shows none of these samples, but those of {', '.join(names)}",
                "say which method they are of with --study-method NAME",
            )
        raise UsageError(f"the study has no method {name}", suggestion(name, names))

    def final_rank(self, name: str, diversity: Mapping[str, float]) -> float | None:
        """The challenge's final rank of a method among the study's.

        Args:
            name: of the method.
            diversity: S_10 in per cent of methods that the study was not told about, or that are newer.

        Returns:
            None where S_10 or MOR of a method is not known.
        """
        values = {method.name: method.S_10 for method in self.methods} | dict(diversity)
        s_10 = {method: value for method, value in values.items() if value is not None}
        mor = {method.name: method.mor for method in self.methods if method.mor is not None}
        if len(s_10) < len(self.methods) or len(mor) < len(self.methods):
            return None
        return final_ranks(s_10, mor)[name]


def final_ranks(diversity: Mapping[str, float], mor: Mapping[str, float]) -> dict[str, float]:
    """The mean of the rank in S_10 and the rank in MOR, as the challenge ranks; equal values share the better rank.

    >>> final_ranks({"a": 26.9, "b": 26.0, "c": 23.1}, {"b": 4.4, "c": 4.5, "a": 5.0})
    {'b': 1.5, 'c': 2.5, 'a': 2.0}

    Args:
        diversity: name -> S_10 in per cent, higher is better; may hold more names than `mor`.
        mor: name -> mean opinion rank, lower is better.
    """
    return {
        name: (
            1 + sum(value > diversity[name] for value in diversity.values())
            + 1 + sum(value < rank for value in mor.values())
        ) / 2
        for name, rank in mor.items()
    }  # fmt: skip


def load_opinions(path: Path) -> Opinions:
    """Read the results of a study.

    Args:
        path: `results.json`, or the folder that holds it.

    Raises:
        UsageError: there is none.
        NtireSrError: it is damaged, or of another version.
    """
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise UsageError(
            f"{file} does not exist", "write it with `ntire-sr study results`, or check the path of --study"
        )
    content = read_json(file, "results of a study")
    remedy = "run `ntire-sr study results` again"
    if not isinstance(content, dict) or content.get("format") != FORMAT or "methods" not in content:
        raise NtireSrError(f"{file} holds no results of a study that this version reads", remedy)
    return to_record(content, Opinions, str(file), remedy)
