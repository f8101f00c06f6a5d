"""Paired differences and their bootstrap intervals, worked out by hand and by simulation."""

import math

import numpy as np
import pytest

from ntire_sr.evaluation.scoring.paired import bootstrap_interval, paired_difference


def test_paired_difference_has_the_hand_computed_values():
    a, b = [0.2, 0.4, 0.3, 0.5], [0.3, 0.3, 0.3, 0.8]
    difference = paired_difference(a, b, lower_is_better=True)
    # a - b: -.1, +.1, 0, -.3
    assert difference.difference == pytest.approx(-0.075)
    assert (difference.images, difference.a_favoured, difference.b_favoured, difference.equal) == (4, 2, 1, 1)
    turned_round = paired_difference(a, b, lower_is_better=False)
    assert (turned_round.difference, turned_round.interval) == (difference.difference, difference.interval)
    assert (turned_round.a_favoured, turned_round.b_favoured, turned_round.equal) == (1, 2, 1)
    turned = paired_difference(b, a, lower_is_better=True)
    assert (turned.difference, turned.a_favoured) == (pytest.approx(0.075), 1)


def test_interval_favours_the_better_method_unless_it_holds_0():
    lower = [0.10, 0.11, 0.09, 0.10]
    higher = [value + 0.05 + 0.001 * at for at, value in enumerate(lower)]
    clear = paired_difference(lower, higher, lower_is_better=True)
    assert clear.interval[1] < 0
    assert (clear.favours(lower_is_better=True), clear.favours(lower_is_better=False)) == ("a", "b")
    turned = paired_difference(higher, lower, lower_is_better=True)
    assert (turned.favours(lower_is_better=True), turned.favours(lower_is_better=False)) == ("b", "a")
    mixed = paired_difference([1.0, 3.0, 1.0, 3.0], [2.0, 2.0, 2.0, 2.0], lower_is_better=True)
    assert mixed.interval[0] < 0 < mixed.interval[1] and mixed.favours(lower_is_better=True) is None


def test_degenerate_intervals_have_the_known_values():
    assert bootstrap_interval([2.5] * 7) == (2.5, 2.5)
    # of two values nothing is known but themselves: t is 12.7 there, and the tails are the outermost means
    assert bootstrap_interval([0.0, 1.0]) == (0.0, 1.0)
    assert all(map(math.isnan, bootstrap_interval([1.0])))
    assert all(map(math.isnan, bootstrap_interval([1.0, math.inf, 2.0])))
    assert bootstrap_interval([math.nan, 0.0, 1.0]) == (0.0, 1.0)


def test_interval_of_many_values_equals_students_t():
    values = np.random.default_rng(0).normal(3.0, 2.0, 200)
    half = 1.972 * values.std(ddof=1) / math.sqrt(200)  # t at 199 degrees of freedom
    assert bootstrap_interval(values) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_the_same_values_and_seed_give_the_same_interval():
    values = [math.sqrt(at) for at in range(20)]
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)


def test_about_95_of_100_intervals_contain_the_true_mean():
    # 500 data sets of 12 images: 475 expected, with a standard deviation of 4.9; plain percentiles hold 92 %
    random = np.random.default_rng(0)
    held = 0
    for _ in range(500):
        low, high = bootstrap_interval(random.normal(0.3, 1.0, 12))
        held += low <= 0.3 <= high
    assert 460 <= held <= 490


def test_undefined_values_are_left_out_and_infinite_ones_not_averaged():
    difference = paired_difference([1.0, math.nan, 2.0], [2.0, 1.0, 4.0], lower_is_better=True)
    assert (difference.images, difference.difference, difference.a_favoured) == (2, -1.5, 2)
    difference = paired_difference([60.0, math.inf, math.inf], [50.0, 50.0, math.inf], lower_is_better=False)
    assert (difference.images, difference.a_favoured, difference.b_favoured, difference.equal) == (3, 2, 0, 1)
    assert math.isnan(difference.difference) and difference.favours(lower_is_better=False) is None
    assert paired_difference([math.nan], [1.0], lower_is_better=True).images == 0
