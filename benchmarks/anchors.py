"""Compares `generate`, `train` and `score` with the plain way of each, in turns in one process.

    python benchmarks/anchors.py [--width 1024 --height 680 --samples 10 --steps 4 --rounds 3 --threads 2]

* `generate`: the package's weights at scale 4 against a plain float32 forward pass of the same network for each sample,
  over the whole image, as BasicSR runs a network.
* `train`: against the plain loop of `benchmarks/train.py`, which has the same networks and losses.
* `score`: against the official way of `benchmarks/score.py`; and the whole command, with start and report.

Each figure is printed with the instruction set and the precision that it was computed with.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import torch
from generate import full_size
from score import OfficialLpips, make_files, official_sample, print_memory
from train import Ours, Plain, usual_layout

from ntire_sr.challenge.downscale import downscale_8bit
from ntire_sr.challenge.pixels import to_tensor, to_unit
from ntire_sr.challenge.projection import project_uint8
from ntire_sr.core.device import choose_precision, keep_freed_memory
from ntire_sr.core.pretrained import ALEXNET, find
from ntire_sr.core.seeding import make_generator
from ntire_sr.data.patches import PatchDataset
from ntire_sr.data.photographs import TRAINING_PHOTOGRAPHS, embedded_photographs
from ntire_sr.evaluation.scoring.scorer import Scorer, Settings
from ntire_sr.models.loading import load_model
from ntire_sr.samples.image_files import read_png
from ntire_sr.sampling.sampler import Sampler
from ntire_sr.training.run_config import make_run_config

CPU = torch.device("cpu")
SCALE = 4
EXTENSIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # as /proc/cpuinfo names them


def instruction_set() -> str:
    """What PyTorch uses at most, and the extensions that the processor has (Linux), for convolutions by oneDNN."""
    capability = torch.backends.cpu.get_cpu_capability()
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return capability
    return (
        f"{capability} (processor: {' '.join(name for name in EXTENSIONS if name in flags) or 'none of these'})"
    )


def in_turns(
    ours: Callable[[], float], plain: Callable[[], float], rounds: int
) -> tuple[float, float, list[float]]:
    """Run both ways in turns after a warm-up; medians of their seconds, and the ratio of each round."""
    ours(), plain()
    pairs = [(ours(), plain()) for _ in range(rounds)]
    medians = (statistics.median(column) for column in zip(*pairs, strict=True))
    return (*medians, [slow / fast for fast, slow in pairs])


def report(name: str, unit: str, precisions: tuple[str, str], result: tuple[float, float, list[float]]) -> None:
    """Print the figures of one comparison, with instruction set and precision."""
    ours, plain, ratios = result
    print(f"{name}, {instruction_set()}")
    print(f"  ours   {ours:8.3f} s per {unit}, {precisions[0]}")
    print(f"  plain  {plain:8.3f} s per {unit}, {precisions[1]}")
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"  plain / ours {statistics.median(ratios):.2f} ({spread} over {len(ratios)} rounds)", flush=True)


def timed(work: Callable[[], object], parts: int = 1) -> float:
    """Seconds of a call, divided by the number of parts that it computes."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) / parts


def compare_generate(width: int, height: int, samples: int, rounds: int) -> None:
    """Samples with a shared trunk, tiles and projection, against a forward pass of the whole network per sample."""
    keep_freed_memory()
    image = full_size(width, height)
    lr = downscale_8bit(to_tensor(image), SCALE)
    unit = to_unit(lr)
    precision = choose_precision("auto", CPU)
    loaded, other = (load_model("stochastic", SCALE, CPU) for _ in range(2))
    sampler = Sampler(loaded, CPU, precision == "bfloat16", loaded.generator.tile_px)
    network = other.generator
    if hasattr(network, "level_tile_px"):
        network.level_tile_px = 0  # the whole image at once

    def ours() -> None:
        trunk = sampler.trunk(unit)
        for seed in range(samples):
            project_uint8(sampler.sample(unit, trunk, seed), lr, SCALE)

    @torch.no_grad()
    def plain() -> None:
        network.sample(network.trunk(unit), unit, network.latents(unit, [make_generator(0)]))

    result = in_turns(lambda: timed(ours, samples), lambda: timed(plain), rounds)
    what = f"generate, {width} x {height}, {samples} samples"
    report(what, "sample", (f"{precision}, with projection", "float32, without"), result)


def compare_train(preset: str, batch: int | None, patch: int | None, steps: int, rounds: int) -> None:
    """The loop of `train` against the plain loop, with the same networks and losses."""
    sizes = {name: value for name, value in (("batch", batch), ("patch", patch)) if value}
    run_config = make_run_config(
        {"model": "stochastic", "preset": preset, "warm_up": 0.0, "adversarial_start": 0.0, **sizes}
    )
    config = run_config.config
    fast = Ours(run_config, CPU, PatchDataset(None, config.patch, config.scale, config.cache))
    slow = Plain(run_config, CPU, embedded_photographs(TRAINING_PHOTOGRAPHS))
    done = 0

    def ours() -> None:
        nonlocal done
        fast.steps(done, steps)
        done += steps

    def plain() -> None:
        with usual_layout():
            for number in range(steps):
                slow.step(number)

    result = in_turns(lambda: timed(ours, steps), lambda: timed(plain, steps), rounds)
    what = f"train, preset {preset}, {config.batch} crops of {config.patch} px"
    report(what, "step", (str(fast.made.settings.precision), "float32"), result)


def compare_score(width: int, height: int, samples: int, rounds: int) -> None:
    """Measuring against the official way, and the whole command."""
    weights = find(ALEXNET)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        group = make_files(folder, height, width, samples)
        scorer = Scorer(Settings(SCALE, "cpu", weights))
        assert scorer.lpips
        network, hr = OfficialLpips(scorer.lpips), read_png(group.hr)
        result = in_turns(
            lambda: timed(lambda: scorer.measure(group), samples),
            lambda: timed(lambda: official_sample(network, hr, group.samples[0], CPU)),
            rounds,
        )
        report(f"score, {width} x {height}, {samples} samples", "sample", ("float32", "float32"), result)
        print_memory(folder, group, weights, "cpu")


def main(words: list[str] | None = None) -> None:
    """Read the options, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--height", type=int, default=680)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--preset", default="tiny", help="of train")
    parser.add_argument("--batch", type=int, help="of train; the preset's if not given")
    parser.add_argument("--patch", type=int, help="of train, px; the preset's if not given")
    parser.add_argument("--steps", type=int, default=4, help="of each loop of train in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(words)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    print(f"torch {torch.__version__}, {options.threads} threads")
    compare_score(options.width, options.height, options.samples, options.rounds)
    compare_generate(options.width, options.height, options.samples, options.rounds)
    compare_train(options.preset, options.batch, options.patch, options.steps, options.rounds)


if __name__ == "__main__":
    main()
