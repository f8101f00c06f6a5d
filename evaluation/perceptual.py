"""LPIPS of the samples of one image, streamed: of each sample, of the best mosaic, and small maps."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ntire_sr.evaluation.diversity import RunningDiversity
from ntire_sr.evaluation.metrics import Reference, Sample

MAP_PX = 640  # long side of the maps that are kept for the report


class LpipsErrors:
    """LPIPS of samples that are seen once and not kept: an `ImageMetric`.

    Args:
        reference: the HR image, with LPIPS.
    """

    def __init__(self, reference: Reference):
        self.diversity = RunningDiversity()
        self._small: list[Tensor] = []

    def update(self, sample: Sample) -> None:
        """Count in one more sample."""
        assert sample.reference.lpips
        whole = sample.reference.lpips.map_of(sample.lpips)
        self.diversity.update(whole)
        self._small.append(shrink_map(whole)[0, 0].cpu())

    def compute(self) -> dict[str, Any]:
        """`lpips` of each sample and `lpips_mosaics`, lower is better."""
        return {"lpips": self.diversity.means, "lpips_mosaics": self.diversity.mosaics}

    def tensors(self) -> dict[str, Tensor]:
        """`lpips` (h, w), mean over samples; `best` (h, w), position of the nearest sample, 255 for all from
        there on."""
        stack = torch.stack(self._small)
        # the report has fewer colours than a byte has values
        return {"lpips": stack.mean(0).half(), "best": stack.argmin(0).clamp(max=255).byte()}


def shrink_map(whole: Tensor) -> Tensor:
    """(1, 1, H, W) averaged over areas so that the long side is at most MAP_PX."""
    height, width = whole.shape[2:]
    factor = max(height, width) / MAP_PX
    if factor <= 1:
        return whole
    return functional.adaptive_avg_pool2d(
        whole, (max(1, round(height / factor)), max(1, round(width / factor)))
    )
