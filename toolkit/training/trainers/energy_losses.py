"""The losses of a training with energy scores: the L1 warm-up and the scores.

Each is a `SampleLoss`; the trainer's schedule chooses one per step. To change what the network learns, add a `Term`:
a name for the log, a weight from the settings, and a value from a function of `training.losses`. The adversarial
gradient and the LR consistency before projection are added in `EnergyTrainer.step`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ntire_sr.training.losses.energy import (
    best_of,
    channel_norm,
    energy_score,
    energy_terms,
    layers_energy_terms,
    location_norm,
    patch_norm,
    range_penalty,
)
from ntire_sr.training.losses.features import FilterBank
from ntire_sr.training.trainers.energy_settings import EnergySettings

BEST_WINDOW, BEST_SHARPNESS = 3, 10.0  # see `best_of`

Phi = Callable[[Tensor], list[Tensor]]


class FeaturedImages:
    """Images (N, 3, H, W) and their features, which are computed when they are first read."""

    def __init__(self, images: Tensor, phi: Phi):
        self.images, self._phi = images, phi

    @cached_property
    def features(self) -> list[Tensor]:
        """List of maps (N, C, h, w), see `losses.features`."""
        return self._phi(self.images)


@dataclass(frozen=True)
class Crops:
    """The ground truth of a batch of N crops."""

    lr: Tensor  # (N, 3, h, w) in [0, 1]
    hr: FeaturedImages  # (N, 3, H, W) in [0, 1]
    trunk: Tensor | None  # (N, C, h, w): the pretrained trunk's maps of `lr`, where they are used


@dataclass(frozen=True)
class Term:
    """One weighted term of a loss."""

    name: str  # in the log
    weight: float
    value: Tensor  # scalar, without the weight; lower is better


@dataclass(frozen=True)
class Terms:
    """The terms of a loss for one batch."""

    weighted: list[Term]
    # only for the log: kind -> mean distance of a sample to HR, and mean distance of two samples
    distances: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def sum(self) -> Tensor:
        """The loss, a scalar."""
        return torch.stack([term.weight * term.value for term in self.weighted]).sum()

    def values(self) -> dict[str, Tensor]:
        """The terms without their weights, and the distances, by their names in the log."""
        values = {term.name: term.value for term in self.weighted}
        for kind, (to_hr, pairwise) in self.distances.items():
            values |= {f"to_hr_{kind}": to_hr, f"pair_distance_{kind}": pairwise}
        return values


class SampleLoss(Protocol):
    """A loss of K samples of each crop."""

    zero_latents: bool  # whether samples are drawn with zero latents and without noise

    def __call__(self, samples: FeaturedImages, crops: Crops) -> Terms:
        """The terms for K * N samples: the first sample of each crop, then the second, and so on."""
        ...


@dataclass(frozen=True)
class WarmUp:
    """L1 distance to the HR image. It gives colours and edges before the scores ask for diversity."""

    zero_latents = False

    def __call__(self, samples: FeaturedImages, crops: Crops) -> Terms:
        target = crops.hr.images.repeat(len(samples.images) // len(crops.hr.images), 1, 1, 1)
        return Terms([Term("l1", 1.0, functional.l1_loss(samples.images, target))])


@dataclass(frozen=True)
class EnergyLoss:
    """Energy scores of pixels, windows, oriented filters and features; best-of-K; and a penalty on the range.

    The scores are proper (Gneiting and Raftery, JASA 2007, see `losses.energy`), best-of-K is not. The adversarial
    loss is added by the trainer.
    """

    settings: EnergySettings
    filters: FilterBank
    zero_latents = False

    def __call__(self, samples: FeaturedImages, crops: Crops) -> Terms:
        settings, hr = self.settings, crops.hr

        def by_sample(maps: Tensor) -> Tensor:
            """(K * N, C, h, w) to (K, N, C, h, w)."""
            return maps.unflatten(0, (-1, len(hr.images)))

        # the order of these lines decides the order in which gradients are summed, and so their last bits
        features = [by_sample(maps) for maps in samples.features]
        images = by_sample(samples.images)
        filtered = [by_sample(maps) for maps in self.filters(samples.images)]

        pixel = energy_terms(images, hr.images, location_norm)
        window = energy_terms(images, hr.images, patch_norm(settings.window_px))
        filters = layers_energy_terms(filtered, self.filters(hr.images), channel_norm)
        feature = layers_energy_terms(features, hr.features, channel_norm)
        best = [
            best_of(maps, target, BEST_WINDOW, BEST_SHARPNESS)
            for maps, target in zip(features, hr.features, strict=True)
        ]
        gamma = settings.gamma
        return Terms(
            [
                Term("pixel", settings.pixel_weight, energy_score(*pixel, gamma)),
                Term("window", settings.window_weight, energy_score(*window, gamma)),
                Term("filters", settings.filters_weight, energy_score(*filters, gamma)),
                Term("feature", settings.feature_weight, energy_score(*feature, gamma)),
                Term("best", settings.best_weight, torch.stack(best).mean()),
                Term("out_of_range", settings.out_of_range, range_penalty(samples.images)),
            ],
            {"pixels": pixel, "features": feature},
        )
