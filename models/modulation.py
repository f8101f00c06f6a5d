"""Random inputs of a generator: latents that vary over the image, and noise at every pixel.

Maps are scaled and shifted by local latents, and get noise with a learned strength per channel (StyleGAN: Karras et
al., CVPR 2019). At full size each pass over the maps costs as much time as a part of the convolutions. So latents, a
channel of ones for the biases, and noise are channels of one tensor, the inputs of all modulations of a size: one
matrix product gives the scale, and one adds the shift and the noise.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr.core.seeding import normal

COARSE = 4  # side of a cell of the coarse latents, in LR pixels
SLOPE = 0.2  # negative slope of leaky ReLUs
FIRST_NOISE = 0.05  # initial strength of each channel's noise
MOST_SCALING = 0.5  # latents scale a channel by at most 1 plus or minus this in one block


class Latents(NamedTuple):
    """The random inputs of a sample, for the whole image."""

    fine: Tensor  # (N, latent_channels, h, w)
    coarse: Tensor  # of the same size, drawn per cell of COARSE x COARSE pixels and interpolated
    noise: list[Tensor]  # (N, 1, H, W) for each block of the decoder, at its size


def local_latents(
    lr: Tensor,
    generators: Sequence[torch.Generator],
    channels: int,
    levels: Sequence[int],
    global_latent: bool = False,
) -> Latents:
    """Draw Gaussian latents and noise of one sample per LR image, each with its own random generator.

    Args:
        lr: (N, 3, h, w); only its size and device count.
        generators: one random generator per image.
        channels: channels of the fine latents, and of the coarse ones.
        levels: for each map of noise the factor of its size: 2^level times (h, w).
        global_latent: use one latent vector per sample instead of local latents.
    """
    height, width = lr.shape[2:]
    draw = partial(normal, generators, device=lr.device)
    if global_latent:
        fine = draw(channels, 1, 1).expand(-1, -1, height, width)
        coarse = draw(channels, 1, 1).expand(-1, -1, height, width)
    else:
        fine = draw(channels, height, width)
        cells = draw(channels, -(-height // COARSE), -(-width // COARSE))
        coarse = functional.interpolate(cells, scale_factor=COARSE, mode="bilinear", align_corners=False)
        coarse = coarse[:, :, :height, :width]
    return Latents(fine, coarse, [draw(1, height << level, width << level) for level in levels])


def zero_latents(latents: Latents) -> Latents:
    """Latents and noise of 0, of the same sizes, with which a generator is deterministic."""
    noise = [torch.zeros_like(maps) for maps in latents.noise]
    return Latents(torch.zeros_like(latents.fine), torch.zeros_like(latents.coarse), noise)


class Modulation(nn.Module):
    """Scales and shifts the maps of a layer by latents, adds noise and applies the leaky ReLU, see `modulated`."""

    def __init__(self, channels: int, latents: int):
        super().__init__()
        self.modulation = nn.Conv2d(latents, 2 * channels, 1)
        self.strength = nn.Parameter(torch.full((1, channels, 1, 1), FIRST_NOISE))
        with torch.no_grad():  # with zero latents only the noise is left
            self.modulation.bias.zero_()

    def forward(self, layer: nn.Conv2d, x: Tensor, inputs: Tensor, index: int) -> Tensor:
        return modulated(layer, x, self.modulation, self.strength, inputs, index)


class ModulatedBlock(nn.Module):
    """A residual block whose hidden maps are scaled and shifted by latents, with noise added.

    The scaling is bounded, since the scalings of consecutive blocks multiply. Without a bound, the rare places where
    all are large leave the range that the network was trained on, and show gratings at strong edges.
    """

    def __init__(self, channels: int, latents: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Conv2d(latents, 2 * channels, 1)
        self.strength = nn.Parameter(torch.full((1, channels, 1, 1), FIRST_NOISE))
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():  # a block starts near the identity
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor, inputs: Tensor, index: int) -> Tensor:
        hidden = modulated(self.first, x, self.modulation, self.strength, inputs, index)
        return self.second(hidden).add_(x)


def upsample(x: Tensor) -> Tensor:
    """Upsample by 2 bilinearly, which leaves no trace of the original pixel grid in smooth areas.

    After nearest-neighbour upsampling a convolution sees different neighbours at every second pixel, and pixel shuffle
    has separate weights for each (Odena et al., "Deconvolution and Checkerboard Artifacts", Distill 2016). Training
    turns that into stripes of one pixel, which the diversity terms reward.
    """
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def modulation_inputs(latents: Tensor, count: int) -> Tensor:
    """The inputs of modulations: latents, a channel of ones, and zeros in channels for the noise of `count` of them.

    Upsampled, they are the inputs of a larger size.

    Args:
        latents: (N, L, h, w).
        count: number of modulations that add noise, see `set_noise`.

    Returns:
        (N, K, h, w) in the layout channels_last, with an even K of at least L + 1 + count, since processors multiply
        bfloat16 numbers in pairs.
    """
    n, latent_count, height, width = latents.shape
    channels = (latent_count + count) // 2 * 2 + 2
    inputs = latents.new_zeros(n, channels, height, width).contiguous(memory_format=torch.channels_last)
    inputs[:, :latent_count] = latents
    inputs[:, latent_count] = 1
    return inputs


def set_noise(inputs: Tensor, noise: Sequence[Tensor]) -> Tensor:
    """Write maps of noise, (N, 1, h, w) each, into `inputs`, from its last channel backwards, and return it."""
    for index, maps in enumerate(noise):
        inputs[:, -1 - index] = maps[:, 0]
    return inputs


def modulated(
    layer: nn.Conv2d, x: Tensor, modulation: nn.Conv2d, strength: Tensor, inputs: Tensor, index: int
) -> Tensor:
    """The leaky ReLU of a convolution's maps, which are scaled and shifted by latents, with noise added.

    With z the scale's logits and m = MOST_SCALING, the maps are multiplied by 1 + m tanh(z / m), so the scaling is
    bounded. This is (1 - m) + 2 m sigmoid(2 z / m), and a sigmoid takes a third of the time of a tanh.

    Args:
        layer: 3x3 convolution to C channels.
        x: its input, (N, B, h, w).
        modulation: 1x1 convolution from L to 2 C channels, the scale first.
        strength: the noise's strength per channel, (1, C, 1, 1).
        inputs: (N, K, h, w), see `modulation_inputs`.
        index: which of the maps of noise this layer adds.
    """
    weight, bias, least = modulation.weight.flatten(1), modulation.bias, 1 - MOST_SCALING
    assert bias is not None and layer.bias is not None
    channels, latents = weight.shape[0] // 2, weight.shape[1]
    # per output channel: the factors of latents, ones and noise
    factors = torch.cat(
        (weight, bias[:, None], weight.new_zeros(len(weight), inputs.shape[1] - latents - 1)), 1
    )
    scale_factors = factors[:channels] * (2 / MOST_SCALING)
    shift_factors = factors[channels:]
    shift_factors[:, -1 - index] = strength.flatten()

    maps = functional.conv2d(x, layer.weight * least, layer.bias * least, padding=1)
    rows, input_rows = _rows(maps), _rows(inputs).to(maps.dtype)
    scale = functional.linear(input_rows, scale_factors.to(maps.dtype)).sigmoid_()
    # gradients need the maps as they are
    out = None if torch.is_grad_enabled() else rows
    rows = torch.addcmul(rows, rows, scale, value=2 * MOST_SCALING / least, out=out)
    rows.addmm_(input_rows, shift_factors.to(maps.dtype).t())
    n, _, height, width = maps.shape
    return functional.leaky_relu_(rows, SLOPE).view(n, height, width, channels).permute(0, 3, 1, 2)


def _rows(maps: Tensor) -> Tensor:
    """Maps (N, C, h, w) as (N h w, C); a view of the same memory in the layout channels_last."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])
