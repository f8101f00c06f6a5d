"""The trials of one rater and their order, which depend only on the study and the rater's id."""

from dataclasses import dataclass
from itertools import combinations

from ntire_sr.study.folder import BICUBIC, HR, Kind, Place, Study
from ntire_sr.study.hashing import shuffled


@dataclass(frozen=True)
class Trial:
    """One page of a rater."""

    id: str  # of the place
    kind: Kind
    candidates: tuple[str, ...]  # SHA-256 of the pictures, in the order in which they are shown
    lr: str | None  # SHA-256 of the LR picture, if it is shown


def trials_of(study: Study, rater: str, mode: str) -> list[Trial]:
    """The trials of a rater: practice, then all places in random order with the checks spread among them.

    Args:
        study: the study.
        rater: id of the rater.
        mode: "full": all candidates of a place; "pairs": two of them, each pair about equally often.
    """
    ordered = _spread(
        shuffled(study.of_kind("place"), study.seed, rater, "places"),
        shuffled(study.of_kind("check"), study.seed, rater, "checks"),
    )
    pairs = list(combinations(study.names, 2))
    trials, number = [], 0
    for place in [*study.of_kind("practice"), *ordered]:
        names = list(place.candidates)
        if mode == "pairs" and place.kind == "place":
            turn, index = divmod(number, len(pairs))
            names = list(shuffled(pairs, study.seed, rater, "pairs", turn)[index])
            number += 1
        elif mode == "pairs":
            names = [BICUBIC, HR]
        shown = shuffled((place.candidates[name] for name in names), study.seed, rater, place.id)
        trials.append(Trial(place.id, place.kind, tuple(shown), place.lr))
    return trials


def _spread(places: list[Place], checks: list[Place]) -> list[Place]:
    """The places with the checks among them, at equal distances from each other and from both ends."""
    ordered, share = [], len(places) / (len(checks) + 1)
    before = [round(share * (number + 1)) for number in range(len(checks))]
    for number, place in enumerate(places):
        ordered += [check for check, at in zip(checks, before, strict=True) if at == number]
        ordered.append(place)
    return ordered + [check for check, at in zip(checks, before, strict=True) if at >= len(places)]
