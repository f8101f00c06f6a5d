"""Writing samples into a folder: each is projected onto its LR image, checked as 8 bits, written and recorded.

`generate` writes the samples of a network, and `project` the images of another program.
"""

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import msgspec
import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor

from ntire_sr._version import __version__
from ntire_sr.challenge.downscale import REQUIRED_DB, lr_psnr_db
from ntire_sr.challenge.names import SampleName
from ntire_sr.challenge.pixels import to_8bit, to_array, to_tensor
from ntire_sr.challenge.projection import MAX_ROUNDS, TARGET_DB, ProjectionResult, is_feasible, project_uint8
from ntire_sr.core.device import is_out_of_memory, keep_freed_memory, too_large
from ntire_sr.core.distributed import rank_and_world_size
from ntire_sr.core.errors import NtireSrError, ValidationErrors, require
from ntire_sr.core.files import sha256_bytes
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.records import Record, to_record
from ntire_sr.samples.folders import list_images
from ntire_sr.samples.image_files import MOST_PIXELS, read_image
from ntire_sr.samples.manifest import ImageRecord, Manifest, SampleRecord, SamplingSettings, SourceRecord
from ntire_sr.samples.metadata import ImageNotes, Note, ignore
from ntire_sr.samples.sample_folder import SampleFolder, Writer
from ntire_sr.sampling.plan import Plan

SMALLEST_LR_PX = 4
MOST_ROUNDS = 100_000  # of a projection that a manifest asks for


class ProjectionLimits(Record, frozen=True):
    """When the projection of a sample stops: the part of a sample's hyper-parameters that is not the network's."""

    projection_target_db: Annotated[float, msgspec.Meta(gt=0)] = TARGET_DB
    projection_max_rounds: Annotated[int, msgspec.Meta(ge=1, le=MOST_ROUNDS)] = MAX_ROUNDS

    @classmethod
    def of(cls, settings: SamplingSettings) -> "ProjectionLimits":
        """The limits that a manifest records; the usual ones where it records none.

        Raises:
            NtireSrError: they have a wrong type or range.
        """
        recorded = settings.hyper_parameters
        values = {name: recorded[name] for name in cls.__struct_fields__ if name in recorded}
        return to_record(
            values, cls, "settings.hyper_parameters of the manifest", "correct them in the manifest"
        )


USUAL_LIMITS = ProjectionLimits()


@dataclass(frozen=True)
class RawSample:
    """A sample before its projection, and the facts about it for its record."""

    image: Tensor  # (1, 3, scale * h, scale * w), float, about in [0, 1]
    seconds: float  # time that it took to draw or read
    seed: int | None = None
    tile: int = 0
    source: SourceRecord | None = None


# (index of the LR image, the LR image as (1, 3, h, w) uint8, names of its samples) -> those samples, in this order
SampleSource = Callable[[int, Tensor, list[SampleName]], Iterator[RawSample]]


@dataclass
class SamplingResult:
    """The result of writing samples into a folder."""

    manifest: Manifest
    written: int = 0  # samples that were written
    kept: int = 0  # samples that were there already
    complete: bool = False  # whether every sample of the folder is there, whichever process made it

    @property
    def infeasible(self) -> list[str]:
        """Names of the LR images that no 8-bit HR image downscales to, with the best LR-PSNR."""
        return [
            f"{image.name} (best: {image.best_db:.1f} dB)" for image in self.manifest.images if image.infeasible
        ]

    @property
    def worst_db(self) -> float:
        """Lowest LR-PSNR of all samples in the folder, in dB; inf if there is none."""
        return min((record.lr_psnr_db for record in self.manifest.files.values()), default=float("inf"))

    def as_json(self) -> dict[str, Any]:
        """The counts and the lowest LR-PSNR, as values that `files.json_safe` takes."""
        return {
            "images": len(self.manifest.images),
            "samples": self.manifest.samples,
            "written": self.written,
            "kept": self.kept,
            "complete": self.complete,
            "worst_db": self.worst_db,
            "infeasible": self.infeasible,
            "unreachable": self.infeasible,  # deprecated spelling
        }


