"""The interfaces of everything that is measured, in torchmetrics' words: `update`, `compute`, `merge`.

A metric of an image is made for one HR image and shown each of its samples once; its figures stand in that
image's record. A metric of a data set has one figure for all images together: it is made and shown samples
alike, and what it has summed up of an image is kept with the image's record, to be merged with the others'.
"""

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Protocol

from torch import Tensor

from ntire_sr.evaluation.lpips import Comparison, Lpips, LpipsReference


class Reference:
    """An HR image, and what is computed of it once for all of its samples and metrics.

    Args:
        hr: (1, 3, H, W), uint8: the window at the top left that is scored.
        scale: HR pixels per LR pixel along an axis.
        lpips: the network; None: metrics of LPIPS' features are not measured.
        several: whether there will be several samples, whose distances from one another are wanted.
        whole: (1, 3, H', W'), uint8: the image that `hr` is a window of; None: `hr` itself.
    """

    def __init__(
        self,
        hr: Tensor,
        scale: int,
        lpips: Lpips | None = None,
        several: bool = True,
        whole: Tensor | None = None,
    ):
        self.hr, self.scale, self.several = hr, scale, several
        self.whole = hr if whole is None else whole
        self.lpips = LpipsReference(lpips, hr, several) if lpips else None

    def sample(self, whole: Tensor) -> "Sample":
        """One of its samples as metrics see it: (1, 3, H'', W''), uint8, not smaller than `hr`."""
        return Sample(self, whole)


class Sample:
    """A sample beside its HR image. The network of LPIPS runs once, for all metrics that look at it."""

    def __init__(self, reference: Reference, whole: Tensor):
        self.reference, self.whole = reference, whole
        self.sr = whole[:, :, : reference.hr.shape[2], : reference.hr.shape[3]]  # of the size of `hr`

    @cached_property
    def lpips(self) -> Comparison:
        """Its distances from the HR image in LPIPS' features."""
        assert self.reference.lpips, "a metric of LPIPS' features is measured without the network"
        return self.reference.lpips.compare(self.sr)


class ImageMetric(Protocol):
    """A metric of the samples of one image, made from its `Reference`."""

    def update(self, sample: Sample) -> None:
        """Count in one more sample."""

    def compute(self) -> dict[str, Any]:
        """The figures of all samples so far, by the fields of `records.ImageScore`."""

    def tensors(self) -> dict[str, Tensor]:
        """What is kept beside the figures, such as small maps, by name."""


class DataSetMetric(Protocol):
    """A metric of all images of a data set together."""

    needs_lpips: bool  # True: it cannot be measured without that network

    @classmethod
    def of_image(cls, reference: Reference) -> "DataSetMetric":
        """The metric that has seen this HR image and no sample yet."""

    def update(self, sample: Sample) -> None:
        """Count in one more sample of this image."""

    def tensors(self) -> dict[str, Tensor]:
        """The state, by names that no other metric uses, for the image's record."""

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "DataSetMetric":
        """The metric with the state that an image's record holds, among other tensors."""

    def merge(self, other: Any) -> None:
        """Count in what another one of this class has seen."""

    def compute(self) -> float:
        """The figure of everything seen; nan where it is undefined."""


def compute_merged(metric: type[DataSetMetric], records: Iterable[Mapping[str, Tensor]]) -> float:
    """A data set's figure from the tensors of all images' records, in their order; nan without any."""
    merged: DataSetMetric | None = None
    for tensors in records:
        one = metric.from_tensors(tensors)
        if merged is None:
            merged = one
        else:
            merged.merge(one)
    return math.nan if merged is None else merged.compute()
