"""`ntire-sr generate`: samples of every LR image of a folder, each LR-exact, with a manifest."""

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
from ntire_sr.core.layout import DEFAULT_SAMPLES, SampleName, list_images, parse_sample_name, relative_to
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
    """What to draw and where to."""

    lr: Path
    out: Path
    samples: int | None = None  # per image; None: DEFAULT_SAMPLES, or with `only` as many as the folder has
    seed: int = 0
    projection: bool = True  # False: write what the network drew, whatever its LR-PSNR
    allow_unreachable: bool = False  # True: also write samples of LR images that no image reduces to
    overwrite: bool = False  # True: replace samples of other settings instead of refusing
    only: frozenset[SampleName] = frozenset()  # draw these again, and nothing else; empty: draw all
    tile: int | None = None  # LR pixels along the side of a tile; 0: no tiles; None: the folder's, or chosen
    precision: str = "auto"  # of the network: float32, bfloat16; auto: bfloat16 on GPUs that compute in it


@dataclass
class GenerateResult:
    """What a call of `generate` did."""

    manifest: Manifest
    written: int = 0
    kept: int = 0
    complete: bool = False  # every sample of the folder is there, whoever drew it

    @property
    def unreachable(self) -> list[str]:
        """The LR images of the folder that no 8-bit image reduces to, in words."""
        return [
            f"{image.name} (best: {image.reachable_db:.1f} dB)"
            for image in self.manifest.images
            if image.unreachable
        ]

    @property
    def worst_db(self) -> float:
        """Lowest LR-PSNR of all samples in the folder, in dB; inf without any."""
        return min((record.lr_psnr_db for record in self.manifest.files.values()), default=float("inf"))


def read_lr_folder(folder: Path, scale: int) -> list[tuple[Path, ImageRecord]]:
    """Every LR image of a folder, read once, so that all broken ones, and those whose SR images nobody could
    read, are named before work begins."""
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

    A sample that is there, with the digest that the manifest holds for it, is kept. Files appear
    under their names only when whole. Started by `torchrun`, processes share the images out among
    themselves; each goes its own way, so one that has died can be started again at any time.

    Args:
        request: what to draw.
        loaded: the generator, on `device`.
        progress: where it says how far this process is with its images.

    Raises:
        WrongUse: the folder holds samples of other settings.
        Problems: broken LR images (nothing is drawn), or, at the end, samples that missed 45 dB and
            LR images that no 8-bit image reduces to (these were not written, the others were).
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
    more = request.samples is not None or not request.only
    folder = open_samples(request.out, fresh, request.overwrite, request.tile, more)
    drawn = GenerateResult(folder.manifest)
    wanted = _wanted(request, folder.manifest, len(images))
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
            advance(left)  # of an LR image that turned out to be unreachable
    drawn.complete = folder.fold(request.allow_unreachable)
    drawn.manifest = folder.manifest
    # one of several processes does not fail for these, which would stop the others, but who completes the folder
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
    """Draw some samples of one image and hand them to the writer; for each, what kept it from being written,
    or None. Ends where no 8-bit image reduces to the LR image, which is marked then."""
    record = folder.manifest.images[index]
    began = time.monotonic()
    unit = to_unit(lr)
    trunk = sampler.trunk(unit)
    shared_seconds = (time.monotonic() - began) / len(names)
    for name in names:
        began = time.monotonic()
        seed = sample_seed(request.seed, record.lr_sha256, name.sample)
        sr = sampler.sample(unit, trunk, seed)
        if sampler.tile != folder.manifest.tile:  # memory ran out: all that follow are drawn like this one
            folder.use_tile(sampler.tile)
        result = _finished(sr, lr, sampler, request.projection)
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
                sha256="",  # known when it is written
                lr_psnr_db=result.lr_psnr_db
                if result.lr_psnr_db == float("inf")
                else round(result.lr_psnr_db, 4),
                rounds=result.rounds,
                tile=sampler.tile,
                seconds=round(time.monotonic() - began + shared_seconds, 4),
            ),
        )
        yield None


def _finished(sr: Tensor, lr: Tensor, sampler: Sampler, projection: bool) -> Consistent:
    """The 8-bit image of what the network drew. Projection needs the whole image, about 200 bytes a pixel."""
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


def _fresh_manifest(
    request: Request, loaded: LoadedModel, images: list[ImageRecord], device: torch.device
) -> Manifest:
    """The manifest of what is asked for, without files."""
    precision = request.precision
    if precision == "auto":
        precision = "bfloat16" if computes_bfloat16(device) else "float32"
    limits = {"projection_target_db": TARGET_DB, "projection_max_rounds": MAX_ROUNDS}
    settings = SamplingSettings(
        model=loaded.model.name,
        deterministic=loaded.model.deterministic,
        weights_sha256=loaded.weights_sha256,
        scale=loaded.scale,
        seed=request.seed,
        projection=request.projection,
        precision=precision,
        hyper_parameters=loaded.hyper_parameters | (limits if request.projection else {}),
    )
    tile = request.tile
    if tile is None:
        tile = AUTO_TILE_PX if device.type == "cpu" else 0
    return Manifest(
        settings=settings,
        # a sample beyond makes the others up to it belong to a new folder, too
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
            "opencv": cv2.__version__,  # its encoder decides on the bytes of the PNGs
        },
        images=images,
    )


def _wanted(request: Request, manifest: Manifest, images: int) -> dict[int, list[SampleName]]:
    """The samples to look at, by image."""
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
    """`auto` as none, or the side of a tile in LR pixels, 0 for none at all."""
    if word == "auto":
        return None
    require(word.isdecimal() and len(word) < 7, f"--tile {word} is no size", "auto, 0, or a number such as 128")
    return int(word)


def parse_only(words: Collection[str]) -> frozenset[SampleName]:
    """`000003_sample00007` or the file's whole name, as the names of samples."""
    names = set()
    for word in words:
        name = parse_sample_name(word if word.endswith(".png") else f"{word}.png")
        if name is None:
            raise WrongUse(f"--only {word} is no sample's name", "--only 000003_sample00007")
        names.add(name)
    return frozenset(names)
