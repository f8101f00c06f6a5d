"""Positions of lines, points and labels in the charts."""

import pytest

from ntire_sr.evaluation.pages.charts import (
    CURVES_FRAME,
    LETTER_WIDTH,
    PLOT_FRAME,
    Point,
    curve_chart,
    place_points,
)


@pytest.mark.parametrize("values", [[], [None], [3.0], [0.0, 0.0], [60.1, 60.2], [-1.0, 1e9]])
def test_curves_lie_inside_the_frame(values):
    chart = curve_chart("S_n", [values])
    assert 2 <= len(chart["ticks"]) <= 7
    for _, x, y, _ in [point for step in chart["steps"] for point in step["points"]]:
        assert CURVES_FRAME["left"] <= x <= CURVES_FRAME["right"]
        assert CURVES_FRAME["top"] <= y <= CURVES_FRAME["bottom"]


@pytest.mark.parametrize("value", [0.0, 3e-5, 0.112, 0.5, 1.2, 60.1])
def test_axes_of_equal_values_do_not_go_below_zero(value):
    ticks = curve_chart("S_n", [[value]])["ticks"] + curve_chart("S_n", [[value, value]])["ticks"]
    placed = place_points([Point("a", value, value)])
    assert min(float(text) for _, text in [*ticks, *placed["x_ticks"], *placed["y_ticks"]]) >= 0
    assert min(float(text) for _, text in curve_chart("S_n", [[-0.2]])["ticks"]) <= -0.2


def test_curves_of_several_methods_share_axis_and_steps():
    chart = curve_chart("S_n", [[0.0, 4.0], [0.0, 8.0, 16.0]], ["bicubic", "ours"])
    assert [step["text"] for step in chart["steps"]] == [
        "n = 1: bicubic 0 % · ours 0 %",
        "n = 2: bicubic 4 % · ours 8 %",
        "n = 3: ours 16 %",
    ]
    # the axis ends at 0 (y = 156) and 20 (y = 22): 4 %, 8 % and 16 % are at 1/5, 2/5 and 4/5 of it
    assert [text for _, text in chart["ticks"]] == ["0", "5", "10", "15", "20"]
    (_, low), (_, middle) = chart["lines"][0][1], chart["lines"][1][1]
    assert (156 - middle) == pytest.approx(2 * (156 - low), abs=0.2)
    assert [len(line) for line in chart["lines"]] == [2, 3]


def test_points_and_intervals_are_placed_at_their_values():
    placed = place_points([Point("a", 0.2, 10.0, (0.1, 0.4), (0.0, 20.0)), Point("b", 0.0, 20.0)])
    left, right, top, bottom = (PLOT_FRAME[side] for side in ("left", "right", "top", "bottom"))
    assert [text for _, text in placed["x_ticks"]] == ["0", "0.1", "0.2", "0.3", "0.4"]
    a, b = placed["points"]
    assert (a["x"], a["y"]) == ((left + right) / 2, (top + bottom) / 2)
    assert a["x_interval"] == (left + (right - left) / 4, right)
    assert a["y_interval"] == (bottom, top)
    assert (b["x"], b["y"], b["x_interval"], b["y_interval"]) == (left, top, None, None)


def test_ticks_at_the_right_edge_are_not_cut_off():
    placed = place_points([Point("a", 0.1201, 10.0), Point("b", 0.1203, 20.0)])
    x, text = placed["x_ticks"][-1]
    assert text == "0.1203" and x + len(text) * LETTER_WIDTH / 2 <= 640  # the view box is as wide


def test_labels_without_room_are_left_out():
    crowd = [Point(f"method {at}", 0.2 + 0.0001 * at, 25.0) for at in range(30)]
    labels = [point["label"] for point in place_points([*crowd, Point("far", 0.5, 5.0)])["points"]]
    assert labels[0] is not None and labels[-1] is not None
    shown = [label for label in labels if label]
    assert 2 <= len(shown) < 10
    assert len({(x, y) for x, y, _ in shown}) == len(shown)


def test_interval_with_undefined_end_is_not_placed():
    placed = place_points([Point("a", 0.2, 10.0, (float("nan"), 0.4), None), Point("b", 0.3, 5.0)])
    assert placed["points"][0]["x_interval"] is None
