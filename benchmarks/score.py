"""How fast samples are scored, beside the same work done the official way.

    python benchmarks/score.py [--width 2040 --height 1352 --samples 10 --rounds 3 --device cpu]

Everything runs in one process, warmed, in turns, from PNG files: ours is `ntire_sr.evaluation.scoring.scorer.Scorer`
as the `score` command calls it. The official way is written here from the challenge's description: for
each sample LPIPS of both images with autograd on, and D of both images in numpy.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr.challenge.downscale import downscale_8bit, downscale_matrix, lr_squared_error
from ntire_sr.challenge.pixels import to_tensor
from ntire_sr.core.pretrained import ALEXNET, find, lpips_linear_layers
from ntire_sr.evaluation.metrics import lpips_network
from ntire_sr.evaluation.metrics.diversity import RunningDiversity
from ntire_sr.evaluation.metrics.lpips_network import Lpips, network_input, upsampled_sum
from ntire_sr.evaluation.metrics.pixels import PixelErrors, box_mean
from ntire_sr.evaluation.scoring.matching import SampleGroup
from ntire_sr.evaluation.scoring.scorer import Scorer, Settings
from ntire_sr.samples.image_files import read_png, write_png

SHAPES = ((0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3))


class OfficialLpips(nn.Module):
    """LPIPS(alex, spatial) as it is usually called: both images anew each time, one step after another."""

    def __init__(self, fast: Lpips):
        super().__init__()
        self.convolutions = nn.ModuleList()
        for layer in fast.convolutions:
            copy = nn.Conv2d(
                layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding
            )
            copy.load_state_dict(layer.state_dict())
            self.convolutions.append(copy.requires_grad_(False))
        self.linear = nn.ParameterList(layer.clone() for layer in lpips_linear_layers())
        self.register_buffer("shift", torch.tensor(lpips_network.SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(lpips_network.SCALE).view(1, 3, 1, 1))

    def features(self, image: Tensor) -> list[Tensor]:
        maps, found = (image - self.shift) / self.scale, []
        for index, convolution in enumerate(self.convolutions):
            maps = functional.relu(convolution(functional.max_pool2d(maps, 3, 2) if index in (1, 2) else maps))
            found.append(maps)
        return found

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        total = 0
        for a, b, linear in zip(self.features(one), self.features(other), self.linear, strict=True):
            a, b = (maps / (maps.square().sum(1, keepdim=True).sqrt() + 1e-10) for maps in (a, b))
            distance = functional.conv2d((a - b) ** 2, linear)
            total = total + functional.interpolate(
                distance, size=one.shape[2:], mode="bilinear", align_corners=False
            )
        return total


def numpy_downscale(image: np.ndarray, scale: int) -> np.ndarray:
    """D of (H, W, 3) uint8, gathering every output's pixels and weighing them, in float64, rows first."""
    for _ in range(2):
        matrix = downscale_matrix(len(image), scale).numpy()
        taps = np.argsort(matrix == 0, axis=1, kind="stable")[:, : 4 * scale]
        weights = np.take_along_axis(matrix, taps, 1)
        reduced = (weights[:, :, None, None] * image[taps].astype(np.float64)).sum(1)
        image = np.clip(reduced, 0, 255).round().astype(np.uint8).swapaxes(0, 1)
    return image


