"""Random generators with seeds from numbers, such as those of a training step or a sample."""

import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ntire_sr.core.files import sha256_bytes


def sample_seed(seed: int, lr_sha256: str, sample: int) -> int:
    """The seed of one sample.

    It depends only on the run's seed, the LR image's pixels and the sample's number, so the order and number of
    images and samples and the file names do not change the sample.
    """
    return int(sha256_bytes(f"{seed}:{lr_sha256}:{sample}".encode())[:15], 16)


def make_generator(*numbers: int, device: torch.device | None = None) -> torch.Generator:
    """A random generator that depends on all the numbers, whatever their size.

    Args:
        device: device of the generator; None means the CPU, whose numbers are the same on every machine.
    """
    digest = hashlib.sha256(":".join(map(str, numbers)).encode()).digest()
    return torch.Generator(device or "cpu").manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def normal(generators: Sequence[torch.Generator], *shape: int, device: torch.device) -> Tensor:
    """Standard normal numbers, (N, *shape), on `device`; row n is drawn by generator n of `generators`."""
    rows = [torch.randn(1, *shape, generator=generator, device=generator.device) for generator in generators]
    return torch.cat(rows).to(device)


@contextmanager
def global_seed(seed: int, device: torch.device) -> Iterator[None]:
    """A context in which the global random numbers of Python, NumPy and torch follow from `seed`.

    Their earlier state is restored. For code of users, which may draw from them; this package draws from generators.
    """
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
