"""Frechet distance between the deep patch features of two sets of images.

Each location of a feature map describes one patch. Gaussians are fitted to the patches of the SR and of
the HR images, and their distance (Dowson and Landau, "The Frechet distance between multivariate normal
distributions", 1982) tells how much the two distributions of patches differ, whatever the patches' locations:

    |m - n|^2 + tr(C + D - 2 (C D)^(1/2))

As in Heusel et al., "GANs trained by a two time-scale update rule", NeurIPS 2017, but with the rectified
outputs of AlexNet's fifth convolution, which LPIPS computes anyway, instead of Inception's features.
Values are comparable with one another, but not with published FIDs.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ntire_sr.core.errors import NtireSrError
from ntire_sr.evaluation.metrics.base import QualityMetric, Reference, Sample


class PatchStatistics:
    """Count, sum and sum of outer products of patch features that are added batch by batch and not kept.

    >>> seen = PatchStatistics(2)
    >>> seen.update(torch.tensor([[1.0, 3.0], [0.0, 0.0]]).view(1, 2, 1, 2))
    >>> seen.count, seen.mean.tolist()
    (2, [2.0, 0.0])

    Args:
        channels: C of the feature maps.
        device: device of the sums; features are moved there.
    """

    def __init__(self, channels: int, device: str | torch.device = "cpu"):
        self.count = 0
        self.sum = torch.zeros(channels, dtype=torch.float64, device=device)
        self.outer = torch.zeros(channels, channels, dtype=torch.float64, device=device)

    def update(self, features: Tensor) -> None:
        """Add the patches of feature maps (N, C, H, W), of any range and not normalised."""
        patches = features.movedim(1, 3).flatten(0, 2).to(self.sum)
        self.count += len(patches)
        self.sum = self.sum + patches.sum(0)
        self.outer = self.outer + patches.T @ patches

    def __add__(self, other: "PatchStatistics") -> "PatchStatistics":
        """The statistics of both sets of patches together."""
        total = PatchStatistics(len(self.sum), self.sum.device)
        total.count = self.count + other.count
        total.sum = self.sum + other.sum.to(self.sum)
        total.outer = self.outer + other.outer.to(self.outer)
        return total

    @property
    def mean(self) -> Tensor:
        """Mean of the patches: (C,), float64."""
        return self.sum / self.count

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance of the patches: (C, C), float64; it needs 2 patches or more."""
        return (self.outer - self.count * torch.outer(self.mean, self.mean)) / (self.count - 1)

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors to save: count (), sum (C,) and outer (C, C), on the CPU."""
        return {"count": torch.tensor(self.count), "sum": self.sum.cpu(), "outer": self.outer.cpu()}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], device: str | torch.device = "cpu"
    ) -> "PatchStatistics":
        """Statistics from the tensors that `to_tensors` returned.

        Raises:
            NtireSrError: tensors are missing, unexpected, or of other shapes.
        """
        shapes = {name: tuple(value.shape) for name, value in tensors.items()}
        channels = math.prod(shapes.get("sum", ()))
        if shapes != {"count": (), "sum": (channels,), "outer": (channels, channels)}:
            raise NtireSrError(f"patch statistics have the tensors {shapes}", "measure again")
        made = cls(channels, device)
        made.count = int(tensors["count"])
        made.sum, made.outer = tensors["sum"].to(made.sum), tensors["outer"].to(made.outer)
        return made


class PatchFrechet:
    """Frechet distance between the patches of all samples and those of all HR images: a `DataSetMetric`.

    Args:
        hr, sr: statistics of the HR images' and of the samples' patches so far.
    """

    needs_lpips = True

    def __init__(self, hr: PatchStatistics, sr: PatchStatistics):
        self.hr, self.sr = hr, sr

    @classmethod
    def of_image(cls, reference: Reference) -> "PatchFrechet":
        """A metric with the patches of one HR image and no samples yet."""
        assert reference.lpips
        deepest = reference.lpips.features.deepest
        made = cls(*(PatchStatistics(deepest.shape[1], deepest.device) for _ in ("hr", "sr")))
        made.hr.update(deepest)
        return made

    def update(self, sample: Sample) -> None:
        """Add the patches of one more sample."""
        self.sr.update(sample.lpips.deepest)

    def tensors(self) -> dict[str, Tensor]:
        """The `PatchStatistics` of both sides, named `hr_patches.count`, ..., `sr_patches.outer`."""
        sides = (("hr", self.hr), ("sr", self.sr))
        return {
            f"{side}_patches.{part}": value
            for side, patches in sides
            for part, value in patches.to_tensors().items()
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "PatchFrechet":
        """A metric from the tensors that `tensors` returned; other tensors are ignored.

        Raises:
            NtireSrError: some are missing, or of other shapes.
        """
        sides = (
            {name.split(".")[1]: value for name, value in tensors.items() if name.startswith(prefix)}
            for prefix in ("hr_patches.", "sr_patches.")
        )
        return cls(*map(PatchStatistics.from_tensors, sides))

    def merge(self, other: "PatchFrechet") -> None:
        """Add the patches of another metric."""
        self.hr, self.sr = self.hr + other.hr, self.sr + other.sr

    def compute(self) -> float:
        """The distance; see `frechet_distance`."""
        return frechet_distance(self.sr, self.hr)


def frechet_distance(sr: PatchStatistics, hr: PatchStatistics) -> float:
    """Squared Frechet distance of two Gaussians, in squared units of the features; 0 or more, lower is closer.

    The result is nan if a side has fewer than 2 patches. Fewer patches than channels are allowed.
    """
    if min(sr.count, hr.count) < 2:
        return math.nan
    if len(sr.sum) != len(hr.sum):
        raise ValueError(f"patches of {len(sr.sum)} and of {len(hr.sum)} channels cannot be compared")
    difference = (sr.mean.cpu() - hr.mean.cpu()).square().sum()
    sr_covariance, hr_covariance = sr.covariance.cpu(), hr.covariance.cpu()
    # With C = A A^T and D = B B^T, tr (C D)^(1/2) is the sum of the singular values of A^T B, which loses no
    # digits to a square root of small eigenvalues.
    shared = torch.linalg.svdvals(_factor(sr_covariance).T @ _factor(hr_covariance)).sum()
    squared_distance: Tensor = difference + sr_covariance.trace() + hr_covariance.trace() - 2 * shared
    return max(0.0, squared_distance.item())


def _factor(covariance: Tensor) -> Tensor:
    """A with A A^T = covariance, from its eigenvectors; negative ones, due to rounding, count as 0."""
    values: Tensor
    vectors: Tensor
    values, vectors = torch.linalg.eigh((covariance + covariance.T) / 2)
    return vectors * values.clamp(min=0).sqrt()


PATCH_FRECHET = QualityMetric(
    name="patch-frechet",
    label="Frechet distance of AlexNet's patches",
    direction="lower",
    needs_reference=True,
    data_set=PatchFrechet,
)
