"""`ntire-sr generate`: samples of every LR image of a folder, projected onto it, with a manifest."""

import platform
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ntire_sr import __version__
from ntire_sr.core.device import computes_bfloat16, is_out_of_memory, keep_freed_memory
from ntire_sr.core.distributed import rank_and_world_size
from ntire_sr.core.downscale import REQUIRED_DB, lr_psnr_db
from ntire_sr.core.errors import Failure, Problems, WrongUse, plural, require
from ntire_sr.core.files import sha256_bytes
from ntire_sr.core.images import MOST_PIXELS, read_image, to_8bit, to_array, to_tensor, to_unit
from ntire_sr.core.layout import (
    DEFAULT_SAMPLES,
    MANIFEST,
    SampleName,
    list_images,
    parse_sample_name,
    relative_to,
)
from ntire_sr.core.manifest import ImageRecord, Manifest, SampleRecord, SamplingSettings
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.seeding import sample_seed
from ntire_sr.models.projection import MAX_ROUNDS, TARGET_DB, Consistent, is_reachable, make_consistent
from ntire_sr.models.registry import LoadedModel
from ntire_sr.sampling.sample_folder import SampleFolder, Writer, open_samples
from ntire_sr.sampling.sampler import AUTO_TILE_PX, Sampler, too_large

SMALLEST_LR_PX = 4


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
    allow_unreachable: bool = False  # True: also write samples of LR images that no 8-bit HR image reduces to
    overwrite: bool = False  # True: replace samples of other settings instead of refusing
    only: frozenset[SampleName] = frozenset()  # draw only these, again; empty means all that are missing
    tile: int | None = None  # side of a tile in LR pixels; 0: no tiles; None: the folder's, or by the device
    precision: str = (
        "auto"  # precision of the network: float32, bfloat16; auto: bfloat16 on GPUs that support it
    )


@dataclass
class GenerateResult:
    """The result of a call of `generate`."""

    manifest: Manifest
    written: int = 0  # samples that were drawn and written
    kept: int = 0  # samples that were there already
    complete: bool = False  # whether every sample of the folder is there, whichever process drew it

    @property
    def unreachable(self) -> list[str]:
        """The LR images of the folder that no 8-bit HR image reduces to, with the best LR-PSNR, in words."""
        return [
            f"{image.name} (best: {image.reachable_db:.1f} dB)"
            for image in self.manifest.images
            if image.unreachable
        ]

    @property
    def worst_db(self) -> float:
        """Lowest LR-PSNR of all samples in the folder, in dB; inf if there is none."""
        return min((record.lr_psnr_db for record in self.manifest.files.values()), default=float("inf"))


def read_lr_folder(folder: Path, scale: int) -> list[tuple[Path, ImageRecord]]:
    """Read every LR image of a folder once, so that all problems are known before the first sample is drawn.

    Raises:
        Problems: images are broken, or too small, or their SR images would be too large to be read again.
    """
    found, problems = [], []
    for path in list_images(folder, "LR"):
        try:
            image = read_image(path)
        except Failure as failure:
            problems.append(failure.message)
            continue
        height, width = image.shape[:2]
        if min(height, width) < SMALLEST_LR_PX:
            problems.append(
                f"{path} has {width} x {height} pixels; at least {SMALLEST_LR_PX} x {SMALLEST_LR_PX} are needed"
            )
        if height * width * scale**2 > MOST_PIXELS:
            problems.append(
                f"{path} has {width} x {height} pixels: its SR images would have more than the {MOST_PIXELS / 1e6:.0f} megapixels that "
                "are read"
            )
        found.append((path, ImageRecord(path.name, sha256_bytes(image.tobytes()), height, width)))
    if problems:
        raise Problems(f"LR images in {folder}", problems, "replace or remove these files; nothing was drawn")
    return found


