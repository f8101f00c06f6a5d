"""Draws samples of every LR image of a folder, projected onto it, with a manifest: `ntire-sr generate`."""

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from msgspec.structs import asdict, replace
from torch import Tensor

from ntire_sr.challenge.downscale import downscale_8bit
from ntire_sr.challenge.mismatch import find_mismatch
from ntire_sr.challenge.names import DEFAULT_SAMPLES, SampleName, parse_sample_name
from ntire_sr.challenge.pixels import to_8bit, to_tensor, to_unit
from ntire_sr.core.device import choose_precision, computes_bfloat16
from ntire_sr.core.errors import UsageError, plural, require
from ntire_sr.core.files import relative_to
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.seeding import sample_seed
from ntire_sr.models.loading import LoadedModel
from ntire_sr.samples.folders import MANIFEST
from ntire_sr.samples.image_files import read_image
from ntire_sr.samples.manifest import MOST_TEMPERATURE, ImageRecord, Manifest, SamplingSettings, load_manifest
from ntire_sr.samples.sample_folder import SampleFolder, open_samples
from ntire_sr.sampling.sampler import Sampler
from ntire_sr.sampling.write_samples import (
    USUAL_LIMITS,
    ProjectionLimits,
    RawSample,
    SamplingResult,
    check_folders,
    read_lr_folder,
    software_versions,
    write_samples,
)


@dataclass(frozen=True)
class Request:
    """The samples to draw, and the folder for them."""

    lr: Path  # folder of LR images
    out: Path  # folder for the samples
    samples: int | None = (
        None  # per image; None means DEFAULT_SAMPLES, or with `only` as many as the folder has
    )
    seed: int = 0
    projection: bool = True  # False: write the network's output, whatever its LR-PSNR
    projection_limits: ProjectionLimits = USUAL_LIMITS
    allow_infeasible: bool = False  # True: also write samples of LR images that no 8-bit HR image downscales to
    overwrite: bool = False  # True: replace samples of other settings instead of refusing
    only: frozenset[SampleName] = frozenset()  # draw only these, again; empty means all that are missing
    tile: int | None = None  # side of a tile in LR pixels; 0: no tiles; None: the folder's, or by the device
    temperature: float = 1.0  # factor of latents and noise, 0 to MOST_TEMPERATURE
    precision: str = "auto"  # of the network: float32 or bfloat16; auto: the folder's, or by the device


def generate(
    request: Request, loaded: LoadedModel, device: torch.device, progress: Progress = SILENT
) -> SamplingResult:
    """Draw the samples that are missing in `request.out`.

    A sample whose file has the digest in the manifest is kept. Files are written atomically. Processes that `torchrun`
    started divide the images among themselves. They do not wait for each other, so one that was killed can be started
    again at any time.

    Args:
        request: the samples to draw.
        loaded: the generator, on `device`.
        device: the device to compute on.
        progress: receives the progress of this process's images.

    Raises:
        UsageError: the folder holds samples of other settings.
        ValidationErrors: LR images are broken (nothing is drawn); or, at the end, samples are under 45 dB or no 8-bit
            HR image downscales to an LR image (these samples were not written, the others were).
    """
    require(
        not (request.only and request.overwrite),
        "--only draws single samples, --overwrite replaces all",
        "--only alone: it draws the named samples again",
    )
    require(
        0 <= request.temperature <= MOST_TEMPERATURE,
        f"--temperature {request.temperature:g} is out of range",
        f"0 to {MOST_TEMPERATURE:g}; 1 is calibrated",
    )
    require(
        request.temperature == 1 or not loaded.deterministic,
        f"--temperature {request.temperature:g}: {loaded.name} is deterministic, its samples have no latents",
        "a model that draws latents, or no --temperature",
    )
    check_folders(request.lr, request.out, request.overwrite)
    images = read_lr_folder(request.lr, loaded.scale, progress)
    fresh = _fresh_manifest(request, loaded, [record for _, record in images], device)
    if loaded.is_external and not request.only and (request.overwrite or not (request.out / MANIFEST).exists()):
        _check_that_it_draws(loaded, device, images, fresh, progress)
    more = request.samples is not None or not request.only
    folder = open_samples(request.out, fresh, request.overwrite, request.tile, more)
    half = folder.manifest.settings.precision == "bfloat16"
    if half and not computes_bfloat16(device):
        progress.message(f"{device} has no instructions for bfloat16, so drawing in it takes long")
    sampler = Sampler(loaded, device, half, folder.manifest.tile, request.temperature, progress)
    return write_samples(
        folder,
        [path for path, _ in images],
        wanted=_samples_to_draw(request, folder.manifest, len(images)),
        keep=lambda name: not request.only and folder.is_whole(name),
        make=partial(_draw_image, sampler, folder, request.seed),
        device=device,
        allow_infeasible=request.allow_infeasible,
        remedy="an LR image that no 8-bit image downscales to is written with --allow-infeasible, "
        "samples without any check with --no-projection",
        task="generate",
        progress=progress,
    )


