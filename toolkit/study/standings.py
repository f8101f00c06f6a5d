"""Results of a study: mean opinion ranks with intervals, wins, agreement, and who failed a check."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from ntire_sr.core.errors import NtireSrError, plural
from ntire_sr.evaluation.scoring.opinion import FORMAT, final_ranks
from ntire_sr.study.answers import Answer, Rater
from ntire_sr.study.folder import HR, Place, Study
from ntire_sr.study.rankings import ranking_of
from ntire_sr.study.statistics import (
    Estimate,
    Ranking,
    compare,
    first_places,
    kendalls_w,
    mor_with_intervals,
    strengths,
)


@dataclass(frozen=True)
class Standing:
    """Results for one candidate of the study."""

    name: str  # a method's, or `HR`
    samples_sha256: str  # empty for HR
    mor: Estimate
    first_share: float  # of the rankings of all candidates; nan without any
    strength: float | None  # Bradley-Terry, geometric mean 1
    diversity: float | None = None  # S_10 in per cent
    final: float | None = None  # the challenge's final rank among the methods


@dataclass(frozen=True)
class RaterStanding:
    """Answers and checks of one rater."""

    name: str
    mode: str
    answers: int  # to places
    checks: int  # that were answered
    failed: int  # checks in which HR was not ranked before bicubic
    seconds: float  # median per answer
    kept: bool


@dataclass(frozen=True)
class PlaceStanding:
    """Results for one place."""

    place: Place
    answers: int
    mor: dict[str, float]  # nan where nothing is known
    agreement: float  # Kendall's W of the rankings of all candidates; nan for less than two


@dataclass(frozen=True)
class StudyResults:
    """The results of a study."""

    study: Study
    study_sha256: str
    standings: tuple[Standing, ...]  # best first
    wins: np.ndarray  # (M, M) in the order of `study.names`, ties half
    met: np.ndarray
    raters: tuple[RaterStanding, ...]
    places: tuple[PlaceStanding, ...]  # the most disputed first
    answers: int  # that count
    agreement: float  # mean of the places' W
    notes: tuple[str, ...]
    written: Path
    page: Path

    @property
    def kept(self) -> int:
        """Number of raters whose answers count."""
        return sum(rater.kept and rater.answers > 0 for rater in self.raters)

    def as_json(self) -> dict[str, Any]:
        """The content of `results.json` and `--json`."""
        names = self.study.names
        methods = [_standing_json(standing) for standing in self.standings if standing.name != HR]
        return {
            "format": FORMAT,
            "study_sha256": self.study_sha256,
            "candidates": len(names),
            "raters": self.kept,
            "answers": self.answers,
            "agreement_W": self.agreement,
            "methods": methods,
            "HR": next(_standing_json(standing) for standing in self.standings if standing.name == HR),
            "wins": {
                name: {
                    rival: {"won": float(self.wins[i, j]), "of": int(self.met[i, j])}
                    for j, rival in enumerate(names)
                    if i != j
                }
                for i, name in enumerate(names)
            },
            "raters_kept_and_left_out": [vars(rater) for rater in self.raters],
            "places": [
                {
                    "id": standing.place.id,
                    "image": standing.place.image,
                    "top": standing.place.top,
                    "left": standing.place.left,
                    "answers": standing.answers,
                    "agreement_W": standing.agreement,
                    "mor": standing.mor,
                }
                for standing in self.places
            ],
            "notes": list(self.notes),
        }


def _standing_json(standing: Standing) -> dict[str, Any]:
    return {
        "name": standing.name,
        "samples_sha256": standing.samples_sha256,
        "mor": standing.mor.value,
        "mor_low": standing.mor.low,
        "mor_high": standing.mor.high,
        "first_share": standing.first_share,
        "strength": standing.strength,
        "S_10": standing.diversity,
        "final_rank": standing.final,
    }


def summarise(
    study: Study,
    study_sha256: str,
    raters: Sequence[Rater],
    answers: Sequence[Answer],
    diversity: Mapping[str, float],
    keep_all: bool,
    seed: int,
    written: Path,
    page: Path,
) -> StudyResults:
    """The results of a study from its answers; see `study_results`.

    Raises:
        NtireSrError: no answer counts.
    """
    places = {place.id: place for place in study.places}
    rated = [
        _rater_standing(rater, [a for a in answers if a.rater == rater.id], places, keep_all)
        for rater in raters
    ]
    counted = {rater.id for rater, standing in zip(raters, rated, strict=True) if standing.kept}
    rankings = [
        ranking_of(answer, places[answer.trial])
        for answer in answers
        if answer.rater in counted and answer.trial in places and places[answer.trial].kind == "place"
    ]
    if not rankings:
        total = plural(len(answers), "answer")
        raise NtireSrError(
            f"no ranking can be used: {total} from {plural(len(raters), 'rater')}, of whom {len(counted)} passed the checks",
            "let people rate with `ntire-sr study serve`"
            + ("" if keep_all else ", or keep everyone with --keep-all"),
        )
    names = study.names
    comparisons = compare(rankings, names)
    wins, met = comparisons.wins.sum(axis=0), comparisons.met.sum(axis=0)
    mor = mor_with_intervals(comparisons, seed)
    first, strength = first_places(rankings, names), strengths(wins, names)
    is_bounded = strength is None  # every pair tied once more keeps the strengths finite
    strength = strength or strengths(wins + (1 - np.eye(len(names))) / 2, names)
    ranks = {name: mor[name].value for name in names if name != HR and not math.isnan(mor[name].value)}
    complete = set(diversity) == set(ranks) == set(names) - {HR}
    final = final_ranks(diversity, ranks) if complete else {}
    digests = {method.name: method.samples_sha256 for method in study.methods}
    standings = [
        Standing(
            name, digests.get(name, ""), mor[name], first[name], strength[name] if strength else None,
            diversity.get(name), final.get(name),
        )
        for name in names
    ]  # fmt: skip
    standings.sort(key=lambda standing: (math.isnan(standing.mor.value), standing.mor.value))
    disputed = [_place_standing(place, rankings, names) for place in study.of_kind("place")]
    disputed.sort(key=lambda standing: (math.isnan(standing.agreement), standing.agreement))
    agreements = [standing.agreement for standing in disputed if not math.isnan(standing.agreement)]
    notes = _notes(rated, rankings, is_bounded, mor, diversity, study)
    return StudyResults(
        study, study_sha256, tuple(standings), wins, met, tuple(rated), tuple(disputed), len(rankings),
        fmean(agreements) if agreements else math.nan, tuple(notes), written, page,
    )  # fmt: skip


def _called(rater: Rater) -> str:
    return rater.name or f"anonymous {rater.id[:6]}"


def _rater_standing(
    rater: Rater, answers: Sequence[Answer], places: Mapping[str, Place], keep_all: bool
) -> RaterStanding:
    own = [(answer, places[answer.trial]) for answer in answers if answer.trial in places]
    checks = [ranking_of(answer, place).ranks for answer, place in own if place.kind == "check"]
    failed = sum(min(ranks, key=lambda name: (ranks[name], name == HR)) != HR for ranks in checks)
    counted = [answer for answer, place in own if place.kind == "place"]
    seconds = median(answer.seconds for answer in counted) if counted else math.nan
    return RaterStanding(
        _called(rater), rater.mode, len(counted), len(checks), failed, seconds, keep_all or failed == 0
    )


def _place_standing(place: Place, rankings: Sequence[Ranking], names: Sequence[str]) -> PlaceStanding:
    here = [ranking for ranking in rankings if ranking.place == place.id]
    ranks: dict[str, float] = {}
    for name in names:
        values = [ranking.ranks[name] for ranking in here if len(ranking.ranks) == len(names)]
        ranks[name] = fmean(values) if values else math.nan
    whole = [[r.ranks[name] for name in names] for r in here if len(r.ranks) == len(names)]
    return PlaceStanding(place, len(here), ranks, kendalls_w(np.array(whole)) if whole else math.nan)


def _notes(
    raters: Sequence[RaterStanding],
    rankings: Sequence[Ranking],
    is_bounded: bool,
    mor: Mapping[str, Estimate],
    diversity: Mapping[str, float],
    study: Study,
) -> list[str]:
    notes = []
    failed = [f"{rater.name} ({rater.failed} of {rater.checks})" for rater in raters if rater.failed]
    if failed:
        kept = all(rater.kept for rater in raters)
        notes.append(
            f"failed checks and are {'kept all the same' if kept else 'left out'}: {', '.join(failed)}"
        )
    unchecked = [rater.name for rater in raters if rater.kept and rater.answers and not rater.checks]
    if unchecked and study.of_kind("check"):
        notes.append(f"not checked yet: {', '.join(unchecked)}")
    if any(math.isnan(estimate.value) for estimate in mor.values()):
        notes.append("some candidates were never compared, so that their mean opinion rank is not known")
    elif any(math.isnan(estimate.low) for estimate in mor.values()):
        notes.append("intervals take answers of two or more raters and places")
    if is_bounded:
        notes.append(
            "some candidates were never ranked behind certain others; so that Bradley-Terry strengths are finite, each "
            "pair counts as if it had tied once more"
        )
    if any(len(ranking.ranks) < len(study.names) for ranking in rankings):
        notes.append("first places and agreement are over the rankings of all candidates, without the pairs")
    missing = [method.name for method in study.methods if method.name not in diversity]
    if diversity and missing:
        notes.append(f"no final rank without S_10 of {', '.join(missing)}: give it with --score")
    return notes