def read_lr_folder(folder: Path, scale: int, progress: Progress = SILENT) -> list[tuple[Path, ImageRecord]]:
    """Read every LR image of a folder once, so that all problems are known before the first sample is made.

    Args:
        folder: the folder.
        scale: HR pixels per LR pixel along an axis.
        progress: receives messages about files that are passed over, and about metadata that are not applied.

    Raises:
        ValidationErrors: images are broken, or too small, or their SR images would be too large to be read again.
    """
    records, problems, notes = [], [], ImageNotes()
    for path in list_images(folder, "LR", progress=progress):
        try:
            records.append((path, read_lr(path, scale, notes.of(path.name))))
        except NtireSrError as error:
            problems.append(error.message)
    if problems:
        raise ValidationErrors(
            f"LR images in {folder}", problems, "replace or remove these files; nothing was written"
        )
    notes.report("LR", progress)
    return records


JPEG_NOTE = (
    "JPEG, whose block edges and rings the network will sharpen as if they were detail; downscale the photograph by 2 "
    "or more first, or start from a file that was never compressed"
)


def read_lr(path: Path, scale: int, note: Note = ignore) -> ImageRecord:
    """The record of an LR image.

    Args:
        path: path of the file.
        scale: HR pixels per LR pixel along an axis.
        note: receives what was not applied to its pixels.

    Raises:
        NtireSrError: it is broken, or too small, or its SR images would be too large to be read again.
    """
    image = read_image(path, note)
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST_LR_PX:
        raise NtireSrError(
            f"{path} has {width} x {height} pixels; at least {SMALLEST_LR_PX} x {SMALLEST_LR_PX} are needed"
        )
    if height * width * scale**2 > MOST_PIXELS:
        factor = (MOST_PIXELS / (height * width * scale**2)) ** 0.5
        raise NtireSrError(
            f"{path} has {width} x {height} pixels: its SR images would have more than the "
            f"{MOST_PIXELS / 1e6:.0f} megapixels that are read; downscale it to {int(width * factor)} x "
            f"{int(height * factor)} or less, or cut it into parts"
        )
    if path.suffix.lower() in (".jpg", ".jpeg"):
        note(JPEG_NOTE)
    return ImageRecord(path.name, sha256_bytes(image.tobytes()), height, width, infeasible=False, best_db=None)


def check_folders(lr: Path, out: Path, overwrite: bool) -> None:
    """Refuse a folder for samples that would lose files.

    Raises:
        UsageError: it is the folder of the LR images, or several processes were asked to overwrite it.
    """
    require(
        out.resolve() != lr.resolve(),
        f"--out {out} is the folder of the LR images",
        "another folder for the samples",
    )
    require(
        not (overwrite and rank_and_world_size()[1] > 1),
        "--overwrite by several processes: one would remove what another process has just drawn",
        "remove the folder first, or choose another --out",
    )


def software_versions() -> dict[str, str]:
    """Versions of all software that the bytes of a sample may depend on."""
    return {
        "ntire-sr": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "opencv": cv2.__version__,  # its encoder determines the bytes of the PNGs
    }


