"""The diversity score."""

import math

import pytest
import torch

from ntire_sr.evaluation.metrics.diversity import RunningDiversity, diversity_scores

pytestmark = pytest.mark.numerical


def official(maps: torch.Tensor) -> float:
    """The definition, with all maps in memory: (K, H, W)."""
    best = maps.flatten(1).mean(1).min()
    return (100 * (best - maps.min(0).values.mean()) / best).item()


def seen(maps) -> RunningDiversity:
    running = RunningDiversity()
    for distance in maps:
        running.update(distance)
    return running


def test_diversity_has_the_hand_computed_value():
    # means 2, 2.5, 3; the best sample has 2; the mosaic takes 1, 1, 2, 0: mean 1; 100 (2 - 1) / 2 = 50
    maps = torch.tensor([[1.0, 3.0, 2.0, 2.0], [4.0, 1.0, 5.0, 0.0], [2.0, 3.0, 4.0, 3.0]])
    assert seen(maps).scores[-1] == pytest.approx(50)
    assert seen(maps).means == pytest.approx([2, 2.5, 3])
    assert seen(maps).scores == pytest.approx([0, 50, 50])  # the third sample adds nothing


def test_streamed_diversity_equals_the_definition_in_any_order():
    maps = torch.rand(7, 12, 9)
    assert seen(maps).scores[-1] == pytest.approx(official(maps), rel=1e-5)
    assert seen(maps.flip(0)).scores[-1] == pytest.approx(seen(maps).scores[-1], rel=1e-6)


def test_equal_samples_have_no_diversity_and_more_samples_keep_the_best_mosaic():
    error = torch.rand(5, 5)
    assert seen([error, error, error]).scores[-1] == pytest.approx(0, abs=1e-5)
    assert seen([error]).scores[-1] == pytest.approx(0, abs=1e-5)
    worse = error + 1
    assert seen([error, worse]).scores[-1] == pytest.approx(0, abs=1e-5)


def test_s_n_is_undefined_if_a_sample_equals_the_hr_image():
    assert math.isnan(seen([torch.zeros(3, 3), torch.ones(3, 3)]).scores[-1])


def test_running_minimum_does_not_modify_its_input():
    first = torch.ones(2, 2)
    running = seen([first, torch.zeros(2, 2)])
    assert torch.equal(first, torch.ones(2, 2))
    assert running.means == [1, 0]
    assert running.mosaics == [1, 0]


def test_s_n_of_first_samples_equals_s_n_of_these_alone():
    maps = torch.rand(6, 9, 7)
    assert seen(maps).scores == pytest.approx([official(maps[:n]) for n in range(1, 7)], rel=1e-4, abs=1e-5)
    assert diversity_scores([], []) == []
