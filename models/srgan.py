"""`srgan`: the student method. SRGAN with a noise input, an LR term and a reward for difference.

    LOSS = alpha * L_SRGAN(SR_i, HR) + beta * L1(D SR_i, LR) - gamma * L1(phi(SR_i), phi(SR_j))

L_SRGAN is a content loss plus an adversarial loss (Ledig et al., "Photo-Realistic Single Image
Super-Resolution Using a GAN", CVPR 2017); SR_i and SR_j are two samples of one LR image; D is the
challenge's bicubic reduction; phi are features of a pretrained classifier. The network trains without
the LR projection, since the beta term would have nothing to do behind it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import require, suggestion
from ntire_sr.core.seeding import normal
from ntire_sr.models.energy import spread_ratio
from ntire_sr.models.features import build_features
from ntire_sr.models.interfaces import MOST_BLOCKS, MOST_CHANNELS, ModelSpec
from ntire_sr.models.losses import adversarial_loss, feature_distance
from ntire_sr.models.multi_sample import MultiSampleForward, draw_latents
from ntire_sr.models.optimisation import load_matching, set_learning_rate, update_ema
from ntire_sr.models.projection import enlarge
from ntire_sr.models.train_config import TrainConfig

RATIO_FLOOR = 1e-5  # under MSGAN's division


@dataclass(frozen=True)
class SrganSettings:
    """Architecture and loss of `srgan`."""

    channels: int = 32  # of the generator
    blocks: int = 6  # residual blocks of the generator
    noise_channels: int = 4  # channels of Gaussian noise beside the LR image and at each doubled size
    discriminator_channels: int = 24  # of the first two layers; doubled twice on the way down
    alpha: float = 1.0  # weight of content + adversarial loss
    beta: float = 1.0  # weight of the L1 between the reduced SR and the LR image
    gamma: float = 0.4  # reward for the L1 between features of two samples; above alpha / 2 difference is worth more than truth
    diversity: str = "difference"  # what gamma rewards: the difference, or MSGAN's ratio to that of the noise
    adversarial: float = 0.01  # weight of the adversarial loss inside L_SRGAN
    adversarial_from: float = 0.25  # share of the steps after which the adversarial loss begins
    learning_rate: float = 4e-4  # of Adam at the start; falls to 0 along a cosine
    average: float = 0.99  # decay per step of the moving average of the generator's weights
    features: str = "auto"  # phi: filters, squeezenet1_1, vgg19; auto: squeezenet1_1 where it can be had

    def __post_init__(self) -> None:
        for name in ("channels", "blocks", "noise_channels", "discriminator_channels"):
            value, most = getattr(self, name), MOST_BLOCKS if name == "blocks" else MOST_CHANNELS
            require(1 <= value <= most, f"{name} {value} is out of range", f"1 to {most}")
        for name in ("alpha", "beta", "gamma", "adversarial"):
            require(getattr(self, name) >= 0, f"{name} {getattr(self, name)} is negative", "0 or more")
        require(
            self.diversity in ("difference", "ratio"),
            f"diversity {self.diversity!r} is unknown",
            suggestion(self.diversity, ("difference", "ratio")),
        )
        require(
            0 <= self.adversarial_from <= 1, f"adversarial_from {self.adversarial_from} is no share", "0 to 1"
        )
        require(self.learning_rate > 0, f"learning_rate {self.learning_rate} is not positive", "0.0002")
        require(0 <= self.average < 1, f"average {self.average} is out of range", "0 to 0.9999")


class _Residual(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = nn.PReLU()
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():  # a block starts near the identity, in place of batch normalisation
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.activation(self.first(x)))


class SrganGenerator(nn.Module):
    """SRResNet with noise channels at its input, on top of a bicubic enlargement.

    Noise also stands beside the features after each doubling: with noise at LR size alone, short
    trainings vary a pattern that repeats with the LR grid, since nothing else varies inside an LR pixel.

    Three departures from Ledig et al., so that short trainings look sound: no batch normalisation (it
    ties the samples of a batch together), bilinear doubling before a convolution instead of
    the pixel shuffle (which draws checkerboards before it is well trained), and a last convolution of
    3x3 instead of 9x9 (which alone took a third of a step).
    """

    def __init__(self, scale: int, settings: SrganSettings):
        super().__init__()
        channels = settings.channels
        self.scale = scale
        self.noise_channels = settings.noise_channels
        doublings = int(math.log2(scale))
        # the last 3x3 reaches 1 pixel at full size; each doubling's 3x3 one more, then sizes halve;
        # the head reaches 4 LR pixels, each block 2, the convolution behind them 1
        reach = 1
        for _ in range(doublings):
            reach = math.ceil((reach + 1 + 1) / 2)  # the bilinear doubling looks one pixel further
        self.trunk_reach, self.sample_reach = 2, reach + 4 + 2 * settings.blocks + 1
        self.head = nn.Sequential(nn.Conv2d(3 + self.noise_channels, channels, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(
            *(_Residual(channels) for _ in range(settings.blocks)), nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.up = nn.ModuleList(
            nn.Conv2d(channels + self.noise_channels, channels, 3, padding=1) for _ in range(doublings)
        )
        self.activations = nn.ModuleList(nn.PReLU() for _ in range(doublings))
        self.tail = nn.Conv2d(channels, 3, 3, padding=1)
        with torch.no_grad():
            self.tail.weight.mul_(0.1)
        self.to(memory_format=torch.channels_last)  # on CPUs twice as fast

    def trunk(self, lr: Tensor) -> Tensor:
        """The bicubic enlargement; noise enters at the first layer, so nothing else is shared."""
        return enlarge(lr, self.scale)

    def latents(self, lr: Tensor, random: Sequence[torch.Generator]) -> list[Tensor]:
        """Gaussian noise at LR size and at each doubled size."""
        height, width = lr.shape[2:]
        sizes = [(height << level, width << level) for level in range(len(self.up) + 1)]
        return [normal(random, self.noise_channels, *size, device=lr.device) for size in sizes]

    def sample(self, trunk: Tensor, lr: Tensor, latents: list[Tensor]) -> Tensor:
        maps = torch.cat((lr - 0.5, latents[0]), 1).contiguous(memory_format=torch.channels_last)
        maps = self.head(maps)
        maps = maps + self.body(maps)
        for convolution, activation, noise in zip(self.up, self.activations, latents[1:], strict=True):
            maps = functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
            maps = activation(
                convolution(torch.cat((maps, noise), 1).contiguous(memory_format=torch.channels_last))
            )
        return trunk + self.tail(maps)


class SrganDiscriminator(nn.Module):
    """Strided convolutions with spectral normalisation and one logit per patch: (N, 3, H, W) -> (N, 1, h, w)."""

    def __init__(self, channels: int):
        super().__init__()
        widths = (channels, channels, 2 * channels, 2 * channels, 4 * channels, 4 * channels)
        layers: list[nn.Module] = []
        inputs = 3
        for index, width in enumerate(widths):
            convolution = nn.Conv2d(inputs, width, 3, stride=1 + index % 2, padding=1)
            layers += [nn.utils.parametrizations.spectral_norm(convolution), nn.LeakyReLU(0.2)]
            inputs = width
        layers.append(nn.utils.parametrizations.spectral_norm(nn.Conv2d(inputs, 1, 3, padding=1)))
        self.layers = nn.Sequential(*layers)
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor) -> Tensor:
        return self.layers((image - 0.5).contiguous(memory_format=torch.channels_last))


class SrganTrainer:
    """Both networks, their optimisers and the loss of the module's docstring.

    Args:
        config: of the run.
        settings: of the model.
        device: where to compute.
        processes: the processes that share each batch; gradients and losses are those of all of them.
    """

    def __init__(
        self, config: TrainConfig, settings: SrganSettings, device: torch.device, processes: ProcessGroup
    ):
        self.scale, self.steps, self.processes = config.scale, config.steps, processes
        phi, self.features_name, self.features_reason = build_features(
            settings.features, config.feature_weights
        )
        processes.assert_same(features=self.features_name)
        self.settings = replace(settings, features=self.features_name)
        self.remarks: list[str] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.generator = SrganGenerator(config.scale, settings).to(device)
            self.average = SrganGenerator(config.scale, settings).to(device).requires_grad_(False)
            self.discriminator = SrganDiscriminator(settings.discriminator_channels).to(device)
        self.average.load_state_dict(self.generator.state_dict())
        self.phi = phi.to(device)
        self.multi_sample = processes.wrap_ddp(MultiSampleForward(self.generator, 2, projection=False))
        self.ddp_discriminator = processes.wrap_ddp(self.discriminator)
        self.generator_optimiser = torch.optim.Adam(
            self.generator.parameters(), settings.learning_rate, betas=(0.9, 0.99)
        )
        self.discriminator_optimiser = torch.optim.Adam(
            self.discriminator.parameters(), settings.learning_rate / 2, betas=(0.5, 0.99)
        )
        self.steps_done = 0

    def step(self, lr: Tensor, hr: Tensor, random: Sequence[torch.Generator]) -> dict[str, float]:
        """One step of both networks on a batch; the generator's weighted terms by name."""
        settings, n = self.settings, len(lr)
        for optimiser, share in ((self.generator_optimiser, 1.0), (self.discriminator_optimiser, 0.5)):
            set_learning_rate(optimiser, self.settings.learning_rate * share, self.steps_done, self.steps)
        adversarial_on = settings.adversarial > 0 and self.steps_done >= settings.adversarial_from * self.steps

        latents = draw_latents(self.generator, lr, random, 2)
        sr, lr_error = self.multi_sample(lr, latents)
        measured: dict[str, Tensor] = {}
        if adversarial_on:
            both = self.ddp_discriminator(torch.cat((hr, sr.detach())))
            d_loss = adversarial_loss(both[:n], True) + adversarial_loss(both[n:], False)
            self.discriminator_optimiser.zero_grad(set_to_none=True)
            d_loss.backward()
            self.discriminator_optimiser.step()
            measured["discriminator"] = d_loss

        with torch.no_grad():
            phi_hr = self.phi(hr)
        phi_one, phi_other = self.phi(sr[:n]), self.phi(sr[n:])
        to_hr = (feature_distance(phi_one, phi_hr) + feature_distance(phi_other, phi_hr)) / 2
        apart = feature_distance(phi_one, phi_other)
        terms = {
            "content": settings.alpha * (functional.l1_loss(sr, torch.cat((hr, hr))) + to_hr),
            "consistency": settings.beta * lr_error,
            "diversity": settings.gamma * self._sameness(apart, latents),
        }
        if adversarial_on:
            self.discriminator.requires_grad_(False)
            g_adv_loss = adversarial_loss(self.discriminator(sr), True)
            self.discriminator.requires_grad_(True)
            terms["adversarial"] = settings.alpha * settings.adversarial * g_adv_loss
        loss = torch.stack(list(terms.values())).sum()
        self.generator_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.generator_optimiser.step()
        self.steps_done += 1
        update_ema(self.average, self.generator, self.settings.average, self.steps_done)
        measured |= {**terms, "loss": loss, "to_hr_features": to_hr, "apart_features": apart}
        found = self.processes.all_reduce_mean(measured)
        # 1 where samples differ from each other as much as from the truth
        found["r_features"] = spread_ratio(found["to_hr_features"], found["apart_features"])
        return found

    def _sameness(self, apart: Tensor, latents: list[Tensor]) -> Tensor:
        """What the reward for difference makes of the distance of two samples, lower is better.

        The ratio is that of Mao et al., "Mode Seeking Generative Adversarial Networks", CVPR 2019, eq. 3, turned
        over as in their section 3.2: how far the noise of two samples is apart, by how far they are.
        """
        if self.settings.diversity == "difference":
            return -apart
        noise = torch.cat([(maps[: len(maps) // 2] - maps[len(maps) // 2 :]).flatten() for maps in latents])
        # the ratio of the whole batch, whichever part of it is here; its derivative by what is here
        means = (
            self.processes.all_reduce_sum(torch.stack((noise.abs().mean(), apart.detach())))
            / self.processes.world_size
        )
        ratio = means[0] / (means[1] + RATIO_FLOOR)
        return ratio - ratio / (means[1] + RATIO_FLOOR) * (apart - apart.detach())

    def load_matching(self, weights: Mapping[str, Tensor]) -> int:
        return load_matching(weights, self.generator, self.average)

    _PARTS = ("generator", "average", "discriminator", "generator_optimiser", "discriminator_optimiser")

    def state_dict(self) -> dict[str, Any]:
        return {"steps_done": self.steps_done} | {
            part: getattr(self, part).state_dict() for part in self._PARTS
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps_done = state["steps_done"]
        for part in self._PARTS:
            getattr(self, part).load_state_dict(state[part])

    def weights(self) -> dict[str, Tensor]:
        return {name: value.detach().cpu().contiguous() for name, value in self.average.state_dict().items()}


MODEL = ModelSpec(
    name="srgan",
    summary="SRGAN with noise input, LR term and negative diversity loss: the student method",
    deterministic=False,
    settings=SrganSettings,
    presets={
        "tiny": {},
        "small": {
            "channels": 64,
            "blocks": 16,
            "discriminator_channels": 64,
            "batch": 16,
            "patch": 128,
            "steps": 100_000,
            "max_minutes": 0.0,
            "learning_rate": 2e-4,
            "average": 0.999,
            "checkpoint_every": 1000,
            "log_every": 100,
        },
    },
    build=SrganGenerator,
    trainer=SrganTrainer,
)
