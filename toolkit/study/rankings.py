"""Answers as rankings of methods, and all of them as a table."""

import csv
import io
from collections.abc import Sequence

from ntire_sr.core.files import csv_cell
from ntire_sr.study.answers import Answer, Rater
from ntire_sr.study.folder import Place, Study
from ntire_sr.study.statistics import Ranking, mid_ranks


def ranking_of(answer: Answer, place: Place) -> Ranking:
    """An answer, which ranks pictures, as a ranking of the candidates that they are of."""
    of = place.method_of
    return Ranking(
        answer.rater, answer.trial, mid_ranks([[of[digest] for digest in tier] for tier in answer.ranking])
    )


def answers_csv(study: Study, raters: Sequence[Rater], answers: Sequence[Answer]) -> str:
    """A row per rater, place and candidate, practice and checks too."""
    places, names = {place.id: place for place in study.places}, {rater.id: rater for rater in raters}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        [
            "rater",
            "name",
            "mode",
            "kind",
            "place",
            "image",
            "top",
            "left",
            "candidate",
            "rank",
            "seconds",
            "stored",
        ]
    )
    for answer in answers:
        place, rater = places[answer.trial], names[answer.rater]
        for candidate, rank in ranking_of(answer, place).ranks.items():
            table.writerow(
                [
                    rater.id, csv_cell(rater.name), rater.mode, place.kind, place.id, csv_cell(place.image),
                    place.top, place.left, csv_cell(candidate), f"{rank:g}", f"{answer.seconds:.1f}", answer.created,
                ]
            )  # fmt: skip
    return text.getvalue()
