"""The training of `stochastic`: energy scores of K samples, best-of-K, and a balanced adversarial loss.

The losses are in `stochastic_losses`, the discriminator in `losses.discriminator`. The gradient of the adversarial loss
at the samples is scaled to a set share of the other terms' norm, so that it never dominates.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ntire_sr.core.device import choose_precision
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import require
from ntire_sr.core.pretrained import tensors_digest
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.models.modulation import zero_latents
from ntire_sr.models.package_weights import TRUNK
from ntire_sr.models.rrdb import read_rrdb
from ntire_sr.models.stochastic_model import build_generator
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.gan_state import GanState, clipped_step, gradient_norm
from ntire_sr.training.gradient_guard import GradientGuard
from ntire_sr.training.losses.adversarial import adversarial_loss, balanced_weight, r1_penalty
from ntire_sr.training.losses.discriminator import UNetDiscriminator
from ntire_sr.training.losses.energy import check_gamma, range_penalty, spread_ratio
from ntire_sr.training.losses.features import FilterBank, build_features
from ntire_sr.training.multi_sample import MultiSampleForward, draw_latents
from ntire_sr.training.rrdb_init import PretrainedDecoder
from ntire_sr.training.trainers.interface import FrozenFeatures, TrainerSpec
from ntire_sr.training.trainers.stochastic_losses import (
    Crops,
    EnergyLoss,
    FeaturedImages,
    PretrainedRegression,
    SampleLoss,
    WarmUp,
)
from ntire_sr.training.trainers.stochastic_settings import PRESETS, RRDB_SIZES, StochasticSettings

BALANCE_LIMIT = 1.0  # upper bound of the adversarial loss's weight
FINAL_START = 2 / 3  # share of the steps after which `final_samples` are drawn
MAX_GRADIENT_NORM = 1.0  # larger gradients are clipped to this norm


class StochasticTrainer:
    """The networks, losses and optimisers, see `interface.Trainer`.

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
        settings: StochasticSettings,
        device: torch.device,
        processes: ProcessGroup,
        progress: Progress = SILENT,
    ):
        self.device, self.processes = device, processes
        precision = choose_precision(settings.precision, device)
        half_precision = precision == "bfloat16"
        phi, self.features_name = build_features(settings.features, config.features_file, progress)
        processes.assert_same(features=self.features_name, precision=precision)
        settings = replace(settings, features=self.features_name, precision=precision)
        pretrained, groups = read_rrdb(Path(config.trunk)) if config.trunk else (None, 0)
        if pretrained:
            require(config.scale == 4, f"trunk is of an x4 network, and scale is {config.scale}", "scale=4")
            settings = replace(settings, rrdb=True, groups=groups, **RRDB_SIZES)
        self.settings = settings
        warning = check_gamma(settings.gamma)
        self.messages = [warning] if warning else []
        phi_widths = [maps.shape[1] for maps in phi(torch.zeros(1, 3, config.patch, config.patch))]
        self.phi = phi.to(device)
        self.gan = GanState(
            lambda: build_generator(config.scale, settings),
            lambda: UNetDiscriminator(settings.discriminator_channels, phi_widths, half_precision),
            partial(torch.optim.AdamW, weight_decay=0.0),
            settings.learning_rate,
            settings.ema_decay,
            config,
            device,
            processes,
        )
        self.trunk_is_frozen = settings.rrdb and settings.trunk_frozen
        if pretrained:
            self.gan.load_matching({f"{TRUNK}{name}": value for name, value in pretrained.items()})
        if self.trunk_is_frozen:
            self.gan.generator.rrdb.requires_grad_(False)
        self.regression: PretrainedRegression | None = None
        if pretrained:
            decoder = PretrainedDecoder(pretrained).to(device)
            self.regression = PretrainedRegression(decoder, self.phi, settings.projection)
        self.warm_up = WarmUp()
        self.energy = EnergyLoss(settings, FilterBank(colour=False).to(device))
        multi_sample = MultiSampleForward(
            self.gan.generator, settings.samples, settings.projection, half=half_precision
        )
        if settings.compile:
            multi_sample.compile()
        self.multi_sample = processes.wrap_ddp(multi_sample)
        self.guard = GradientGuard()

    def step(
        self,
        lr: Tensor,
        hr: Tensor,
        generators: list[torch.Generator],
        features: Tensor | None = None,
    ) -> dict[str, float]:
        """One step of both networks on a batch, see `interface.Trainer`; logs the terms without their weights."""
        settings, gan = self.settings, self.gan
        gan.set_learning_rates()
        loss = self._scheduled_loss()
        with_discriminator = loss is self.energy and settings.adversarial > 0
        adversarial = with_discriminator and gan.has_passed(settings.adversarial_start)
        discriminator_learns = with_discriminator and gan.has_passed(
            settings.adversarial_start - settings.discriminator_warmup
        )

        # Draw K samples of each crop. The trunk runs once per crop; the loop may have its features already.
        fits_decoder = self.regression is not None and gan.steps_done == 0
        if features is None and (self.trunk_is_frozen or fits_decoder or loss is self.regression):
            features = self._trunk_features(lr)
        if fits_decoder:
            self._fit_to_pretrained(features)
        count = self._sample_count()
        latents = draw_latents(gan.generator, lr, generators, count)
        latents = zero_latents(latents) if loss.zero_latents else latents
        drawn, lr_error = self.multi_sample(lr, latents, features if self.trunk_is_frozen else None, count)

        # The terms of the loss, and their gradient at the samples: not yet at the network's weights.
        samples = FeaturedImages(drawn.detach().requires_grad_(), self.phi)
        crops = Crops(lr, FeaturedImages(hr, self.phi), features)
        terms = loss(samples, crops)
        loss_at_samples = terms.sum()
        (gradient,) = torch.autograd.grad(loss_at_samples, samples.images, retain_graph=adversarial)

        # The discriminator's step, then the adversarial gradient in proportion to the other terms' gradient.
        discriminator_log = self._step_discriminator(samples, crops.hr) if discriminator_learns else {}
        adversarial_log: dict[str, Tensor] = {}
        if adversarial:
            adversarial_gradient, adversarial_log = self._adversarial_gradient(samples, len(hr), gradient)
            gradient = gradient + adversarial_gradient

        # One backward pass through the network, for the gradient at the samples and the error before projection.
        gan.generator_optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward((drawn, settings.consistency * lr_error), (gradient, None))
        grad_norm = gradient_norm(gan.generator)

        # The optimiser's step, unless the gradient has exploded.
        losses = self.processes.all_reduce_mean(
            terms.values()
            | discriminator_log
            | adversarial_log
            | {
                "consistency": lr_error,
                "loss": loss_at_samples + settings.consistency * lr_error.detach(),
                "gradient": grad_norm,
                "off_range": range_penalty(drawn.detach()) + lr_error.detach(),
            }
        )
        self._finish_step(grad_norm, losses)
        ratios = {
            f"r_{kind}": spread_ratio(losses[f"to_hr_{kind}"], losses[f"pair_distance_{kind}"])
            for kind in terms.distances
        }
        return losses | ratios | {"skipped": self.guard.skipped, "rollbacks": len(self.guard.rolled_back)}

    def _scheduled_loss(self) -> SampleLoss:
        """The loss of the step that comes next."""
        if self.gan.has_passed(self.settings.warm_up):
            return self.energy
        return self.regression or self.warm_up

    def _sample_count(self) -> int:
        """The number of samples of each crop in the step that comes next."""
        settings = self.settings
        final = settings.final_samples and self.gan.has_passed(FINAL_START)
        return settings.final_samples if final else settings.samples

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

    def _step_discriminator(self, samples: FeaturedImages, hr: FeaturedImages) -> dict[str, Tensor]:
        """One step of the discriminator; returns its loss and its accuracy."""
        gan, n = self.gan, len(hr.images)
        partner, partner_features = _partners(samples, n)
        logits = gan.ddp_discriminator(
            torch.cat((hr.images, samples.images.detach())),
            [
                torch.cat((real, fake.detach()))
                for real, fake in zip(hr.features, samples.features, strict=True)
            ],
            torch.cat((partner[:n], partner)),
            [torch.cat((maps[:n], maps)) for maps in partner_features],
        )
        real, fake = logits[:n], logits[n:]
        d_loss = adversarial_loss(real, True) + adversarial_loss(fake, False)
        if self.settings.r1:
            d_loss = d_loss + self.settings.r1 / 2 * r1_penalty(
                lambda image: gan.discriminator(
                    image, self.phi(image), partner[:n], [maps[:n] for maps in partner_features]
                ),
                hr.images,
            )
        gan.discriminator_optimiser.zero_grad(set_to_none=True)
        d_loss.backward()
        clipped_step(gan.discriminator_optimiser, gradient_norm(gan.discriminator), MAX_GRADIENT_NORM)
        # an accuracy of .5 is guessing; 1 for a long time means that the discriminator has won
        accuracy = ((real > 0).float().mean() + (fake < 0).float().mean()) / 2
        return {"discriminator": d_loss, "discriminator_accuracy": accuracy}

    def _adversarial_gradient(
        self, samples: FeaturedImages, n: int, gradient: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The gradient of the adversarial loss at the samples of n crops, scaled to a share of the norm of `gradient`.

        Returns:
            The scaled gradient, and the loss and its weight for the log.
        """
        g_loss = adversarial_loss(
            self.gan.discriminator(samples.images, samples.features, *_partners(samples, n)), True
        )
        (g_gradient,) = torch.autograd.grad(g_loss, samples.images)
        squares = torch.stack([maps.float().square().sum() for maps in (gradient, g_gradient)])
        norms = self.processes.all_reduce_sum(squares).sqrt()
        weight = balanced_weight(*norms, self.settings.adversarial, BALANCE_LIMIT)
        return weight * g_gradient, {"adversarial": g_loss, "adversarial_weight": weight}

    def _finish_step(self, norm: Tensor, losses: Mapping[str, float]) -> None:
        """Step the generator's optimiser and the EMA, unless gradient or samples exploded.

        If the samples did, or several gradients in a row, continue from the EMA.

        Args:
            norm: of the gradient, on the device.
            losses: the step's, which every process has.
        """
        gan, guard, step = self.gan, self.guard, self.gan.steps_done
        warm_up_steps = self.settings.warm_up * gan.steps
        accepted = guard.accepts(losses["gradient"], losses["off_range"], step, warm_up_steps)
        if accepted:
            clipped_step(gan.generator_optimiser, norm, MAX_GRADIENT_NORM)
        elif guard.wants_rollback:
            gan.return_to_ema(undo=guard.weights_exploded)
            guard.count_rollback(step)
        gan.finish_step(accepted)

    def weights(self) -> dict[str, Tensor]:
        return {
            name: compact(value) if name.startswith(TRUNK) else value
            for name, value in self.gan.weights().items()
        }

    def state_dict(self) -> dict[str, Any]:
        return self.gan.state_dict() | self.guard.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.gan.load_state_dict(state)
        self.guard.load_state_dict(state)


def _partners(samples: FeaturedImages, n: int) -> tuple[Tensor, list[Tensor]]:
    """For each of K * n samples another sample of its LR image: the one before it. Detached, with features.

    The first n are partners of the HR images, too.
    """
    return samples.images.detach().roll(n, 0), [maps.detach().roll(n, 0) for maps in samples.features]


def compact(value: Tensor) -> Tensor:
    """The tensor in 16 bits where that loses nothing, as of a frozen trunk that was published so."""
    half = value.half()
    return half if torch.equal(half.float(), value) else value


TRAINER = TrainerSpec(
    model="stochastic", settings=StochasticSettings, presets=PRESETS, trainer=StochasticTrainer
)
