"""Positions of what the pages' charts draw: curves over the number of samples, and points with intervals.

A drawing has units of its own, which the page scales. All positions are numbers, so that a name can do no harm.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

# plot area of the curves in a drawing of 340 x 190 units; curves keep `margin` from its left and right sides
FRAME = {"left": 40.0, "right": 330.0, "top": 22.0, "bottom": 156.0, "margin": 16.0}
PLOT = {"left": 52.0, "right": 628.0, "top": 16.0, "bottom": 336.0, "margin": 0.0}  # of 640 x 380 units
LABEL_HEIGHT, LETTER_WIDTH = 11.0, 5.8  # of a label in the plot
POINT = 8.0  # from the middle of a point to its label
Box = tuple[float, float, float, float]  # left, top, right, bottom


def curves(
    lines: Sequence[Sequence[float | None]], names: Sequence[str] = ("",), unit: str = ""
) -> dict[str, Any]:
    """Points, steps and ticks of curves over n = 1, 2, ... in one drawing.

    >>> drawn = curves([[0.0, 5.0, None, 10.0]], unit=" %")
    >>> [(step["n"], step["says"], step["points"]) for step in drawn["steps"]][1:]
    [(2, 'n = 2: 5 %', [(0, 142.0, 89.0, '5')]), (4, 'n = 4: 10 %', [(0, 314.0, 22.0, '10')])]
    >>> drawn["ticks"]
    [(156.0, '0'), (89.0, '5'), (22.0, '10')]

    Args:
        lines: a list of values for each curve, None where it is undefined.
        names: what each curve is called where its value is said.
        unit: unit behind each value, with the space before it.

    Returns:
        steps: for every n that has a value, n, its points as (curve, x, y, text), and the values in words;
        lines: [(x, y), ...] of each curve; ticks: (y, text).
    """
    most = max(map(len, lines), default=0)
    known = [float(value) for line in lines for value in line if _is_finite(value)]
    low, high, step = _round_range(known)
    width = FRAME["right"] - FRAME["left"] - 2 * FRAME["margin"]
    steps: list[dict[str, Any]] = []
    drawn: list[list[tuple[float, float]]] = [[] for _ in lines]
    for n in range(1, most + 1):
        x = round(FRAME["left"] + FRAME["margin"] + (n - 1) / max(1, most - 1) * width, 1)
        points, says = [], []
        for at, line in enumerate(lines):
            value = line[n - 1] if n <= len(line) else None
            if not _is_finite(value):
                continue
            y = _place(float(value), low, high, FRAME["bottom"], FRAME["top"])
            points.append((at, x, y, f"{value:.3g}"))
            says.append(f"{names[at]} {value:.3g}{unit}".lstrip())
            drawn[at].append((x, y))
        if points:
            steps.append({"n": n, "says": f"n = {n}: {' · '.join(says)}", "points": points})
    ticks = [
        (_place(mark, low, high, FRAME["bottom"], FRAME["top"]), f"{mark:.4g}")
        for mark in _marks(low, high, step)
    ]
    return {"steps": steps, "lines": drawn, "ticks": ticks}


@dataclass(frozen=True)
class Point:
    """A point of the plot."""

    name: str
    x: float
    y: float
    x_interval: tuple[float, float] | None = None
    y_interval: tuple[float, float] | None = None

    @property
    def extent(self) -> tuple[list[float], list[float]]:
        """All finite x and y that it covers."""
        return _finite(self.x, self.x_interval), _finite(self.y, self.y_interval)


def _finite(at: float, interval: tuple[float, float] | None) -> list[float]:
    return [value for value in (at, *(interval or ())) if math.isfinite(value)]


def plot(points: Sequence[Point]) -> dict[str, Any]:
    """Positions of points, of their intervals and labels, and ticks of both axes.

    The labels of earlier points are placed first; a label that finds no room is None, and its point is told
    by the page where it is pointed at.

    Returns:
        points: name, x, y, across and along (ends of the intervals in x and in y, or None), label: (x, y, anchor)
        or None; x_ticks and y_ticks: (position, text).
    """
    ranges = [_round_range([value for point in points for value in point.extent[axis]]) for axis in (0, 1)]
    (x_low, x_high, x_step), (y_low, y_high, y_step) = ranges

    def x(value: float) -> float:
        return _place(value, x_low, x_high, PLOT["left"], PLOT["right"])

    def y(value: float) -> float:
        return _place(value, y_low, y_high, PLOT["bottom"], PLOT["top"])

    def ends(interval: tuple[float, float] | None, place: Any) -> tuple[float, float] | None:
        known = interval is not None and all(map(math.isfinite, interval))
        return (place(interval[0]), place(interval[1])) if known and interval else None

    taken: list[Box] = []
    for point in points:
        middle = (x(point.x), y(point.y))
        across, along = (
            ends(point.x_interval, x) or (middle[0],) * 2,
            ends(point.y_interval, y) or (middle[1],) * 2,
        )
        taken.append((middle[0] - 5, middle[1] - 5, middle[0] + 5, middle[1] + 5))
        taken.append((across[0], middle[1] - 1, across[1], middle[1] + 1))
        taken.append((middle[0] - 1, min(along), middle[0] + 1, max(along)))
    drawn = []
    for point in points:
        label, box = _label(x(point.x), y(point.y), point.name, taken)
        taken += [box] if box else []
        drawn.append(
            {
                "name": point.name,
                "x": x(point.x),
                "y": y(point.y),
                "across": ends(point.x_interval, x),
                "along": ends(point.y_interval, y),
                "label": label,
            }
        )
    return {
        "points": drawn,
        "x_ticks": [(x(mark), f"{mark:.4g}") for mark in _marks(x_low, x_high, x_step)],
        "y_ticks": [(y(mark), f"{mark:.4g}") for mark in _marks(y_low, y_high, y_step)],
    }


def _label(
    x: float, y: float, text: str, taken: Sequence[Box]
) -> tuple[tuple[float, float, str] | None, Box | None]:
    """A place beside a point where a label covers nothing: right above, left above, right below, left below."""
    width = LETTER_WIDTH * len(text)
    for side, rise in ((1, -1), (-1, -1), (1, 1), (-1, 1), (1, 0), (-1, 0)):
        start = x + POINT if side > 0 else x - POINT - width
        middle = y + rise * POINT
        box = (start, middle - LABEL_HEIGHT / 2, start + width, middle + LABEL_HEIGHT / 2)
        inside = box[0] > PLOT["left"] and box[2] < PLOT["right"] and box[1] > 0 and box[3] < PLOT["bottom"]
        if inside and not any(_overlap(box, other) for other in taken):
            anchor = "start" if side > 0 else "end"
            return (round(x + side * POINT, 1), round(middle + LABEL_HEIGHT / 3, 1), anchor), box
    return None, None


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _place(value: float, low: float, high: float, start: float, end: float) -> float:
    return round(start + (value - low) / (high - low) * (end - start), 1)


def _is_finite(value: float | str | None) -> TypeGuard[float]:
    return value is not None and not isinstance(value, str) and math.isfinite(value)


def _marks(low: float, high: float, step: float) -> list[float]:
    return [low + at * step for at in range(round((high - low) / step) + 1)]


def _round_range(values: list[float]) -> tuple[float, float, float]:
    """(low, high, step) of an axis: a range around the values, two to five round steps long."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if 0.0 <= low < high / 2:
        low = 0.0  # start the axis at zero if the values are near it
    if low == high:
        low, high = low - 0.5, high + 0.5
    for exponent in range(-6, 9):
        for digit in (1, 2, 5):
            step = digit * 10.0**exponent
            if (high - low) / step <= 4:
                return low // step * step, -(-high // step) * step, step
    return low, high, (high - low) / 2