def generate(
    request: Request, loaded: LoadedModel, device: torch.device, progress: Progress = SILENT
) -> GenerateResult:
    """Draw the samples that are missing in `request.out`.

    A sample whose file has the digest in the manifest is kept. Files are written atomically. Started by
    `torchrun`, the processes divide the images among themselves; none waits for another, so one that has died
    can be started again at any time.

    Args:
        request: the samples to draw.
        loaded: the generator, on `device`.
        device: the device to compute on.
        progress: receives the progress of this process's images.

    Raises:
        WrongUse: the folder holds samples of other settings.
        Problems: LR images are broken (nothing is drawn); or, at the end, samples are under 45 dB or no 8-bit
            HR image reduces to an LR image (these samples were not written, the others were).
    """
    require(
        not (request.only and request.overwrite),
        "--only draws single samples, --overwrite replaces all",
        "--only alone: it draws the named samples again",
    )
    require(
        request.out.resolve() != request.lr.resolve(),
        f"--out {request.out} is the folder of the LR images",
        "another folder for the samples",
    )
    number, count = rank_and_world_size()
    require(
        not (request.overwrite and count > 1),
        "--overwrite by several processes: one would remove what another has just drawn",
        "remove the folder first, or choose another --out",
    )
    images = read_lr_folder(request.lr, loaded.scale)
    fresh = _fresh_manifest(request, loaded, [record for _, record in images], device)
    if loaded.code and not request.only and (request.overwrite or not (request.out / MANIFEST).exists()):
        _try_out(loaded, device, images, fresh.settings.precision == "bfloat16", fresh.tile)
    more = request.samples is not None or not request.only
    folder = open_samples(request.out, fresh, request.overwrite, request.tile, more)
    drawn = GenerateResult(folder.manifest)
    wanted = _samples_to_draw(request, folder.manifest, len(images))
    if device.type == "cpu":
        keep_freed_memory()
    half = folder.manifest.settings.precision == "bfloat16"
    sampler = Sampler(loaded, device, half, folder.manifest.tile)
    mine = {index: names for index, names in wanted.items() if index % count == number}
    problems: list[str] = []
    total = sum(map(len, mine.values()))
    with Writer(folder) as writer, progress.task("generate", total) as advance:
        for index, names in mine.items():
            missing = [name for name in names if request.only or not folder.is_whole(name)]
            drawn.kept += len(names) - len(missing)
            advance(len(names) - len(missing))
            known = folder.manifest.images[index].unreachable and not request.allow_unreachable
            if known or not missing:
                advance(len(missing))
                continue
            lr = to_tensor(read_image(images[index][0])).to(device)
            left = len(missing)
            for problem in _draw_image(request, sampler, lr, index, missing, folder, writer):
                if problem:
                    problems.append(problem)
                else:
                    drawn.written += 1
                advance()
                left -= 1
            advance(left)  # the LR image turned out to be unreachable, and its other samples are not drawn
    drawn.complete = folder.fold(request.allow_unreachable)
    drawn.manifest = folder.manifest
    # of several processes only the one that completes the folder fails for these: a failure stops the others
    if not request.allow_unreachable and (count == 1 or drawn.complete):
        problems += [
            f"{image.name}: no 8-bit image reduces to it; the best reaches {image.reachable_db:.1f} dB of {REQUIRED_DB:.0f}"
            for index, image in enumerate(drawn.manifest.images)
            if image.unreachable and index in wanted
        ]
    if problems:
        raise Problems(
            f"samples in {request.out}",
            problems,
            "an LR image that no 8-bit image reduces to is written with --allow-unreachable, "
            "samples without any check with --no-projection",
        )
    return drawn


def _draw_image(
    request: Request,
    sampler: Sampler,
    lr: Tensor,
    index: int,
    names: list[SampleName],
    folder: SampleFolder,
    writer: Writer,
) -> Iterator[str | None]:
    """Draw samples of one image and pass them to the writer; yields for each None, or why it was not written.

    Ends early if no 8-bit HR image reduces to the LR image, which is then marked as unreachable."""
    record = folder.manifest.images[index]
    start = time.monotonic()
    unit = to_unit(lr)
    trunk = sampler.trunk(unit)
    shared_seconds = (time.monotonic() - start) / len(names)
    for name in names:
        start = time.monotonic()
        seed = sample_seed(request.seed, record.lr_sha256, name.sample)
        sr = sampler.sample(unit, trunk, seed)
        if sampler.tile != folder.manifest.tile:  # memory ran out: use the smaller tiles for all later samples
            folder.use_tile(sampler.tile)
        result = project_and_round(sr, lr, sampler, request.projection)
        if request.projection and result.lr_psnr_db < REQUIRED_DB:
            if not record.unreachable:
                reachable, best = is_reachable(lr, sampler.scale)
                if reachable:
                    yield (
                        f"{name} reaches {result.lr_psnr_db:.1f} dB of {REQUIRED_DB:.0f} after {result.rounds} rounds"
                    )
                    continue
                best = round(max(best, result.lr_psnr_db), 3)
                record = replace(record, unreachable=True, reachable_db=best)
                writer.mark(index, record)
            if not request.allow_unreachable:
                return
        writer.write(
            name,
            to_array(result.image),
            SampleRecord(
                seed=seed,
                settings_sha256=folder.manifest.settings.digest,
                sha256="",  # set when the file is written
                lr_psnr_db=result.lr_psnr_db
                if result.lr_psnr_db == float("inf")
                else round(result.lr_psnr_db, 4),
                rounds=result.rounds,
                tile=sampler.tile,
                seconds=round(time.monotonic() - start + shared_seconds, 4),
            ),
        )
        yield None


