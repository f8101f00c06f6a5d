"""The figures that methods are compared in."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from ntire_sr.core.errors import shorten
from ntire_sr.evaluation.metrics.quality import proxy_called
from ntire_sr.evaluation.scoring.load_scores import Method
from ntire_sr.evaluation.scoring.paired import Interval
from ntire_sr.evaluation.scoring.records import ImageScore
from ntire_sr.evaluation.scoring.summary import known_values


@dataclass(frozen=True)
class Figure:
    """A figure of methods. One that each image has is compared pair by pair; another one is of all images."""

    key: str  # its name in `score.json`, where that has it
    label: str
    unit: str
    lower_is_better: bool | None  # None: neither
    digits: int
    of_image: Callable[[ImageScore], float] | None = None  # nan where it is undefined
    paired: bool = True  # whether the mean over images is what the figure is

    @property
    def says(self) -> str:
        """Unit and direction in words."""
        direction = {True: "lower is better", False: "higher is better", None: ""}[self.lower_is_better]
        return ", ".join(filter(None, (self.unit, direction)))


@dataclass(frozen=True)
class MethodColumn:
    """One more figure per method that is not in the scores, such as the mean opinion rank of a study.

    `Comparison.with_columns` adds it to the table, the page and the JSON.
    """

    figure: Figure  # without `of_image`
    values: Mapping[str, float]  # by the method's name; a method that is not there is left blank
    intervals: Mapping[str, Interval] = field(default_factory=dict)


def figures_of(methods: Sequence[Method], n: int, proxies: Sequence[str]) -> tuple[Figure, ...]:
    """The figures of the table, in its order."""
    found = []
    if any(method.lpips for method in methods):
        found += [
            Figure("LPIPS_mean", "LPIPS", "", True, 4, lambda image: image.lpips_mean),
            Figure("score", f"S_{n}", "%", False, 2, lambda image: _nth(image.lpips_scores, n)),
        ]
    if not all(method.lpips for method in methods):
        found += [
            Figure("MSE_mean", "MSE", "squared grey levels", True, 1, lambda image: image.mse_mean),
            Figure("MSE_score", f"S_{n} (MSE)", "%", False, 2, lambda image: _nth(image.mse_scores, n)),
        ]
    found += [
        Figure("LRPSNR_mean", "LR-PSNR", "dB", False, 2, lambda image: image.lr.mean_db),
        Figure("LRPSNR_worst_sample", "worst LR-PSNR", "dB", False, 2, lambda image: image.lr.worst_db, False),
    ]
    label = "r (LPIPS)" if any(method.lpips for method in methods) else "r (pixels)"
    found.append(Figure(label.replace("r (", "r_").rstrip(")"), label, "1 is calibrated", None, 3))
    for name in proxies:
        proxy = proxy_called(name)
        of_image = (
            None if proxy.data_set else (lambda image, name=name: mean(known_values(image.realism[name])))
        )
        found.append(Figure(name, proxy.label, proxy.unit, proxy.direction == "lower", 3, of_image))
    return tuple(found)


def _nth(scores: Sequence[float], n: int) -> float:
    return scores[n - 1] if len(scores) >= n else math.nan


def mean(values: Sequence[float]) -> float:
    """The mean without nan values; nan without any."""
    known = [value for value in values if not math.isnan(value)]
    return fmean(known) if known else math.nan


def shared_proxies(methods: Sequence[Method]) -> tuple[list[str], list[str]]:
    """The proxies that all methods have of one version, and sentences on those that are left out."""
    named = dict.fromkeys(name for method in methods for name in method.realism)
    shared, notes = [], []
    for name in named:
        lacking = [method.name for method in methods if name not in method.realism]
        versions = {method.realism[name] for method in methods if name in method.realism}
        if lacking:
            notes.append(f"{name} is left out: it was not measured for {shorten(lacking)}.")
        elif len(versions) > 1:
            notes.append(f"{name} is left out: its model or library is not the same for all methods.")
        else:
            shared.append(name)
    return shared, notes
