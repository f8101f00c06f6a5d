"""A network with noise: `trunk` runs once per image, `sample` once per sample, both in tiles."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import interpolate


@dataclass
class Settings:  # what `train --set channels=32` sets
    channels: int = 16


class NoisyNet(nn.Module):
    trunk_receptive_field = 2  # LR pixels on each side that a pixel of the features depends on
    sample_receptive_field = 2  # the same for an SR pixel; bicubic upsampling alone has 2

    def __init__(self, scale, channels):
        super().__init__()
        self.scale, self.channels = scale, channels
        self.features = nn.Conv2d(3, channels, 5, padding=2)
        self.detail = nn.Conv2d(2 * channels, 3 * scale**2, 3, padding=1)

    def trunk(self, lr):  # -> maps whose sides are multiples of the LR image's
        return self.features(lr).relu()

    def latents(self, lr, generator):  # -> one sample's noise, for the whole image, so that tiles have no seams
        height, width = lr.shape[2:]
        return torch.randn(1, self.channels, height, width, generator=generator, device=generator.device)

    def sample(self, trunk, lr, latents):
        detail = self.detail(torch.cat((trunk, latents), dim=1))
        smooth = interpolate(lr, scale_factor=self.scale, mode="bicubic", align_corners=False)
        return smooth + 0.1 * nn.functional.pixel_shuffle(detail, self.scale)


def build(scale, weights, device, settings: Settings):
    network = NoisyNet(scale, settings.channels)
    if weights is not None:  # without a file it keeps its initial weights, which are the same each time
        network.load_state_dict(torch.load(weights, map_location=device))
    return network
