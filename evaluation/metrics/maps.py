"""Small maps that are kept for the report."""

from torch import Tensor
from torch.nn import functional

MAP_PX = 640  # longest side


def shrink_map(whole: Tensor) -> Tensor:
    """A map (1, 1, H, W) averaged over areas, so that its longest side is at most MAP_PX."""
    height, width = whole.shape[2:]
    factor = max(height, width) / MAP_PX
    if factor <= 1:
        return whole
    return functional.adaptive_avg_pool2d(
        whole, (max(1, round(height / factor)), max(1, round(width / factor)))
    )
