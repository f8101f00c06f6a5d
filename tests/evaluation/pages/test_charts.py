"""The charts' positions."""

import pytest

from ntire_sr.evaluation.pages.charts import FRAME, PLOT, Point, curves, plot


@pytest.mark.parametrize("values", [[], [None], [3.0], [0.0, 0.0], [60.1, 60.2], [-1.0, 1e9]])
def test_every_curve_lies_inside_its_frame(values):
    drawn = curves([values])
    assert 2 <= len(drawn["ticks"]) <= 7
    for _, x, y, _ in [point for step in drawn["steps"] for point in step["points"]]:
        assert FRAME["left"] <= x <= FRAME["right"] and FRAME["top"] <= y <= FRAME["bottom"]


def test_curves_share_one_axis_and_a_step_tells_all_that_have_so_many_samples():
    drawn = curves([[0.0, 4.0], [0.0, 8.0, 16.0]], ["bicubic", "ours"], " %")
    assert [step["says"] for step in drawn["steps"]] == [
        "n = 1: bicubic 0 % · ours 0 %",
        "n = 2: bicubic 4 % · ours 8 %",
        "n = 3: ours 16 %",
    ]
    # 0 stands at 156 and 16 at 30.4 of an axis that ends at 20 (22): 4 %, 8 % and 16 % are 1, 2 and 4 fifths up
    assert [text for _, text in drawn["ticks"]] == ["0", "5", "10", "15", "20"]
    (_, low), (_, middle) = drawn["lines"][0][1], drawn["lines"][1][1]
    assert (156 - middle) == pytest.approx(2 * (156 - low), abs=0.2)
    assert [len(line) for line in drawn["lines"]] == [2, 3]


def test_points_and_intervals_stand_where_their_values_are():
    drawn = plot([Point("a", 0.2, 10.0, (0.1, 0.4), (0.0, 20.0)), Point("b", 0.0, 20.0)])
    left, right, top, bottom = (PLOT[side] for side in ("left", "right", "top", "bottom"))
    assert [text for _, text in drawn["x_ticks"]] == ["0", "0.1", "0.2", "0.3", "0.4"]
    a, b = drawn["points"]
    assert (a["x"], a["y"]) == ((left + right) / 2, (top + bottom) / 2)
    assert a["across"] == (left + (right - left) / 4, right)
    assert a["along"] == (bottom, top)
    assert (b["x"], b["y"], b["across"], b["along"]) == (left, top, None, None)


def test_labels_cover_neither_points_nor_each_other_and_those_without_room_are_left_out():
    crowd = [Point(f"method {at}", 0.2 + 0.0001 * at, 25.0) for at in range(30)]
    labels = [point["label"] for point in plot([*crowd, Point("far", 0.5, 5.0)])["points"]]
    assert labels[0] is not None and labels[-1] is not None
    placed = [label for label in labels if label]
    assert 2 <= len(placed) < 10
    assert len({(x, y) for x, y, _ in placed}) == len(placed)


def test_an_interval_without_an_end_is_not_drawn():
    drawn = plot([Point("a", 0.2, 10.0, (float("nan"), 0.4), None), Point("b", 0.3, 5.0)])
    assert drawn["points"][0]["across"] is None
