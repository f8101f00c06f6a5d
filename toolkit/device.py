"""Where to compute."""

import torch

from ntire_sr.errors import WrongUse


def choose_device(name: str) -> torch.device:
    """auto, cpu or cuda as a device; auto: the GPU where there is one.

    Raises:
        WrongUse: cuda was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise WrongUse(
            "--device cuda: this torch sees no CUDA GPU", "--device cpu; `ntire-sr doctor` shows what is there"
        )
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")