def official_sample(
    network: OfficialLpips, hr: np.ndarray, path: Path, device: torch.device, scale: int = 4
) -> Tensor:
    """What the official script does for one sample; its map is kept by the caller, as there."""
    sr = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    one, other = (torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1 for image in (sr, hr))
    distance = network(one.to(device), other.to(device)).cpu()
    error = numpy_downscale(sr, scale).astype(float) - numpy_downscale(hr, scale).astype(float)
    10 * np.log10(255**2 / np.mean(error**2))
    return distance.data


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def make_files(folder: Path, height: int, width: int, samples: int) -> SampleGroup:
    """A picture with structure at all scales, and samples that differ from it by a few grey levels."""
    random = np.random.default_rng(0)
    image = np.zeros((height, width, 3), np.float32)
    for side in (4, 16, 64, 256):
        coarse = random.normal(0, 40, (height // side + 2, width // side + 2, 3)).astype(np.float32)
        image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    hr = (image + 128).clip(0, 255).astype(np.uint8)
    write_png(folder / "HR" / "0801.png", hr)
    paths = []
    for k in range(samples):
        sr = (hr + random.normal(0, 4, hr.shape)).clip(0, 255).astype(np.uint8)
        paths.append(folder / "SR" / f"000000_sample{k:05d}.png")
        write_png(paths[-1], sr)
    return SampleGroup(
        0, folder / "HR" / "0801.png", tuple(range(samples)), tuple(paths), ("",) * (samples + 1)
    )


def main() -> None:
    """Time, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=2040)
    parser.add_argument("--height", type=int, default=1352)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--lpips-weights", type=Path, help="AlexNet's file; looked up if not given")
    options = parser.parse_args()
    device = torch.device(options.device)
    weights = find(ALEXNET, options.lpips_weights)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pair = make_files(folder, options.height, options.width, options.samples)
        print_memory(folder, pair, weights, options.device)
        compare(pair, weights, options.rounds, device)


def compare(pair: SampleGroup, weights: Path, rounds: int, device: torch.device) -> None:
    """The official way, ours and the bare trunk, in turns; then our steps one by one."""
    scorer = Scorer(Settings(4, device.type, weights))
    fast = scorer.lpips
    assert fast
    network = OfficialLpips(fast).to(device)
    hr = read_png(pair.hr)
    count, height, width = len(pair.samples), *hr.shape[:2]
    normalised = network_input(to_tensor(hr).to(device))

    @torch.inference_mode()
    def bare_trunk() -> None:
        maps = normalised
        for index, convolution in enumerate(fast.convolutions):
            maps = functional.max_pool2d(maps, 3, 2) if index in (1, 2) else maps
            maps = convolution(maps).relu_()

    square = torch.randn(2048, 2048, device=device)
    official_sample(network, hr, pair.samples[0], device)
    scorer.measure(pair)
    bare_trunk()
    times: dict[str, list[float]] = {"official": [], "ours": [], "trunk": [], "matrix": []}
    for _ in range(rounds):
        times["official"].append(
            statistics.fmean(
                seconds(lambda path=path: official_sample(network, hr, path, device), device)
                for path in pair.samples[:2]
            )
        )
        times["ours"].append(seconds(lambda: scorer.measure(pair), device) / count)
        times["trunk"].append(statistics.fmean(seconds(bare_trunk, device) for _ in range(5)))
        times["matrix"].append(min(seconds(lambda: square @ square, device) for _ in range(5)))
    per_round = list(zip(*times.values(), strict=True))
    official, mine, bare, matrix = (statistics.median(column) for column in zip(*per_round, strict=True))
    rate = 2 * 2048**3 / matrix
    operations = trunk_operations(height, width)
    print(
        f"{width} x {height}, {count} samples, {device}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(f"official way   {official:7.3f} s per sample (LPIPS with autograd, D of both images, reading)")
    print(
        f"ours           {mine:7.3f} s per sample (HR work included, with S_n of MSE and calibration, reading)"
    )
    print(f"bare trunk     {bare:7.3f} s per pass (channels_last, no autograd)")
    ratios = [row[0] / row[1] for row in per_round]
    print(
        f"official / ours              {statistics.median(ratios):.2f}  ({', '.join(f'{r:.2f}' for r in ratios)})"
    )
    parts = [row[1] * count / ((count + 1) * row[2]) for row in per_round]
    print(
        f"ours / (n + 1) bare trunks   {statistics.median(parts):.2f}  ({', '.join(f'{r:.2f}' for r in parts)})"
    )
    print(f"matrix rate    {rate / 1e9:.0f} GFLOP/s (float32, 2048 x 2048)")
    print(f"bare trunk     {operations / bare / rate:.2f} of it ({operations / 1e9:.1f} GFLOP)")
    print_steps(scorer, pair, operations, rate, device, rounds)


def trunk_operations(height: int, width: int) -> float:
    """Floating-point operations of AlexNet's convolutions done directly."""
    total = 0.0
    for index, (_, outputs, inputs, side) in enumerate(SHAPES):
        if index == 0:
            height, width = ((px + 4 - side) // 4 + 1 for px in (height, width))
        elif index in (1, 2):
            height, width = ((px - 3) // 2 + 1 for px in (height, width))
        total += 2.0 * height * width * outputs * inputs * side * side
    return total


@torch.inference_mode()
def print_steps(
    scorer: Scorer, pair: SampleGroup, operations: float, rate: float, device: torch.device, rounds: int
) -> None:
    """Our steps for one sample, each alone."""
    fast = scorer.lpips
    assert fast
    hr = to_tensor(read_png(pair.hr)).to(device)
    sr = to_tensor(read_png(pair.samples[0])).to(device)
    size = (hr.shape[2], hr.shape[3])
    features = fast.features(hr).vectors
    sums = [torch.zeros_like(layer) for layer in features]
    layers, lr = fast.compare(sr, features, sums).layers, downscale_8bit(hr, 4)
    whole, errors = upsampled_sum(layers, size), PixelErrors(hr)
    perceptual, boxes = RunningDiversity(), RunningDiversity()
    steps: dict[str, Callable[[], object]] = {
        "read the PNG": lambda: read_png(pair.samples[0]),
        "AlexNet": lambda: [None for _ in fast.layers(sr)],
        "AlexNet and its distances": lambda: fast.compare(sr, features, sums),
        "upsample the map": lambda: upsampled_sum(layers, size),
        "S_n of LPIPS": lambda: perceptual.update(whole),
        "pixel errors": lambda: boxes.update(box_mean(errors.update(sr))),
        "downscale": lambda: lr_squared_error(sr, lr, 4),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(2 + 2 * rounds):
        for name, step in steps.items():
            times[name].append(seconds(step, device))
    taken = {name: statistics.median(values[1:]) for name, values in times.items()}
    convolutions = taken["AlexNet"]
    taken["distances"] = taken.pop("AlexNet and its distances") - convolutions
    total = sum(taken.values())
    print(
        f"AlexNet here   {operations / convolutions / rate:.2f} of the matrix rate, counted as direct convolutions"
    )
    print("share of each step of one sample, timed alone:")
    for name, value in sorted(taken.items(), key=lambda item: -item[1]):
        print(f"  {name:<18} {value * 1e3:6.1f} ms  {100 * value / total:5.1f} %")


def print_memory(folder: Path, pair: SampleGroup, weights: Path, device: str) -> None:
    """Peak memory of the whole command in a process of its own; before this one grows, whose size counts there."""
    words = ["score", "--hr", pair.hr.parent, "--sr", pair.samples[0].parent, "--out", folder / "score"]
    words += ["--samples", len(pair.samples), "--lpips-weights", weights, "--device", device]
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "ntire_sr", *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    taken = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (
        1024 if sys.platform != "darwin" else 1024**2
    )
    print(f"ntire-sr score of this image: {taken:.1f} s, peak memory {peak / 1024:.2f} GiB, report included")


if __name__ == "__main__":
    main()
