"""A U-Net that judges every pixel: Schönfeld et al., "A U-Net Based Discriminator", CVPR 2020, with spectral
normalisation (Miyato et al., ICLR 2018) as in Wang et al., "Real-ESRGAN", ICCV workshops 2021.

Its judgement of a pixel takes in both the texture around it and the whole patch. It is not relativistic:
HR and SR are judged each for itself, so that nothing pulls all samples towards one answer.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2  # of leaky ReLUs
LEVELS = 3  # halvings on the way down


class UNetDiscriminator(nn.Module):
    """(N, 3, H, W) in about [0, 1], H and W multiples of 8, to logits (N, 1, H, W), higher is more real.

    Args:
        channels: of the full size; doubled at each halving, at most four times.
    """

    def __init__(self, channels: int):
        super().__init__()
        widths = [channels * min(4, 1 << level) for level in range(LEVELS + 1)]
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.down = nn.ModuleList(
            spectral_norm(nn.Conv2d(widths[i], widths[i + 1], 4, stride=2, padding=1, bias=False))
            for i in range(LEVELS)
        )
        self.up = nn.ModuleList(
            spectral_norm(nn.Conv2d(widths[i + 1], widths[i], 3, padding=1, bias=False))
            for i in reversed(range(LEVELS))
        )
        self.joined = spectral_norm(nn.Conv2d(channels, channels, 3, padding=1, bias=False))
        self.tail = nn.Conv2d(channels, 1, 3, padding=1)
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor) -> Tensor:
        maps = functional.leaky_relu(
            self.head((image - 0.5).contiguous(memory_format=torch.channels_last)), SLOPE
        )
        passed = [maps]
        for layer in self.down:
            maps = functional.leaky_relu(layer(maps), SLOPE)
            passed.append(maps)
        maps = passed.pop()
        for layer in self.up:
            # the convolution before the enlargement: the same result up to borders, at a quarter of the work
            maps = functional.interpolate(layer(maps), scale_factor=2, mode="bilinear", align_corners=False)
            maps = functional.leaky_relu(maps, SLOPE) + passed.pop()
        return self.tail(functional.leaky_relu(self.joined(maps), SLOPE))
