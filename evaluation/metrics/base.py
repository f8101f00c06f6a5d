"""Interfaces of metrics, with torchmetrics' method names: `update`, `compute`, `merge`.

An image metric is made for one HR image and updated once with each of its samples; its values are saved in
that image's record. A data set metric has one value for all images together. It, too, is made for one HR
image and updated with its samples; its state is saved in the image's record and merged with the states of
the other images.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol

import torch
from torch import Tensor

from ntire_sr.challenge.image_checks import check_8bit, described
from ntire_sr.challenge.pixels import in_planes
from ntire_sr.core.errors import ArgumentValueError
from ntire_sr.evaluation.metrics.declarations import Figure, V
from ntire_sr.evaluation.metrics.lpips_network import Comparison, Lpips, LpipsReference


class Reference:
    """An HR image with everything that its metrics share, computed once.

    Metrics see images in planes, see `in_planes`, whatever the memory layout in which they come.

    Args:
        hr: (1, 3, H, W), uint8: the top-left crop that is scored.
        scale: HR pixels per LR pixel along an axis.
        lpips: the LPIPS network; None if no metric needs its features.
        several: whether there are several samples, so that distances between samples are measured.
        whole: (1, 3, H', W'), uint8: the image that `hr` is a crop of; None for `hr` itself.
        quality: the quality metrics of single images to measure.
        border_px: width of the border that PSNR and SSIM leave out; None to measure neither.

    Raises:
        ArgumentTypeError, ArgumentValueError: an image, here or in `sample`, has another type or shape: all metrics read 8-bit images,
            one at a time.
    """

    def __init__(
        self,
        hr: Tensor,
        scale: int,
        lpips: Lpips | None = None,
        several: bool = True,
        whole: Tensor | None = None,
        quality: "Sequence[tuple[QualityMetric, LoadedMetric]]" = (),
        border_px: int | None = None,
    ):
        check_8bit("hr", hr, single=True)
        self.quality, self.border_px = quality, border_px
        self.hr, self.scale, self.several = in_planes(hr), scale, several
        self.whole = self.hr if whole is None else in_planes(whole)
        self.lpips = LpipsReference(lpips, self.hr, several) if lpips else None

    def sample(self, whole: Tensor) -> "Sample":
        """Prepare one of its samples for metrics: (1, 3, H'', W''), uint8, not smaller than `hr`."""
        return Sample(self, whole)


class Sample:
    """A sample with its HR image. The LPIPS network runs at most once, for all metrics that need it."""

    def __init__(self, reference: Reference, whole: Tensor):
        check_8bit("sr", whole, single=True)
        if any(side < least for side, least in zip(whole.shape, reference.hr.shape, strict=True)):
            raise ArgumentValueError(f"sr is {described(whole)}, smaller than hr", "a sample of this HR image")
        self.reference, self.whole = reference, in_planes(whole)
        height, width = reference.hr.shape[2:]
        self.sr = in_planes(whole[:, :, :height, :width])  # cropped to the size of `hr`

    @cached_property
    def lpips(self) -> Comparison:
        """Comparison with the HR image in LPIPS' features."""
        assert self.reference.lpips, "this metric needs the LPIPS network"
        return self.reference.lpips.compare(self.sr)


class ImageMetric(Generic[V]):
    """Base class of the metrics of the samples of one image: what they declare and compute.

    A metric is one file with a subclass, listed in `registry.METRICS`.

    Args:
        reference: the HR image.
    """

    values: ClassVar[type[Any]]  # class of what `compute` returns
    figures: ClassVar[tuple[Figure[Any], ...]] = ()
    needs_lpips: ClassVar[bool] = False  # whether it needs the LPIPS network

    def __init__(self, reference: Reference):
        raise NotImplementedError

    def update(self, sample: Sample) -> None:
        """Add one more sample."""
        raise NotImplementedError

    def compute(self) -> V:
        """The values over all samples so far, for the record of the image."""
        raise NotImplementedError

    def tensors(self) -> dict[str, Tensor]:
        """Tensors to save with the values, such as small maps, by names that no other metric uses."""
        return {}

    @classmethod
    def json_of_image(cls, values: V) -> dict[str, Any]:
        """Values of one image for `score.json`: those of the figures, unless a metric writes lists and the like."""
        return {figure.name: figure.of_values(values) for figure in cls.figures if figure.per_image}

    @classmethod
    def columns_of_first(cls, values: V, n: int) -> dict[str, float]:
        """Columns of `measure_full.csv` for the first n samples of an image, without the suffix `_n1`, `_n2`, ..."""
        return {}


class DataSetMetric(Protocol):
    """A metric of all images of a data set together."""

    needs_lpips: bool  # whether it needs the LPIPS network

    @classmethod
    def of_image(cls, reference: Reference) -> "DataSetMetric":
        """A metric for this HR image, without samples yet."""

    def update(self, sample: Sample) -> None:
        """Add one more sample of this image."""

    def tensors(self) -> dict[str, Tensor]:
        """The state for the image's record, by names that no other metric uses."""

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "DataSetMetric":
        """A metric from the state in an image's record; other tensors there are ignored."""

    def merge(self, other: Any) -> None:
        """Add the state of another metric of this class."""

    def compute(self) -> float:
        """The value over all images and samples so far; nan if it is undefined."""


@dataclass(frozen=True)
class LoadedMetric:
    """A quality metric of single images that is ready to measure; images are (1, 3, H, W) uint8."""

    version: str  # version of its library or model, which its values depend on
    measure: Callable[[Tensor, Any], float]  # (image, what `prepare` returned) -> value; nan if it is undefined
    prepare: Callable[[Tensor], Any] = lambda hr: hr  # called once with the HR image


@dataclass(frozen=True, kw_only=True)
class QualityMetric:
    """Declaration of a quality metric, which is measured on request: of single images or of a whole data set."""

    name: str  # as `--realism` takes it, and key in `score.json`
    label: str
    unit: str = ""
    direction: Literal["lower", "higher"]  # which values are better
    digits: int = 3  # after the decimal point
    needs_reference: bool  # False: the HR image has a value, too
    load: Callable[[torch.device, Path | None], LoadedMetric] | None = (
        None  # (device, model of NIQE); of single images
    )
    data_set: type[DataSetMetric] | None = None  # of a whole data set


def compute_merged(metric: type[DataSetMetric], records: Iterable[Mapping[str, Tensor]]) -> float:
    """A data set metric's value from the tensors of all images' records, in their order; nan without any."""
    merged: DataSetMetric | None = None
    for tensors in records:
        of_image = metric.from_tensors(tensors)
        if merged is None:
            merged = of_image
        else:
            merged.merge(of_image)
    return math.nan if merged is None else merged.compute()
