"""Random generators whose seeds depend on numbers alone, such as a training step's or a sample's."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from ntire_sr.core.files import sha256_bytes


def sample_seed(seed: int, lr_sha256: str, sample: int) -> int:
    """The seed of one sample. It depends on the run's seed, the LR image's pixels and the sample's number
    alone, so the order and number of images and samples and the file names do not change what is drawn."""
    return int(sha256_bytes(f"{seed}:{lr_sha256}:{sample}".encode())[:15], 16)


def seeded(*numbers: int, device: torch.device | None = None) -> torch.Generator:
    """A random generator that depends on all the numbers, whatever their size.

    Args:
        device: device of the generator; None means the CPU, whose numbers are the same on every machine.
    """
    digest = hashlib.sha256(":".join(map(str, numbers)).encode()).digest()
    return torch.Generator(device or "cpu").manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def normal(random: Sequence[torch.Generator], *shape: int, device: torch.device) -> Tensor:
    """Standard normal numbers, (N, *shape), on `device`; row n is drawn by generator n of `random`."""
    rows = [torch.randn(1, *shape, generator=one, device=one.device) for one in random]
    return torch.cat(rows).to(device)
