"""`ntire-sr generate`: samples of every LR image of a folder, each LR-exact, with a manifest."""

import platform
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ntire_sr import __version__
from ntire_sr.config import require
from ntire_sr.errors import Failure, Problems, WrongUse
from ntire_sr.files import make_folder, sha256_bytes, sha256_file
from ntire_sr.images import read_image, to_8bit, to_array, to_tensor, to_unit, write_png
from ntire_sr.layout import DEFAULT_SAMPLES, MANIFEST, SampleName, list_images, parse_sample_name, relative_to
from ntire_sr.manifest import DrawSettings, ImageRecord, Manifest, SampleRecord, load_manifest
from ntire_sr.models.consistency import MAX_ROUNDS, TARGET_DB, Consistent, is_reachable, make_consistent
from ntire_sr.models.contract import seeded
from ntire_sr.models.table import Loaded
from ntire_sr.resize import REQUIRED_DB, lr_psnr_db

SMALLEST_LR_PX = 4


@dataclass(frozen=True)
class Request:
    """What to draw and where to."""

    lr: Path
    out: Path
    samples: int = DEFAULT_SAMPLES
    seed: int = 0
    projection: bool = True  # False: write what the network drew, whatever its LR-PSNR
    allow_unreachable: bool = False  # True: also write samples of LR images that no image reduces to
    overwrite: bool = False  # True: replace samples of other settings instead of refusing
    only: frozenset[SampleName] = frozenset()  # draw these again, and nothing else; empty: draw all


@dataclass
class Drawn:
    """What a call of `generate` did."""

    manifest: Manifest
    written: int = 0
    kept: int = 0

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
        """Lowest LR-PSNR of all samples in the folder, in dB."""
        return min(record.lr_psnr_db for record in self.manifest.files.values())


def sample_seed(seed: int, lr_sha256: str, sample: int) -> int:
    """The seed of one sample: it depends on the run's seed, the LR image's pixels and the sample's
    number, so that no order, count or file name changes what is drawn."""
    return int(sha256_bytes(f"{seed}:{lr_sha256}:{sample}".encode())[:15], 16)


@torch.inference_mode()
def draw(loaded: Loaded, lr: Tensor, trunk: object, seed: int) -> Tensor:
    """One sample before projection: (1, 3, h, w) in [0, 1] -> (1, 3, scale * h, scale * w), about [0, 1]."""
    sr: Tensor = loaded.generator.sample(trunk, lr, loaded.generator.latents(lr, [seeded(seed)]))
    if not bool(torch.isfinite(sr).all()):
        raise Failure("the network drew values that are no numbers", "use weights of an earlier checkpoint")
    return sr


def read_lr_folder(folder: Path) -> list[tuple[Path, ImageRecord]]:
    """Every LR image of a folder, read once, so that all broken ones are named before work begins."""
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
        found.append((path, ImageRecord(path.name, sha256_bytes(image.tobytes()), height, width)))
    if problems:
        raise Problems(f"LR images in {folder}", problems, "replace or remove these files; nothing was drawn")
    return found


