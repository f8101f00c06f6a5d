"""Times drawing at the full size of a track: trunk, samples, tiles, projection and PNG.

    python benchmarks/generate.py [--preset small | --weights stochastic] [--scale 4 --width 2040 --height 1356 --threads 2 --rounds 3]

Without --weights the network has random weights, which take as long as trained ones. All parts are timed in turns in
one process. Peak memory is measured in one process for each tile size.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ntire_sr.challenge.downscale import downscale_8bit
from ntire_sr.challenge.pixels import to_array, to_tensor, to_unit
from ntire_sr.challenge.projection import project_uint8
from ntire_sr.core.device import keep_freed_memory
from ntire_sr.core.seeding import make_generator
from ntire_sr.data.photographs import VALIDATION_PHOTOGRAPHS, embedded_photographs
from ntire_sr.models.interfaces import TILE_PX
from ntire_sr.models.loading import load_model
from ntire_sr.models.registry import MODELS
from ntire_sr.samples.image_files import read_image
from ntire_sr.sampling.sampler import Sampler
from ntire_sr.training.run_config import make_run_config

CPU = torch.device("cpu")
SAMPLES = 10


def full_size(width: int, height: int) -> np.ndarray:
    """A photograph, resized to (height, width, 3) uint8."""
    image = read_image(embedded_photographs(VALIDATION_PHOTOGRAPHS)[0])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)


def sampler_of(options: argparse.Namespace, tile: int) -> Sampler:
    """A sampler with weights that are named, or with a preset and random weights."""
    if options.weights:
        return Sampler(load_model(options.weights, options.scale, CPU), CPU, False, tile)
    values = {"model": "stochastic", "preset": options.preset, "scale": options.scale}
    torch.manual_seed(0)
    generator = MODELS["stochastic"].build(options.scale, make_run_config(values).settings)
    loaded: Any = SimpleNamespace(generator=generator.eval().requires_grad_(False), scale=options.scale)
    return Sampler(loaded, CPU, False, tile)


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def matrix_rate() -> float:
    """Floating-point operations per second of a large matrix product, the best of several."""
    matrix = torch.rand(1536, 1536)
    return 2 * 1536**3 / min(timed(lambda: matrix @ matrix) for _ in range(8))


def peak_memory() -> float:
    """Peak memory of this process so far, in MiB (Linux; `getrusage` would include the parent process)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 1024


def print_peak_memory(options: argparse.Namespace) -> None:
    """Draw two samples and print this process's peak memory in MiB, before and after."""
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    sampler = sampler_of(options, options.peak)
    lr = downscale_8bit(to_tensor(full_size(options.width, options.height)), options.scale)
    unit = to_unit(lr)
    before = peak_memory()
    trunk = sampler.trunk(unit)
    for seed in range(2):
        project_uint8(sampler.sample(unit, trunk, seed), lr, options.scale)
    print(f"{before:.0f} {peak_memory():.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="small")
    parser.add_argument("--weights", help="a file, or stochastic for the package's, instead of a preset")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--width", type=int, default=2040)
    parser.add_argument("--height", type=int, default=1356)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak is not None:
        print_peak_memory(options)
        return
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    cv2.setNumThreads(1)
    image = full_size(options.width, options.height)
    megapixels = image.shape[0] * image.shape[1] / 1e6
    lr = downscale_8bit(to_tensor(image), options.scale)
    unit = to_unit(lr)
    whole = sampler_of(options, 0)
    usual = whole.generator.tile_px
    tiles = {"at once": 0, **{f"tiles of {side}": side for side in sorted({128, TILE_PX, usual})}}
    samplers = {name: whole if side == 0 else sampler_of(options, side) for name, side in tiles.items()}
    if hasattr(whole.generator, "level_tile_px"):
        # also without tiles inside the network: its maps do not fit into the processor's cache
        samplers["plain"] = sampler_of(options, 0)
        samplers["plain"].generator.level_tile_px = 0
    print(
        f"stochastic, {options.weights or options.preset}, x{options.scale}, {image.shape[1]} x {image.shape[0]} ({megapixels:.2f} MP), {options.threads} threads"
    )
    print(
        f"receptive-field radius: trunk {whole.generator.trunk_receptive_field}, sample "
        f"{whole.generator.sample_receptive_field} LR pixels"
    )

    times: dict[str, list[float]] = {"trunk": [], "latents": [], "projection": []} | {n: [] for n in samplers}
    trunk = whole.trunk(unit)
    sr = whole.sample(unit, trunk, 0)
    for turn in range(options.rounds):
        times["trunk"].append(timed(lambda: whole.trunk(unit)))
        times["latents"].append(timed(lambda seed=turn: whole.generator.latents(unit, [make_generator(seed)])))
        for name, sampler in samplers.items():
            times[name].append(timed(lambda sampler=sampler, seed=turn: sampler.sample(unit, trunk, seed)))
        times["projection"].append(timed(lambda: project_uint8(sr, lr, options.scale)))
    seconds = {name: statistics.median(values) for name, values in times.items()}
    rate = matrix_rate()
    work = {}
    for name, part in (("trunk", lambda: whole.trunk(unit)), ("sample", lambda: whole.sample(unit, trunk, 0))):
        with FlopCounterMode(display=False) as counter:
            part()
        work[name] = counter.get_total_flops()
    for name, value in seconds.items():
        print(f"  {name:14}{value:8.3f} s" + (f"  {megapixels / value:6.2f} MP/s" if name in samplers else ""))
    print(
        f"floor of the convolutions at the {rate / 1e9:.0f} GFLOP/s of a matrix product: trunk {work['trunk'] / rate:.3f} s, "
        f"a sample {work['sample'] / rate:.3f} s"
    )
    auto = seconds[f"tiles of {usual}"]
    print(
        f"share of that rate: trunk {work['trunk'] / rate / seconds['trunk']:.2f}, "
        + ", ".join(f"{name} {work['sample'] / rate / seconds[name]:.2f}" for name in samplers)
    )
    shared, separate = seconds["trunk"] + SAMPLES * auto, SAMPLES * (seconds["trunk"] + auto)
    print(f"network, {SAMPLES} samples with one trunk: {shared:.2f} s, {shared / SAMPLES:.3f} s per sample, ")
    print(
        f"  {shared / (seconds['trunk'] + auto):.2f} times one sample; the whole network each time: {separate:.2f} s, {separate / shared:.2f} times as long"
    )

    pixels = to_array(project_uint8(sr, lr, options.scale).image)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    print("PNG of one sample, one thread and two at once:")
    for level in range(0, 7):
        words = [cv2.IMWRITE_PNG_COMPRESSION, level]
        encoded = cv2.imencode(".png", bgr, words)[1]
        alone = statistics.median(timed(lambda w=words: cv2.imencode(".png", bgr, w)) for _ in range(3))
        with ThreadPoolExecutor(2) as pool:
            both = (
                timed(lambda w=words, p=pool: list(p.map(lambda _: cv2.imencode(".png", bgr, w), range(4)))) / 4
            )
        print(f"  level {level}: {alone:.3f} s, {both:.3f} s each; {len(encoded) / 1e6:.2f} MB")

    print("peak memory of a process that draws, in MiB (and before drawing):")
    for name, side in tiles.items():
        command = [sys.executable, __file__, "--peak", str(side)]
        for word in ("preset", "scale", "width", "height", "threads"):
            command += [f"--{word}", str(getattr(options, word))]
        command += ["--weights", options.weights] if options.weights else []
        before, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        print(f"  {name:14}{peak:>6} ({before})")


if __name__ == "__main__":
    main()
