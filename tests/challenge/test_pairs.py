"""Pairs of file names of two folders."""

import unicodedata

import pytest

from ntire_sr.challenge.pairs import pair_names, suggest_pattern
from ntire_sr.core.errors import UsageError


@pytest.mark.parametrize(
    ("lr", "hr", "ignored"),
    [
        (["face", "facet"], ["face", "facet"], ""),
        (["facex4", "facetx4"], ["face", "facet"], "suffixes"),
        (["B", "a"], ["b", "A"], "case"),
        (["0801_bicLRx4", "0802_bicLRx4"], ["0801", "0802"], "suffixes"),
        (["baby_LRBI_x4", "bird_LRBI_x4"], ["baby_HR_x4", "bird_HR_x4"], "suffixes"),
        (["a_LR", "b_LR"], ["a_HR", "b_HR"], "suffixes"),
        (["0801x4m", "0802x4m"], ["0801", "0802"], "suffixes"),
        (["matrix4", "foo"], ["matrix4", "foo"], ""),
        (["matrix4x4", "foox4"], ["matrix4", "foo"], "suffixes"),
        (["1x4", "10x4"], ["001", "010"], "leading zeros"),
        ([unicodedata.normalize("NFD", "é"), "b"], [unicodedata.normalize("NFC", "é"), "b"], "Unicode"),
    ],
)
def test_names_pair_in_spite_of_spelling(lr, hr, ignored):
    pairs = pair_names([f"{name}.png" for name in lr], [f"{name}.PNG" for name in hr])
    assert pairs.positions == {f"{name}.png": position for position, name in enumerate(lr)}
    assert pairs.ignored.startswith(ignored) and bool(pairs.ignored) == bool(ignored) == bool(pairs.example)


def test_ambiguous_names_have_no_partner():
    pairs = pair_names(["a_LR.png", "a_x4.png", "b_LR.png"], ["a.png", "b.png"])
    assert pairs.positions == {"b_LR.png": 1}


def test_pattern_pairs_names_that_differ_systematically():
    lr, hr = ["small.1.v.png", "small.2.v.png"], ["2.png", "1.png"]
    assert pair_names(lr, hr).positions == {}
    assert suggest_pattern(lr, hr) == "small.{stem}.v"
    assert pair_names(lr, hr, "small.{stem}.v.png").positions == {"small.1.v.png": 1, "small.2.v.png": 0}
    assert suggest_pattern(["x.png", "y.png"], hr) is None
    with pytest.raises(UsageError, match=r"does not have {stem} once"):
        pair_names(lr, hr, "small.{sample}")
