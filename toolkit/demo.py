"""`ntire-sr demo`: the four commands one after another on the embedded photographs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from ntire_sr.data import write_validation
from ntire_sr.device import choose_device
from ntire_sr.errors import Failure
from ntire_sr.evaluation.report import print_table
from ntire_sr.evaluation.session import measure
from ntire_sr.generate import Request, generate
from ntire_sr.layout import RunFolder
from ntire_sr.manifest import load_manifest
from ntire_sr.models.table import load_generator
from ntire_sr.plan import plan_resumed, plan_training
from ntire_sr.pretrained import ALEXNET, NotFound, find
from ntire_sr.progress import Bar
from ntire_sr.submission.session import PackRequest, pack
from ntire_sr.train import is_finished, train


def demonstrate(
    run: Path,
    steps: int,
    max_minutes: float,
    samples: int,
    device: str,
    say: Callable[[str], Any],
    console: Console,
) -> None:
    """Train, generate, score and package in one run folder, going on where an earlier call stopped.

    Args:
        run: the run folder.
        steps, max_minutes: of the training.
        samples: per image.
        device: auto, cpu or cuda.
        say: called with each line of the result.
        console: for the table.
    """
    began = time.monotonic()
    folder = RunFolder(run)

    missing = None
    try:  # before minutes are spent
        find(ALEXNET)
    except NotFound as error:
        missing = error

    say("1/4 train")
    values = {"steps": steps, "max_minutes": max_minutes, "device": device}
    plan = plan_resumed(folder, values) if folder.config.exists() else plan_training(values)
    if is_finished(folder, plan):
        say(f"kept: {folder.weights} ({plan.config.steps} steps)")
    else:
        outcome = train(plan, folder, resume=True)
        assert outcome  # there is one process only
        say(f"weights: {outcome.weights} ({outcome.steps_done} of {outcome.steps} steps)")

    say(f"2/4 generate --samples {samples}")
    chosen = choose_device(device)
    loaded = load_generator(folder.weights, None, chosen)
    earlier = load_manifest(folder.samples)
    # after a longer training the earlier weights' samples are of no use
    stale = earlier is not None and earlier.settings.weights_sha256 != loaded.weights_sha256
    with Bar("generate") as done:
        request = Request(write_validation(folder, loaded.scale), folder.samples, samples, overwrite=stale)
        drawn = generate(request, loaded, chosen, done)
    say(
        f"samples: {folder.samples} ({drawn.written} written, {drawn.kept} kept, worst LR-PSNR {drawn.worst_db:.2f} dB)"
    )

    say("3/4 score")
    with Bar("score") as done:
        measured = measure(
            folder.validation_hr,
            folder.samples,
            folder.score,
            device=device,
            without_lpips=str(missing) if missing else None,
            done=lambda task, count, total: done(count, total),
        )
    assert measured, "the demonstration runs in one process"

    say("4/4 package")
    with Bar("check") as done:
        packed = pack(PackRequest(folder.samples, folder.archive, run=folder.path), done)
    say("")
    print_table(measured.score, console, measured.lpips_missing)
    say(f"report: {measured.report}")
    for path, digest in packed.archives:
        say(f"archive: {path} ({packed.bytes / 1e6:.1f} MB, sha256 {digest})")
    say(f"took {time.monotonic() - began:.0f} s")
    if not measured.score.passes:
        raise Failure(
            "a sample of the demonstration is under 45 dB", "report this as a defect, with the manifest"
        )
