"""LPIPS of each sample of one image and of their best mosaic, and small maps; samples are not kept."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ntire_sr.evaluation.metrics.base import Reference, Sample
from ntire_sr.evaluation.metrics.diversity import RunningDiversity

MAP_PX = 640  # longest side of the maps that are kept for the report


class LpipsErrors:
    """LPIPS of samples that are added one by one and not kept: an `ImageMetric`.

    Args:
        reference: the HR image, made with an LPIPS network.
    """

    def __init__(self, reference: Reference):
        self.diversity = RunningDiversity()
        self._small: list[Tensor] = []

    def update(self, sample: Sample) -> None:
        """Add one more sample."""
        assert sample.reference.lpips
        whole = sample.reference.lpips.map_of(sample.lpips)
        self.diversity.update(whole)
        self._small.append(shrink_map(whole)[0, 0].cpu())

    def compute(self) -> dict[str, Any]:
        """`lpips` of each sample and `lpips_mosaics`, lower is better."""
        return {"lpips": self.diversity.means, "lpips_mosaics": self.diversity.mosaics}

    def tensors(self) -> dict[str, Tensor]:
        """`lpips` (h, w): mean over samples; `best` (h, w): position of the sample with the lowest LPIPS there,
        at most 255."""
        stack = torch.stack(self._small)
        # a byte is enough: the report has far fewer colours
        return {"lpips": stack.mean(0).half(), "best": stack.argmin(0).clamp(max=255).byte()}


def shrink_map(whole: Tensor) -> Tensor:
    """A map (1, 1, H, W) averaged over areas, so that its longest side is at most MAP_PX."""
    height, width = whole.shape[2:]
    factor = max(height, width) / MAP_PX
    if factor <= 1:
        return whole
    return functional.adaptive_avg_pool2d(
        whole, (max(1, round(height / factor)), max(1, round(width / factor)))
    )
