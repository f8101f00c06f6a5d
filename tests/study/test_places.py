"""Where places are cut."""

from itertools import combinations

import numpy as np
import pytest

from ntire_sr.study.hashing import chosen, shuffled
from ntire_sr.study.places import Spot, choose_spots, spots_of, texture_of


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)


def test_places_are_inside_do_not_overlap_and_are_aligned(noise):
    for seed in range(20):
        spots = spots_of(noise, 3, 40, 4, seed)
        assert len(spots) == (100 // 40) * (150 // 40)
        for spot in spots:
            assert spot.image == 3 and spot.top % 4 == 0 and spot.left % 4 == 0
            assert 0 <= spot.top <= 60 and 0 <= spot.left <= 110
        for spot, another in combinations(spots, 2):
            assert abs(spot.top - another.top) >= 40 or abs(spot.left - another.left) >= 40


def test_another_seed_gives_other_places(noise):
    assert len({spots_of(noise, 0, 40, 4, seed)[0] for seed in range(20)}) > 5


def test_image_smaller_than_a_place_has_none(noise):
    assert spots_of(noise[:39], 0, 40, 4, 0) == []


def test_texture_is_mean_difference_of_neighbours():
    ramp = np.repeat(np.arange(0, 40, 4, dtype=np.uint8)[None, :, None], 10, axis=0).repeat(3, axis=2)
    assert texture_of(ramp) == 2.0  # 4 across, 0 down
    assert texture_of(np.full((8, 8, 3), 77, np.uint8)) == 0.0


def test_flat_places_are_excluded_and_images_alternate():
    spots = [[Spot(image, top, 0, 9.0 if top else 0.5) for top in range(0, 50, 10)] for image in range(3)]
    spots_chosen = choose_spots(spots, 7, 3.0, True, 1)
    assert all(spot.texture == 9.0 for spot in spots_chosen) and len(set(spots_chosen)) == 7
    assert {spot.image for spot in spots_chosen[:3]} == {spot.image for spot in spots_chosen[3:6]} == {0, 1, 2}
    assert spots_chosen == choose_spots(spots, 7, 3.0, True, 1) != choose_spots(spots, 7, 3.0, True, 2)
    assert len(choose_spots(spots, 99, 3.0, True, 1)) == 12


def test_no_spread_gives_larger_images_more_places():
    spots = [[Spot(0, top, 0, 9.0) for top in range(90)], [Spot(1, top, 0, 9.0) for top in range(10)]]
    of_first = [sum(s.image == 0 for s in choose_spots(spots, 20, 0, False, seed)) for seed in range(30)]
    assert 16 < np.mean(of_first) < 20
    assert sum(spot.image == 0 for spot in choose_spots(spots, 20, 0, True, 0)) == 10


def test_orders_and_choices_are_uniform_and_reproducible():
    first = [shuffled(range(4), seed)[0] for seed in range(2000)]
    assert all(420 < first.count(item) < 580 for item in range(4))
    picks = [chosen("abc", seed) for seed in range(1500)]
    assert all(420 < picks.count(item) < 580 for item in "abc")
