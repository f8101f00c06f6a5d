"""Training with energy scores of K samples, best-of-K and a balanced adversarial loss, for any network that draws samples.

The losses are in `energy_losses`, the discriminator in `losses.discriminator`. The gradient of the adversarial loss
at the samples is scaled to a set share of the other terms' norm, so that it never dominates.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ntire_sr.core.device import choose_precision
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.models.modulation import zero_latents
from ntire_sr.models.weights_files import read_weights
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.gan_state import GanState, clipped_step, gradient_norm
from ntire_sr.training.gradient_guard import GradientGuard
from ntire_sr.training.losses.adversarial import adversarial_loss, balanced_weight, r1_penalty
from ntire_sr.training.losses.discriminator import UNetDiscriminator
from ntire_sr.training.losses.energy import check_gamma, range_penalty, spread_ratio
from ntire_sr.training.losses.features import FilterBank, build_features
from ntire_sr.training.multi_sample import MultiSampleForward, draw_latents
from ntire_sr.training.trainers.energy_losses import Crops, EnergyLoss, FeaturedImages, SampleLoss, WarmUp
from ntire_sr.training.trainers.interface import FrozenFeatures

BALANCE_LIMIT = 1.0  # upper bound of the adversarial loss's weight
FINAL_START = 2 / 3  # share of the steps after which `final_samples` are drawn
MAX_GRADIENT_NORM = 1.0  # larger gradients are clipped to this norm


class EnergyTrainer:
    """The networks, losses and optimisers, see `interface.Trainer`.

    Args:
        config: of the run.
        settings: an `EnergySettings`, with those of the network.
        build_generator: makes a network that is an `interfaces.Generator` and an nn.Module, for the settings; called
            for the generator, and once more for its EMA. Parameters that need no gradient are frozen.
        device: where to compute.
        processes: the processes that share each batch; gradients and losses are those of all of them.
        progress: receives the progress of a download.
    """

    trunk_is_frozen = False  # whether `step` gets the features of a trunk that does not learn

    def __init__(
        self,
        config: TrainConfig,
        settings: Any,
        build_generator: Callable[[Any], nn.Module],
        device: torch.device,
        processes: ProcessGroup,
        progress: Progress = SILENT,
    ):
        self.device, self.processes = device, processes
        self.origin: dict[str, Any] = {}
        precision = choose_precision(settings.precision, device)
        half_precision = precision == "bfloat16"
        phi, self.features_name = build_features(settings.features, config.features_file, progress)
        processes.assert_same(features=self.features_name, precision=precision)
        settings = replace(settings, features=self.features_name, precision=precision)
        self.settings = settings
        warning = check_gamma(settings.gamma)
        self.messages = [warning] if warning else []
        phi_widths = [maps.shape[1] for maps in phi(torch.zeros(1, 3, config.patch, config.patch))]
        self.phi = phi.to(device)
        self.gan = GanState(
            lambda: build_generator(settings),
            lambda: UNetDiscriminator(settings.discriminator_channels, phi_widths, half_precision),
            partial(torch.optim.AdamW, weight_decay=0.0),
            settings.learning_rate,
            settings.ema_decay,
            config,
            device,
            processes,
        )
        self.first_loss: SampleLoss = WarmUp()
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
        loss = self.scheduled_loss()
        with_discriminator = loss is self.energy and settings.adversarial > 0
        adversarial = with_discriminator and gan.has_passed(settings.adversarial_start)
        discriminator_learns = with_discriminator and gan.has_passed(
            settings.adversarial_start - settings.discriminator_warmup
        )

        # Draw K samples of each crop. The trunk runs once per crop; the features of a frozen one are there already.
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

    def scheduled_loss(self) -> SampleLoss:
        """The loss of the step that comes next."""
        if self.gan.has_passed(self.settings.warm_up):
            return self.energy
        return self.first_loss

    def _sample_count(self) -> int:
        """The number of samples of each crop in the step that comes next."""
        settings = self.settings
        final = settings.final_samples and self.gan.has_passed(FINAL_START)
        return settings.final_samples if final else settings.samples

    def frozen_features(self) -> FrozenFeatures | None:
        return None

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

    def read_initial(self, path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
        return read_weights(path)

    def weights(self) -> dict[str, Tensor]:
        return self.gan.weights()

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
