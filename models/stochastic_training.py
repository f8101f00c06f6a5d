"""How `stochastic` learns: energy scores of K samples, best-of-K, and a discriminator beside them.

The loss is a proper score first (`energy`): of pixels, of windows of pixels, and channel by channel of
oriented filters and of a pretrained classifier's features. The discriminator's part is measured: its
gradient at the samples is a set share of the rest's, so that a run that goes wrong is never led by it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ntire_sr.core.device import computes_bfloat16
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import require
from ntire_sr.models.discriminator import UNetDiscriminator
from ntire_sr.models.energy import (
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
from ntire_sr.models.features import FilterBank, build_features
from ntire_sr.models.interfaces import ModelSpec, diverged
from ntire_sr.models.losses import adversarial_loss
from ntire_sr.models.multi_sample import MultiSampleForward, draw_latents
from ntire_sr.models.optimisation import load_matching, set_learning_rate, update_ema
from ntire_sr.models.stochastic import Architecture, StochasticGenerator
from ntire_sr.models.train_config import TrainConfig

BALANCE_LIMIT = 1.0  # of the adversarial loss's weight
CLIPPED = 1.0  # length of the generator's gradient at most
EXPLODED = 20.0  # times the usual gradient: such a step is skipped
UNSETTLED = 50  # steps behind the warm-up in which gradients of any finite length are usual
USUAL_DECAY = 0.98  # per step, of the running mean that "usual" is
SKIPS_BEFORE_ROLLBACK = 5  # steps in a row
MOST_ROLLBACKS = 5  # within RECENT steps
RECENT = 500


@dataclass(frozen=True)
class StochasticSettings(Architecture):
    """Architecture, loss and optimiser of `stochastic`."""

    samples: int = 2  # K, drawn of each LR crop in a step
    gamma: float = 0.5  # weight of the samples' distance from one another; 0.5 is the proper score
    norms: bool = True  # Euclidean distances; false: squared ones, which need a gamma under 0.5
    pixel: float = 1.0  # weight of the energy score of single pixels
    window: float = 1.0  # weight of the energy score of windows of pixels
    window_px: int = 7  # side of these windows, odd
    filters: float = 1.0  # weight of the energy score of oriented filters
    feature: float = 2.0  # weight of the energy score of features
    best: float = 0.02  # weight of the local best-of-K on features
    adversarial: float = 1.0  # gradient of the adversarial loss at the samples, as a share of the rest's
    consistency: float = 0.2  # weight of the L1 to the LR image of what the network draws before projection
    out_of_range: float = 1.0  # weight of the mean distance of values to [0, 1]
    warm_up: float = 0.05  # share of the steps with an L1 loss alone
    adversarial_from: float = 0.25  # share of the steps after which the adversarial loss begins
    r1: float = 0.0  # weight of the R1 penalty on the discriminator, beside its spectral normalisation
    discriminator_channels: int = 16  # of its layers
    projection: bool = True  # project onto the LR image in training too; false: when drawing only
    learning_rate: float = 5e-4  # of AdamW at the start; falls to 0 along a cosine
    average: float = 0.999  # decay per step of the moving average of the generator's weights
    precision: str = "auto"  # of the generator's convolutions: float32, bfloat16; auto: bfloat16 on newer GPUs
    compile: bool = False  # the generator by torch.compile: minutes at the start, faster steps on a GPU
    features: str = "auto"  # what feature losses compare: filters, squeezenet1_1, vgg19; auto: squeezenet1_1 where it can be had

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.samples >= 2, f"samples {self.samples} is too small", "2 or more")
        check_gamma(self.gamma, squared=not self.norms)
        for name in (
            "pixel",
            "window",
            "filters",
            "feature",
            "best",
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
        for name in ("warm_up", "adversarial_from"):
            require(0 <= getattr(self, name) <= 1, f"{name} {getattr(self, name)} is no share", "0 to 1")
        require(self.discriminator_channels >= 1, "discriminator_channels is too small", "1 or more")
        require(
            self.precision in ("auto", "float32", "bfloat16"),
            f"precision {self.precision!r} is unknown",
            "auto, float32 or bfloat16",
        )
        require(self.learning_rate > 0, f"learning_rate {self.learning_rate} is not positive", "0.0002")
        require(0 <= self.average < 1, f"average {self.average} is out of range", "0 to 0.9999")
        require(
            self.gamma <= 0.5 or self.out_of_range > 0,
            f"gamma {self.gamma} above 0.5 needs the penalty on values out of range",
            "out_of_range=1",
        )


class StochasticTrainer:
    """Both networks, their optimisers and the loss.

    Args:
        config: of the run.
        settings: of the model.
        device: where to compute.
        processes: the processes that share each batch; gradients and losses are those of all of them.
    """

    def __init__(
        self, config: TrainConfig, settings: StochasticSettings, device: torch.device, processes: ProcessGroup
    ):
        self.scale, self.steps, self.device, self.processes = config.scale, config.steps, device, processes
        phi, self.features_name, self.features_reason = build_features(
            settings.features, config.feature_weights
        )
        precision = settings.precision
        if precision == "auto":
            precision = "bfloat16" if computes_bfloat16(device) else "float32"
        processes.assert_same(features=self.features_name, precision=precision)
        self.settings = settings = replace(settings, features=self.features_name, precision=precision)
        warning = check_gamma(settings.gamma, squared=not settings.norms)
        self.remarks = [warning] if warning else []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.generator = StochasticGenerator(config.scale, settings).to(device)
            self.average = StochasticGenerator(config.scale, settings).to(device).requires_grad_(False)
            widths = [maps.shape[1] for maps in phi(torch.zeros(1, 3, config.patch, config.patch))]
            self.discriminator = UNetDiscriminator(settings.discriminator_channels, widths).to(device)
        self.average.load_state_dict(self.generator.state_dict())
        self.phi = phi.to(device)
        self.filters = FilterBank(colour=False).to(device)
        half = precision == "bfloat16"
        multi_sample = MultiSampleForward(self.generator, settings.samples, settings.projection, half)
        if settings.compile:
            multi_sample.compile()
        self.multi_sample = processes.wrap_ddp(multi_sample)
        self.ddp_discriminator = processes.wrap_ddp(self.discriminator)
        self.generator_optimiser = torch.optim.AdamW(
            self.generator.parameters(), settings.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.discriminator_optimiser = torch.optim.AdamW(
            self.discriminator.parameters(), settings.learning_rate / 2, betas=(0.5, 0.99), weight_decay=0.0
        )
        self.steps_done = 0
        self.usual_gradient = 0.0  # running mean of the gradient's length
        self.skipped = 0
        self.skipped_in_a_row = 0
        self.rolled_back: list[int] = []  # after these steps

    def step(self, lr: Tensor, hr: Tensor, random: Sequence[torch.Generator]) -> dict[str, float]:
        """One step of both networks on a batch; the generator's terms by name, unweighted."""
        settings = self.settings
        for optimiser, share in ((self.generator_optimiser, 1.0), (self.discriminator_optimiser, 0.5)):
            set_learning_rate(optimiser, settings.learning_rate * share, self.steps_done, self.steps)
        drawn, lr_error = self._draw(lr, random)
        # losses reach the samples only; what they say of them then goes through the generator once
        samples = drawn.detach().requires_grad_()
        terms: dict[str, Tensor] = {}
        if self.steps_done < settings.warm_up * self.steps:
            terms["loss"] = functional.l1_loss(samples, hr.repeat(settings.samples, 1, 1, 1))
            (gradient,) = torch.autograd.grad(terms["loss"], samples)
        else:
            d_loss = settings.adversarial > 0 and (self.steps_done >= settings.adversarial_from * self.steps)
            with torch.no_grad():
                phi_hr = self.phi(hr)
            phi_samples = self.phi(samples)
            terms = self._scores(samples, phi_samples, hr, phi_hr)
            (gradient,) = torch.autograd.grad(terms["loss"], samples, retain_graph=d_loss)
            if d_loss:
                gradient = gradient + self._adversarial(samples, phi_samples, hr, phi_hr, gradient, terms)
        self.generator_optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward((drawn, settings.consistency * lr_error), (gradient, None))
        terms["consistency"] = lr_error
        terms["loss"] = terms["loss"] + settings.consistency * lr_error.detach()
        terms["gradient"] = torch.nn.utils.clip_grad_norm_(self.generator.parameters(), CLIPPED)
        found = self.processes.all_reduce_mean(terms)
        self._update(found["gradient"])
        for kind in ("pixels", "features"):
            if f"to_hr_{kind}" in found:
                found[f"r_{kind}"] = spread_ratio(found[f"to_hr_{kind}"], found[f"apart_{kind}"])
        found |= {"skipped": self.skipped, "rollbacks": len(self.rolled_back)}
        self.steps_done += 1
        update_ema(self.average, self.generator, settings.average, self.steps_done)
        return found

    def _draw(self, lr: Tensor, random: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
        """K samples of each LR image, (K * N, 3, H, W), and their error at LR size, see `MultiSampleForward`."""
        drawn: tuple[Tensor, Tensor] = self.multi_sample(
            lr, draw_latents(self.generator, lr, random, self.settings.samples)
        )
        return drawn

    def _scores(
        self, samples: Tensor, phi_samples: list[Tensor], hr: Tensor, phi_hr: list[Tensor]
    ) -> dict[str, Tensor]:
        """Everything but the adversarial term: the unweighted terms, their weighted sum `loss`, and
        the distances that tell the spread."""
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
        terms["loss"] = torch.stack([getattr(settings, name) * term for name, term in terms.items()]).sum()
        for kind, (to_hr, apart) in (("pixels", pixel), ("features", feature)):
            terms |= {f"to_hr_{kind}": to_hr, f"apart_{kind}": apart}
        return terms

    def _adversarial(
        self,
        samples: Tensor,
        phi_samples: list[Tensor],
        hr: Tensor,
        phi_hr: list[Tensor],
        gradient: Tensor,
        terms: dict[str, Tensor],
    ) -> Tensor:
        """One step of the discriminator, and its weighted gradient at the samples."""
        n = len(hr)
        # beside each sample the one before it, beside HR the last
        beside, phi_beside = samples.detach().roll(n, 0), [maps.detach().roll(n, 0) for maps in phi_samples]
        both = self.ddp_discriminator(
            torch.cat((hr, samples.detach())),
            [torch.cat((one, other.detach())) for one, other in zip(phi_hr, phi_samples, strict=True)],
            torch.cat((beside[:n], beside)),
            [torch.cat((maps[:n], maps)) for maps in phi_beside],
        )
        real, fake = both[:n], both[n:]
        d_loss = adversarial_loss(real, True) + adversarial_loss(fake, False)
        if self.settings.r1:
            d_loss = d_loss + self.settings.r1 / 2 * r1_penalty(
                lambda image: self.discriminator(
                    image, self.phi(image), beside[:n], [maps[:n] for maps in phi_beside]
                ),
                hr,
            )
        self.discriminator_optimiser.zero_grad(set_to_none=True)
        d_loss.backward()
        length = torch.nn.utils.clip_grad_norm_(self.discriminator.parameters(), CLIPPED)
        if math.isfinite(length.item()):
            self.discriminator_optimiser.step()
        g_adv_loss = adversarial_loss(self.discriminator(samples, phi_samples, beside, phi_beside), True)
        (adv_grad,) = torch.autograd.grad(g_adv_loss, samples)
        squares = torch.stack([each.float().square().sum() for each in (gradient, adv_grad)])
        weight = balanced_weight(
            *self.processes.all_reduce_sum(squares).sqrt(), self.settings.adversarial, BALANCE_LIMIT
        )
        terms |= {
            "adversarial": g_adv_loss,
            "adversarial_weight": weight,
            "discriminator": d_loss,
            # how often it is right; .5 is guessing, 1 for long means that it has won
            "discriminator_right": ((real > 0).float().mean() + (fake < 0).float().mean()) / 2,
        }
        return weight * adv_grad

    def _update(self, length: float) -> None:
        """Apply the gradient of this length, unless it exploded."""
        usual = self.usual_gradient or length
        settled = self.steps_done >= self.settings.warm_up * self.steps + UNSETTLED
        if not math.isfinite(length) or (settled and length > EXPLODED * usual):
            self.skipped += 1
            self.skipped_in_a_row += 1
            if self.skipped_in_a_row >= SKIPS_BEFORE_ROLLBACK:
                self._roll_back()
            return
        self.skipped_in_a_row = 0
        self.usual_gradient = USUAL_DECAY * usual + (1 - USUAL_DECAY) * length
        self.generator_optimiser.step()

    def _roll_back(self) -> None:
        """Go on from the moving average, without the optimiser's memory.

        Raises:
            Failure: this has happened too often of late.
        """
        self.generator.load_state_dict(self.average.state_dict())
        self.generator_optimiser.state.clear()
        self.skipped_in_a_row = 0
        self.usual_gradient = 0.0
        self.rolled_back.append(self.steps_done)
        recent = [step for step in self.rolled_back if step > self.steps_done - RECENT]
        if len(recent) > MOST_ROLLBACKS:
            raise diverged(self.steps_done, f"{len(recent)} rollbacks within {RECENT} steps")

    def load_matching(self, weights: Mapping[str, Tensor]) -> int:
        return load_matching(weights, self.generator, self.average)

    _NUMBERS = ("steps_done", "usual_gradient", "skipped", "skipped_in_a_row", "rolled_back")
    _PARTS = ("generator", "average", "discriminator", "generator_optimiser", "discriminator_optimiser")

    def state_dict(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in self._NUMBERS}
        return numbers | {part: getattr(self, part).state_dict() for part in self._PARTS}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self._NUMBERS:
            setattr(self, name, state[name])
        for part in self._PARTS:
            getattr(self, part).load_state_dict(state[part])

    def weights(self) -> dict[str, Tensor]:
        return {name: value.detach().cpu().contiguous() for name, value in self.average.state_dict().items()}


MODEL = ModelSpec(
    name="stochastic",
    summary="dense-block trunk and modulated decoder with local latents, trained with energy scores",
    deterministic=False,
    settings=StochasticSettings,
    presets={
        "tiny": {"batch": 6, "patch": 96, "steps": 4800, "max_minutes": 120.0},
        "small": {
            "channels": 64,
            "growth": 32,
            "groups": 6,
            "blocks": 4,
            "fine_channels": 48,
            "discriminator_channels": 64,
            "batch": 16,
            "patch": 128,
            "steps": 100_000,
            "max_minutes": 0.0,
            "learning_rate": 2e-4,
            "checkpoint_every": 1000,
            "log_every": 100,
        },
        "large": {
            "channels": 64,
            "growth": 32,
            "groups": 23,
            "blocks": 8,
            "fine_channels": 64,
            "discriminator_channels": 64,
            "batch": 16,
            "patch": 192,
            "steps": 500_000,
            "max_minutes": 0.0,
            "learning_rate": 2e-4,
            "checkpoint_every": 2000,
            "log_every": 100,
        },
    },
    build=StochasticGenerator,
    trainer=StochasticTrainer,
)
