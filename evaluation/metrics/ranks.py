"""Rank of the HR image among its samples, the ensemble forecasters' test of calibration.

If samples follow the posterior, the HR image is one more sample: at each pixel its rank among n samples, from 0 (below
all) to n (above all), is equally likely. A histogram that is high at both ends shows too little spread, one that is high
in the middle too much, and a slope a bias (T. M. Hamill, "Interpretation of Rank Histograms for Verifying Ensemble
Forecasts", Monthly Weather Review 129, 2001). Pixels are compared channel by channel; equal levels share the ranks that
they tie for.
"""

from typing import Any

import msgspec
import torch

from ntire_sr.evaluation.metrics.base import ImageMetric, Reference, Sample
from ntire_sr.evaluation.metrics.declarations import NonNegative, Values

CHUNK = 1 << 20  # pixels whose ranks are counted at once


class RankValues(Values, frozen=True, omit_defaults=True):
    """The rank histogram in the record of an image."""

    ranks: list[NonNegative] = msgspec.field(
        default_factory=list
    )  # share of the pixels with rank 0, 1, ... n; their sum is 1

    def check(self, samples: int) -> None:
        """Raise ValueError unless there is a share for each of the n + 1 ranks, or none at all."""
        if self.ranks and len(self.ranks) != samples + 1:
            raise ValueError(f"ranks has {len(self.ranks)} values for {samples} samples")


class RankMetric(ImageMetric[RankValues]):
    """Share of the pixels of the HR image with each rank among the samples.

    Args:
        reference: the HR image.
    """

    values = RankValues

    def __init__(self, reference: Reference):
        self.hr = reference.hr
        self.count = 0
        # numbers of samples below and at the level of each pixel
        self.below, self.equal = (torch.zeros_like(self.hr, dtype=torch.int16) for _ in range(2))

    def update(self, sample: Sample) -> None:
        """Add one more sample."""
        self.count += 1
        self.below.add_(sample.sr < self.hr)
        self.equal.add_(sample.sr == self.hr)

    def compute(self) -> RankValues:
        """The share of pixels with each rank; ties are divided equally among the ranks they span."""
        side = self.count + 1
        counts = torch.zeros(side**2, dtype=torch.int64, device=self.hr.device)
        pairs = zip(self.below.flatten().split(CHUNK), self.equal.flatten().split(CHUNK), strict=True)
        for below, equal in pairs:
            kind = below.long() * side + equal
            counts.index_add_(0, kind, torch.ones_like(kind))
        shares = [0.0] * side
        for first, row in enumerate(counts.view(side, side).tolist()):
            for ties, pixels in enumerate(row[: side - first]):
                for rank in range(first, first + ties + 1) if pixels else ():
                    shares[rank] += pixels / (ties + 1) / self.hr.numel()
        return RankValues(ranks=shares)

    @classmethod
    def json_of_image(cls, values: RankValues) -> dict[str, Any]:
        """The histogram."""
        return {"rank_histogram": values.ranks}
