"""What people said: mean opinion ranks that `ntire-sr study results` wrote, and the challenge's final rank.

The challenge ranks by the mean of two ranks: in S_10, and in the mean opinion rank (MOR) of a human study.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ntire_sr.core.errors import NtireSrError, UsageError, suggestion
from ntire_sr.core.files import read_json

FORMAT = 1
FILE_NAME = "results.json"


@dataclass(frozen=True)
class MethodOpinion:
    """What a study says about one method."""

    name: str
    samples_sha256: str  # over all its sample files, see `files.sha256_of_digests`
    mor: float | None  # mean opinion rank, 1 is best; None: not enough answers
    low: float | None  # ends of the 95 % interval
    high: float | None
    S_10: float | None = None  # in per cent, where the study was told


@dataclass(frozen=True)
class Opinions:
    """The results of a study."""

    methods: tuple[MethodOpinion, ...]
    candidates: int  # methods and the HR image
    raters: int
    answers: int

    def of(self, samples_sha256: str, name: str | None = None) -> MethodOpinion:
        """What it says about these samples, or about the method of a name.

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
        known = {method.name: method.S_10 for method in self.methods} | dict(diversity)
        s_10 = {key: value for key, value in known.items() if value is not None}
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
            1 + sum(other > diversity[name] for other in diversity.values())
            + 1 + sum(other < rank for other in mor.values())
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
    found = read_json(file, "results of a study")
    if not isinstance(found, dict) or found.get("format") != FORMAT or "methods" not in found:
        raise NtireSrError(
            f"{file} holds no results of a study that this version reads", "run `ntire-sr study results` again"
        )
    try:
        return Opinions(
            tuple(_method(each) for each in found["methods"]),
            int(found["candidates"]),
            int(found["raters"]),
            int(found["answers"]),
        )
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise NtireSrError(f"{file} is damaged ({error!r})", "run `ntire-sr study results` again") from error


def _method(values: Mapping[str, Any]) -> MethodOpinion:
    def number(name: str) -> float | None:
        value = values.get(name)
        return None if value is None else float(value)

    return MethodOpinion(
        str(values["name"]), str(values["samples_sha256"]), number("mor"), number("mor_low"), number("mor_high"),
        number("S_10"),
    )  # fmt: skip
