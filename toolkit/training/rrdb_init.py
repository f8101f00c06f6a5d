"""Initialising a generator with the decoder of a pretrained RRDBNet, although it upsamples in another way.

The pretrained decoder repeats pixels before a convolution, `RrdbGenerator` interpolates them. So the pretrained
weights do not fit. Each layer is first fitted to the output of the pretrained layer for the same image, by least
squares in closed form. Then all layers are trained to give the image of the pretrained network (see
`trainers.stochastic.PretrainedRegression`).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr.models.modulation import upsample
from ntire_sr.models.rrdb import SLOPE, RrdbDecoder
from ntire_sr.models.stochastic_rrdb import RrdbGenerator

RIDGE = 1e-4  # added to the normal equations' diagonal, as a share of its mean


class PretrainedDecoder(nn.Module):
    """The frozen decoder of the RRDBNet whose trunk a generator has.

    Args:
        tensors: of the whole network, from `rrdb.read_rrdb`.
    """

    scale = 4

    def __init__(self, tensors: Mapping[str, Tensor]):
        super().__init__()
        self.decoder = RrdbDecoder()
        self.decoder.load_state_dict({name: tensors[name].float() for name in self.decoder.state_dict()})
        self.requires_grad_(False)

    def forward(self, trunk: Tensor) -> Tensor:
        """The image of the pretrained network: (N, 64, h, w) to (N, 3, 4 h, 4 w)."""
        return self.decoder(trunk.float())

    @torch.no_grad()
    def fit(self, generator: RrdbGenerator, trunk: Tensor) -> None:
        """Fit the generator's convolutions to the outputs of the pretrained ones for some images.

        Args:
            generator: of scale 4, in its initial state.
            trunk: (N, 64, h, w), the trunk's maps of some images.
        """
        x = pretrained_x = trunk.float()
        for layer, pretrained_layer in zip(
            generator.upsample_convs, (self.decoder.conv_up1, self.decoder.conv_up2), strict=True
        ):
            x, target = upsample(x), pretrained_layer(functional.interpolate(pretrained_x, scale_factor=2))
            _least_squares(layer, x, target)
            x, pretrained_x = functional.leaky_relu(layer(x), SLOPE), functional.leaky_relu(target, SLOPE)
        target = self.decoder.conv_hr(pretrained_x)
        _least_squares(generator.full, x, target)
        x = functional.leaky_relu(generator.full(x), SLOPE)
        _least_squares(generator.tail, x, self.decoder.conv_last(functional.leaky_relu(target, SLOPE)))


def _least_squares(layer: nn.Conv2d, x: Tensor, target: Tensor) -> None:
    """Weights and bias of a 3 x 3 convolution by ridge regression, in float64.

    Args:
        layer: the convolution, changed in place.
        x: (N, C, h, w), its input.
        target: (N, D, h, w), the output to fit; locations at the border are left out.
    """
    count, side = layer.in_channels * 9, layer.in_channels * 9 + 1
    products = torch.zeros(side, side, dtype=torch.float64, device=x.device)
    targets = torch.zeros(side, layer.out_channels, dtype=torch.float64, device=x.device)
    for maps, output in zip(
        x, target, strict=True
    ):  # one image at a time: nine copies of its maps are in memory
        patches = functional.unfold(maps[None], 3)[0].T.double()
        patches = torch.cat((patches, patches.new_ones(len(patches), 1)), 1)
        products += patches.T @ patches
        targets += patches.T @ output[:, 1:-1, 1:-1].flatten(1).T.double()
    ridge = RIDGE * products.diagonal().mean()
    solved = torch.linalg.solve(
        products + ridge * torch.eye(side, dtype=torch.float64, device=x.device), targets
    )
    layer.weight.copy_(solved[:count].T.reshape(layer.weight.shape))
    assert layer.bias is not None
    layer.bias.copy_(solved[count])
