"""The training of `stochastic`: energy scores of K samples, best-of-K, and an adversarial loss.

The loss is first of all a proper score (`energy`): of pixels, of windows of pixels, and channel by channel
of oriented filters and of a pretrained classifier's features. The adversarial loss is balanced: its
gradient at the samples is scaled to a set share of the other terms' norm, so that it never dominates.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ntire_sr.challenge.projection import project
from ntire_sr.core.device import computes_bfloat16, processor_computes_bfloat16
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import require
from ntire_sr.core.pretrained import tensors_digest
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.models.modulation import zero_latents
from ntire_sr.models.package_weights import TRUNK
from ntire_sr.models.rrdb import read_rrdb
from ntire_sr.models.stochastic_model import build_generator
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.gan_state import GanState
from ntire_sr.training.gradient_guard import GradientGuard
from ntire_sr.training.losses.adversarial import adversarial_loss
from ntire_sr.training.losses.discriminator import UNetDiscriminator
from ntire_sr.training.losses.energy import (
    balanced_weight,
    best_of,
    channel_norm,
    check_gamma,
    energy_score,
    energy_terms,
    layers_energy_terms,
    location_norm,
    patch_norm,
    r1_penalty,
    range_penalty,
    spread_ratio,
    squared,
)
from ntire_sr.training.losses.features import FilterBank, build_features
from ntire_sr.training.multi_sample import MultiSampleForward, draw_latents
from ntire_sr.training.rrdb_init import Parent, distance
from ntire_sr.training.trainers.interface import FrozenFeatures, TrainerSpec
from ntire_sr.training.trainers.stochastic_settings import PRESETS, RRDB_SIZES, StochasticSettings

BALANCE_LIMIT = 1.0  # upper bound of the adversarial loss's weight
CLIPPED = 1.0  # gradients are clipped to this norm


class StochasticTrainer:
    """The losses, and one optimiser step of both networks.

    Args:
        config: of the run.
        settings: of the model.
        device: where to compute.
        processes: the processes that share each batch; gradients and losses are those of all of them.
        progress: where a download says how far it is.
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
        phi, self.features_name, self.features_reason = build_features(
            settings.features, config.features_file, progress
        )
        precision = settings.precision
        if precision == "auto":
            fast = computes_bfloat16(device) or (device.type == "cpu" and processor_computes_bfloat16())
            precision = "bfloat16" if fast else "float32"
        processes.assert_same(features=self.features_name, precision=precision)
        settings = replace(settings, features=self.features_name, precision=precision)
        parent, blocks = read_rrdb(Path(config.trunk)) if config.trunk else (None, 0)
        if parent:
            require(config.scale == 4, f"trunk is of an x4 network, and scale is {config.scale}", "scale=4")
            settings = replace(settings, rrdb=True, groups=blocks, **RRDB_SIZES)
        self.settings = settings
        warning = check_gamma(settings.gamma, squared=not settings.norms)
        self.remarks = [warning] if warning else []
        phi_widths = [maps.shape[1] for maps in phi(torch.zeros(1, 3, config.patch, config.patch))]
        self.phi = phi.to(device)
        self.filters = FilterBank(colour=False).to(device)
        self.gan = GanState(
            lambda: build_generator(config.scale, settings),
            lambda: UNetDiscriminator(settings.discriminator_channels, phi_widths),
            partial(torch.optim.AdamW, weight_decay=0.0),
            settings.learning_rate,
            settings.ema_decay,
            config,
            device,
            processes,
        )
        self.average = self.gan.average
        self.parent: Parent | None = None
        if parent:
            self.parent = Parent(parent).to(device)
            self.gan.load_matching({f"{TRUNK}{name}": value for name, value in parent.items()})
        if settings.rrdb and settings.trunk_frozen:
            # one module for both: the EMA of weights that do not change is these weights
            self.average.rrdb = self.gan.generator.rrdb.requires_grad_(False)
        multi_sample = MultiSampleForward(
            self.gan.generator, settings.samples, settings.projection, half=precision == "bfloat16"
        )
        if settings.compile:
            multi_sample.compile()
        self.multi_sample = processes.wrap_ddp(multi_sample)
        self.guard = GradientGuard()

    def step(
        self, lr: Tensor, hr: Tensor, random: Sequence[torch.Generator], features: Tensor | None = None
    ) -> dict[str, float]:
        """One step of both networks on a batch; returns the generator's terms by name, unweighted."""
        settings, gan = self.settings, self.gan
        gan.set_learning_rates()
        if features is None and settings.rrdb and settings.trunk_frozen:
            features = self._trunk_features(lr)
        learning_parent = self.parent is not None and not gan.has_passed(settings.warm_up)
        if self.parent and gan.steps_done == 0:
            self._fit_to_parent(self._trunk_features(lr) if features is None else features)
        latents = draw_latents(gan.generator, lr, random, settings.samples)
        drawn, lr_error = self.multi_sample(lr, zero_latents(latents) if learning_parent else latents, features)
        # the losses are followed back to the samples only; their sum then goes through the generator once
        samples = drawn.detach().requires_grad_()
        terms: dict[str, Tensor] = {}
        if learning_parent:
            assert self.parent
            with torch.no_grad():
                target = self.parent.draw(self._trunk_features(lr) if features is None else features)
                if settings.projection:
                    target = project(target, lr, gan.generator.scale)
                target = target.repeat(settings.samples, 1, 1, 1)
                phi_target = self.phi(target)
            terms["loss"] = distance(samples, target, self.phi(samples), phi_target)
            (gradient,) = torch.autograd.grad(terms["loss"], samples)
        elif not gan.has_passed(settings.warm_up):
            terms["loss"] = functional.l1_loss(samples, hr.repeat(settings.samples, 1, 1, 1))
            (gradient,) = torch.autograd.grad(terms["loss"], samples)
        else:
            adversarial_on = settings.adversarial > 0 and gan.has_passed(settings.adversarial_start)
            judged = adversarial_on or (
                settings.adversarial > 0
                and gan.has_passed(settings.adversarial_start - settings.discriminator_warmup)
            )
            with torch.no_grad():
                phi_hr = self.phi(hr)
            phi_samples = self.phi(samples)
            terms = self._scores(samples, phi_samples, hr, phi_hr)
            (gradient,) = torch.autograd.grad(terms["loss"], samples, retain_graph=adversarial_on)
            if judged:
                self._step_discriminator(samples, phi_samples, hr, phi_hr, terms)
            if adversarial_on:
                gradient = gradient + self._adversarial(samples, phi_samples, gradient, len(hr), terms)
        gan.generator_optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward((drawn, settings.consistency * lr_error), (gradient, None))
        terms["consistency"] = lr_error
        terms["loss"] = terms["loss"] + settings.consistency * lr_error.detach()
        terms["gradient"] = torch.nn.utils.clip_grad_norm_(gan.generator.parameters(), CLIPPED)
        losses = self.processes.all_reduce_mean(terms)
        self._update_generator(losses["gradient"])
        for kind in ("pixels", "features"):
            if f"to_hr_{kind}" in losses:
                losses[f"r_{kind}"] = spread_ratio(losses[f"to_hr_{kind}"], losses[f"pair_distance_{kind}"])
        losses |= {"skipped": self.guard.skipped, "rollbacks": len(self.guard.rolled_back)}
        gan.finish_step()
        return losses

    def frozen_features(self) -> FrozenFeatures | None:
        if not (self.settings.rrdb and self.settings.trunk_frozen):
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

    def _fit_to_parent(self, features: Tensor) -> None:
        """Begin with a decoder that draws nearly what the parent draws; the same in all processes."""
        assert self.parent
        # through the CPU: a tensor that another process sent from its GPU would arrive on that GPU
        gathered = torch.cat(self.processes.all_gather(features.cpu()))
        self.parent.fit(self.gan.generator, gathered.to(self.device))
        self.average.load_state_dict(self.gan.generator.state_dict())

    def _scores(
        self, samples: Tensor, phi_samples: list[Tensor], hr: Tensor, phi_hr: list[Tensor]
    ) -> dict[str, Tensor]:
        """All terms but the adversarial one, unweighted; their weighted sum `loss`; and the distances that
        `spread_ratio` compares."""
        settings, count = self.settings, self.settings.samples
        stack = samples.unflatten(0, (count, -1))
        phi_samples = [maps.unflatten(0, (count, -1)) for maps in phi_samples]
        by_location, by_window, by_channel = (
            (location_norm, patch_norm(settings.window_px), channel_norm) if settings.norms else (squared,) * 3
        )
        filtered_samples = [maps.unflatten(0, (count, -1)) for maps in self.filters(samples)]
        pixel = energy_terms(stack, hr, by_location)
        window = energy_terms(stack, hr, by_window)
        filtered = layers_energy_terms(filtered_samples, self.filters(hr), by_channel)
        feature = layers_energy_terms(phi_samples, phi_hr, by_channel)
        best = torch.stack(
            [best_of(maps, target, 3, 10.0) for maps, target in zip(phi_samples, phi_hr, strict=True)]
        ).mean()
        terms = {
            "pixel": energy_score(*pixel, settings.gamma),
            "window": energy_score(*window, settings.gamma),
            "filters": energy_score(*filtered, settings.gamma),
            "feature": energy_score(*feature, settings.gamma),
            "best": best,
            "out_of_range": range_penalty(samples),
        }
        terms["loss"] = torch.stack(
            [
                settings.pixel_weight * terms["pixel"],
                settings.window_weight * terms["window"],
                settings.filters_weight * terms["filters"],
                settings.feature_weight * terms["feature"],
                settings.best_weight * terms["best"],
                settings.out_of_range * terms["out_of_range"],
            ]
        ).sum()
        for kind, (to_hr, pairwise) in (("pixels", pixel), ("features", feature)):
            terms |= {f"to_hr_{kind}": to_hr, f"pair_distance_{kind}": pairwise}
        return terms

    def _step_discriminator(
        self,
        samples: Tensor,
        phi_samples: list[Tensor],
        hr: Tensor,
        phi_hr: list[Tensor],
        terms: dict[str, Tensor],
    ) -> None:
        """One step of the discriminator; adds the terms to log."""
        gan, n = self.gan, len(hr)
        # the partner of each sample is the one before it, and that of HR the last sample
        partner, phi_partner = samples.detach().roll(n, 0), [maps.detach().roll(n, 0) for maps in phi_samples]
        logits = gan.ddp_discriminator(
            torch.cat((hr, samples.detach())),
            [torch.cat((one, other.detach())) for one, other in zip(phi_hr, phi_samples, strict=True)],
            torch.cat((partner[:n], partner)),
            [torch.cat((maps[:n], maps)) for maps in phi_partner],
        )
        real, fake = logits[:n], logits[n:]
        d_loss = adversarial_loss(real, True) + adversarial_loss(fake, False)
        if self.settings.r1:
            d_loss = d_loss + self.settings.r1 / 2 * r1_penalty(
                lambda image: gan.discriminator(
                    image, self.phi(image), partner[:n], [maps[:n] for maps in phi_partner]
                ),
                hr,
            )
        gan.discriminator_optimiser.zero_grad(set_to_none=True)
        d_loss.backward()
        d_norm = torch.nn.utils.clip_grad_norm_(gan.discriminator.parameters(), CLIPPED)
        if math.isfinite(d_norm.item()):
            gan.discriminator_optimiser.step()
        terms |= {
            "discriminator": d_loss,
            # the discriminator's accuracy: .5 is guessing, and 1 for long means that it has won
            "discriminator_accuracy": ((real > 0).float().mean() + (fake < 0).float().mean()) / 2,
        }

    def _adversarial(
        self,
        samples: Tensor,
        phi_samples: list[Tensor],
        gradient: Tensor,
        n: int,
        terms: dict[str, Tensor],
    ) -> Tensor:
        """The weighted adversarial gradient at the samples of `n` crops, beside the `gradient` of all other terms; adds
        the terms to log."""
        partner, phi_partner = samples.detach().roll(n, 0), [maps.detach().roll(n, 0) for maps in phi_samples]
        g_adv_loss = adversarial_loss(self.gan.discriminator(samples, phi_samples, partner, phi_partner), True)
        (adv_grad,) = torch.autograd.grad(g_adv_loss, samples)
        squares = torch.stack([each.float().square().sum() for each in (gradient, adv_grad)])
        weight = balanced_weight(
            *self.processes.all_reduce_sum(squares).sqrt(), self.settings.adversarial, BALANCE_LIMIT
        )
        terms |= {"adversarial": g_adv_loss, "adversarial_weight": weight}
        return weight * adv_grad

    def _update_generator(self, grad_norm: float) -> None:
        """Step the generator's optimiser, unless the gradient exploded. After several such steps in a row
        continue from the EMA, without the optimiser's moments."""
        gan, step = self.gan, self.gan.steps_done
        if self.guard.accepts(grad_norm, step, self.settings.warm_up * gan.steps):
            gan.generator_optimiser.step()
        elif self.guard.wants_rollback:
            gan.generator.load_state_dict(gan.average.state_dict())
            gan.generator_optimiser.state.clear()
            self.guard.count_rollback(step)

    def load_matching(self, weights: Mapping[str, Tensor]) -> int:
        return self.gan.load_matching(weights)

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


def compact(value: Tensor) -> Tensor:
    """The tensor in 16 bits where that loses nothing, as of a frozen trunk that was published so."""
    half = value.half()
    return half if torch.equal(half.float(), value) else value


TRAINER = TrainerSpec(
    model="stochastic", settings=StochasticSettings, presets=PRESETS, trainer=StochasticTrainer
)
