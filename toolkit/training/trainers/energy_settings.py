"""The settings of a training with energy scores: loss, discriminator and optimiser, of any network that draws samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ntire_sr.core.errors import require
from ntire_sr.models.interfaces import MOST_CHANNELS
from ntire_sr.training.losses.energy import check_gamma

MOST_SAMPLES = 1000  # per crop, far above any use


@dataclass(frozen=True)
class EnergySettings:
    """Loss and optimiser of `energy.EnergyTrainer`."""

    # fmt: off
    samples: int = 2  # number K of samples of each LR crop per step
    final_samples: int = 0  # the same number for the last third of the steps; 0 means that of samples
    gamma: float = 0.5  # weight of the distance between samples; 0.5 gives the proper score
    pixel_weight: float = 1.0  # weight of the energy score of single pixels
    window_weight: float = 1.0  # weight of the energy score of windows of pixels
    window_px: int = 7  # side of these windows, odd
    filters_weight: float = 1.0  # weight of the energy score of oriented filters
    feature_weight: float = 2.0  # weight of the energy score of features
    best_weight: float = 0.02  # weight of the local best-of-K on features
    adversarial: float = 1.0  # norm of the adversarial gradient at the samples, as a share of that of the other terms
    consistency: float = 0.2  # weight of the L1 distance between the LR image and the downscaled samples before projection
    out_of_range: float = 1.0  # weight of the mean distance of values to [0, 1]
    warm_up: float = 0.05  # share of the steps at the start with the L1 loss alone, or with a trunk the regression to its network
    adversarial_start: float = 0.25  # share of the steps after which the adversarial loss starts
    discriminator_warmup: float = 0.0  # share of the steps before adversarial_start in which the discriminator already learns
    r1: float = 0.0  # weight of the R1 penalty on the discriminator, in addition to its spectral normalisation
    discriminator_channels: int = 16  # channels of the discriminator's layers
    projection: bool = True  # project onto the LR image during training too; false projects only when sampling
    learning_rate: float = 5e-4  # initial learning rate of AdamW, with cosine decay to 0
    ema_decay: float = 0.999  # decay of the generator's EMA per step
    precision: str = "auto"  # precision of the generator's convolutions: float32 or bfloat16; auto is bfloat16 where the device computes it in hardware
    compile: bool = False  # compile the generator with torch.compile; costs minutes at the start (a GPU's gain is untested)
    features: str = "auto"  # network of the feature losses: filters, squeezenet1_1 or vgg19; auto is squeezenet1_1
    # fmt: on

    # see core.settings
    RENAMED: ClassVar[Mapping[str, str]] = {
        "pixel": "pixel_weight",
        "window": "window_weight",
        "filters": "filters_weight",
        "feature": "feature_weight",
        "best": "best_weight",
        "adversarial_from": "adversarial_start",
        "discriminator_ahead": "discriminator_warmup",
        "average": "ema_decay",
    }
    EARLIER: ClassVar[Mapping[str, Any]] = {
        "final_samples": 0,
        "discriminator_warmup": 0.0,
        "precision": "float32",  # not auto, which is bfloat16 on some of today's processors
    }

    def __post_init__(self) -> None:
        require(
            2 <= self.samples <= MOST_SAMPLES, f"samples {self.samples} is out of range", f"2 to {MOST_SAMPLES}"
        )
        require(
            self.final_samples == 0 or 2 <= self.final_samples <= MOST_SAMPLES,
            f"final_samples {self.final_samples} is out of range",
            f"0, or 2 to {MOST_SAMPLES}",
        )
        check_gamma(self.gamma)
        for name in (
            "pixel_weight",
            "window_weight",
            "filters_weight",
            "feature_weight",
            "best_weight",
            "adversarial",
            "r1",
            "consistency",
            "out_of_range",
        ):
            require(getattr(self, name) >= 0, f"{name} {getattr(self, name)} is negative", "0 or more")
        require(
            self.window_px >= 1 and self.window_px % 2 == 1,
            f"window_px {self.window_px} is not an odd number",
            f"{self.window_px | 1}",
        )
        for name in ("warm_up", "adversarial_start", "discriminator_warmup"):
            require(0 <= getattr(self, name) <= 1, f"{name} {getattr(self, name)} is not a share", "0 to 1")
        require(
            1 <= self.discriminator_channels <= MOST_CHANNELS,
            f"discriminator_channels {self.discriminator_channels} is out of range",
            f"1 to {MOST_CHANNELS}",
        )
        require(
            self.precision in ("auto", "float32", "bfloat16"),
            f"precision {self.precision!r} is unknown",
            "auto, float32 or bfloat16",
        )
        require(self.learning_rate > 0, f"learning_rate {self.learning_rate} is not positive", "0.0002")
        require(0 <= self.ema_decay < 1, f"ema_decay {self.ema_decay} is out of range", "0 to 0.9999")
        require(
            self.gamma <= 0.5 or self.out_of_range > 0,
            f"gamma {self.gamma} above 0.5 needs the penalty on values out of range",
            "out_of_range=1",
        )