def _draw_image(
    sampler: Sampler, folder: SampleFolder, seed: int, index: int, lr: Tensor, names: list[SampleName]
) -> Iterator[RawSample]:
    """Yield samples of one image, each drawn when it is requested."""
    manifest = folder.manifest
    start = time.monotonic()
    unit = to_unit(lr)
    image = manifest.images[index]
    trunk = sampler.trunk(unit, f"{image.name}, trunk")
    shared_seconds = (time.monotonic() - start) / len(names)
    for name in names:
        start = time.monotonic()
        own_seed = sample_seed(seed, image.lr_sha256, name.sample)
        sr = sampler.sample(unit, trunk, own_seed, f"{image.name}, sample {name.sample}")
        if sampler.tile != manifest.tile:  # memory ran out: use the smaller tiles for all later samples
            folder.use_tile(sampler.tile)
        yield RawSample(sr, time.monotonic() - start + shared_seconds, own_seed, sampler.tile)


def resolve_precision(precision: str, loaded: LoadedModel, device: torch.device) -> str:
    """Resolve `auto` to bfloat16 where the device computes it in hardware, else to float32.

    A network from outside the package gets float32, since it may need the precision.
    """
    return "float32" if precision == "auto" and loaded.is_external else choose_precision(precision, device)


def _recorded_precision(request: Request) -> str:
    """The precision that was asked for; for `auto` that of the samples in the folder, if they are to be kept."""
    if request.precision != "auto" or request.overwrite:
        return request.precision
    present = load_manifest(request.out)
    return present.settings.precision if present and not present.settings.external else request.precision


def resolve_tile(tile: int | None, loaded: LoadedModel, device: torch.device) -> int:
    """The side of the tiles to start with, in LR pixels; 0 for none. None is resolved by network and device.

    Raises:
        UsageError: tiles are requested, and the network states no receptive field.
    """
    generator = loaded.generator
    tiled = generator.trunk_receptive_field is not None or generator.sample_receptive_field is not None
    require(
        tiled or not tile,
        f"--tile {tile}: {loaded.name} states no receptive field, so it is never tiled",
        "--tile 0 or auto; or add sample_receptive_field to the network",
    )
    if tile is not None:
        return tile
    return generator.tile_px if tiled and device.type == "cpu" else 0


