"""Measures training, drawing and scoring on a device and, next to it, on the processor; for `gpu.py`.

    python benchmarks/gpu_speed.py --device cuda --out speed.json [--hr FOLDER] [--set NAME=VALUE] [--only train]

Prints a line per measurement. A part that fails prints its error, and the others are still measured. speed.json gets
the seconds of a training step with the first and the final number of samples.
"""

import argparse
import json
import statistics
import traceback
from collections.abc import Callable
from pathlib import Path

import cv2
import torch
from torch import Tensor
from train import Operations, matrix_rate, waited

import ntire_sr
from ntire_sr.challenge.downscale import downscale_8bit
from ntire_sr.challenge.pixels import to_tensor, to_unit
from ntire_sr.core.device import choose_device, choose_precision
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.progress import SILENT
from ntire_sr.core.seeding import make_generator
from ntire_sr.data.patches import PatchDataset
from ntire_sr.data.photographs import VALIDATION_PHOTOGRAPHS, embedded_photographs
from ntire_sr.models.loading import load_model
from ntire_sr.samples.image_files import read_image
from ntire_sr.sampling.sampler import Sampler
from ntire_sr.training.run_config import make_run_config

SCALE, SAMPLES = 4, 10
STEPS = 6  # timed steps of a training, after two others
CPU_BATCH = 2  # crops per step on the processor
CPU_SHARE = 4  # a side of the image on the device is so many times that on the processor


def seconds_of(work: Callable[[], object], device: torch.device, times: int) -> float:
    """Median of the seconds that a call takes, after two others."""
    for _ in range(2):
        work()
    measured = []
    for _ in range(times):
        start = waited(device)
        work()
        measured.append(waited(device) - start)
    return statistics.median(measured)


def measure_training(
    options: argparse.Namespace, device: torch.device, batch: int | None, out: Path | None = None
) -> None:
    """Print the seconds of a training step by its number of samples, with the adversarial loss.

    Args:
        options: of the command.
        device: where to compute.
        batch: number of crops; None for that of the preset.
        out: JSON file for the seconds, which is complete after each of them.
    """
    values = dict(word.split("=", 1) for word in options.set)
    values |= {"model": "stochastic", "warm_up": "0", "adversarial_start": "0"} | (
        {"batch": str(batch)} if batch else {}
    )
    config = make_run_config(values | ({"hr": str(options.hr)} if options.hr else {}))
    run, settings = config.config, config.settings
    patches = PatchDataset(options.hr, run.patch, run.scale, None, downscale_min=run.downscale_min)
    if device.type == "cuda":
        patches.keep_on(device)
    trainer = config.trainer.trainer(run, settings, device, ProcessGroup(), SILENT)
    seconds = {}
    for name, share in (("samples", 0.0), ("final_samples", 1.0)):

        def step(share: float = share) -> None:
            trainer.gan.steps_done = int(share * run.steps)
            lr, hr, _ = patches.finish(patches.prepare(run.batch, run.seed, 0), device)
            trainer.step(lr, hr, [make_generator(index, device=device) for index in range(run.batch)])

        seconds[name] = seconds_of(step, device, options.steps)
        with Operations() as counted:
            step()
        rate = matrix_rate(device, torch.float32 if trainer.settings.precision == "float32" else torch.bfloat16)
        count = trainer._sample_count()
        if out:
            out.write_text(json.dumps(seconds))
        print(
            f"train on {device}, {trainer.settings.precision}, {run.batch} crops of {run.patch} px, {count} samples: "
            f"{seconds[name]:.3f} s per step, {run.batch / seconds[name]:.2f} images/s, "
            f"{counted.total / seconds[name] / 1e12:.3g} of {rate / 1e12:.3g} TFLOP/s of a matrix product "
            f"({counted.total / seconds[name] / rate:.0%})",
            flush=True,
        )
    if device.type == "cuda":
        print(f"  memory: {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB", flush=True)


def photograph(width: int, height: int) -> Tensor:
    """A photograph, resized to (1, 3, height, width) uint8."""
    image = read_image(embedded_photographs(VALIDATION_PHOTOGRAPHS)[0])
    return to_tensor(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC))


def measure_drawing(hr: Tensor, device: torch.device) -> None:
    """Print the seconds of a trunk and of a sample, with the package's weights."""
    loaded = load_model("stochastic", SCALE, device)
    half = choose_precision("auto", device) == "bfloat16"
    lr = to_unit(downscale_8bit(hr, SCALE)).to(device)
    sampler = Sampler(loaded, device, half, 0 if device.type == "cuda" else loaded.generator.tile_px)
    trunk = sampler.trunk(lr)
    parts = {"trunk": lambda: sampler.trunk(lr), "sample": lambda: sampler.sample(lr, trunk, 0)}
    seconds = {name: seconds_of(work, device, 3) for name, work in parts.items()}
    megapixels = hr.shape[2] * hr.shape[3] / 1e6
    whole = seconds["trunk"] + SAMPLES * seconds["sample"]
    print(
        f"generate on {device}, {'bfloat16' if half else 'float32'}, {hr.shape[3]} x {hr.shape[2]}: trunk "
        f"{seconds['trunk']:.3f} s, a sample {seconds['sample']:.3f} s; {SAMPLES} samples of a megapixel "
        f"{whole / megapixels:.2f} s, without projection and files",
        flush=True,
    )


def measure_scoring(hr: Tensor, device: torch.device) -> None:
    """Print the seconds in which all figures of an image with SAMPLES samples are measured."""
    hr = hr.to(device)
    noise = torch.randint(-8, 9, (SAMPLES, *hr.shape[1:]), device=device)
    samples = (hr.int() + noise).clamp(0, 255).to(torch.uint8)
    seconds = seconds_of(lambda: ntire_sr.score_samples(samples, hr, SCALE), device, 1)
    megapixels = hr.shape[2] * hr.shape[3] / 1e6
    print(
        f"score on {device}, {hr.shape[3]} x {hr.shape[2]}: {seconds:.2f} s for an image with {SAMPLES} samples, "
        f"{seconds / megapixels:.2f} s per megapixel, without files",
        flush=True,
    )


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hr", type=Path, help="folder of crops or photographs; none: those of scikit-image")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--only", choices=("train",))
    parser.add_argument("--steps", type=int, default=STEPS, help="timed steps of a training")
    parser.add_argument("--width", type=int, default=2040, help="of the image that is drawn and scored")
    parser.add_argument("--height", type=int, default=1352)
    options = parser.parse_args(words)
    device, processor = choose_device(options.device), torch.device("cpu")
    name = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    )
    print(f"{device}: {name}; torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    sizes = {device: (options.width, options.height)}
    sizes[processor] = tuple(side // 8 // CPU_SHARE * 8 for side in (options.width, options.height))
    parts: list[Callable[[], object]] = [lambda: measure_training(options, device, None, options.out)]
    if not options.only:
        for place, size in sizes.items():
            hr = photograph(*size)
            parts += [
                lambda hr=hr, at=place: measure_drawing(hr, at),
                lambda hr=hr, at=place: measure_scoring(hr, at),
            ]
        if device != processor:
            parts.append(lambda: measure_training(options, processor, CPU_BATCH))
    for part in parts:
        try:
            part()
        except Exception as error:
            traceback.print_exc()
            print(f"failed: {type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    main()
