"""How much samples show the grid of the LR pixels, and which random inputs cause it.

    python benchmarks/lr_grid.py WEIGHTS --hr PHOTOGRAPHS

The squared Laplacian of luminance, the energy of fine detail, is averaged over all pixels that have the same place within
their LR pixel. On photographs the averages are nearly equal. Rows of dots with the period of the LR pixels make some of them
larger. Printed are the ratio of the largest to the smallest average, and the energy in proportion to that of the photographs:
for HR, for samples, and for samples whose latents or noise are zero.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ntire_sr.challenge.downscale import crop_size, downscale
from ntire_sr.challenge.pixels import to_tensor, to_unit
from ntire_sr.challenge.projection import project
from ntire_sr.core.seeding import make_generator
from ntire_sr.models.loading import load_model
from ntire_sr.models.modulation import Latents, zero_latents
from ntire_sr.samples.folders import list_images
from ntire_sr.samples.image_files import read_image

BORDER = 16  # pixels at the border that do not count, a multiple of the scale
LAPLACIAN = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])[None, None]
CHANGES: dict[str, Callable[[Latents, Latents], Latents]] = {
    "samples": lambda drawn, zero: drawn,
    "without noise": lambda drawn, zero: drawn._replace(noise=zero.noise),
    "without latents": lambda drawn, zero: zero._replace(noise=drawn.noise),
    "without both": lambda drawn, zero: zero,
}


def energy_by_place(images: Tensor, scale: int) -> Tensor:
    """The mean squared Laplacian of luminance at each place within an LR pixel.

    Args:
        images: (N, 3, H, W) in about [0, 1].
        scale: HR pixels per LR pixel along an axis.

    Returns:
        (scale, scale), in squared grey levels.
    """
    energy = functional.conv2d(255 * images.mean(1, keepdim=True), LAPLACIAN, padding=1).square()
    inside = energy[:, :, BORDER:-BORDER, BORDER:-BORDER]
    height, width = (side // scale * scale for side in inside.shape[2:])
    return inside[:, 0, :height, :width].unflatten(2, (-1, scale)).unflatten(1, (-1, scale)).mean((0, 1, 3))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="a weights file of stochastic, or stochastic for the package's")
    parser.add_argument("--hr", type=Path, required=True)
    parser.add_argument("--scale", type=int, choices=(4, 8), help="needed for the package's weights")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--samples", type=int, default=2)
    options = parser.parse_args()
    loaded = load_model(options.weights, scale=options.scale, device=torch.device("cpu"))
    network, scale = loaded.generator, loaded.scale
    places: dict[str, list[Tensor]] = {name: [] for name in ("HR", *CHANGES)}
    for path in list_images(options.hr, "HR")[: options.images]:
        image = read_image(path)
        height, width = crop_size(*image.shape[:2])
        hr = to_unit(to_tensor(image[:height, :width].copy()))
        lr = downscale(hr, scale).clamp(0, 1)
        trunk = network.trunk(lr)
        places["HR"].append(energy_by_place(hr, scale))
        for number in range(options.samples):
            latents = network.latents(lr, [make_generator(0, number)])
            for name, change in CHANGES.items():
                drawn = network.sample(trunk, lr, change(latents, zero_latents(latents)))
                places[name].append(energy_by_place(project(drawn, lr, scale), scale))
    hr_energy = torch.stack(places["HR"]).mean()
    for name, energies in places.items():
        relative = torch.stack([energy / energy.mean() for energy in energies]).mean(0)
        energy = torch.stack(energies).mean() / hr_energy
        print(
            f"{name:16} largest / smallest {relative.max() / relative.min():.2f}, energy {energy:.2f} of HR's"
        )


if __name__ == "__main__":
    main()
