"""What a rater is shown."""

from collections import Counter
from itertools import combinations

from ntire_sr.study.folder import HR
from ntire_sr.study.trials import trials_of

RATERS = [f"{number:032x}" for number in range(60)]


def test_rater_starts_with_practice_and_sees_every_place_once(study):
    for rater in RATERS[:5]:
        trials = trials_of(study, rater, "full")
        assert [trial.kind for trial in trials[:2]] == ["practice"] * 2
        assert sorted(trial.id for trial in trials) == sorted(place.id for place in study.places)
        for trial in trials:
            place = next(place for place in study.places if place.id == trial.id)
            assert sorted(trial.candidates) == sorted(place.candidates.values())


def test_checks_are_spread_and_not_at_the_ends(study):
    for rater in RATERS:
        kinds = [trial.kind for trial in trials_of(study, rater, "full")[2:]]
        at = [number for number, kind in enumerate(kinds) if kind == "check"]
        assert len(at) == 2 and at[0] > 0 and at[1] < len(kinds) - 1 and at[1] - at[0] > 1


def test_order_differs_between_raters_and_is_fixed_for_one(study):
    assert trials_of(study, RATERS[0], "full") == trials_of(study, RATERS[0], "full")
    orders = {tuple(trial.id for trial in trials_of(study, rater, "full")) for rater in RATERS}
    assert len(orders) > 30
    place = study.of_kind("place")[0]
    first = Counter()
    for rater in RATERS:
        trial = next(trial for trial in trials_of(study, rater, "full") if trial.id == place.id)
        first[place.method_of[trial.candidates[0]]] += 1
    assert set(first) == set(study.names) and min(first.values()) >= 8  # of 60, 20 expected


def test_pairs_show_two_candidates_each_pair_equally_often(study):
    pairs = Counter()
    for rater in RATERS:
        trials = trials_of(study, rater, "pairs")
        assert all(len(trial.candidates) == 2 for trial in trials)
        own = Counter()
        for trial in trials:
            place = next(place for place in study.places if place.id == trial.id)
            names = frozenset(place.method_of[digest] for digest in trial.candidates)
            if trial.kind == "place":
                own[names] += 1
            else:
                assert names == {"bicubic", HR}
        assert max(own.values()) - min(own.values()) <= 1
        pairs += own
    assert set(pairs) == {frozenset(pair) for pair in combinations(study.names, 2)}
    assert min(pairs.values()) > 0.75 * sum(pairs.values()) / 3
