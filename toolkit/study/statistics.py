"""The statistics of a study: mean opinion ranks with intervals, wins, strengths and agreement.

A ranking is kept as mid-ranks: candidates that share a rank have the mean of the places that they fill. Rankings of
all candidates and of pairs are counted alike, by comparing candidates two by two.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

REPLICATES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Ranking:
    """One answer: the mid-ranks of the candidates that were shown, 1 is the most real."""

    rater: str
    place: str
    ranks: Mapping[str, float]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; both ends are nan if it is not known."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparisons:
    """Rankings as comparisons two by two, of A answers and M candidates."""

    names: tuple[str, ...]
    raters: np.ndarray  # (A,) number of the rater of each answer
    places: np.ndarray  # (A,) number of the place
    wins: np.ndarray  # (A, M, M): 1 where i was more real than j, 0.5 for equal ranks, else 0
    met: np.ndarray  # (A, M, M): 1 where i and j, which differ, were both shown


def mid_ranks(tiers: Sequence[Sequence[str]]) -> dict[str, float]:
    """Ranks from 1 on; those of a tier share the mean of their places.

    >>> mid_ranks([["a"], ["b", "c"], ["d"]])
    {'a': 1.0, 'b': 2.5, 'c': 2.5, 'd': 4.0}
    """
    ranks: dict[str, float] = {}
    before = 0
    for tier in tiers:
        ranks |= dict.fromkeys(tier, before + (len(tier) + 1) / 2)
        before += len(tier)
    return ranks


def compare(rankings: Sequence[Ranking], names: Sequence[str]) -> Comparisons:
    """The comparisons that the rankings hold, among the candidates `names`."""
    count, size = len(rankings), len(names)
    ranks = np.full((count, size), np.nan)
    for row, ranking in zip(ranks, rankings, strict=True):
        row[:] = [ranking.ranks.get(name, math.nan) for name in names]
    difference = ranks[:, None, :] - ranks[:, :, None]  # of rank j and rank i: positive where i is more real
    met = ~np.isnan(difference) & ~np.eye(size, dtype=bool)
    wins = np.where(met, (np.sign(np.nan_to_num(difference)) + 1) / 2, 0.0)
    numbers = [
        np.unique([getattr(ranking, what) for ranking in rankings], return_inverse=True)[1]
        if rankings
        else np.zeros(0, int)
        for what in ("rater", "place")
    ]
    return Comparisons(tuple(names), numbers[0], numbers[1], wins, met.astype(float))


def mean_opinion_ranks(wins: np.ndarray, met: np.ndarray) -> np.ndarray:
    """The mean opinion rank of each candidate: 1 plus the shares in which the other candidates were more real.

    Over rankings of all candidates this equals the mean of the mid-ranks, as the challenge computes it; over pairs it
    is the rank that the pairs imply.

    Args:
        wins: (..., M, M), how often i was more real than j, ties half.
        met: (..., M, M), how often i and j were compared.

    Returns:
        (..., M), 1 is best and M worst; nan where a pair never met.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        share = wins / met
    size = share.shape[-1]
    share[..., range(size), range(size)] = 0.0
    ranks: np.ndarray = 1 + share.sum(axis=-2)
    return ranks


def mor_with_intervals(
    comparisons: Comparisons, seed: int = 0, replicates: int = REPLICATES
) -> dict[str, Estimate]:
    """Mean opinion ranks with 95 % intervals over raters and places.

    Three bootstraps draw raters, places, and single answers with replacement. Their variances combine as
    V = V_raters + V_places - V_answers, since each of the first two holds the noise of single answers once (Cameron,
    Gelbach and Miller, "Robust inference with multiway clustering", J. Business & Economic Statistics 29, 2011);
    drawing raters and places at once would count it three times (Owen, "The pigeonhole bootstrap", Annals of Applied
    Statistics 1, 2007). The interval is the value -+ t sqrt(V), with one degree of freedom less than there are raters
    or places, whichever are fewer.
    """
    size = len(comparisons.names)
    wins, met = comparisons.wins.sum(axis=0), comparisons.met.sum(axis=0)
    value = mean_opinion_ranks(wins, met)
    raters, places = (len(np.unique(groups)) for groups in (comparisons.raters, comparisons.places))
    generator = np.random.default_rng(seed)
    answers = np.arange(len(comparisons.raters))
    by_rater, by_place, by_answer = (
        _bootstrap_variance(comparisons, groups, generator, replicates)
        for groups in (comparisons.raters, comparisons.places, answers)
    )
    variance = np.maximum(by_rater + by_place - by_answer, np.maximum(by_rater, by_place))
    fewest = min(raters, places)
    quantile = stdtrit(fewest - 1, (1 + LEVEL) / 2) if fewest > 1 else math.nan
    half = quantile * np.sqrt(variance)
    return {
        name: Estimate(
            float(value[i]),
            float(np.maximum(value[i] - half[i], 1.0)),
            float(np.minimum(value[i] + half[i], size)),
        )
        for i, name in enumerate(comparisons.names)
    }


