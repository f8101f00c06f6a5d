"""Measures how fast `stochastic` trains, in parts and against a plain loop over the same networks.

    python benchmarks/train.py [--hr FOLDER --preset tiny --device cpu --steps 8 --rounds 3 --threads 2]

Both loops run in one process, warmed, in turns, with the same networks and terms of the loss. The plain
loop is what one writes first: photographs are decoded for every crop, in the loop's way; each sample goes
through trunk and decoder by itself; HR and SR go through features and discriminator where each loss asks
for them; tensors keep their usual layout; one backward pass from the sum of the losses, in which the
adversarial term has a fixed weight, so that this loop is spared the gradient that balances it.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ntire_sr.challenge.downscale import downscale, downscale_8bit
from ntire_sr.challenge.pixels import to_tensor, to_unit
from ntire_sr.challenge.projection import project
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.progress import SILENT
from ntire_sr.core.seeding import make_generator
from ntire_sr.data.patches import PatchDataset
from ntire_sr.data.photographs import TRAINING_PHOTOGRAPHS, embedded_photographs
from ntire_sr.data.prefetch import Prefetch
from ntire_sr.samples.folders import list_images
from ntire_sr.samples.image_files import read_image
from ntire_sr.training.gan_state import update_ema
from ntire_sr.training.losses.adversarial import adversarial_loss
from ntire_sr.training.losses.energy import (
    best_of,
    channel_norm,
    energy_terms,
    layers_energy_terms,
    location_norm,
    patch_norm,
    range_penalty,
)
from ntire_sr.training.multi_sample import draw_latents
from ntire_sr.training.run_config import RunConfig, make_run_config
from ntire_sr.training.trainers.energy_losses import Crops, FeaturedImages
from ntire_sr.training.trainers.stochastic import StochasticTrainer

ADVERSARIAL = 0.01  # weight in the plain loop


class Operations(TorchDispatchMode):
    """Counts the floating-point operations of matrix products and convolutions, forward and backward.

    (torch's own FlopCounterMode follows modules, and cannot do so through `autograd.grad`.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), words: Any = None) -> Any:
        result = function(*args, **(words or {}))
        if count := flop_registry.get(function._overloadpacket):
            self.total += count(*args, **(words or {}), out_val=result)
        return result


def waited(device: torch.device) -> float:
    """Now, once the device has done what it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@contextmanager
def usual_layout() -> Iterator[None]:
    """Tensors stay in torch's own layout, whatever the networks ask for."""
    plain = Tensor.contiguous

    def contiguous(tensor: Tensor, memory_format: torch.memory_format = torch.contiguous_format) -> Tensor:
        return plain(tensor)

    Tensor.contiguous = contiguous
    try:
        yield
    finally:
        Tensor.contiguous = plain


class Plain:
    """The plain loop: see the module's text."""

    def __init__(self, run_config: RunConfig, device: torch.device, paths: list[Path]):
        self.made = run_config.trainer.trainer(
            run_config.config, run_config.settings, device, ProcessGroup(), SILENT
        )
        assert isinstance(self.made, StochasticTrainer)
        for network in (self.made.gan.generator, self.made.gan.discriminator, self.made.phi):
            network.to(memory_format=torch.contiguous_format)
        self.config, self.device, self.paths = run_config.config, device, paths
        self.random = np.random.default_rng(0)

    def batch(self) -> tuple[Tensor, Tensor]:
        crops = []
        for index in self.random.integers(0, len(self.paths), self.config.batch):
            image, side = read_image(self.paths[index]), self.config.patch
            top, left = (int(self.random.integers(0, length - side + 1)) for length in image.shape[:2])
            crops.append(to_tensor(np.ascontiguousarray(image[top : top + side, left : left + side])))
        hr = torch.cat(crops).to(self.device)
        return to_unit(downscale_8bit(hr, self.config.scale)), to_unit(hr)

    def judge(self, one: Tensor, beside: Tensor) -> Tensor:
        other = beside.detach()
        return self.made.gan.discriminator(one, self.made.phi(one), other, self.made.phi(other))

    def step(self, number: int) -> None:
        made, gan, s = self.made, self.made.gan, self.made.settings
        lr, hr = self.batch()
        drawn, raw = [], []
        for k in range(s.samples):
            latents = gan.generator.latents(
                lr, [make_generator(number, k, i, device=self.device) for i in range(len(lr))]
            )
            raw.append(gan.generator.sample(gan.generator.trunk(lr), lr, latents))
            drawn.append(project(raw[-1], lr, self.config.scale))
        stack = torch.stack(drawn)

        gan.discriminator.requires_grad_(True)
        d_loss = adversarial_loss(self.judge(hr, drawn[-1]), True)
        for k, one in enumerate(drawn):
            d_loss = d_loss + adversarial_loss(self.judge(one.detach(), drawn[k - 1]), False) / s.samples
        gan.discriminator_optimiser.zero_grad()
        d_loss.backward()
        gan.discriminator_optimiser.step()
        gan.discriminator.requires_grad_(False)

        phi_hr = made.phi(hr)
        layers = [torch.stack(maps) for maps in zip(*(made.phi(one) for one in drawn), strict=True)]
        filters = made.energy.filters
        filtered = [torch.stack(maps) for maps in zip(*(filters(one) for one in drawn), strict=True)]
        loss = s.out_of_range * range_penalty(stack)
        for one in raw:
            loss = loss + s.consistency / s.samples * (downscale(one, self.config.scale) - lr).abs().mean()
        for weight, (to_hr, apart) in (
            (s.pixel_weight, energy_terms(stack, hr, location_norm)),
            (s.window_weight, energy_terms(stack, hr, patch_norm(s.window_px))),
            (s.filters_weight, layers_energy_terms(filtered, filters(hr), channel_norm)),
            (s.feature_weight, layers_energy_terms(layers, phi_hr, channel_norm)),
        ):
            loss = loss + weight * (to_hr - s.gamma * apart)
        for maps, target in zip(layers, phi_hr, strict=True):
            loss = loss + s.best_weight * best_of(maps, target, 3, 10.0) / len(phi_hr)
        for k, one in enumerate(drawn):
            loss = loss + ADVERSARIAL * adversarial_loss(self.judge(one, drawn[k - 1]), True) / s.samples
        gan.generator_optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(gan.generator.parameters(), 1.0)
        gan.generator_optimiser.step()
        update_ema(gan.ema, gan.generator, s.ema_decay, number + 1)
        loss.item()


class Ours:
    """The loop of `ntire-sr train`, without checkpoints."""

    def __init__(self, run_config: RunConfig, device: torch.device, photographs: PatchDataset):
        self.made = run_config.trainer.trainer(
            run_config.config, run_config.settings, device, ProcessGroup(), SILENT
        )
        assert isinstance(self.made, StochasticTrainer)
        self.config, self.device, self.photographs = run_config.config, device, photographs
        self.loader_share = 0.0

    def steps(self, first: int, count: int) -> None:
        batches = Prefetch(
            lambda at: self.photographs.prepare(self.config.batch, 0, at),
            lambda prepared: self.photographs.finish(prepared, self.device),
            first,
            first + count,
        )
        began = time.perf_counter()
        with batches:
            for number, (lr, hr, _) in enumerate(batches, start=first):
                self.step(lr, hr, number)
        self.loader_share = batches.waited_seconds / (time.perf_counter() - began)

    def step(self, lr: Tensor, hr: Tensor, number: int) -> None:
        random = [make_generator(0, number, index, device=self.device) for index in range(len(lr))]
        self.made.step(lr, hr, random)


def seconds(work: Callable[[], object], device: torch.device, times: int = 3) -> float:
    """Of one call, the median of a few."""
    work()
    found = []
    for _ in range(times):
        began = waited(device)
        work()
        found.append(waited(device) - began)
    return statistics.median(found)


def shares(ours: Ours, lr: Tensor, hr: Tensor, device: torch.device) -> dict[str, float]:
    """Seconds of a step's parts, each by itself, forward and backward."""
    made = ours.made
    count, generator = made.settings.samples, made.gan.generator
    random = [make_generator(0, index, device=device) for index in range(len(lr))]
    latents = draw_latents(generator, lr, random, count)
    half = torch.autocast(device.type, torch.bfloat16, enabled=made.multi_sample.half)
    with torch.no_grad(), half:
        trunk_maps = generator.trunk(lr)
    samples = made.multi_sample(lr, latents)[0].detach().requires_grad_()

    def trunk() -> None:
        with half:
            maps = generator.trunk(lr)
        maps.backward(torch.ones_like(maps))

    def decoder() -> None:
        maps, repeated = trunk_maps.detach().requires_grad_(), lr.repeat(count, 1, 1, 1)
        with half:
            drawn = generator.sample(maps.repeat(count, 1, 1, 1), repeated, latents).float()
        lr_error = (downscale(drawn, generator.scale) - repeated).abs().mean()
        (project(drawn, repeated, generator.scale).sum() + lr_error).backward()

    def features() -> None:
        crops = Crops(lr, FeaturedImages(hr, made.phi), None)
        torch.autograd.grad(made.energy(FeaturedImages(samples, made.phi), crops).sum(), samples)

    def discriminator() -> None:
        made._step_discriminator(featured, featured_hr)
        made._adversarial_gradient(featured, len(lr), torch.ones_like(samples))

    def optimiser() -> None:
        made.gan.generator_optimiser.step()
        update_ema(made.gan.ema, generator, made.settings.ema_decay, 1000)

    found = {name.__name__: seconds(name, device) for name in (trunk, decoder, features)}
    found_of_discriminator = []
    for _ in range(3):  # the features are computed before; their backward pass is included
        featured, featured_hr = FeaturedImages(samples, made.phi), FeaturedImages(hr, made.phi)
        assert featured.features and featured_hr.features
        began = waited(device)
        discriminator()
        found_of_discriminator.append(waited(device) - began)
    return found | {
        "discriminator": statistics.median(found_of_discriminator),
        "optimiser": seconds(optimiser, device),
        "latents": seconds(lambda: draw_latents(generator, lr, random, count), device),
    }


def matrix_rate(device: torch.device, kind: torch.dtype) -> float:
    """Floating-point operations per second of a large matrix product, the best of several."""
    side = 1536 if device.type == "cpu" else 8192
    one = torch.rand(side, side, device=device, dtype=kind)
    times = []
    for _ in range(8):
        began = waited(device)
        one @ one
        times.append(waited(device) - began)
    return 2 * side**3 / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hr", type=Path, help="folder of photographs; none: the embedded ones")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=8, help="of each loop in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="on a processor")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(options.threads)
    run_config = make_run_config(
        {"model": "stochastic", "preset": options.preset, "warm_up": 0.0, "adversarial_start": 0.0,
         "compile": options.compile, **({"hr": str(options.hr)} if options.hr else {})}
    )  # fmt: skip
    config = run_config.config
    photographs = PatchDataset(options.hr, config.patch, config.scale, config.cache)
    if device.type == "cuda":
        photographs.keep_on(device)
    paths = (
        list_images(options.hr, "HR", recursive=True)
        if options.hr
        else embedded_photographs(TRAINING_PHOTOGRAPHS)
    )
    ours, plain = Ours(run_config, device, photographs), Plain(run_config, device, paths)

    ours.steps(0, 2)
    with usual_layout():
        plain.step(0)
    fast, slow, ratios = [], [], []
    for turn in range(options.rounds):
        began = waited(device)
        ours.steps(2 + turn * options.steps, options.steps)
        middle = waited(device)
        with usual_layout():
            for number in range(options.steps):
                plain.step(number)
        slow.append((waited(device) - middle) / options.steps)
        fast.append((middle - began) / options.steps)
        ratios.append(slow[-1] / fast[-1])
    step = statistics.median(fast)
    lr, hr, _ = photographs.finish(photographs.prepare(config.batch, 0, 0), device)
    with Operations() as counted:
        ours.step(lr, hr, 0)
    rate = matrix_rate(device, torch.float32 if device.type == "cpu" else torch.bfloat16)
    drawn = config.batch * run_config.settings.samples
    print(
        f"stochastic, preset {options.preset}, {config.batch} x {config.patch} px, {run_config.settings.samples} samples, {device}"
    )
    print(f"features: {ours.made.features_name}; {options.rounds} rounds of {options.steps} steps")
    print(f"ours:  {step:.3f} s per step, {config.batch / step:.1f} images/s, {drawn / step:.1f} samples/s")
    print(f"plain: {statistics.median(slow):.3f} s per step, {drawn / statistics.median(slow):.1f} samples/s")
    print(f"plain / ours per sample: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print("share of a step, each part by itself:")
    parts = {"loader": ours.loader_share * step, **shares(ours, lr, hr, device)}
    for name, each in parts.items():
        print(f"  {name:14}{each:8.4f} s {each / step:6.1%}")
    print(f"  {'the rest':14}{step - sum(parts.values()):8.4f} s {1 - sum(parts.values()) / step:6.1%}")
    done = counted.total / step
    print(f"{done / 1e9:.1f} of {rate / 1e9:.1f} GFLOP/s of a matrix product: {done / rate:.2f}")


if __name__ == "__main__":
    main()
