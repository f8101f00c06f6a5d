"""Quality metrics of single images that are measured on request, with `--realism NAME`.

An image can be near the HR image and look wrong, or differ from it and look right. Quality metrics estimate
photo-realism; none of them replaces the challenge's study with human raters. Each is declared as a `QualityMetric` in
its file and listed in `registry.QUALITY_METRICS`.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from ntire_sr.evaluation.metrics.base import ImageMetric, QualityMetric, Reference, Sample
from ntire_sr.evaluation.metrics.declarations import Figure, Finite, Output, Values, defined_values, mean


class QualityValues(Values, frozen=True):
    """Values of quality metrics in the record of an image, by name; None where one is undefined."""

    realism: dict[str, list[Finite | None]]  # of each sample
    realism_hr: dict[str, Finite | None]  # of the HR image, for metrics that need no reference


class QualityScores(ImageMetric[QualityValues]):
    """Quality metrics of each sample and of the HR image.

    Args:
        reference: the HR image, made with the metrics to measure.
    """

    values = QualityValues

    def __init__(self, reference: Reference):
        self.hr = reference.hr
        self.prepared = [
            (declaration, loaded, loaded.prepare(reference.hr)) for declaration, loaded in reference.quality
        ]
        self.of_samples: dict[str, list[float | None]] = {
            declaration.name: [] for declaration, _ in reference.quality
        }

    def update(self, sample: Sample) -> None:
        """Measure one more sample."""
        for declaration, loaded, prepared in self.prepared:
            self.of_samples[declaration.name].append(loaded.measure(sample.sr, prepared))

    def compute(self) -> QualityValues:
        """The values of all samples, and of the HR image where they are defined."""
        return QualityValues(
            realism=self.of_samples,
            realism_hr={
                declaration.name: loaded.measure(self.hr, prepared)
                for declaration, loaded, prepared in self.prepared
                if not declaration.needs_reference
            },
        )

    @classmethod
    def json_of_image(cls, values: QualityValues) -> dict[str, Any]:
        """The values of the samples and of the HR image, by metric."""
        return {"realism": values.realism, "realism_of_HR": values.realism_hr}


def quality_figures(metric: QualityMetric) -> tuple[Figure[QualityValues], ...]:
    """The figures of a quality metric: of the samples, and of the HR images where they have a value."""
    name = metric.name
    figure = partial(Figure[QualityValues], unit=metric.unit, direction=metric.direction, digits=metric.digits)
    of_samples = figure(
        name=name,
        label=metric.label,
        values=QualityValues,
        compute_image=None if metric.data_set else lambda values: mean(values.realism[name]),
        data_set=metric.data_set is not None,
        note="estimate of realism",
    )
    best, worst = (min, max) if metric.direction == "lower" else (max, min)
    of_choices = tuple(
        figure(
            name=f"{name}_{choice}",
            label=f"{metric.label}, {choice} sample of each image",
            values=QualityValues,
            compute_image=partial(_of_chosen, name, choose),
            note="estimate of realism",
            outputs=Output.TABLE,
        )
        for choice, choose in (("best", best), ("worst", worst))
        if not metric.data_set
    )
    if metric.needs_reference:
        return (of_samples, *of_choices)
    of_hr = figure(
        name=f"{name}_of_HR",
        label=f"{metric.label} of the HR images",
        values=QualityValues,
        compute_image=lambda values: mean([values.realism_hr.get(name)]),
        note="estimate of realism",
        outputs=Output.TABLE,
    )
    return of_samples, *of_choices, of_hr


def _of_chosen(name: str, choose: Callable[[list[float]], float], values: QualityValues) -> float:
    """The best or worst of the samples' values that are defined; nan without any."""
    defined = defined_values(values.realism[name])
    return choose(defined) if defined else math.nan