def write_samples(
    folder: SampleFolder,
    lr_paths: Sequence[Path],
    wanted: dict[int, list[SampleName]],
    keep: Callable[[SampleName], bool],
    make: SampleSource,
    device: torch.device,
    allow_infeasible: bool,
    remedy: str,
    task: str,
    progress: Progress = SILENT,
) -> SamplingResult:
    """Make, project and write the samples that are wanted and not kept.

    Files are written atomically. Started by `torchrun`, the processes divide the images among themselves; none
    waits for another, so one that has died can be started again at any time.

    Args:
        folder: from `open_samples`; its settings say whether samples are projected.
        lr_paths: the LR images, in the order of their indices.
        wanted: the samples that should be in the folder afterwards, by index of their image.
        keep: whether a sample that is there already stays as it is.
        make: makes samples of one image.
        device: the device to project on.
        allow_infeasible: whether LR images that no 8-bit HR image downscales to get samples, too.
        remedy: what to do about samples that could not be written.
        task: name of the task for `progress`.
        progress: receives the progress of this process's images.

    Raises:
        ValidationErrors: at the end, if samples are under 45 dB or no 8-bit HR image downscales to an LR image (these
            samples were not written, the others were).
    """
    number, count = rank_and_world_size()
    if device.type == "cpu":
        keep_freed_memory()
    result = SamplingResult(folder.manifest)
    mine = {index: names for index, names in wanted.items() if index % count == number}
    missing_by_image: dict[int, list[SampleName]] = {}
    for index, names in mine.items():
        missing = [name for name in names if not keep(name)]
        result.kept += len(names) - len(missing)
        if missing and (allow_infeasible or not folder.manifest.images[index].infeasible):
            missing_by_image[index] = missing
    plan = Plan(folder.manifest, missing_by_image)
    draws = not folder.manifest.settings.external
    if draws and plan.samples:
        progress.message(f"{task}: {plan.description}")
    problems: list[str] = []
    total = sum(map(len, mine.values()))
    with Writer(folder) as writer, progress.task(task, total, done=total - plan.samples) as advance:
        for index, missing in missing_by_image.items():
            start = time.monotonic()
            lr = to_tensor(read_image(lr_paths[index])).to(device)
            left = len(missing)
            for problem in _write_image(folder, writer, lr, index, missing, make, allow_infeasible):
                if problem:
                    problems.append(problem)
                else:
                    result.written += 1
                advance()
                left -= 1
            advance(left)  # the LR image turned out to be infeasible, and its other samples are not made
            if draws and index == plan.first and not left and len(missing_by_image) > 1:
                progress.message(plan.describe_rest(time.monotonic() - start))
    result.complete = folder.fold(allow_infeasible)
    result.manifest = folder.manifest
    # of several processes only the one that completes the folder fails for these: a failure stops the others
    if not allow_infeasible and (count == 1 or result.complete):
        problems += [
            f"{image.name}: no 8-bit image downscales to it; the best reaches {image.best_db:.1f} dB of {REQUIRED_DB:.0f}"
            for index, image in enumerate(result.manifest.images)
            if image.infeasible and index in wanted
        ]
    if problems:
        raise ValidationErrors(f"samples in {folder.path}", problems, remedy)
    return result


def _write_image(
    folder: SampleFolder,
    writer: Writer,
    lr: Tensor,
    index: int,
    names: list[SampleName],
    make: SampleSource,
    allow_infeasible: bool,
) -> Iterator[str | None]:
    """Make samples of one image and pass them to the writer; yields for each None, or why it was not written.

    Ends early if no 8-bit HR image downscales to the LR image, which is then marked as infeasible."""
    record, settings = folder.manifest.images[index], folder.manifest.settings
    limits = ProjectionLimits.of(settings)
    for name, raw in zip(names, make(index, lr, names), strict=True):
        start = time.monotonic()
        result = project_and_round(raw.image, lr, settings.scale, settings.projection, limits)
        if settings.projection and result.lr_psnr_db < REQUIRED_DB:
            if not record.infeasible:
                feasible, best = is_feasible(lr, settings.scale)
                if feasible:
                    yield (
                        f"{name} reaches {result.lr_psnr_db:.1f} dB of {REQUIRED_DB:.0f} after {result.rounds} rounds"
                    )
                    continue
                best = round(max(best, result.lr_psnr_db), 3)
                record = replace(record, infeasible=True, best_db=best)
                writer.mark(index, record)
            if not allow_infeasible:
                return
        sample = SampleRecord(
            seed=raw.seed,
            settings_sha256=settings.digest,
            sha256="",  # set when the file is written
            lr_psnr_db=round(result.lr_psnr_db, 4),
            rounds=result.rounds,
            tile=raw.tile,
            seconds=round(time.monotonic() - start + raw.seconds, 4),
            source=raw.source,
        )
        writer.write(name, to_array(result.image), sample)
        yield None


def project_and_round(
    sr: Tensor, lr: Tensor, scale: int, projection: bool, limits: ProjectionLimits = USUAL_LIMITS
) -> ProjectionResult:
    """An image as 8 bits, projected or not. Projection takes about 200 bytes a pixel."""
    try:
        if projection:
            return project_uint8(sr, lr, scale, limits.projection_target_db, limits.projection_max_rounds)
        image = to_8bit(sr)
        return ProjectionResult(image, lr_psnr_db(image, lr, scale), 0)
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise too_large(lr, lr.device, " with their projection, which is of the whole image") from error
        raise
