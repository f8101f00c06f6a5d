"""Convolutions with fewer multiplications, for CPUs.

Winograd, "Arithmetic Complexity of Computations", 1980; Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks", CVPR 2016: m x m outputs of an r x r convolution with (m + r - 1)^2 multiplications per
pair of channels in place of m^2 r^2, after linear transforms of the input tile, the kernel and the
product, Y = A^T [(G g G^T) * (B^T d B)] A. The transforms are Toom and Cook's: polynomials are
multiplied by their values at a few points. In exact arithmetic the result is the same; in float32 the
outputs of AlexNet's layers differ from float64's by about 1e-6 (the direct convolution's by half of it).
"""

from fractions import Fraction

import torch
from torch import Tensor, nn

# Small points keep float32's errors small. Infinity is always a point, too.
POINTS = (0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2))
# Tiles per strip: enough for efficient matrix products, few enough to fit the CPU's cache.
STRIP_TILES = 192


def transforms(outputs: int, taps: int) -> tuple[Tensor, Tensor, Tensor]:
    """The matrices A^T, G and B^T of a one-dimensional convolution of n = outputs + taps - 1 values.

    Args:
        outputs: m, results per tile.
        taps: r, length of the kernel.

    Returns:
        (m, n), (n, r) and (n, n), float64.

    >>> a, g, b = transforms(2, 3)
    >>> signal, kernel = torch.tensor([1.0, 2, 3, 4]).double(), torch.tensor([1.0, 10, 100]).double()
    >>> (a @ ((g @ kernel) * (b @ signal))).round(decimals=9).tolist()
    [321.0, 432.0]
    """
    size = outputs + taps - 1
    if size - 1 > len(POINTS):
        raise ValueError(f"{outputs} outputs of {taps} taps need {size - 1} points, there are {len(POINTS)}")
    points = [Fraction(point) for point in POINTS[: size - 1]]
    kernel, signal = [], []
    for point in points:
        others = [value for value in points if value is not point]
        divisor = Fraction(1)
        for root in others:
            divisor *= point - root
        row = _product(others)
        # powers of two are moved from one matrix to the other, so that neither has large values
        scale = _power_of_two(sum(map(abs, row), Fraction()))
        kernel.append([point**power / divisor * scale for power in range(taps)])
        signal.append([value / scale for value in row] + [Fraction(0)])
    row = _product(points)
    scale = _power_of_two(sum(map(abs, row), Fraction()))
    kernel.append([Fraction(0)] * (taps - 1) + [scale])
    signal.append([value / scale for value in row])
    result = [
        [point**power for point in points] + [Fraction(int(power == outputs - 1))] for power in range(outputs)
    ]
    a, g, b = (
        torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float64)
        for rows in (result, kernel, signal)
    )
    return a, g, b


def _product(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of the product of (x - root), lowest power first."""
    coefficients = [Fraction(1)]
    for root in roots:
        coefficients = [
            low - root * high
            for low, high in zip([Fraction(0), *coefficients], [*coefficients, Fraction(0)], strict=True)
        ]
    return coefficients


def _power_of_two(value: Fraction) -> Fraction:
    power = round(torch.log2(torch.tensor(float(value))).item())
    return Fraction(2) ** power


class WinogradConvolution(nn.Module):
    """A convolution of stride 1 with a square kernel, followed by a ReLU, for one image at a time.

    Args:
        direct: the convolution to replace; it must pad with zeros.
        outputs: m, side of a tile of results.
    """

    kernel: Tensor
    bias: Tensor
    to_result: Tensor
    from_signal: Tensor

    def __init__(self, direct: nn.Conv2d, outputs: int = 4):
        super().__init__()
        assert isinstance(direct.padding, tuple) and direct.bias is not None
        self.outputs, self.taps, self.padding = outputs, direct.kernel_size[0], direct.padding[0]
        self.out_channels = direct.out_channels
        a, g, b = transforms(outputs, self.taps)
        kernel = torch.einsum("ia,jb,kcab->ijck", g, g, direct.weight.double())
        self.register_buffer("kernel", kernel.flatten(0, 1).float().contiguous())
        self.register_buffer("bias", direct.bias.detach().clone())
        self.register_buffer("to_result", a.float())
        self.register_buffer("from_signal", b.float())

    def forward(self, image: Tensor) -> Tensor:
        """(1, C, H, W) to (1, K, H', W'), both in the memory format channels_last."""
        m, n = self.outputs, self.outputs + self.taps - 1
        channels, height, width = image.shape[1:]
        height_out, width_out = (side + 2 * self.padding - self.taps + 1 for side in (height, width))
        down, across = -(-height_out // m), -(-width_out // m)
        padded = image.new_zeros(down * m + self.taps - 1, across * m + self.taps - 1, channels)
        padded[self.padding : self.padding + height, self.padding : self.padding + width] = image[0].permute(
            1, 2, 0
        )
        row, column = padded.stride()[:2]
        result = image.new_empty(down, m, across, m, self.out_channels)
        per_strip = max(1, round(STRIP_TILES / across))
        for first in range(0, down, per_strip):
            strips = min(per_strip, down - first)
            tiles = strips * across
            signal = padded.as_strided(
                (n, n, strips, across, channels), (row, column, m * row, m * column, 1), first * m * row
            ).reshape(n, -1)
            signal = torch.matmul(self.from_signal, (self.from_signal @ signal).view(n, n, -1))
            product = torch.bmm(signal.view(n * n, tiles, channels), self.kernel).view(n, -1)
            tile = torch.matmul(self.to_result, (self.to_result @ product).view(m, n, -1))
            tile = tile.view(m, m, strips, across, self.out_channels).permute(2, 0, 3, 1, 4)
            torch.add(tile, self.bias, out=result[first : first + strips]).relu_()
        whole = result.view(down * m, across * m, self.out_channels)[:height_out, :width_out]
        return whole.permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last)
