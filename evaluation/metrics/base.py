"""The interfaces of metrics, with torchmetrics' method names: `update`, `compute`, `merge`.

An image metric is made for one HR image and updated once with each of its samples; its values are saved in
that image's record. A data set metric has one value for all images together. It, too, is made for one HR
image and updated with its samples; its state is saved in the image's record and merged with the states of
the other images.
"""

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Protocol

from torch import Tensor

from ntire_sr.challenge.image_checks import check_8bit, described
from ntire_sr.challenge.pixels import in_planes
from ntire_sr.core.errors import WrongValue
from ntire_sr.evaluation.metrics.lpips import Comparison, Lpips, LpipsReference


class Reference:
    """An HR image, and what all of its samples and metrics need of it, computed once.

    Metrics see images in planes, see `in_planes`, whatever the memory layout in which they come.

    Args:
        hr: (1, 3, H, W), uint8: the top-left crop that is scored.
        scale: HR pixels per LR pixel along an axis.
        lpips: the LPIPS network; None if no metric needs its features.
        several: whether there are several samples, so that distances between samples are measured.
        whole: (1, 3, H', W'), uint8: the image that `hr` is a crop of; None for `hr` itself.

    Raises:
        WrongType, WrongValue: an image, here or in `sample`, is no such tensor: all metrics read 8-bit images,
            one at a time.
    """

    def __init__(
        self,
        hr: Tensor,
        scale: int,
        lpips: Lpips | None = None,
        several: bool = True,
        whole: Tensor | None = None,
    ):
        check_8bit("hr", hr, single=True)
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
        if any(mine < asked for mine, asked in zip(whole.shape, reference.hr.shape, strict=True)):
            raise WrongValue(f"sr is {described(whole)}, smaller than hr", "a sample of this HR image")
        self.reference, self.whole = reference, in_planes(whole)
        height, width = reference.hr.shape[2:]
        self.sr = in_planes(whole[:, :, :height, :width])  # cropped to the size of `hr`

    @cached_property
    def lpips(self) -> Comparison:
        """Comparison with the HR image in LPIPS' features."""
        assert self.reference.lpips, "a metric of LPIPS' features is measured without the network"
        return self.reference.lpips.compare(self.sr)


class ImageMetric(Protocol):
    """A metric of the samples of one image, made from its `Reference`."""

    def update(self, sample: Sample) -> None:
        """Add one more sample."""

    def compute(self) -> dict[str, Any]:
        """The values over all samples so far, by field of `records.ImageScore`."""

    def tensors(self) -> dict[str, Tensor]:
        """Tensors to save with the values, such as small maps, by name."""


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


def compute_merged(metric: type[DataSetMetric], records: Iterable[Mapping[str, Tensor]]) -> float:
    """A data set metric's value from the tensors of all images' records, in their order; nan without any."""
    merged: DataSetMetric | None = None
    for tensors in records:
        one = metric.from_tensors(tensors)
        if merged is None:
            merged = one
        else:
            merged.merge(one)
    return math.nan if merged is None else merged.compute()
