"""Writes an x8 weights file of `stochastic` that starts from x4 weights, for `ntire-sr train --scale 8 --set start_from=FILE`.

    python benchmarks/initialise_x8.py --hr PHOTOGRAPHS --out START.safetensors

The x8 network shares its first upsampling between all samples. Its layers after it are those of the x4 network, at the
same sizes. Its layers before them learn, by L1, to compute from the x8 LR image the features that the x4 trunk computes
from the x4 LR image of the same crop. So the decoder, with its calibrated spread, starts as it is.
"""

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ntire_sr.challenge.downscale import downscale
from ntire_sr.data.patches import PatchDataset
from ntire_sr.models.loading import load_model
from ntire_sr.models.stochastic_rrdb import RrdbGenerator
from ntire_sr.models.weights_files import save_weights
from ntire_sr.training.validation import IMAGES

SIDE = 192  # of an HR crop, in pixels
CPU = torch.device("cpu")


def initialised(x4: RrdbGenerator) -> RrdbGenerator:
    """An x8 network with the x4 network's layers: its trunk, and after the shared upsampling all others."""
    architecture = replace(x4.architecture, shared_upsamplings=1)
    x8 = RrdbGenerator(8, architecture)
    shared = architecture.adapter_blocks + 1  # modules of the adapter before the x4 network's
    renamed = {}
    for name, value in x4.state_dict().items():
        parts = name.split(".")
        if parts[0] == "adapter":
            parts[1] = str(int(parts[1]) + shared)
        renamed[".".join(parts)] = value
    missing, unexpected = x8.load_state_dict(renamed, strict=False)
    assert not unexpected and all(name.startswith("adapter.") for name in missing)
    return x8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="stochastic", help="x4 weights; without it the package's")
    parser.add_argument("--hr", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", default="auto", help="folder for decoded photographs, see the setting")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    loaded = load_model(options.weights, scale=4, device=CPU)
    x4, x8 = loaded.generator, initialised(loaded.generator)
    learning = x8.adapter.requires_grad_(True).train()
    optimiser = torch.optim.Adam(learning.parameters(), options.learning_rate, betas=(0.9, 0.99), fused=True)
    patches = PatchDataset(options.hr, SIDE, 8, options.cache, leave_out=IMAGES, downscale_min=0.5)
    start, losses, squares = time.monotonic(), [], torch.zeros(1)
    for step in range(options.steps):
        lr, hr, _ = patches.finish(patches.prepare(1, options.seed, step), CPU)
        for group in optimiser.param_groups:
            group["lr"] = options.learning_rate * (1 + math.cos(math.pi * step / options.steps)) / 2
        with torch.no_grad():
            target = x4.trunk(downscale(hr, 4).clamp(0, 1))
            features = x8.features(lr)
            squares = squares + target.var((0, 2, 3), keepdim=True)
            spread = (squares / (step + 1)).sqrt()  # of each channel, over all crops so far
        loss = ((learning(features) - target) / spread).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        if (step + 1) % 20 == 0:
            seconds = time.monotonic() - start
            print(f"{step + 1} of {options.steps}: L1 {np.mean(losses[-20:]):.4f}, {seconds:.0f} s", flush=True)
    facts = {"step": 0, "steps": 0, "seed": options.seed, "trunk": loaded.facts.get("trunk")}
    facts["initialised_from_sha256"] = loaded.weights_sha256
    tensors = {name: value.contiguous() for name, value in x8.state_dict().items()}
    save_weights(options.out, "stochastic", 8, x8.architecture, tensors, facts)


if __name__ == "__main__":
    main()
