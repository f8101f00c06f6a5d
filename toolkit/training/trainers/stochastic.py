"""The training of `stochastic`: energy scores, and what its pretrained trunk needs.

On a pretrained trunk the decoder is first fitted to the images of the network that the trunk is from.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr.challenge.projection import project
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import require
from ntire_sr.core.pretrained import tensors_digest
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.models.package_weights import TRUNK
from ntire_sr.models.rrdb import read_rrdb
from ntire_sr.models.stochastic_model import MODEL, build_generator
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.losses.energy import channel_norm
from ntire_sr.training.rrdb_init import PretrainedDecoder
from ntire_sr.training.trainers.energy import EnergyTrainer
from ntire_sr.training.trainers.energy_losses import Crops, FeaturedImages, Phi, Term, Terms
from ntire_sr.training.trainers.interface import FrozenFeatures, TrainerSpec
from ntire_sr.training.trainers.stochastic_settings import PRESETS, RRDB_SIZES, StochasticSettings

FEATURE_SHARE = 0.2  # weight of features in the regression to a pretrained network, where pixels have 1


@dataclass(frozen=True)
class PretrainedRegression:
    """Regression to the image of the pretrained network that a generator is built on, in pixels and features.

    The target is a function of the LR image. So the samples need no latents, and the L1 distance blurs nothing.
    """

    decoder: PretrainedDecoder
    phi: Phi
    projection: bool
    zero_latents = True

    def __call__(self, samples: FeaturedImages, crops: Crops) -> Terms:
        assert crops.trunk is not None
        with torch.no_grad():
            images = self.decoder(crops.trunk)
            if self.projection:
                images = project(images, crops.lr, self.decoder.scale)
            count = len(samples.images) // len(images)
            target = FeaturedImages(images.repeat(count, 1, 1, 1), self.phi)
            target_features = target.features
        distances = [
            channel_norm(maps, target_maps).mean()
            for maps, target_maps in zip(samples.features, target_features, strict=True)
        ]
        return Terms(
            [
                Term("pretrained_pixel", 1.0, functional.l1_loss(samples.images, target.images)),
                Term("pretrained_feature", FEATURE_SHARE, torch.stack(distances).mean()),
            ]
        )


class StochasticTrainer(EnergyTrainer):
    """`EnergyTrainer` for the networks of `stochastic`, with or without a pretrained trunk.

    Args:
        config: of the run.
        settings: of the model.
        device: where to compute.
        processes: the processes that share each batch.
        progress: receives the progress of a download.
    """

    def __init__(
        self,
        config: TrainConfig,
        settings: StochasticSettings,
        device: torch.device,
        processes: ProcessGroup,
        progress: Progress = SILENT,
    ):
        pretrained, groups = read_rrdb(Path(config.trunk)) if config.trunk else (None, 0)
        if pretrained:
            require(config.scale == 4, f"trunk is of an x4 network, and scale is {config.scale}", "scale=4")
            settings = replace(settings, rrdb=True, groups=groups, **RRDB_SIZES)
        self.trunk_is_frozen = settings.rrdb and settings.trunk_frozen

        def build(settings: StochasticSettings) -> nn.Module:
            network = build_generator(config.scale, settings)
            if self.trunk_is_frozen:
                network.rrdb.requires_grad_(False)
            return network

        super().__init__(config, settings, build, device, processes, progress)
        self.regression: PretrainedRegression | None = None
        if pretrained:
            self.gan.load_matching({f"{TRUNK}{name}": value for name, value in pretrained.items()})
            decoder = PretrainedDecoder(pretrained).to(device)
            self.regression = PretrainedRegression(decoder, self.phi, settings.projection)
            self.first_loss = self.regression

    def step(
        self,
        lr: Tensor,
        hr: Tensor,
        generators: list[torch.Generator],
        features: Tensor | None = None,
    ) -> dict[str, float]:
        """The step of `EnergyTrainer`, with the features of a pretrained trunk where they are needed."""
        fits_decoder = self.regression is not None and self.gan.steps_done == 0
        regresses = self.scheduled_loss() is self.regression
        if features is None and (self.trunk_is_frozen or fits_decoder or regresses):
            features = self._trunk_features(lr)
        if fits_decoder:
            self._fit_to_pretrained(features)
        return super().step(lr, hr, generators, features)

    def frozen_features(self) -> FrozenFeatures | None:
        if not self.trunk_is_frozen:
            return None
        trunk = tensors_digest(self.gan.generator.rrdb.state_dict())
        return FrozenFeatures(self._trunk_features, f"{trunk} in {self.settings.precision}")

    @torch.no_grad()
    def _trunk_features(self, lr: Tensor) -> Tensor:
        """The pretrained trunk's maps of LR images, (N, 64, h, w), in the precision of the training."""
        half = self.settings.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            maps: Tensor = self.gan.generator.features(lr.to(self.device))
        return maps.float()

    def _fit_to_pretrained(self, features: Tensor) -> None:
        """Initialise the decoder to draw nearly what the pretrained one draws; the same in all processes."""
        assert self.regression
        # through the CPU: a tensor that another process sent from its GPU would arrive on that GPU
        gathered = torch.cat(self.processes.all_gather(features.cpu()))
        self.regression.decoder.fit(self.gan.generator, gathered.to(self.device))
        self.gan.ema.load_state_dict(self.gan.generator.state_dict())

    def weights(self) -> dict[str, Tensor]:
        return {
            name: compact(value) if name.startswith(TRUNK) else value
            for name, value in super().weights().items()
        }


def compact(value: Tensor) -> Tensor:
    """The tensor in 16 bits where that loses nothing, as of a frozen trunk that was published so."""
    half = value.half()
    return half if torch.equal(half.float(), value) else value


TRAINER = TrainerSpec(
    model=MODEL.name,
    architecture=MODEL.architecture,
    settings=StochasticSettings,
    presets=PRESETS,
    trainer=StochasticTrainer,
)