def _bootstrap_variance(
    comparisons: Comparisons, groups: np.ndarray, generator: np.random.Generator, replicates: int
) -> np.ndarray:
    """(M,): variance of the mean opinion ranks when groups of answers are drawn with replacement.

    The bias of the bootstrap for few groups is corrected.
    """
    size = len(comparisons.names)
    count = int(groups.max()) + 1 if len(groups) else 0
    if count < 2:
        return np.zeros(size)
    wins, met = (_sums(values, groups, count) for values in (comparisons.wins, comparisons.met))
    total = wins.sum(axis=0) / np.maximum(met.sum(axis=0), 1)
    ranks = []
    for start in range(0, replicates, 100):
        rows = min(100, replicates - start)
        weights = generator.multinomial(count, np.full(count, 1 / count), size=rows).astype(float)
        drawn_wins, drawn_met = weights @ wins, weights @ met
        # a pair that no drawn answer holds keeps its share
        drawn_wins, drawn_met = np.where(drawn_met, drawn_wins, total), np.where(drawn_met, drawn_met, 1.0)
        ranks.append(mean_opinion_ranks(drawn_wins.reshape(-1, size, size), drawn_met.reshape(-1, size, size)))
    variance: np.ndarray = np.concatenate(ranks).var(axis=0, ddof=1)
    return variance * count / (count - 1)


def _sums(values: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """(count, M * M): the sum over the answers of each group."""
    sums = np.zeros((count, values.shape[1] * values.shape[2]))
    np.add.at(sums, groups, values.reshape(len(values), -1))
    return sums


def first_places(rankings: Sequence[Ranking], names: Sequence[str]) -> dict[str, float]:
    """Share of the rankings of all candidates in which each is first; a shared first place is divided.

    nan where there is no such ranking.
    """
    whole = [ranking for ranking in rankings if len(ranking.ranks) == len(names)]
    share = dict.fromkeys(names, 0.0 if whole else math.nan)
    for ranking in whole:
        best = min(ranking.ranks.values())
        first = [name for name, rank in ranking.ranks.items() if rank == best]
        for name in first:
            share[name] += 1 / len(first) / len(whole)
    return share


def strengths(wins: np.ndarray, names: Sequence[str]) -> dict[str, float] | None:
    """Bradley-Terry strengths with geometric mean 1: i wins against j with probability s_i / (s_i + s_j).

    Args:
        wins: (M, M), how often i was more real than j, ties half.
        names: of the M candidates.

    Returns:
        None where the answers give no finite strengths: the candidates fall into two parts, and none of one was ever
        more real than one of the other.
    """
    import evalica

    size = len(names)
    reached = (wins > 0) | np.eye(size, dtype=bool)
    for _ in range(size):
        reached = (reached.astype(int) @ reached.astype(int)) > 0
    if not reached.all():
        return None
    fought = [(i, j) for i in range(size) for j in range(size) if wins[i, j] > 0]
    result = evalica.bradley_terry(
        [names[i] for i, _ in fought],
        [names[j] for _, j in fought],
        [evalica.Winner.X] * len(fought),
        weights=[float(wins[i, j]) for i, j in fought],
        tolerance=1e-10,
        limit=100_000,
    )
    scores = {name: float(result.scores[name]) for name in names}
    mean = math.exp(sum(map(math.log, scores.values())) / size)
    return {name: score / mean for name, score in scores.items()}


def kendalls_w(ranks: np.ndarray) -> float:
    """Kendall's coefficient of concordance, corrected for ties: 1 where all raters agree, about 1 / m by chance.

    W = (12 S) / (m^2 (n^3 - n) - m sum T), with S the squared deviations of the rank sums from their mean, and
    T = sum (t^3 - t) over the groups of t equal ranks of a rater (Kendall and Gibbons, "Rank correlation methods",
    5th ed., 1990, chapter 6).

    Args:
        ranks: (m, n), mid-ranks of n candidates by m raters.

    Returns:
        nan for less than two raters, or where all rank everything equal.
    """
    raters, size = ranks.shape
    if raters < 2 or size < 2:
        return math.nan
    sums = ranks.sum(axis=0)
    deviations = ((sums - sums.mean()) ** 2).sum()
    ties = 0
    for row in ranks:
        _, counts = np.unique(row, return_counts=True)
        ties += int((counts**3 - counts).sum())
    most = raters**2 * (size**3 - size) - raters * ties
    return float(12 * deviations / most) if most > 0 else math.nan
