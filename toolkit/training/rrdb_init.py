"""From a pretrained RRDBNet to a generator that draws what it draws, where a generator doubles in another way.

The parent repeats pixels before a convolution, `RrdbGenerator` interpolates them, so that the parent's weights do not
fit. Each layer is therefore fitted first to what the parent's layer gives for the same image, by least squares in
closed form, and then all together by gradient descent to the parent's image. The target is a function of the LR
image, so that no distance to it blurs anything.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr.models.modulation import upsample
from ntire_sr.models.rrdb import SLOPE, RrdbDecoder
from ntire_sr.models.stochastic_rrdb import RrdbGenerator
from ntire_sr.training.losses.energy import channel_norm

RIDGE = 1e-4  # added to the normal equations' diagonal, as a share of its mean
FEATURE_WEIGHT = 0.2  # of the distance in features beside that of pixels


class Parent(nn.Module):
    """The decoder of the RRDBNet whose trunk a generator has; frozen.

    Args:
        tensors: of the whole network, from `rrdb.read_rrdb`.
    """

    def __init__(self, tensors: Mapping[str, Tensor]):
        super().__init__()
        self.decoder = RrdbDecoder()
        self.decoder.load_state_dict({name: tensors[name].float() for name in self.decoder.state_dict()})
        self.requires_grad_(False)

    @torch.no_grad()
    def fit(self, generator: RrdbGenerator, trunk: Tensor) -> None:
        """Set the generator's convolutions to those that give most nearly what the parent's give for these images.

        Args:
            generator: of scale 4; at rest, see its docstring.
            trunk: (N, 64, h, w), the trunk's maps of some images.
        """
        mine = theirs = trunk.float()
        for layer, known in zip(
            generator.upsample_convs, (self.decoder.conv_up1, self.decoder.conv_up2), strict=True
        ):
            mine, wanted = upsample(mine), known(functional.interpolate(theirs, scale_factor=2))
            _least_squares(layer, mine, wanted)
            mine, theirs = functional.leaky_relu(layer(mine), SLOPE), functional.leaky_relu(wanted, SLOPE)
        wanted = self.decoder.conv_hr(theirs)
        _least_squares(generator.full, mine, wanted)
        mine, theirs = functional.leaky_relu(generator.full(mine), SLOPE), functional.leaky_relu(wanted, SLOPE)
        _least_squares(generator.tail, mine, self.decoder.conv_last(theirs))

    @torch.no_grad()
    def draw(self, trunk: Tensor) -> Tensor:
        """What the parent draws: (N, 64, h, w) to (N, 3, 4 h, 4 w)."""
        return self.decoder(trunk.float())


def distance(
    drawn: Tensor, target: Tensor, phi_drawn: Sequence[Tensor], phi_target: Sequence[Tensor]
) -> Tensor:
    """Mean absolute difference of images, with a share of that of their features; a scalar, lower is closer."""
    features = [channel_norm(one, other).mean() for one, other in zip(phi_drawn, phi_target, strict=True)]
    return functional.l1_loss(drawn, target) + FEATURE_WEIGHT * torch.stack(features).mean()


def _least_squares(layer: nn.Conv2d, x: Tensor, wanted: Tensor) -> None:
    """Weights and bias of a 3 x 3 convolution by ridge regression, in float64.

    Args:
        layer: that gets them.
        x: (N, C, h, w), its input.
        wanted: (N, D, h, w), what it should give; places at the border are left out.
    """
    count, side = layer.in_channels * 9, layer.in_channels * 9 + 1
    products = torch.zeros(side, side, dtype=torch.float64, device=x.device)
    targets = torch.zeros(side, layer.out_channels, dtype=torch.float64, device=x.device)
    for maps, one in zip(x, wanted, strict=True):  # one image at a time: nine copies of its maps are in memory
        patches = functional.unfold(maps[None], 3)[0].T.double()
        patches = torch.cat((patches, patches.new_ones(len(patches), 1)), 1)
        products += patches.T @ patches
        targets += patches.T @ one[:, 1:-1, 1:-1].flatten(1).T.double()
    ridge = RIDGE * products.diagonal().mean()
    solved = torch.linalg.solve(
        products + ridge * torch.eye(side, dtype=torch.float64, device=x.device), targets
    )
    layer.weight.copy_(solved[:count].T.reshape(layer.weight.shape))
    assert layer.bias is not None
    layer.bias.copy_(solved[count])
