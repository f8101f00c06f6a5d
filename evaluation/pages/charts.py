"""Positions of the lines, points and ticks of the pages' charts.

Positions are in units of the SVG's view box, which the page scales. All are numbers, so that a name can do no harm.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

# plot area of the curves in a view box of 340 x 190 units; curves keep `margin` from its left and right sides
CURVES_FRAME = {"left": 40.0, "right": 330.0, "top": 22.0, "bottom": 156.0, "margin": 16.0}
PLOT_FRAME = {"left": 52.0, "right": 614.0, "top": 16.0, "bottom": 336.0, "margin": 0.0}  # of 640 x 380 units
LABEL_HEIGHT, LETTER_WIDTH = 11.0, 5.8  # of a label in the plot
LABEL_DISTANCE = 8.0  # distance from the middle of a point to its label
Box = tuple[float, float, float, float]  # left, top, right, bottom


def curve_chart(
    label: str, curves: Sequence[Sequence[float | None]], names: Sequence[str] = ("",)
) -> dict[str, Any]:
    """Place curves of a percentage, higher is better, over n = 1, 2, ... samples.

    >>> chart = curve_chart("S_n", [[0.0, 5.0, None, 10.0]])
    >>> [(step["n"], step["text"], step["points"]) for step in chart["steps"]][1:]
    [(2, 'n = 2: 5 %', [(0, 142.0, 89.0, '5')]), (4, 'n = 4: 10 %', [(0, 314.0, 22.0, '10')])]
    >>> chart["ticks"]
    [(156.0, '0'), (89.0, '5'), (22.0, '10')]

    Args:
        label: what the curves show.
        curves: for each method, its values; None or nan where they are undefined.
        names: names of the methods, for the text of a step.

    Returns:
        label; named: whether there are several methods; steps: for every n with a value, `n`, `points` as
        (method, x, y, text), and their values as `text`; lines: [(x, y), ...] of each curve; ticks: (y, text).
    """
    most = max(map(len, curves), default=0)
    chart = line_chart(
        label,
        range(1, most + 1),
        curves,
        names,
        x_name="n",
        x_label="n, samples",
        unit="%",
        direction="higher is better",
    )
    # every n has a tick, or of many the first, the last and each fifth one
    few = len(chart["steps"]) <= 12
    chart["x_ticks"] = [
        (step["points"][0][1], f"{step['n']}")
        for at, step in enumerate(chart["steps"])
        if few or at in (0, len(chart["steps"]) - 1) or step["n"] % 5 == 0
    ]
    return chart


def line_chart(
    label: str,
    x: Sequence[float],
    curves: Sequence[Sequence[float | None]],
    names: Sequence[str] = ("",),
    *,
    x_name: str,
    x_label: str,
    unit: str = "",
    direction: str = "",
) -> dict[str, Any]:
    """Place curves over any x, such as training steps.

    Args:
        label: what the curves show.
        x: increasing positions of the values.
        curves: for each name, its values; None or nan where they are undefined; may be shorter than `x`.
        names: names of the curves, for the text of a step.
        x_name: name of x in the text of a step.
        x_label: label of the x axis.
        unit: unit of the values.
        direction: such as "higher is better"; empty if neither is.

    Returns:
        As `curve_chart`, with unit, direction, x_label; x_ticks: (x, text).
    """
    low, high, step = _axis([value for curve in curves for value in curve if _is_finite(value)])
    left, right = CURVES_FRAME["left"] + CURVES_FRAME["margin"], CURVES_FRAME["right"] - CURVES_FRAME["margin"]
    first, last = (x[0], x[-1]) if x else (0, 1)

    def place_x(value: float) -> float:
        return round(left + (value - first) / (last - first or 1) * (right - left), 1)

    steps: list[dict[str, Any]] = []
    lines: list[list[tuple[float, float]]] = [[] for _ in curves]
    shown_unit = f" {unit}" if unit else ""
    for place, position in enumerate(x):
        points, texts = [], []
        for at, curve in enumerate(curves):
            value = curve[place] if place < len(curve) else None
            if not _is_finite(value):
                continue
            y = _place(value, low, high, CURVES_FRAME["bottom"], CURVES_FRAME["top"])
            points.append((at, place_x(position), y, f"{value:.3g}"))
            texts.append(f"{names[at]} {value:.3g}{shown_unit}".lstrip())
            lines[at].append((place_x(position), y))
        if points:
            steps.append(
                {"n": position, "text": f"{x_name} = {position:g}: {' · '.join(texts)}", "points": points}
            )
    ticks = [tick for tick in _ticks(*_axis([first, last])) if first <= tick <= last]
    return {
        "label": label,
        "named": len(curves) > 1,
        "unit": unit,
        "direction": direction,
        "x_label": x_label,
        "steps": steps,
        "lines": lines,
        "ticks": [
            (_place(tick, low, high, CURVES_FRAME["bottom"], CURVES_FRAME["top"]), f"{tick:.4g}")
            for tick in _ticks(low, high, step)
        ],
        "x_ticks": [(place_x(tick), f"{tick:.4g}") for tick in ticks],
    }


def rank_chart(shares: Sequence[float]) -> dict[str, Any]:
    """Place the bars of a rank histogram, and the line that all would reach if every rank were equally likely.

    >>> chart = rank_chart([0.5, 0.25, 0.25])
    >>> [(bar["rank"], bar["text"]) for bar in chart["bars"]][0], chart["even"]
    ((0, 'above 0 of 2 samples: 50.0 % of the pixels'), 81.6)

    Args:
        shares: share of the pixels with rank 0, 1, ... n.

    Returns:
        bars: for each rank, `rank`, `x` of its middle, `y` of its top and `text`; width of a bar; even: y of the line;
        ticks: (y, text).
    """
    samples = len(shares) - 1
    most = 100 * max(shares)
    _, high, step = _axis([0.0, most])
    left, width = CURVES_FRAME["left"], CURVES_FRAME["right"] - CURVES_FRAME["left"]

    def place_y(per_cent: float) -> float:
        return _place(per_cent, 0.0, high, CURVES_FRAME["bottom"], CURVES_FRAME["top"])

    return {
        "bars": [
            {
                "rank": rank,
                "x": round(left + (rank + 0.5) / len(shares) * width, 1),
                "y": place_y(100 * share),
                "text": f"above {rank} of {samples} samples: {100 * share:.1f} % of the pixels",
            }
            for rank, share in enumerate(shares)
        ],
        "width": round(0.8 * width / len(shares), 1),
        "even": place_y(100 / len(shares)),
        "ticks": [(place_y(tick), f"{tick:.4g}") for tick in _ticks(0.0, high, step)],
    }


@dataclass(frozen=True)
class Point:
    """A point with optional intervals in both directions."""

    name: str
    x: float
    y: float
    x_interval: tuple[float, float] | None = None
    y_interval: tuple[float, float] | None = None


def place_points(points: Sequence[Point]) -> dict[str, Any]:
    """Place points, their intervals and labels, and the ticks of both axes.

    The labels of earlier points are placed first. A label without room is None; the page shows the point's
    text when the mouse or the arrow keys reach it.

    Returns:
        points: name, x, y, x_interval and y_interval (placed ends, or None), label: (x, y, anchor) or None;
        x_ticks and y_ticks: (position, text).
    """
    x_low, x_high, x_step = _axis(_finite(value for p in points for value in (p.x, *(p.x_interval or ()))))
    y_low, y_high, y_step = _axis(_finite(value for p in points for value in (p.y, *(p.y_interval or ()))))

    def place_x(value: float) -> float:
        return _place(value, x_low, x_high, PLOT_FRAME["left"], PLOT_FRAME["right"])

    def place_y(value: float) -> float:
        return _place(value, y_low, y_high, PLOT_FRAME["bottom"], PLOT_FRAME["top"])

    placed: list[dict[str, Any]] = [
        {
            "name": point.name,
            "x": place_x(point.x),
            "y": place_y(point.y),
            "x_interval": _place_interval(point.x_interval, place_x),
            "y_interval": _place_interval(point.y_interval, place_y),
        }
        for point in points
    ]
    taken: list[Box] = []
    for point in placed:
        x, y = point["x"], point["y"]
        left, right = point["x_interval"] or (x, x)
        bottom, top = point["y_interval"] or (y, y)
        taken += [(x - 5, y - 5, x + 5, y + 5), (left, y - 1, right, y + 1), (x - 1, top, x + 1, bottom)]
    for point in placed:
        point["label"], box = _label(point["x"], point["y"], point["name"], taken)
        taken += [box] if box else []
    return {
        "points": placed,
        "x_ticks": [(place_x(tick), f"{tick:.4g}") for tick in _ticks(x_low, x_high, x_step)],
        "y_ticks": [(place_y(tick), f"{tick:.4g}") for tick in _ticks(y_low, y_high, y_step)],
    }


def _place_interval(
    interval: tuple[float, float] | None, place: Callable[[float], float]
) -> tuple[float, float] | None:
    if interval is None or not all(map(math.isfinite, interval)):
        return None
    return place(interval[0]), place(interval[1])


def _label(
    x: float, y: float, text: str, taken: Sequence[Box]
) -> tuple[tuple[float, float, str] | None, Box | None]:
    """A position next to a point where a label covers nothing: top right first, then the other corners and sides."""
    width = LETTER_WIDTH * len(text)
    for side, rise in ((1, -1), (-1, -1), (1, 1), (-1, 1), (1, 0), (-1, 0)):
        start = x + LABEL_DISTANCE if side > 0 else x - LABEL_DISTANCE - width
        middle = y + rise * LABEL_DISTANCE
        box = (start, middle - LABEL_HEIGHT / 2, start + width, middle + LABEL_HEIGHT / 2)
        inside = (
            box[0] > PLOT_FRAME["left"]
            and box[2] < PLOT_FRAME["right"]
            and box[1] > 0
            and box[3] < PLOT_FRAME["bottom"]
        )
        if inside and not any(_overlap(box, taken_box) for taken_box in taken):
            anchor = "start" if side > 0 else "end"
            return (round(x + side * LABEL_DISTANCE, 1), round(middle + LABEL_HEIGHT / 3, 1), anchor), box
    return None, None


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _place(value: float, low: float, high: float, start: float, end: float) -> float:
    return round(start + (value - low) / (high - low) * (end - start), 1)


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _ticks(low: float, high: float, step: float) -> list[float]:
    return [low + at * step for at in range(round((high - low) / step) + 1)]


def _axis(values: list[float]) -> tuple[float, float, float]:
    """(low, high, step) of an axis around the values, two to five round steps long; below 0 only if a value is.

    >>> _axis([0.2]), _axis([0.0]), _axis([40.0])
    ((0.0, 0.4, 0.1), (0.0, 1.0, 0.5), (39.5, 40.5, 0.5))
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    if 0.0 <= low < high / 2:
        low = 0.0  # start the axis at zero if the values are near it
    if low == high:
        margin = min(abs(low), 0.5)
        low, high = (low - margin, high + margin) if margin else (0.0, 1.0)
    for exponent in range(-6, 9):
        for digit in (1, 2, 5):
            step = digit * 10.0**exponent
            if (high - low) / step <= 4:
                return low // step * step, -(-high // step) * step, step
    return low, high, (high - low) / 2