def _fresh_manifest(
    request: Request, loaded: LoadedModel, images: list[ImageRecord], device: torch.device
) -> Manifest:
    """A manifest for a request, without files."""
    settings = SamplingSettings(
        model=loaded.name,
        deterministic=loaded.deterministic,
        weights_sha256=loaded.weights_sha256,
        scale=loaded.scale,
        seed=request.seed,
        projection=request.projection,
        precision=resolve_precision(_recorded_precision(request), loaded, device),
        hyper_parameters=loaded.hyper_parameters
        | (asdict(request.projection_limits) if request.projection else {}),
        code_sha256=loaded.code.sha256 if loaded.code else None,
        temperature=request.temperature,
    )
    code = loaded.code and replace(loaded.code, folder=relative_to(Path(loaded.code.folder), request.out))
    tile = resolve_tile(request.tile, loaded, device)
    return Manifest(
        settings=settings,
        # if `only` names a sample with a higher number, a new folder has all samples up to it
        samples=max(
            request.samples or (1 if request.only else DEFAULT_SAMPLES),
            *(name.sample + 1 for name in request.only),
            1,
        ),
        lr=relative_to(request.lr, request.out),
        weights=relative_to(loaded.weights, request.out) if loaded.weights else None,
        features=loaded.facts.get("features"),
        trained_steps=loaded.facts.get("step"),
        tile=tile,
        tile_asked=tile,
        device=device.type,
        threads=torch.get_num_threads(),
        versions=software_versions(),
        code=code,
        images=images,
        files={},
    )


def _check_that_it_draws(
    loaded: LoadedModel,
    device: torch.device,
    images: list[tuple[Path, ImageRecord]],
    fresh: Manifest,
    progress: Progress,
) -> None:
    """Draw one sample of the smallest LR image, so that a network that fails creates and replaces no files.

    A message says if the sample does not fit the LR image, which the projection would hide.
    """
    path, record = min(images, key=lambda image: image[1].height * image[1].width)
    settings = fresh.settings
    sampler = Sampler(loaded, device, settings.precision == "bfloat16", fresh.tile, settings.temperature)
    lr = to_tensor(read_image(path)).to(device)
    unit = to_unit(lr)
    sr = sampler.sample(unit, sampler.trunk(unit), sample_seed(0, record.lr_sha256, 0))
    mismatch = find_mismatch(downscale_8bit(to_8bit(sr), loaded.scale), lr)
    if mismatch:
        progress.message(f"warning: before the projection a sample of {path.name} {mismatch.text}")


def _samples_to_draw(request: Request, manifest: Manifest, images: int) -> dict[int, list[SampleName]]:
    """The samples that the folder should have, by image; with `only` just those.

    Raises:
        UsageError: `only` names a sample that the folder does not have.
    """
    if not request.only:
        return {index: [SampleName(index, k) for k in range(manifest.samples)] for index in range(images)}
    outside = [str(name) for name in sorted(request.only) if name.index >= images]
    if outside:
        raise UsageError(
            f"{', '.join(outside)}: {request.lr} holds {plural(images, 'image')}",
            f"indices go from 0 to {images - 1}",
        )
    beyond = [str(name) for name in sorted(request.only) if name.sample >= manifest.samples]
    if beyond:
        raise UsageError(
            f"{', '.join(beyond)}: {request.out} holds {plural(manifest.samples, 'sample')} per image",
            "--samples N gives it more, or another --out",
        )
    wanted: dict[int, list[SampleName]] = {}
    for name in sorted(request.only):
        wanted.setdefault(name.index, []).append(name)
    return wanted


def parse_tile(text: str) -> int | None:
    """The side of a tile in LR pixels, 0 for no tiles; None for `auto`."""
    if text == "auto":
        return None
    require(text.isdecimal() and len(text) < 7, f"--tile {text} is no size", "auto, 0, or a number such as 128")
    return int(text)


def parse_only(words: Collection[str]) -> frozenset[SampleName]:
    """Names of samples from words such as `000003_sample00007` or `000003_sample00007.png`."""
    names = set()
    for word in words:
        name = parse_sample_name(word if word.endswith(".png") else f"{word}.png")
        if name is None:
            raise UsageError(f"--only {word} is no sample's name", "--only 000003_sample00007")
        names.add(name)
    return frozenset(names)
