"""LPIPS of the samples of one image, streamed: diversity, spread, small maps, and patches' statistics."""

import torch
from torch import Tensor
from torch.nn import functional

from ntire_sr.evaluation.calibration import FeatureSpread
from ntire_sr.evaluation.diversity import RunningDiversity
from ntire_sr.evaluation.frechet import PatchStatistics
from ntire_sr.evaluation.lpips import DEEPEST_CHANNELS, Lpips, enlarged

MAP_PX = 640  # long side of the maps that are kept for the report


class PerceptualErrors:
    """What is known of samples that are seen once and not kept.

    Args:
        lpips: the network.
        hr: (1, 3, H, W), uint8.
        pairs: whether distances between samples are wanted, which takes the memory of the features once more.
        patches: whether to sum up the deepest features of HR and SR images, for a Frechet distance.
    """

    def __init__(self, lpips: Lpips, hr: Tensor, pairs: bool, patches: bool):
        self.lpips, self.size = lpips, (hr.shape[2], hr.shape[3])
        deepest: list[Tensor] = []
        self.features = lpips.features(hr, deepest)
        self.spread = FeatureSpread(lpips, self.features) if pairs else None
        self.diversity = RunningDiversity()
        self.patches: dict[str, PatchStatistics] = {}
        if patches:
            self.patches = {side: PatchStatistics(DEEPEST_CHANNELS, hr.device) for side in ("hr", "sr")}
            self.patches["hr"].update(deepest[0])
        self._small: list[Tensor] = []

    def update(self, sr: Tensor) -> None:
        """Count in one more sample, (1, 3, H, W) uint8."""
        deepest: list[Tensor] | None = [] if self.patches else None
        coarse = self.lpips.compare(self.features, sr, self.spread.sums if self.spread else None, deepest)
        if self.spread:
            self.spread.update(coarse)
        if deepest:
            self.patches["sr"].update(deepest[0])
        whole = enlarged(coarse, self.size)
        self.diversity.update(whole)
        self._small.append(shrink_map(whole)[0, 0].cpu())

    @property
    def mean_pair_distance(self) -> float | None:
        """Mean LPIPS over all pairs of samples; none where pairs were not wanted."""
        return self.spread.mean_pair_distance(self.size) if self.spread else None

    def tensors(self) -> dict[str, Tensor]:
        """What is kept: `lpips` (h, w), mean over samples; `best` (h, w), position of the nearest sample, 255
        for all from there on; and the patches' statistics of both sides."""
        stack = torch.stack(self._small)
        # the report has fewer colours than a byte has values
        found = {"lpips": stack.mean(0).half(), "best": stack.argmin(0).clamp(max=255).byte()}
        for side, patches in self.patches.items():
            found |= {f"{side}_patches.{part}": value for part, value in patches.to_tensors().items()}
        return found


def shrink_map(whole: Tensor) -> Tensor:
    """(1, 1, H, W) averaged over areas so that the long side is at most MAP_PX."""
    height, width = whole.shape[2:]
    factor = max(height, width) / MAP_PX
    if factor <= 1:
        return whole
    return functional.adaptive_avg_pool2d(
        whole, (max(1, round(height / factor)), max(1, round(width / factor)))
    )
