"""What a study with people says about compared methods, and the challenge's final rank among them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ntire_sr.core.errors import UsageError
from ntire_sr.evaluation.metrics.declarations import Figure, Values
from ntire_sr.evaluation.scoring.columns import MethodColumn
from ntire_sr.evaluation.scoring.comparison import Comparison, compare
from ntire_sr.evaluation.scoring.load_scores import Method
from ntire_sr.evaluation.scoring.opinion import MethodOpinion, Opinions, final_ranks


def ranked_comparison(methods: Sequence[Method], opinions: Opinions | None) -> Comparison:
    """Compare methods, add their opinion ranks from a study, and order them by their final rank.

    Methods of equal rank keep their order. Without a study, or where no rank is known, so do all.

    Args:
        methods: as for `compare`.
        opinions: results of a study; None without one.
    """
    if opinions is None:
        return compare(methods)
    comparison = with_opinions(compare(methods), opinions)
    ranks = [value.value for value in comparison.values.get("final_rank", ())]
    order = sorted(range(len(ranks)), key=lambda at: (math.isnan(ranks[at]), ranks[at]))
    if order == list(range(len(ranks))):
        return comparison
    return with_opinions(compare([methods[at] for at in order]), opinions)


def with_opinions(comparison: Comparison, opinions: Opinions) -> Comparison:
    """A comparison with each method's mean opinion rank in a study, and the final rank among its methods.

    A method is found in the study by the digest of its samples, whatever its name there.

    Raises:
        UsageError: the study shows the samples of none of the methods, or other samples under the name of one.
    """
    of_method = opinions_by_samples(comparison.methods, opinions)
    renamed = [f"{name} is {opinion.name}" for name, opinion in of_method.items() if opinion.name != name]
    notes = [f"In the study, by the digests of the samples, {', '.join(renamed)}."] if renamed else []
    columns = [opinion_column(of_method)]
    mor = columns[0].values
    diversity = dict(
        zip((method.name for method in comparison.methods), comparison.values.get("score", ()), strict=False)
    )
    s_n = {name: diversity[name].value for name in mor if name in diversity}
    if len(s_n) > 1 and not any(map(math.isnan, s_n.values())):
        ranks = final_ranks(s_n, {name: mor[name] for name in s_n})
        columns.append(MethodColumn(_column("final_rank", "final rank", digits=1), ranks))
    return replace(comparison.with_columns(columns), notes=[*comparison.notes, *notes])


def opinions_by_samples(methods: Sequence[Method], opinions: Opinions) -> dict[str, MethodOpinion]:
    """The opinion on each method whose samples the study shows, by the method's name.

    Raises:
        UsageError: it shows none of the samples, or other samples under the name of a method.
    """
    by_samples = {opinion.samples_sha256: opinion for opinion in opinions.methods}
    by_name = {opinion.name: opinion for opinion in opinions.methods}
    of_method = {
        method.name: by_samples[method.samples_sha256]
        for method in methods
        if method.samples_sha256 in by_samples
    }
    contradictions = [
        f"the score {method.name} ({method.folder}) is of the samples {method.samples_sha256[:12]}, and the study shows "
        f"other samples under that name: {by_name[method.name].samples_sha256[:12]}"
        for method in methods
        if method.name not in of_method and method.name in by_name
    ]
    if contradictions:
        raise UsageError(
            "; ".join(contradictions), "score the samples that the study shows, or give the method another name"
        )
    if not of_method:
        raise UsageError(
            f"the study shows the samples of none of these methods, but those of {', '.join(by_name)}",
            "score the samples that it shows",
        )
    return of_method


def opinion_column(of_method: Mapping[str, MethodOpinion]) -> MethodColumn:
    """The mean opinion ranks as a column, with their intervals.

    Args:
        of_method: from `opinions_by_samples`.
    """
    mor = {name: opinion.mor for name, opinion in of_method.items() if opinion.mor is not None}
    intervals = {
        name: (opinion.low, opinion.high)
        for name, opinion in of_method.items()
        if opinion.low is not None and opinion.high is not None
    }
    return MethodColumn(_column("MOR", "MOR", digits=2), mor, intervals)


def _column(name: str, label: str, digits: int) -> Figure[Values]:
    """A figure of a study, of which lower values are better."""
    return Figure(name=name, label=label, direction="lower", digits=digits, values=Values)