def generate(
    request: Request, loaded: Loaded, device: torch.device, done: Callable[[int, int], None] | None = None
) -> Drawn:
    """Draw the samples that are missing in `request.out`.

    A sample that is there, with the digest that the manifest holds for it, is kept. Files appear
    under their names only when whole, and the manifest is brought up to date after each image.

    Args:
        request: what to draw.
        loaded: the generator, on `device`.
        done: called with (samples done, samples in all) after each.

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
    images = read_lr_folder(request.lr)
    manifest = _open_manifest(request, loaded, [record for _, record in images], device)
    drawn = Drawn(manifest)
    wanted = _wanted(request, manifest, len(images))
    make_folder(request.out)
    # from now on the folder says what its samples are, also when this call is killed
    manifest.save(request.out)
    problems: list[str] = []
    completed, total = 0, sum(map(len, wanted.values()))
    try:
        for index, names in wanted.items():
            path, record = images[index]
            missing = [name for name in names if request.only or not _is_whole(request.out, manifest, name)]
            drawn.kept += len(names) - len(missing)
            if missing:
                try:
                    lr = to_tensor(read_image(path)).to(device)
                    problems += _draw_image(request, loaded, lr, index, missing, drawn)
                except torch.OutOfMemoryError as error:
                    raise Failure(
                        f"{path.name} with {record.width} x {record.height} pixels does not fit into "
                        f"the memory of {device}",
                        "--device cpu, or smaller LR images",
                    ) from error
                manifest.save(request.out)
            completed += len(names)
            if done:
                done(completed, total)
    except BaseException:
        with suppress(Failure):  # what stopped the work is what the user must hear
            manifest.save(request.out)
        raise
    manifest.save(request.out)
    if problems:
        raise Problems(
            f"samples in {request.out}",
            problems,
            "an LR image that no 8-bit image reduces to is written with --allow-unreachable, "
            "samples without any check with --no-projection",
        )
    return drawn


def _draw_image(
    request: Request, loaded: Loaded, lr: Tensor, index: int, names: list[SampleName], drawn: Drawn
) -> list[str]:
    """Draw and write some samples of one image; the problems that kept samples from being written."""
    manifest = drawn.manifest
    record = manifest.images[index]
    began = time.monotonic()
    unit = to_unit(lr)
    with torch.inference_mode():
        trunk = loaded.generator.trunk(unit)
    shared_seconds = (time.monotonic() - began) / len(names)
    problems = []
    for name in names:
        began = time.monotonic()
        seed = sample_seed(request.seed, record.lr_sha256, name.sample)
        sr = draw(loaded, unit, trunk, seed)
        if request.projection:
            result = make_consistent(sr, lr, loaded.scale)
        else:
            image = to_8bit(sr)
            result = Consistent(image, lr_psnr_db(image, lr, loaded.scale), 0)
        if request.projection and result.lr_psnr_db < REQUIRED_DB:
            if not record.unreachable:
                reachable, best = is_reachable(lr, loaded.scale)
                if reachable:
                    problems.append(
                        f"{name} reaches {result.lr_psnr_db:.1f} dB of {REQUIRED_DB:.0f} after {result.rounds} rounds"
                    )
                    continue
                best = round(max(best, result.lr_psnr_db), 3)
                record = replace(record, unreachable=True, reachable_db=best)
                manifest.images[index] = record
            if not request.allow_unreachable:
                problems.append(
                    f"{record.name}: no 8-bit image reduces to it; "
                    f"the best reaches {record.reachable_db:.1f} dB of {REQUIRED_DB:.0f}"
                )
                return problems
        digest = write_png(request.out / str(name), to_array(result.image))
        manifest.files[str(name)] = SampleRecord(
            seed=seed,
            sha256=digest,
            lr_psnr_db=result.lr_psnr_db if result.lr_psnr_db == float("inf") else round(result.lr_psnr_db, 4),
            rounds=result.rounds,
            seconds=round(time.monotonic() - began + shared_seconds, 4),
        )
        drawn.written += 1
    return problems


def _open_manifest(
    request: Request, loaded: Loaded, images: list[ImageRecord], device: torch.device
) -> Manifest:
    """The folder's manifest where it belongs to the same run, else a new one."""
    settings = DrawSettings(
        model=loaded.model.name,
        deterministic=loaded.model.deterministic,
        weights_sha256=loaded.weights_sha256,
        scale=loaded.scale,
        seed=request.seed,
        projection=request.projection,
        hyper_parameters=asdict(loaded.settings)
        | (
            {"projection_target_db": TARGET_DB, "projection_max_rounds": MAX_ROUNDS}
            if request.projection
            else {}
        ),
    )
    fresh = Manifest(
        settings=settings,
        samples=request.samples,
        lr=relative_to(request.lr, request.out),
        weights=str(loaded.weights) if loaded.weights else None,
        features=loaded.facts.get("features"),
        trained_steps=loaded.facts.get("step"),
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
    found = load_manifest(request.out) if not request.overwrite else _readable_manifest(request.out)
    here = list(request.out.glob("*.png")) if request.out.is_dir() else []
    present = [path for path in here if parse_sample_name(path.name)]
    if found is None:
        differences = [f"{len(present)} samples without a manifest that says what drew them"] if present else []
    else:
        differences = found.settings.differences(settings)
        if [record.lr_sha256 for record in found.images] != [record.lr_sha256 for record in images]:
            differences.append(f"lr: the images of {found.lr} there, of {fresh.lr} asked for")
    if found is not None and not differences:
        found.samples = max(found.samples, request.samples)
        return found
    if differences and not request.overwrite:
        raise WrongUse(
            f"{request.out} holds samples of another run: " + "; ".join(differences),
            "choose another --out, or replace them with --overwrite",
        )
    for path in (*present, request.out / MANIFEST):
        path.unlink(missing_ok=True)
    return fresh


def _readable_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder that is to be replaced: none where it is damaged."""
    try:
        return load_manifest(folder)
    except Failure:
        return None


def _wanted(request: Request, manifest: Manifest, images: int) -> dict[int, list[SampleName]]:
    """The samples to look at, by image."""
    if not request.only:
        return {index: [SampleName(index, k) for k in range(manifest.samples)] for index in range(images)}
    outside = [str(name) for name in sorted(request.only) if name.index >= images]
    if outside:
        raise WrongUse(
            f"{', '.join(outside)}: {request.lr} holds {images} images", f"indices go from 0 to {images - 1}"
        )
    # a sample beyond the folder's number per image makes the others up to it belong to the folder too
    manifest.samples = max(manifest.samples, *(name.sample + 1 for name in request.only))
    wanted: dict[int, list[SampleName]] = {}
    for name in sorted(request.only):
        wanted.setdefault(name.index, []).append(name)
    return wanted


def _is_whole(folder: Path, manifest: Manifest, name: SampleName) -> bool:
    """Whether the sample is on disk with the digest that the manifest holds."""
    record, path = manifest.files.get(str(name)), folder / str(name)
    return record is not None and path.is_file() and sha256_file(path) == record.sha256


def parse_only(words: Collection[str]) -> frozenset[SampleName]:
    """`000003_sample00007` or the file's whole name, as the names of samples."""
    names = set()
    for word in words:
        name = parse_sample_name(word if word.endswith(".png") else f"{word}.png")
        if name is None:
            raise WrongUse(f"--only {word} is no sample's name", "--only 000003_sample00007")
        names.add(name)
    return frozenset(names)
