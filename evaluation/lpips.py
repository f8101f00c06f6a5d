"""LPIPS maps as the challenge takes them: AlexNet, version 0.1, spatial.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018.
Numbers equal those of the `lpips` package; here the features of the reference are computed once for
all samples, and no gradients are kept.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr import pretrained
from ntire_sr.errors import Failure

# Mean and standard deviation of ImageNet for inputs in [-1, 1], as the lpips package rounds them.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
# AlexNet needs this many pixels for its second pooling to have an output.
SMALLEST_PX = 31


class Lpips(nn.Module):
    """LPIPS(alex) from its two sets of weights.

    Args:
        trunk: `features.{0,3,6,8,10}.{weight,bias}` of torchvision's AlexNet.
        linear: five layers (1, C, 1, 1), not negative.
    """

    def __init__(self, trunk: dict[str, Tensor], linear: list[Tensor]):
        super().__init__()
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(3, 64, 11, stride=4, padding=2),
                nn.Conv2d(64, 192, 5, padding=2),
                nn.Conv2d(192, 384, 3, padding=1),
                nn.Conv2d(384, 256, 3, padding=1),
                nn.Conv2d(256, 256, 3, padding=1),
            ]
        )
        indices = (0, 3, 6, 8, 10)
        names = [(index, part) for index in range(5) for part in ("weight", "bias")]
        self.convolutions.load_state_dict(
            {f"{i}.{part}": trunk[f"features.{indices[i]}.{part}"] for i, part in names}
        )
        for index, layer in enumerate(linear):
            self.register_buffer(f"linear{index}", layer)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)
        self.to(memory_format=torch.channels_last)

    def features(self, image: Tensor) -> list[Tensor]:
        """Unit-length feature maps of five layers.

        Args:
            image: (N, 3, H, W) in [0, 1], H and W at least 31.
        """
        maps = ((image * 2 - 1) - self.shift) / self.scale
        maps = maps.contiguous(memory_format=torch.channels_last)
        found = []
        for index, convolution in enumerate(self.convolutions):
            if index in (1, 2):
                maps = functional.max_pool2d(maps, 3, stride=2)
            maps = convolution(maps).relu_()
            found.append(maps / (maps.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    def map_between(self, one: list[Tensor], other: list[Tensor], size: tuple[int, int]) -> Tensor:
        """The distance map of two sets of features: (N, 1, H, W), 0 or more, lower is closer."""
        maps = [
            functional.conv2d((a - b).square(), getattr(self, f"linear{index}"))
            for index, (a, b) in enumerate(zip(one, other, strict=True))
        ]
        # one after another, so that only two maps of full size are in memory
        total = functional.interpolate(maps[0], size=size, mode="bilinear", align_corners=False)
        for coarse in maps[1:]:
            total += functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
        return total

    @torch.inference_mode()
    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """LPIPS map of two images: each (N, 3, H, W) in [0, 1] -> (N, 1, H, W)."""
        return self.map_between(self.features(one), self.features(other), (one.shape[2], one.shape[3]))


def load_lpips(given: str | Path | None = None, device: str | torch.device = "cpu") -> Lpips:
    """LPIPS with the trunk found as `ntire_sr.pretrained` describes.

    Raises:
        NotFound: there is no trunk and it cannot be fetched.
    """
    path = pretrained.find(pretrained.ALEXNET, given)
    tensors = pretrained.load(pretrained.ALEXNET, path)
    try:
        return Lpips(tensors, pretrained.lpips_linear_layers()).to(device)
    except KeyError as error:
        raise Failure(
            f"{path} lacks the tensor {error} of AlexNet", f"fetch {pretrained.ALEXNET.address}"
        ) from error
