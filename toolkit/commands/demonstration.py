"""`ntire-sr demo`: train, generate, score and package, on the embedded photographs."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ntire_sr.core.device import choose_device
from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.pretrained import ALEXNET, NotFound, find
from ntire_sr.core.progress import Progress
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.data.lr_images import write_validation
from ntire_sr.evaluation.pages.report import print_table
from ntire_sr.evaluation.score_folder import FolderScore, score_folder
from ntire_sr.models.registry import SHIPPED_MODEL, LoadedModel, load_generator
from ntire_sr.samples.manifest import load_manifest
from ntire_sr.sampling.generate import Request, generate
from ntire_sr.sampling.write_samples import SamplingResult
from ntire_sr.submission.package import PackageRequest, pack
from ntire_sr.training.loop import train
from ntire_sr.training.run_config import make_run_config, resume_run_config
from ntire_sr.training.status import is_finished

# for so few steps on four photographs: a discriminator would not learn to judge, and larger steps would only forget
GENTLE = {"learning_rate": 2e-5, "adversarial": 0.0}


def demonstrate(
    run: Path,
    steps: int,
    max_minutes: float,
    samples: int,
    scale: int,
    device: str,
    say: Callable[[str], Any],
    console: Console,
    progress: Progress,
) -> dict[str, Any]:
    """Train, generate, score and package in one run folder, resuming where an earlier call stopped. For
    comparison, also draw and score with the weights that come with the package.

    Args:
        run: the run folder.
        steps: optimiser steps of the training.
        max_minutes: time limit of the training in minutes.
        samples: samples per image.
        scale: 4 or 8.
        device: auto, cpu or cuda.
        say: called with each line of the result.
        console: console for the tables.
        progress: receives the progress of each step.

    Returns:
        What was made, for scripts.

    Raises:
        NtireSrError: a sample is under 45 dB.
    """
    start = time.monotonic()
    folder = RunFolder(run)

    missing = None
    try:  # before minutes of training
        find(ALEXNET, progress=progress)
    except NotFound as error:
        missing = error

    say("1/4 train")
    values = {"steps": steps, "max_minutes": max_minutes, "device": device, "scale": scale}
    run_config = (
        resume_run_config(folder, values) if folder.config.exists() else make_run_config({**values, **GENTLE})
    )
    if is_finished(folder, run_config.config.steps):
        say(f"kept: {folder.weights} ({run_config.config.steps} steps)")
    else:
        result = train(run_config, folder, resume=True, progress=progress)
        assert result  # there is one process only
        say(f"weights: {result.weights} ({result.steps_done} of {result.steps} steps)")

    say(f"2/4 generate --samples {samples}")
    chosen = choose_device(device)
    own = load_generator(folder.weights, None, chosen)
    shipped = load_generator(SHIPPED_MODEL, own.scale, chosen)
    # both on the same photographs, which neither was trained on
    drawing = (
        ("the weights that were trained here", own, folder),
        ("the weights that come with the package", shipped, RunFolder(run / "shipped")),
    )
    lr = write_validation(folder, own.scale)
    for name, loaded, place in drawing:
        drawn = _draw(Request(lr, place.samples, samples), loaded, chosen, progress)
        say(
            f"samples of {name}: {place.samples} ({drawn.written} written, {drawn.kept} kept, "
            f"worst LR-PSNR {drawn.worst_db:.2f} dB)"
        )

    say("3/4 score")
    measured = [(name, _score(folder.validation_hr, place, device, missing, progress)) for name, _, place in drawing]

    say("4/4 package")
    packed = pack(PackageRequest(folder.samples, folder.archive, run=folder.path), progress)
    for name, found in measured:
        say(f"\n{name}:")
        print_table(found.score, console, found.lpips_missing)
        say(f"report: {found.report}")
    say("")
    for path, digest in packed.archives:
        say(f"archive: {path} ({packed.bytes / 1e6:.1f} MB, sha256 {digest})")
    say(f"took {time.monotonic() - start:.0f} s")
    if not all(found.score.passes for _, found in measured):
        raise NtireSrError(
            "a sample of the demonstration is under 45 dB", "report this as a defect, with the manifest"
        )
    return {
        "run": str(run),
        "weights": str(folder.weights),
        "scores": [
            {"samples": str(place.samples), "out": str(found.out), "summary": found.score.summary()}
            for (_, _, place), (_, found) in zip(drawing, measured, strict=True)
        ],
        "package": packed.as_json(),
        "seconds": time.monotonic() - start,
    }


def _draw(request: Request, loaded: LoadedModel, device: torch.device, progress: Progress) -> SamplingResult:
    earlier = load_manifest(request.out)
    # replace samples of other weights, as after a longer training or an update of the package
    stale = earlier is not None and earlier.settings.weights_sha256 != loaded.weights_sha256
    return generate(replace(request, overwrite=stale), loaded, device, progress)


def _score(hr: Path, place: RunFolder, device: str, missing: NotFound | None, progress: Progress) -> FolderScore:
    found = score_folder(
        hr,
        place.samples,
        place.score,
        device=device,
        without_lpips=str(missing) if missing else None,
        progress=progress,
    )
    assert found, "the demonstration runs in one process"
    return found
