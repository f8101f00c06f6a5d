"""Networks of users, in files outside the package."""

from pathlib import Path

HEAD = """import torch


class Net:
    def __init__(self, scale):
        self.scale = scale

    def sample(self, lr, generator):
        return torch.rand(1, 3, lr.shape[2] * self.scale, lr.shape[3] * self.scale, generator=generator)

"""
LEAST = "def build(scale, weights, device):\n    return Net(scale)"


def write_network(folder: Path, body: str = LEAST, name: str = "my_net.py") -> Path:
    """A file with a class `Net`, whose noise is its image, and what `body` makes of it from line 11 on."""
    path = folder / name
    path.write_text(f"{HEAD}{body}\n", encoding="utf-8")
    return path
