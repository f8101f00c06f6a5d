"""Random generators whose seeds depend on numbers alone, such as a training step's or a sample's."""

import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ntire_sr.core.files import sha256_bytes


def sample_seed(seed: int, lr_sha256: str, sample: int) -> int:
    """The seed of one sample. It depends on the run's seed, the LR image's pixels and the sample's number
    alone, so the order and number of images and samples and the file names do not change what is drawn."""
    return int(sha256_bytes(f"{seed}:{lr_sha256}:{sample}".encode())[:15], 16)


def make_generator(*numbers: int, device: torch.device | None = None) -> torch.Generator:
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


@contextmanager
def global_seed(seed: int, device: torch.device) -> Iterator[None]:
    """A context in which the global random numbers of Python, NumPy and torch follow from `seed`; what they were before
    is restored. For code of others, which may take them; the package's own takes random generators."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
