"""`srgan`: the student method. SRGAN with a noise input, an LR term and a negative diversity loss.

    LOSS = alpha * L_SRGAN(SR_i, HR) + beta * L1(D SR_i, LR) - gamma * L1(phi(SR_i), phi(SR_j))

L_SRGAN is a content loss plus an adversarial loss (Ledig et al., "Photo-Realistic Single Image
Super-Resolution Using a GAN", CVPR 2017). As there, the generator first learns by L1 alone. SR_i and SR_j are two samples of one LR image; D is the
challenge's bicubic downscale; phi are features of a pretrained classifier. The network is trained without
the LR projection, since the beta term would be zero after it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from ntire_sr.core.device import choose_precision
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import require, suggestion
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.models.interfaces import MOST_CHANNELS
from ntire_sr.models.srgan import MODEL, SrganArchitecture, SrganDiscriminator, SrganGenerator
from ntire_sr.models.weights_files import read_weights
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.gan_state import GanState
from ntire_sr.training.losses.adversarial import adversarial_loss
from ntire_sr.training.losses.discriminator import UNetDiscriminator
from ntire_sr.training.losses.energy import range_penalty, spread_ratio
from ntire_sr.training.losses.features import build_features, feature_distance
from ntire_sr.training.multi_sample import MultiSampleForward, draw_latents
from ntire_sr.training.trainers.interface import TrainerSpec

RATIO_FLOOR = 1e-5  # keeps MSGAN's ratio finite
DISCRIMINATORS = ("convolutions", "features")


@dataclass(frozen=True)
class SrganSettings(SrganArchitecture):
    """Architecture, loss and optimiser of `srgan`."""

    # fmt: off
    discriminator_channels: int = 24  # channels of the discriminator's first two layers; doubled twice further down
    alpha: float = 1.0  # weight of content + adversarial loss
    beta: float = 1.0  # weight of the L1 between the downscaled SR and the LR image
    gamma: float = 0.4  # weight of the L1 between features of two samples, which is rewarded; above alpha / 2 diversity outweighs fidelity
    diversity: str = "difference"  # what gamma rewards: the difference, or MSGAN's ratio to that of the noise
    adversarial: float = 0.01  # weight of the adversarial loss inside L_SRGAN
    discriminator: str = "convolutions"  # what judges HR and SR: convolutions of the pixels, trained from scratch, or a U-Net on the features phi
    warm_up: float = 0.0  # share of the steps at the start with the L1 distance to HR and the LR term alone
    adversarial_start: float = 0.25  # share of the steps after which the adversarial loss starts
    learning_rate: float = 4e-4  # initial learning rate of Adam, with cosine decay to 0
    ema_decay: float = 0.99  # decay of the generator's EMA per step
    precision: str = "auto"  # precision of the networks' convolutions: float32 or bfloat16; auto is bfloat16 where the device computes it in hardware
    features: str = "auto"  # network phi of the feature losses: filters, squeezenet1_1 or vgg19; auto is squeezenet1_1
    # fmt: on

    # see core.settings
    RENAMED: ClassVar[Mapping[str, str]] = {
        "adversarial_from": "adversarial_start",
        "average": "ema_decay",
    }

    EARLIER: ClassVar[Mapping[str, Any]] = {
        "warm_up": 0.0,
        "precision": "float32",
        "discriminator": "convolutions",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            1 <= self.discriminator_channels <= MOST_CHANNELS,
            f"discriminator_channels {self.discriminator_channels} is out of range",
            f"1 to {MOST_CHANNELS}",
        )
        for name in ("alpha", "beta", "gamma", "adversarial"):
            require(getattr(self, name) >= 0, f"{name} {getattr(self, name)} is negative", "0 or more")
        require(
            self.diversity in ("difference", "ratio"),
            f"diversity {self.diversity!r} is unknown",
            suggestion(self.diversity, ("difference", "ratio")),
        )
        require(
            self.discriminator in DISCRIMINATORS,
            f"discriminator {self.discriminator!r} is unknown",
            suggestion(self.discriminator, DISCRIMINATORS),
        )
        for name in ("warm_up", "adversarial_start"):
            require(0 <= getattr(self, name) <= 1, f"{name} {getattr(self, name)} is not a share", "0 to 1")
        require(
            self.precision in ("auto", "float32", "bfloat16"),
            f"precision {self.precision!r} is unknown",
            "auto, float32 or bfloat16",
        )
        require(self.learning_rate > 0, f"learning_rate {self.learning_rate} is not positive", "0.0002")
        require(0 <= self.ema_decay < 1, f"ema_decay {self.ema_decay} is out of range", "0 to 0.9999")


class SrganTrainer:
    """The loss of the module's docstring, and one optimiser step of both networks.

    Args:
        config: of the run.
        settings: of the model.
        device: where to compute.
        processes: the processes that share each batch; gradients and losses are those of all of them.
        progress: receives the progress of a download.
    """

    def __init__(
        self,
        config: TrainConfig,
        settings: SrganSettings,
        device: torch.device,
        processes: ProcessGroup,
        progress: Progress = SILENT,
    ):
        self.processes, self.origin = processes, {}
        phi, self.features_name = build_features(settings.features, config.features_file, progress)
        precision = choose_precision(settings.precision, device)
        processes.assert_same(features=self.features_name, precision=precision)
        self.settings = settings = replace(settings, features=self.features_name, precision=precision)
        self.messages: list[str] = []
        phi_widths = [maps.shape[1] for maps in phi(torch.zeros(1, 3, config.patch, config.patch))]
        self.phi = phi.to(device)

        def build_discriminator() -> torch.nn.Module:
            if settings.discriminator == "features":
                return UNetDiscriminator(settings.discriminator_channels, phi_widths)
            return SrganDiscriminator(settings.discriminator_channels)

        self.gan = GanState(
            lambda: SrganGenerator(config.scale, settings),
            build_discriminator,
            torch.optim.Adam,
            settings.learning_rate,
            settings.ema_decay,
            config,
            device,
            processes,
        )
        self.multi_sample = processes.wrap_ddp(
            MultiSampleForward(self.gan.generator, 2, projection=False, half=precision == "bfloat16")
        )

    def frozen_features(self) -> None:
        """All of this network learns."""

    def step(
        self, lr: Tensor, hr: Tensor, generators: list[torch.Generator], features: Tensor | None = None
    ) -> dict[str, float]:
        """One step of both networks on a batch; returns the generator's weighted terms by name."""
        assert features is None
        settings, gan, n = self.settings, self.gan, len(lr)
        gan.set_learning_rates()
        warm_up = not gan.has_passed(settings.warm_up)
        adversarial_on = settings.adversarial > 0 and gan.has_passed(settings.adversarial_start) and not warm_up

        latents = draw_latents(gan.generator, lr, generators, 2)
        sr, lr_error = self.multi_sample(lr, latents)
        logged: dict[str, Tensor] = {}
        phi_hr: list[Tensor] = []
        phi_sr: list[Tensor] = []
        if not warm_up:
            with torch.no_grad():
                phi_hr = self.phi(hr)
            phi_sr = self.phi(sr)
        if adversarial_on:
            both = [torch.cat((real, fake.detach())) for real, fake in zip(phi_hr, phi_sr, strict=True)]
            logits = self._logits(gan.ddp_discriminator, torch.cat((hr, sr.detach())), both)
            d_loss = adversarial_loss(logits[:n], True) + adversarial_loss(logits[n:], False)
            gan.discriminator_optimiser.zero_grad(set_to_none=True)
            d_loss.backward()
            gan.discriminator_optimiser.step()
            logged["discriminator"] = d_loss

        l1 = functional.l1_loss(sr, torch.cat((hr, hr)))
        terms = {"content": settings.alpha * l1, "consistency": settings.beta * lr_error}
        distances: dict[str, Tensor] = {}
        if not warm_up:
            phi_first, phi_second = [maps[:n] for maps in phi_sr], [maps[n:] for maps in phi_sr]
            to_hr = (feature_distance(phi_first, phi_hr) + feature_distance(phi_second, phi_hr)) / 2
            pairwise = feature_distance(phi_first, phi_second)
            distances = {"to_hr_features": to_hr, "pair_distance_features": pairwise}
            terms["content"] = settings.alpha * (l1 + to_hr)
            terms["diversity"] = settings.gamma * self._diversity_loss(pairwise, latents)
        if adversarial_on:
            gan.discriminator.requires_grad_(False)
            g_adv_loss = adversarial_loss(self._logits(gan.discriminator, sr, phi_sr), True)
            gan.discriminator.requires_grad_(True)
            terms["adversarial"] = settings.alpha * settings.adversarial * g_adv_loss
        loss = torch.stack(list(terms.values())).sum()
        gan.generator_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        gan.generator_optimiser.step()
        gan.finish_step()
        # as far outside of [0, 1] as a training that has diverged draws
        off_range = {"off_range": range_penalty(sr.detach()) + lr_error.detach()}
        losses = self.processes.all_reduce_mean(logged | terms | {"loss": loss} | distances | off_range)
        if not warm_up:  # 1 where samples differ from each other as much as from the truth
            losses["r_features"] = spread_ratio(losses["to_hr_features"], losses["pair_distance_features"])
        return losses

    def _logits(self, discriminator: Any, images: Tensor, features: list[Tensor]) -> Tensor:
        """The discriminator's logits. This on features judges pairs; it gets each image with itself, as a single one."""
        if self.settings.discriminator == "features":
            return discriminator(images, features, images, features)
        return discriminator(images)

    def _diversity_loss(self, pairwise: Tensor, latents: list[Tensor]) -> Tensor:
        """The diversity loss of two samples at this feature distance, lower is more diverse.

        The ratio is that of Mao et al., "Mode Seeking Generative Adversarial Networks", CVPR 2019, eq. 3,
        inverted as in their section 3.2: the distance of the two samples' noise, divided by `pairwise`.
        """
        if self.settings.diversity == "difference":
            return -pairwise
        noise = torch.cat([(maps[: len(maps) // 2] - maps[len(maps) // 2 :]).flatten() for maps in latents])
        # the ratio is that of the whole batch; its gradient is that by this process's share of it
        means = (
            self.processes.all_reduce_sum(torch.stack((noise.abs().mean(), pairwise.detach())))
            / self.processes.world_size
        )
        ratio = means[0] / (means[1] + RATIO_FLOOR)
        return ratio - ratio / (means[1] + RATIO_FLOOR) * (pairwise - pairwise.detach())

    def read_initial(self, path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
        return read_weights(path)

    def weights(self) -> dict[str, Tensor]:
        return self.gan.weights()

    def state_dict(self) -> dict[str, Any]:
        return self.gan.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.gan.load_state_dict(state)


# The losses of the package's weights. In a classifier's features, differences of a few grey levels in flat areas lower
# the diversity loss. The filters give these little weight, and see stripes of one pixel.
LARGE = {"features": "filters", "discriminator": "features", "gamma": 0.45, "adversarial": 0.25}

TRAINER = TrainerSpec(
    model=MODEL.name,
    architecture=MODEL.architecture,
    settings=SrganSettings,
    presets={
        "tiny": {"start_from": "none"},
        # the package's weights
        "finetune": LARGE
        | {
            "batch": 4,
            "patch": 96,
            "steps": 1000,
            "max_minutes": 60.0,
            "adversarial_start": 0.0,
            "ema_decay": 0.99,
        },
        # the sizes of Ledig et al., from scratch, for hours on one core
        "paper": LARGE
        | {
            "channels": 64,
            "blocks": 16,
            "batch": 8,
            "patch": 96,
            "steps": 5000,
            "max_minutes": 180.0,
            "warm_up": 0.2,
            "adversarial_start": 0.2,
            "ema_decay": 0.99,
            "start_from": "none",
        },
        "small": {
            "channels": 64,
            "blocks": 16,
            "discriminator_channels": 64,
            "batch": 16,
            "patch": 128,
            "steps": 100_000,
            "max_minutes": 0.0,
            "learning_rate": 2e-4,
            "ema_decay": 0.999,
            "checkpoint_every": 1000,
            "log_every": 100,
        },
    },
    trainer=SrganTrainer,
)