def project_and_round(sr: Tensor, lr: Tensor, sampler: Sampler, projection: bool) -> Consistent:
    """The network's output as an 8-bit image, projected or not. Projection takes about 200 bytes a pixel."""
    try:
        if projection:
            return make_consistent(sr, lr, sampler.scale)
        image = to_8bit(sr)
        return Consistent(image, lr_psnr_db(image, lr, sampler.scale), 0)
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise too_large(
                lr, sampler.device, " with their projection, which is of the whole image"
            ) from error
        raise


def chosen_precision(word: str, loaded: LoadedModel, device: torch.device) -> str:
    """float32 or bfloat16, for these words themselves or `auto`: bfloat16 on GPUs that support it, but not for a
    network from outside, which may not stand half the precision."""
    if word != "auto":
        return word
    return "bfloat16" if computes_bfloat16(device) and not loaded.code else "float32"


def chosen_tile(tile: int | None, loaded: LoadedModel, device: torch.device) -> int:
    """The side of the tiles to begin with, in LR pixels; 0 for none. None leaves it to the device.

    Raises:
        WrongUse: there are to be tiles, and the network states no reach.
    """
    tiled = loaded.generator.trunk_reach is not None or loaded.generator.sample_reach is not None
    require(
        tiled or not tile,
        f"--tile {tile}: {loaded.model.name} states no reach, so it is never tiled",
        "--tile 0 or auto; or let the network state sample_reach",
    )
    if tile is not None:
        return tile
    return AUTO_TILE_PX if tiled and device.type == "cpu" else 0


def _fresh_manifest(
    request: Request, loaded: LoadedModel, images: list[ImageRecord], device: torch.device
) -> Manifest:
    """The manifest for a request, without files."""
    limits = {"projection_target_db": TARGET_DB, "projection_max_rounds": MAX_ROUNDS}
    settings = SamplingSettings(
        model=loaded.model.name,
        deterministic=loaded.model.deterministic,
        weights_sha256=loaded.weights_sha256,
        scale=loaded.scale,
        seed=request.seed,
        projection=request.projection,
        precision=chosen_precision(request.precision, loaded, device),
        hyper_parameters=loaded.hyper_parameters | (limits if request.projection else {}),
        code_sha256=loaded.code.sha256 if loaded.code else None,
    )
    code = loaded.code and replace(loaded.code, folder=relative_to(Path(loaded.code.folder), request.out))
    tile = chosen_tile(request.tile, loaded, device)
    return Manifest(
        settings=settings,
        # a sample of `only` with a higher number gives a new folder all samples up to it
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
        versions={
            "ntire-sr": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,  # its encoder determines the bytes of the PNGs
        },
        code=code,
        images=images,
    )


def _try_out(
    loaded: LoadedModel, device: torch.device, images: list[tuple[Path, ImageRecord]], half: bool, tile: int
) -> None:
    """Draw one sample of the smallest LR image, so that a network that cannot draw leaves no folder behind, and replaces
    nothing."""
    path, record = min(images, key=lambda image: image[1].height * image[1].width)
    sampler = Sampler(loaded, device, half, tile)
    unit = to_unit(to_tensor(read_image(path)).to(device))
    sampler.sample(unit, sampler.trunk(unit), sample_seed(0, record.lr_sha256, 0))


def _samples_to_draw(request: Request, manifest: Manifest, images: int) -> dict[int, list[SampleName]]:
    """The samples that should be in the folder afterwards, by image; with `only` just those.

    Raises:
        WrongUse: `only` names a sample that the folder does not have."""
    if not request.only:
        return {index: [SampleName(index, k) for k in range(manifest.samples)] for index in range(images)}
    outside = [str(name) for name in sorted(request.only) if name.index >= images]
    if outside:
        raise WrongUse(
            f"{', '.join(outside)}: {request.lr} holds {plural(images, 'image')}",
            f"indices go from 0 to {images - 1}",
        )
    beyond = [str(name) for name in sorted(request.only) if name.sample >= manifest.samples]
    if beyond:
        raise WrongUse(
            f"{', '.join(beyond)}: {request.out} holds {plural(manifest.samples, 'sample')} per image",
            "--samples N gives it more, or another --out",
        )
    wanted: dict[int, list[SampleName]] = {}
    for name in sorted(request.only):
        wanted.setdefault(name.index, []).append(name)
    return wanted


def parse_tile(word: str) -> int | None:
    """The side of a tile in LR pixels, 0 for no tiles; None for `auto`."""
    if word == "auto":
        return None
    require(word.isdecimal() and len(word) < 7, f"--tile {word} is no size", "auto, 0, or a number such as 128")
    return int(word)


def parse_only(words: Collection[str]) -> frozenset[SampleName]:
    """Names of samples from words such as `000003_sample00007` or `000003_sample00007.png`."""
    names = set()
    for word in words:
        name = parse_sample_name(word if word.endswith(".png") else f"{word}.png")
        if name is None:
            raise WrongUse(f"--only {word} is no sample's name", "--only 000003_sample00007")
        names.add(name)
    return frozenset(names)
