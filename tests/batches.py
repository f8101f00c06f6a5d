"""One batch of a training, made at once."""

import torch

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
