"""Rank histograms: by hand, of calibrated samples, and what a wrong spread looks like."""

import numpy as np
import pytest
import torch

from ntire_sr.evaluation.metrics.base import Reference
from ntire_sr.evaluation.metrics.ranks import RankMetric, RankValues


def histogram(hr: np.ndarray, samples: list[np.ndarray]) -> list[float]:
    def tensor(image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(image.astype(np.uint8)).expand(1, 3, *image.shape).contiguous()

    reference = Reference(tensor(hr), 4)
    metric = RankMetric(reference)
    for image in samples:
        metric.update(reference.sample(tensor(image)))
    return metric.compute().ranks


def test_ranks_worked_out_by_hand_divide_ties():
    hr = np.array([[10, 20], [30, 40]])
    samples = [np.array([[5, 30], [30, 40]]), np.array([[6, 20], [50, 40]])]
    # ranks: 2 (above both); 0 or 1 (one tie); 0 or 1; 0, 1 or 2 (both tie)
    assert histogram(hr, samples) == pytest.approx([4 / 12, 4 / 12, 4 / 12])


@pytest.mark.parametrize(("spread", "shape"), [(1.0, "level"), (0.4, "high ends"), (3.0, "high middle")])
def test_histogram_shows_the_spread_of_the_samples(spread, shape):
    generator = np.random.default_rng(0)
    hr, *samples = (
        128 + generator.normal(0, 20 * (spread if at else 1.0), (96, 96)).round().clip(-127, 127)
        for at in range(6)
    )
    shares = histogram(hr, samples)
    assert sum(shares) == pytest.approx(1)
    ends, middle = shares[0] + shares[-1], shares[2] + shares[3]
    if shape == "level":
        assert shares == pytest.approx([1 / 6] * 6, abs=0.02)
    else:
        assert (ends > 2 * middle) == (shape == "high ends") and (middle > 2 * ends) == (shape == "high middle")


def test_histogram_of_a_wrong_length_is_refused():
    RankValues(ranks=[0.5, 0.5]).check(1)
    RankValues().check(1)
    with pytest.raises(ValueError, match="3 values for 1 samples"):
        RankValues(ranks=[0.5, 0.5, 0.0]).check(1)
