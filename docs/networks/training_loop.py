"""A training loop outside of `ntire-sr train`: energy scores of two samples, projected onto their LR images.

python training_loop.py HR_FOLDER WEIGHTS [STEPS], with noise.py next to it.
"""

import sys
from pathlib import Path

import cv2
import torch
from noise import Settings, build

import ntire_sr
from ntire_sr import losses

SCALE, PATCH, BATCH, SAMPLES = 4, 64, 4, 2


def crops(images, generator):
    """(BATCH, 3, PATCH, PATCH) in [0, 1]."""
    chosen = []
    for _ in range(BATCH):
        image = images[torch.randint(len(images), (), generator=generator)]
        top, left = (torch.randint(side - PATCH + 1, (), generator=generator) for side in image.shape[1:])
        chosen.append(image[:, top : top + PATCH, left : left + PATCH])
    return torch.stack(chosen)


def main(folder, weights, steps=500):
    files = sorted(Path(folder).glob("*.png"))
    images = [
        torch.from_numpy(cv2.imread(str(path))[:, :, ::-1] / 255).permute(2, 0, 1).float() for path in files
    ]
    network, phi = build(SCALE, None, "cpu", Settings()), losses.FilterBank(colour=False)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(0)
    for step in range(int(steps)):
        hr = crops(images, generator)
        lr = ntire_sr.downscale(hr, SCALE).clamp(0, 1)
        trunk = network.trunk(lr)
        drawn = []
        for _ in range(SAMPLES):
            noise = torch.randn(trunk.shape, generator=generator)
            drawn.append(ntire_sr.project_float(network.sample(trunk, lr, noise), lr, SCALE))
        samples = torch.stack(drawn)  # (SAMPLES, BATCH, 3, PATCH, PATCH)
        pixels = losses.energy_terms(samples, hr, losses.patch_norm(7))
        maps = [layer.unflatten(0, (SAMPLES, -1)) for layer in phi(samples.flatten(0, 1))]
        features = losses.layers_energy_terms(maps, phi(hr), losses.channel_norm)
        loss = losses.energy_score(*pixels, gamma=0.5) + losses.energy_score(*features, gamma=0.5)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 50 == 0:
            print(
                f"step {step}: loss {loss.item():.4f}, r {losses.spread_ratio(*(t.item() for t in features)):.2f}"
            )
    torch.save(network.state_dict(), weights)


if __name__ == "__main__":
    main(*sys.argv[1:])
