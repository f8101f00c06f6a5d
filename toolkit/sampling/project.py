"""`ntire-sr project`: another program's SR images made LR-exact, under the challenge's names, with a manifest."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from msgspec.structs import asdict
from torch import Tensor

from ntire_sr.challenge.downscale import REQUIRED_DB, lr_psnr_db
from ntire_sr.challenge.names import SampleName
from ntire_sr.challenge.pixels import to_tensor, to_unit
from ntire_sr.core.errors import NtireSrError, is_printable, require
from ntire_sr.core.files import relative_to, sha256_bytes
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.samples.image_files import decode_image
from ntire_sr.samples.manifest import Manifest, SamplingSettings, SourceRecord
from ntire_sr.samples.sample_folder import SampleFolder, open_samples
from ntire_sr.samples.sources import file_source
from ntire_sr.sampling.external import ExternalFolder, read_external
from ntire_sr.sampling.write_samples import (
    USUAL_LIMITS,
    RawSample,
    SamplingResult,
    check_folders,
    software_versions,
    write_samples,
)

DEFAULT_NAME = "external"


@dataclass(frozen=True)
class ProjectRequest:
    """The images to project, the folder for the samples, and what is stated about the program that drew them."""

    sr: Path  # folder of SR images
    lr: Path  # folder of LR images
    out: Path  # folder for the samples
    names: str | None = None  # pattern of the SR images' names; None: the LR images' names, or the challenge's
    scale: int | None = None  # 4 or 8; None: that of the images
    model_name: str = DEFAULT_NAME
    seconds: float | None = None  # run time of that program per sample
    on_gpu: bool | None = None  # whether it ran on a GPU
    allow_infeasible: bool = False  # True: also write samples of LR images that no 8-bit HR image downscales to
    allow_mismatch: bool = False  # True: also project images that look mirrored, grey or of another LR image
    overwrite: bool = False  # True: replace samples of other settings or sources instead of refusing


def project_folder(
    request: ProjectRequest, device: torch.device, progress: Progress = SILENT
) -> SamplingResult:
    """Project every image of a folder onto its LR image and write it under the challenge's name.

    A sample whose file has the digest in the manifest, and that was made from the same source, is kept. Files
    are written atomically. Started by `torchrun`, the processes divide the images among themselves.

    Args:
        request: the images to project.
        device: the device to project on.
        progress: receives the progress of this process's images.

    Raises:
        UsageError: a path or an option is wrong, or the folder holds samples of other settings or sources.
        ValidationErrors: all that is wrong with the images (nothing is written); or, at the end, samples are under 45 dB
            or no 8-bit HR image downscales to an LR image (these samples were not written, the others were).
    """
    check_folders(request.lr, request.out, request.overwrite)
    _check_request(request)
    external = read_external(
        request.sr, request.lr, request.names, request.scale, request.allow_mismatch, progress
    )
    fresh = _fresh_manifest(request, external)
    sources = {str(name): source for name, source in external.files.items()}
    folder = open_samples(request.out, fresh, request.overwrite, sources=sources)
    folder.state_run_time(request.seconds, _device_name(request.on_gpu))
    wanted: dict[int, list[SampleName]] = {}
    for name in sorted(external.files):
        wanted.setdefault(name.index, []).append(name)
    return write_samples(
        folder,
        [path for path, _ in external.lr],
        wanted,
        keep=lambda name: folder.is_made_of(name, external.files[name]),
        make=partial(_read_image, external, folder),
        device=device,
        allow_infeasible=request.allow_infeasible,
        remedy="an LR image that no 8-bit image downscales to is written with --allow-infeasible",
        task="project",
        progress=progress,
    )


def _check_request(request: ProjectRequest) -> None:
    recursive = request.names is not None and "/" in request.names
    require(
        request.out.resolve() != request.sr.resolve(),
        f"--out {request.out} is the folder of the SR images",
        "another folder for the samples",
    )
    require(
        not (recursive and request.out.resolve().is_relative_to(request.sr.resolve())),
        f"--out {request.out} lies in the folder of the SR images, whose subfolders are read",
        "another folder for the samples",
    )
    name = request.model_name
    require(
        bool(name.strip()) and is_printable(name),
        f"--model-name {name!r} is not a valid name",
        "--model-name SwinIR",
    )
    require(
        request.seconds is None or 0 <= request.seconds < float("inf"),
        f"--seconds {request.seconds} is not a run time of 0 or more",
        "--seconds 1.5",
    )


def _read_image(
    external: ExternalFolder, folder: SampleFolder, index: int, lr: Tensor, names: list[SampleName]
) -> Iterator[RawSample]:
    """Read the sources of samples of one image, each when it is needed."""
    for name in names:
        start = time.monotonic()
        source = external.files[name]
        path = external.path / source.file
        content = file_source(path).read()
        if sha256_bytes(content) != source.sha256:
            raise NtireSrError(f"{path} was changed while it was being projected", "run the same command again")
        sr = to_tensor(decode_image(path, content)).to(lr.device)
        before = lr_psnr_db(sr, lr, folder.manifest.settings.scale)
        record = SourceRecord(source.file, source.sha256, round(before, 4))
        yield RawSample(to_unit(sr), time.monotonic() - start, source=record)


def _device_name(on_gpu: bool | None) -> str | None:
    """The device of the other program as the manifest names it; None if it is not stated."""
    return None if on_gpu is None else "cuda" if on_gpu else "cpu"


def _fresh_manifest(request: ProjectRequest, external: ExternalFolder) -> Manifest:
    """The manifest for a request, without files."""
    settings = SamplingSettings(
        model=request.model_name,
        deterministic=external.deterministic,
        weights_sha256=None,
        scale=external.scale,
        seed=None,
        projection=True,
        precision="unknown",
        hyper_parameters=asdict(USUAL_LIMITS),
        external=True,
    )
    return Manifest(
        settings=settings,
        samples=external.per_image,
        lr=relative_to(request.lr, request.out),
        weights=None,
        features=None,
        trained_steps=None,
        tile=0,
        tile_asked=0,
        device=_device_name(request.on_gpu) or "unknown",
        threads=torch.get_num_threads(),
        versions=software_versions(),
        images=[record for _, record in external.lr],
        files={},
        sources=relative_to(request.sr, request.out),
        seconds=request.seconds,
    )


@dataclass(frozen=True)
class LrPsnr:
    """LR-PSNR of a folder's samples in dB; the median, since that of an exact sample is infinite."""

    worst_db: float
    median_db: float
    under_required: int  # samples under 45 dB


def before_and_after(manifest: Manifest) -> tuple[LrPsnr, LrPsnr] | None:
    """The LR-PSNR of the samples before and after their projection; None if there is none yet."""
    pairs = [
        (record.source.lr_psnr_db, record.lr_psnr_db) for record in manifest.files.values() if record.source
    ]
    if not pairs:
        return None
    before, after = (
        LrPsnr(min(side), median(side), sum(value < REQUIRED_DB for value in side))
        for side in zip(*pairs, strict=True)
    )
    return before, after


def as_json(result: SamplingResult, out: Path) -> dict[str, Any]:
    """The result for scripts: counts, LR-PSNR before and after, and every sample with its source."""
    manifest, before_after = result.manifest, before_and_after(result.manifest)
    return {
        "out": str(out),
        "model": manifest.settings.model,
        "scale": manifest.settings.scale,
        **result.as_json(),
        "before": vars(before_after[0]) if before_after else None,
        "after": vars(before_after[1]) if before_after else None,
        "files": {
            name: {
                "source": record.source.file,
                "before_db": record.source.lr_psnr_db,
                "after_db": record.lr_psnr_db,
                "rounds": record.rounds,
            }
            for name, record in sorted(manifest.files.items())
            if record.source
        },
    }
