"""Loads generators by name or file, and draws samples with them."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ntire_sr.api.inputs import Image, take, whole_number
from ntire_sr.challenge.downscale import REQUIRED_DB
from ntire_sr.challenge.image_checks import described
from ntire_sr.challenge.pixels import to_array, to_tensor, to_unit
from ntire_sr.challenge.projection import ProjectionResult, is_feasible
from ntire_sr.core.device import choose_device
from ntire_sr.core.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    EarlierNameWarning,
    NtireSrError,
    UsageError,
)
from ntire_sr.core.files import sha256_bytes
from ntire_sr.core.seeding import sample_seed
from ntire_sr.models.adapter import method_of
from ntire_sr.models.loading import LoadedModel, load_model, load_object
from ntire_sr.models.registry import SHIPPED_MODEL
from ntire_sr.samples.manifest import MOST_TEMPERATURE
from ntire_sr.sampling.generate import resolve_precision, resolve_tile
from ntire_sr.sampling.sampler import Sampler
from ntire_sr.sampling.write_samples import SMALLEST_LR_PX, project_and_round

PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class GeneratorHandle:
    """A generator that is ready to draw samples; made by `load`."""

    name: str  # of the model
    scale: int  # HR pixels per LR pixel along an axis
    device: torch.device
    deterministic: bool  # all samples of an image are equal
    weights: Path | None  # file of the weights; None for a model without any
    weights_sha256: str | None
    loaded: LoadedModel = field(repr=False)  # the network; not part of the public interface

    def sample(
        self,
        lr: Image,
        k: int = 10,
        seed: int = 0,
        tile: int | None = None,
        project: bool = True,
        *,
        first: int = 0,
        precision: str = "auto",
        temperature: float = 1.0,
        allow_infeasible: bool = False,
        allow_unreachable: bool | None = None,
    ) -> Image:
        """Draw samples of one LR image: the pixels that `ntire-sr generate` writes with these settings.

        A sample depends only on weights, seed, LR image and its number. So k=10 and later k=10, first=10 give the same
        samples as k=20 at once.

        >>> from ntire_sr import downscale, load, lr_psnr
        >>> from skimage.data import astronaut
        >>> lr = downscale(astronaut()[80:176, 160:288], 4)
        >>> samples = load("bicubic").sample(lr, k=2)
        >>> samples.shape, bool(lr_psnr(samples, lr, 4).min() >= 50)
        ((2, 96, 128, 3), True)

        Args:
            lr: one image, (h, w, 3) uint8, or a tensor (1, 3, h, w), uint8 or float in [0, 1]; float is rounded
                to 8 bits.
            k: number of samples.
            seed: random seed, 0 or more; each sample's own seed is derived from it, the LR image's pixels and the
                sample's number.
            tile: side in LR pixels of the tiles that large images are drawn in; 0 for none, None to choose it by
                network and device, as `generate` does.
            project: whether to project every sample onto the LR image; False gives the network's output.
            first: number of the first sample.
            precision: of the network: float32, bfloat16, or auto for bfloat16 where the device computes it in hardware.
            temperature: factor of latents and noise, 0 to 2; 1 is calibrated, less gives samples that differ less.
            allow_infeasible: whether to return the closest image found if no 8-bit image downscales to `lr`.
            allow_unreachable: deprecated spelling of `allow_infeasible`.

        Returns:
            (k, scale * h, scale * w, 3) uint8; a numpy array if `lr` is one, else a tensor on the CPU.

        Raises:
            ValueError, TypeError: `lr` or a setting is not as described.
            NtireSrError: no 8-bit image downscales to `lr`, or memory ran out.
        """
        if allow_unreachable is not None:
            warnings.warn("allow_unreachable is deprecated; use allow_infeasible", EarlierNameWarning, 2)
            allow_infeasible = allow_unreachable
        image = take("lr", lr)
        if len(image.pixels) != 1 or min(image.pixels.shape[2:]) < SMALLEST_LR_PX:
            raise ArgumentValueError(
                f"lr is {len(image.pixels)} of {image.size}; expected one image with sides of {SMALLEST_LR_PX} or more",
                "one call per image: its samples do not depend on other images",
            )
        count, first = whole_number("k", k, 1), whole_number("first", first, 0)
        seed = whole_number("seed", seed, 0)
        tile = None if tile is None else whole_number("tile", tile, 0)
        if precision not in PRECISIONS:
            raise ArgumentValueError(f"precision is {precision!r}", f"one of {', '.join(PRECISIONS)}")
        if isinstance(temperature, bool) or not isinstance(temperature, (int, float)):
            raise ArgumentTypeError(f"temperature is {described(temperature)}", "a number such as 0.8")
        if not 0 <= temperature <= MOST_TEMPERATURE:
            raise ArgumentValueError(f"temperature is {temperature}", f"0 to {MOST_TEMPERATURE:g}")
        if temperature != 1 and self.deterministic:
            raise ArgumentValueError(
                f"{self.name} is deterministic: it has no latents for temperature {temperature:g} to scale",
                "temperature=1",
            )
        half = resolve_precision(precision, self.loaded, self.device) == "bfloat16"
        tile_px = resolve_tile(tile, self.loaded, self.device)
        sampler = Sampler(self.loaded, self.device, half, tile_px, float(temperature))
        # the memory layout of an image that `generate` reads; the last bits of convolutions depend on it
        array = to_array(image.levels)
        pixels = to_tensor(array).to(self.device)
        unit, digest = to_unit(pixels), sha256_bytes(array.tobytes())
        trunk = sampler.trunk(unit)
        height, width = (side * self.scale for side in array.shape[:2])
        samples = torch.empty(count, height, width, 3, dtype=torch.uint8)
        for row in range(count):
            sr = sampler.sample(unit, trunk, sample_seed(seed, digest, first + row))
            result = project_and_round(sr, pixels, self.scale, project)
            if project:
                _check_reached(result, pixels, self.scale, first + row, allow_infeasible)
            samples[row] = result.image[0].permute(1, 2, 0)
        drawn: Image = image.plain(samples)
        return drawn


def _check_reached(
    result: ProjectionResult, lr: torch.Tensor, scale: int, number: int, allow_infeasible: bool
) -> None:
    """Raise an error if a sample has less than 45 dB, as `generate` does."""
    if result.lr_psnr_db >= REQUIRED_DB:
        return
    feasible, best = is_feasible(lr, scale)
    if feasible:
        raise NtireSrError(
            f"sample {number} reaches {result.lr_psnr_db:.1f} dB of {REQUIRED_DB:.0f} after {result.rounds} rounds",
            "project=False for the network's output",
        )
    if not allow_infeasible:
        raise NtireSrError(
            f"no 8-bit image downscales to lr; the closest reaches {max(best, result.lr_psnr_db):.1f} dB of {REQUIRED_DB:.0f}",
            "allow_infeasible=True for the closest image found, or project=False for the network's output",
        )


def load(
    name_or_file: str | Path | Any = SHIPPED_MODEL,
    scale: int | None = None,
    device: str | torch.device = "auto",
    *,
    weights: str | Path | None = None,
) -> GeneratorHandle:
    """Load a generator that draws samples, or take a network that exists already.

    >>> from ntire_sr import downscale, load
    >>> from skimage.data import astronaut
    >>> lr = downscale(astronaut()[80:176, 160:288], 8)
    >>> load("stochastic", scale=8).sample(lr, k=2).shape
    (2, 96, 128, 3)

    Args:
        name_or_file: name of a model, see `list_models`; path of a weights file that `ntire-sr train` wrote; or a
            network from outside the package, named as for `generate --model`, such as "my_net.py:build". Its code is then run.
            Or a torch module, or any object with the methods of docs/own-network.md. It is not copied: it draws with the
            weights that it has at that time, in evaluation mode, and has its modes again afterwards.
        scale: HR pixels per LR pixel along an axis; None for the file's, or 4 for a name or an object.
        device: auto, cpu, cuda, cuda:N, or a torch.device; auto takes a GPU if there is one. A module stays where it is with
            auto, and is moved to any other.
        weights: path of the weights file for a network from outside the package, or for the model of that name.

    Raises:
        ValueError, TypeError: the model, file or device does not exist, or the file is for another scale.
        NtireSrError: the file is damaged.
    """
    is_object = not isinstance(name_or_file, type) and method_of(name_or_file, "sample") is not None
    if not is_object and not isinstance(name_or_file, (str, Path)):
        raise ArgumentTypeError(
            f"name_or_file is {described(name_or_file)}",
            "a model's name, the path of a weights file, or a network with a method sample(lr, generator)",
        )
    if is_object and weights is not None:
        raise ArgumentValueError("weights are given for a network that exists already", "leave weights out")
    scale = None if scale is None else whole_number("scale", scale, 1)
    try:
        chosen_device = choose_device(str(device))
    except UsageError as error:
        raise ArgumentValueError(error.message.removeprefix("--"), "auto, cpu, cuda or cuda:N") from error
    try:
        if is_object:
            loaded, chosen_device = load_object(
                name_or_file, scale, None if device == "auto" else chosen_device
            )
        else:
            loaded = load_model(name_or_file, scale, chosen_device, weights=weights)
    except UsageError as error:
        raise ArgumentValueError(error.message, error.remedy) from error
    return GeneratorHandle(
        name=loaded.name,
        scale=loaded.scale,
        device=chosen_device,
        deterministic=loaded.deterministic,
        weights=loaded.weights,
        weights_sha256=loaded.weights_sha256,
        loaded=loaded,
    )
