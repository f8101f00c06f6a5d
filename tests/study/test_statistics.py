"""The statistics of a study: values worked out by hand, and simulated raters whose preferences are known."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from ntire_sr.study.statistics import (
    Ranking,
    _bootstrap_variance,
    compare,
    first_places,
    kendalls_w,
    mean_opinion_ranks,
    mid_ranks,
    mor_with_intervals,
    strengths,
)

ABC = ("a", "b", "c")


def rankings(*tiers, places=("p",), raters=None):
    """A ranking per text such as "a b=c", one rater each, at each of the places."""
    return [
        Ranking(f"r{number}", place, mid_ranks([tier.split("=") for tier in text.split()]))
        for number, text in enumerate(tiers)
        for place in places
    ]


def mor(answers, names=ABC):
    compared = compare(answers, names)
    return mean_opinion_ranks(compared.wins.sum(axis=0), compared.met.sum(axis=0))


def test_mean_opinion_rank_is_mean_of_mid_ranks():
    # a: 1, 1.5, 3; b: 2, 1.5, 1.5; c: 3, 3, 1.5
    answers = rankings("a b c", "a=b c", "b=c a")
    assert mor(answers) == pytest.approx([5.5 / 3, 5 / 3, 7.5 / 3])
    random = np.random.default_rng(0)
    many = [Ranking("r", "p", mid_ranks([[name] for name in random.permutation(ABC)])) for _ in range(50)]
    assert mor(many) == pytest.approx([np.mean([r.ranks[name] for r in many]) for name in ABC])


def test_pairs_give_the_ranks_of_full_rankings():
    # a wins 3 of 4 against b, 4 of 4 against c; b 2 of 4 against c
    answers = rankings("a b", "a b", "a b", "b a", "a c", "a c", "a c", "a c", "b c", "b c", "c b", "c b")
    assert mor(answers) == pytest.approx([1 + 1 / 4 + 0, 1 + 3 / 4 + 2 / 4, 1 + 1 + 2 / 4])
    assert np.isnan(mor(rankings("a b"))).all()  # a and c never met, nor b and c


def test_first_places_are_shared_by_ties_and_ignore_pairs():
    shares = first_places(rankings("a b c", "a=b c", "c b"), ABC)
    assert shares == pytest.approx({"a": 0.75, "b": 0.25, "c": 0.0})
    assert all(map(math.isnan, first_places(rankings("a b"), ABC).values()))


def test_kendalls_w_equals_the_formula():
    # rank sums 4, 5, 10, 11: S = 37, W = 12 * 37 / (9 * 60)
    assert kendalls_w(np.array([[1, 2, 3, 4], [1, 2, 3, 4], [2, 1, 4, 3]])) == pytest.approx(444 / 540)
    # a tie of two: T = 6; rank sums 2, 4.5, 5.5, 8: S = 18.5, W = 12 * 18.5 / (4 * 60 - 2 * 6)
    assert kendalls_w(np.array([[1, 2.5, 2.5, 4], [1, 2, 3, 4]])) == pytest.approx(222 / 228)
    assert kendalls_w(np.array([[1, 2, 3]] * 5)) == 1.0
    assert kendalls_w(np.array([[1.0, 2], [2, 1]])) == 0.0
    assert math.isnan(kendalls_w(np.array([[1, 2, 3]]))) and math.isnan(kendalls_w(np.full((3, 3), 2.0)))


def test_strengths_reproduce_exact_win_rates():
    # 2:1, 2:1 and 4:1 are the odds of strengths 4, 2, 1, whose geometric mean is 2
    wins = np.array([[0, 2, 4], [1, 0, 2], [1, 1, 0]], float)
    assert strengths(wins, ABC) == pytest.approx({"a": 2.0, "b": 1.0, "c": 0.5}, rel=1e-5)
    ties = np.array([[0, 2.5], [1.5, 0]])  # 2 won, 1 lost, 1 tie
    fitted = strengths(ties, ("a", "b"))
    assert fitted["a"] / fitted["b"] == pytest.approx(2.5 / 1.5, rel=1e-5)


def test_strengths_are_undefined_for_a_candidate_never_beaten():
    assert strengths(np.array([[0, 2, 2], [0, 0, 2], [0, 2, 0]], float), ABC) is None


def test_bootstrap_over_groups_has_the_variance_of_a_mean():
    # a against b: two raters always say a, two always b; ranks 1, 1, 2, 2 have variance 1/3 over 4 raters
    comparisons = compare(rankings("a b", "a b", "b a", "b a", places=("p", "q")), ("a", "b"))
    variance = _bootstrap_variance(comparisons, comparisons.raters, np.random.default_rng(0), 4000)
    assert variance == pytest.approx([1 / 12, 1 / 12], rel=0.08)
    assert (_bootstrap_variance(comparisons, comparisons.places, np.random.default_rng(0), 100) == 0).all()


def test_intervals_need_two_raters_and_places_and_are_seeded():
    assert math.isnan(mor_with_intervals(compare(rankings("a b c", places=("p", "q")), ABC))["a"].low)
    comparisons = compare(rankings("a b c", "b a c", "a b c", "a c b", places="pqrs"), ABC)
    first, again = (mor_with_intervals(comparisons, seed=3, replicates=100) for _ in range(2))
    assert first == again != mor_with_intervals(comparisons, seed=4, replicates=100)
    for estimate in first.values():
        assert 1 <= estimate.low <= estimate.value <= estimate.high <= 3


# ---- simulated raters

UTILITY = np.array([1.0, 0.5, 0.0, -0.8])
NAMES = ("a", "b", "c", "d")


def simulated(random, raters=12, places=15, rater=0.0, place=0.0, noise=1.0, pairs=False):
    """Rankings of raters who prefer what has more utility, with taste, places and noise of these deviations."""
    tastes, scenes = (random.normal(0, s, (n, 4)) for n, s in ((raters, rater), (places, place)))
    answers = []
    for r in range(raters):
        for p in range(places):
            seen = UTILITY + tastes[r] + scenes[p] + random.normal(0, noise, 4)
            shown = random.choice(4, 2, replace=False) if pairs else range(4)
            order = sorted(shown, key=lambda i: -seen[i])
            answers.append(Ranking(f"r{r}", f"p{p}", mid_ranks([[NAMES[i]] for i in order])))
    return answers


def true_mor(deviation):
    beaten = norm.cdf((UTILITY[None, :] - UTILITY[:, None]) / (math.sqrt(2) * deviation))
    return 1 + beaten.sum(axis=1) - 0.5


def coverage(studies, **options):
    """Share of the intervals that hold the true mean opinion rank."""
    truth = true_mor(math.hypot(options.get("rater", 0), options.get("place", 0), options.get("noise", 1.0)))
    held = []
    for number in range(studies):
        comparisons = compare(simulated(np.random.default_rng(number), **options), NAMES)
        intervals = mor_with_intervals(comparisons, replicates=200)
        held += [
            intervals[name].low <= value <= intervals[name].high
            for name, value in zip(NAMES, truth, strict=True)
        ]
    return np.mean(held)


@pytest.mark.parametrize(
    "options",
    [{}, {"rater": 0.5, "place": 0.5}, {"rater": 0.5, "pairs": True}],
    ids=["noise", "tastes and places", "pairs"],
)
def test_intervals_cover_true_mor_in_95_of_100_studies(options):
    # over 200 studies: 0.976, 0.954, 0.955
    assert 0.90 <= coverage(40, **options) <= 0.995


def test_known_preferences_give_the_known_order():
    for pairs in (False, True):
        answers = simulated(
            np.random.default_rng(1), raters=30, places=20, rater=0.3, place=0.3, noise=0.7, pairs=pairs
        )
        estimates = mor_with_intervals(compare(answers, NAMES), replicates=100)
        assert sorted(NAMES, key=lambda name: estimates[name].value) == list(NAMES)


def test_rater_with_constant_answers_does_not_change_the_order():
    answers = simulated(np.random.default_rng(2), raters=20, rater=0.3, noise=0.7)
    everything_equal = [Ranking("bored", f"p{p}", mid_ranks([NAMES])) for p in range(15)]
    before, after = (
        mor_with_intervals(compare(rankings_of_study, NAMES))
        for rankings_of_study in (answers, answers + everything_equal)
    )
    for name in NAMES:
        # 1 of 21 raters says 2.5
        assert after[name].value == pytest.approx((20 * before[name].value + 2.5) / 21)
    assert sorted(NAMES, key=lambda name: after[name].value) == list(NAMES)
