"""The plot of LPIPS against S_n, with methods, their intervals and published entries."""

import math
from collections.abc import Sequence
from typing import Any

from ntire_sr.challenge.published import CAVEAT, RESULTS_2021
from ntire_sr.evaluation.pages.charts import Point, place_points
from ntire_sr.evaluation.pages.tables import format_interval, format_number
from ntire_sr.evaluation.scoring.comparison import Value
from ntire_sr.evaluation.scoring.summary import CHALLENGE_SAMPLES


def quality_plot(
    methods: Sequence[str], lpips: Sequence[Value], diversity: Sequence[Value], samples: int, scale: int
) -> dict[str, Any]:
    """Place the methods, and the published entries if S_n is of as many samples as theirs.

    Args:
        methods: names of the methods.
        lpips: mean LPIPS of each method; methods without a finite value are left out.
        diversity: S_n of each method in per cent.
        samples: n.
        scale: 4 or 8.

    Returns:
        What `charts.place_points` returns; each point also has `text`, its values, and `method`, the position
        of the method or None. `n`: samples; `caveat`: what limits the comparison with the published entries, or "".
    """
    points, texts, positions = [], [], []
    for at, (name, x, y) in enumerate(zip(methods, lpips, diversity, strict=True)):
        if math.isfinite(x.value) and math.isfinite(y.value):
            label = f"{at + 1} {name}" if len(methods) > 1 else name
            points.append(Point(label, x.value, y.value, x.interval, y.interval))
            texts.append(f"{name}: LPIPS {_text(x, 4)}, S_{samples} {_text(y, 2, ' %')}")
            positions.append(at)
    published = []
    if samples == CHALLENGE_SAMPLES:
        published = [entry for entry in RESULTS_2021[scale] if entry.diversity is not None]
    for entry in published:
        points.append(Point(entry.team, entry.lpips, entry.diversity or 0.0))
        texts.append(f"{entry.team}, published: LPIPS {entry.lpips:.3f}, S_10 {entry.diversity:.2f} %")
    placed = place_points(points)
    for at, point in enumerate(placed["points"]):
        point["text"], point["method"] = texts[at], positions[at] if at < len(positions) else None
    return {**placed, "n": samples, "caveat": CAVEAT if published else ""}


def _text(value: Value, digits: int, unit: str = "") -> str:
    interval = format_interval(value.interval, digits)
    return format_number(value.value, digits) + unit + (f" ({interval})" if interval else "")
