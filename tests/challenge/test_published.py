"""The published table."""

import math

import pytest

from ntire_sr.challenge.published import RESULTS_2021, standing


def test_score_is_ranked_between_published_entries():
    place = standing(4, lpips=0.13, lr_psnr_db=60.0, diversity=24.5)
    teams = [row.entry.team for row in place.rows]
    assert teams[2:5] == ["SRFlow (baseline)", "this score", "BeWater"]
    # by LPIPS: SSS, Deepest, CIPLAB, SRFlow and ESRGAN are lower; the ground truth has no rank
    assert (place.ours.by_diversity, place.ours.by_lpips) == (4, 6)
    assert place.rows[-1].by_lpips is None and place.ranked == 14


def test_equal_values_share_a_rank_and_rows_are_sorted_by_diversity():
    ours = RESULTS_2021[8][0]
    place = standing(8, ours.lpips, ours.lr_psnr_db, ours.diversity)
    processes = {row.entry.team: row.by_diversity for row in place.rows}
    assert processes["this score"] == processes["svnit_ntnu"]
    diversities = [row.entry.diversity for row in place.rows if row.by_diversity]
    assert diversities == sorted(diversities, reverse=True)


@pytest.mark.parametrize(("scale", "under"), [(4, 5), (8, 6)])
def test_entries_under_45_dB_are_marked(scale, under):
    assert sum(entry.under for entry in RESULTS_2021[scale]) == under
    assert not standing(scale, 0.3, 45.0, 5.0).ours.entry.under
    assert standing(scale, 0.3, 44.99, 5.0).ours.entry.under
    assert RESULTS_2021[scale][-1].lr_psnr_db == math.inf
