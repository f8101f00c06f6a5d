"""Batches of a training, and what every trainer must do with them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ntire_sr.challenge.downscale import downscale_8bit
from ntire_sr.challenge.pixels import to_tensor, to_unit
from ntire_sr.data.patches import Batch, PatchDataset


def batch_of(
    patches: PatchDataset,
    size: int,
    seed: int,
    step: int,
    device: torch.device,
    share: tuple[int, int] = (0, 1),
) -> Batch:
    """`size` random crops; with `share` (rank, world size) only this rank's part of them."""
    return patches.finish(patches.prepare(size, seed, step, share), device)


def lr_crops(photograph: np.ndarray, side: int) -> torch.Tensor:
    """LR images of three crops of a photograph, x4: (3, 3, side, side)."""
    corners = ((0, 0), (20, 40), (30, 60))
    crops = [photograph[top : top + 4 * side, left : left + 4 * side] for top, left in corners]
    return torch.cat([to_unit(downscale_8bit(to_tensor(crop.copy()), 4)) for crop in crops])


def assert_resumed_training_gives_the_same_bits(
    trainer: Callable[[], Any], batch: tuple[torch.Tensor, torch.Tensor], per_crop: Callable[[int], Any]
) -> None:
    """Four steps, and two with two more after the state was saved and loaded, end in the same weights.

    Args:
        trainer: makes a trainer.
        batch: LR and HR crops.
        per_crop: the crops' generators at a step.
    """
    straight, first = trainer(), trainer()
    for step in range(4):
        straight.step(*batch, per_crop(step))
    for step in range(2):
        first.step(*batch, per_crop(step))
    second = trainer()
    second.load_state_dict(first.state_dict())
    for step in range(2, 4):
        second.step(*batch, per_crop(step))
    for name, value in straight.weights().items():
        assert torch.equal(value, second.weights()[name])
