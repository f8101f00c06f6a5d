"""`ntire-sr train`: one linear loop for every model of the table."""

import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, TextColumn, TimeRemainingColumn

from ntire_sr.core.device import choose_device
from ntire_sr.core.distributed import Ranks
from ntire_sr.core.errors import Failure, WrongUse, plural, require
from ntire_sr.core.files import finite, make_folder, sha256_file, write_json
from ntire_sr.core.layout import RunFolder
from ntire_sr.core.progress import progress_bar
from ntire_sr.core.seeding import seeded
from ntire_sr.data.data_check import div2k_part
from ntire_sr.data.patches import Photographs
from ntire_sr.data.prefetch import Prefetch
from ntire_sr.models.interfaces import Training, diverged
from ntire_sr.models.registry import read_weights, save_weights
from ntire_sr.models.train_config import TrainConfig
from ntire_sr.training.checkpoints import load_checkpoint, save_checkpoint, saved_steps
from ntire_sr.training.logger import Journal
from ntire_sr.training.monitor import Watch
from ntire_sr.training.run_config import CHANGEABLE_ON_RESUME, PATHS, Plan, flat
from ntire_sr.training.validation import IMAGES, Validation, open_validation


@dataclass(frozen=True)
class Outcome:
    """How a call of `train` ended."""

    steps_done: int
    steps: int
    why: str  # finished, time, signal
    weights: Path


@contextmanager
def _polite_stop() -> Iterator[list[str]]:
    """A list that gets a signal's name on the first SIGTERM or Ctrl-C; a second one interrupts at once."""
    caught: list[str] = []

    def note(number: int, frame: Any) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(signal.Signals(number).name)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not in the main thread: the caller handles signals
        before = {}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train(plan: Plan, run: RunFolder, resume: bool = False, console: Console | None = None) -> Outcome | None:
    """Train until the last step, the time limit or a signal; always ends with a checkpoint and weights.

    What a step computes depends on (settings, seed, step, state) alone, so a run that was killed and
    resumed goes on from its last checkpoint to the same result, bit for bit on the CPU. Started by
    `torchrun`, the processes share every batch; the first one writes.

    Args:
        plan: from `plan_training`, or `plan_resumed` for a run that goes on.
        run: folder of the run; created.
        resume: go on where the folder holds a checkpoint.
        console: for progress; standard error if none.

    Returns:
        How it ended; none in all processes but the first.

    Raises:
        WrongUse: the folder holds a run and `resume` is false.
        Failure: the disk is full, images are broken, or the loss is no number any more.
    """
    ranks = Ranks()
    console = console or Console(stderr=True, quiet=not ranks.is_first)
    outcome = _train(plan, run, resume, console, ranks)
    ranks.close()
    return outcome if ranks.is_first else None


def _train(plan: Plan, run: RunFolder, resume: bool, console: Console, ranks: Ranks) -> Outcome:
    began = time.monotonic()
    config, device = plan.config, choose_device(plan.config.device)
    require(
        config.batch % ranks.count == 0,
        f"batch {config.batch} cannot be shared equally by {ranks.count} processes",
        f"batch={-(-config.batch // ranks.count) * ranks.count}",
    )
    if device.type == "cuda" and ranks.count > 1:
        beside = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        require(
            beside <= torch.cuda.device_count(),
            f"{beside} processes cannot share {plural(torch.cuda.device_count(), 'GPU')} in training",
            f"--nproc-per-node {torch.cuda.device_count()}",
        )
        torch.cuda.set_device(device)
    ranks.from_first(lambda: _prepare_folder(run, resume))

    # ---- data, networks, and what an earlier call left
    photographs = Photographs(
        Path(config.hr) if config.hr else None,
        config.patch,
        config.scale,
        config.cache,
        config.sharp,
        leave_out=IMAGES if config.hr and config.validation == "auto" else 0,
        console=console,
    )
    same = {name: value for name, value in flat(plan).items() if name not in PATHS}
    ranks.agree(**same, images=photographs.digest)
    on_device = config.keep_on_device and device.type == "cuda" and photographs.keep_on(device)
    assert plan.model.training is not None
    training: Training = plan.model.training(config, plan.settings, device, ranks)
    # what `auto` stands for is decided once, so that a resumed run cannot decide otherwise
    plan = replace(plan, settings=training.settings)
    # machines share the run's folder, and yet a file that one has just written may be new to another
    found = ranks.from_first(lambda: load_checkpoint(run.checkpoints) if resume else None)
    step, watch = 0, Watch()
    origin: dict[str, Any] = {}  # of the first weights
    metrics: dict[str, Any] = {}  # of the last look at the validation photographs
    if found:
        step, state, passed = found
        for text in passed:
            console.print(f"passed over: {text}", markup=False, soft_wrap=True)
        _load_state(training, state, plan, run, photographs.digest)
        metrics, origin = state["metrics"], state["origin"]
        watch.restore(state["watch"])
        console.print(f"going on after step {step}")
    elif config.start_from:
        origin = _start(training, config, ranks)
    validation = ranks.in_first(lambda: open_validation(config.validation, photographs, config.scale, device))
    journal = ranks.in_first(lambda: Journal(run, console, config.tensorboard, step))
    if not found:
        _say_what(plan, photographs, training, validation, device, ranks, console)
    kept = photographs.images.where + (", and on the GPU" if on_device else "")
    console.print(f"decoded images: {kept}", markup=False, highlight=False, soft_wrap=True)

    first_step, saved_at, why = step, step if found else -1, "finished"
    ranks.from_first(lambda: write_json(run.config, plan.as_json()))

    def save() -> None:
        # the weights come first: whoever finds a checkpoint finds weights that are at least as new
        facts = {"step": step, "steps": config.steps, "seed": config.seed, "features": training.features_name}
        facts |= {"data_sha256": photographs.digest, "metrics": finite(metrics), **origin}
        save_weights(run.weights, config.model, config.scale, plan.settings, training.weights(), facts)
        state = {"plan": plan.as_json(), "training": training.state_dict(), "watch": watch.state()}
        state |= {"data_sha256": photographs.digest, "metrics": finite(metrics), "origin": origin}
        if journal:
            journal.flush()
        save_checkpoint(run.checkpoints, step, state)

    # ---- the loop
    share = (ranks.number, ranks.count)
    mine = range(config.batch * ranks.number // ranks.count, config.batch * (ranks.number + 1) // ranks.count)
    columns = (MofNCompleteColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
    batches = Prefetch(
        lambda at: photographs.prepare(config.batch, config.seed, at, share, pinned=device.type == "cuda"),
        lambda prepared: photographs.finish(prepared, device),
        step,
        config.steps,
    )
    with _polite_stop() as caught, progress_bar(*columns, console=console) as progress, batches:
        task = progress.add_task("train", total=config.steps, completed=step, speed="")
        first_time = time.monotonic()
        for lr, hr in batches:
            losses = training.step(lr, hr, [seeded(config.seed, step, index, device=device) for index in mine])
            if not math.isfinite(losses["loss"]) and "skipped" not in losses:  # a model that skips says so
                raise diverged(step, f"the loss is {losses['loss']}")
            step += 1
            seconds = time.monotonic() - first_time
            speed = (step - first_step) * config.batch / seconds
            progress.update(task, completed=step, speed=f"{speed:.1f} images/s")
            if journal:
                for text in watch.heard(losses):
                    journal.say(step, text)
                line: dict[str, float] = {}
                if step % config.log_every == 0 or step == config.steps:
                    waited = batches.waited_seconds / seconds
                    line = {"images_per_second": round(speed, 2), "loader_share": round(waited, 4), **losses}
                if validation and (step % config.validate_every == 0 or step == config.steps):
                    look = validation.look(training.average)
                    metrics = {"step": step, **look.figures}
                    journal.show(step, look)
                    line |= look.figures
                if line:
                    journal.log({"step": step, **line})
            if step % config.checkpoint_every == 0:
                ranks.from_first(save)
                saved_at = step
                if not console.is_terminal:
                    left = timedelta(seconds=round((config.steps - step) * config.batch / speed))
                    console.print(
                        f"step {step} of {config.steps}, {speed:.1f} images/s, {left} left", highlight=False
                    )
            minutes = (time.monotonic() - began) / 60
            late = bool(config.max_minutes and minutes >= config.max_minutes)
            if ranks.any(bool(caught) or late):
                whys = ranks.gathered(caught[0] if caught else "time" if late else "")
                why = next(one for one in whys if one)
                break
        # a signal during this last save waits for it, too
        if ranks.any(saved_at != step or (ranks.is_first and not run.weights.is_file())):
            ranks.from_first(save)
    if journal:
        journal.close()
    return Outcome(step, config.steps, "finished" if step >= config.steps else why, run.weights)


def _prepare_folder(run: RunFolder, resume: bool) -> None:
    if (run.config.exists() or saved_steps(run.checkpoints)) and not resume:
        raise WrongUse(
            f"{run.path} already holds a run", "add --resume to go on with it, or --run FOLDER for another"
        )
    make_folder(run.path)


def _start(training: Training, config: TrainConfig, ranks: Ranks) -> dict[str, Any]:
    """Begin with the weights of another training; what the new weights say of it."""
    path = Path(str(config.start_from))
    if not path.is_file():
        raise WrongUse(f"start_from: there are no weights at {path}", "check the path")
    digest = sha256_file(path)
    ranks.agree(start_from=digest)
    metadata, tensors = read_weights(path)
    if metadata["model"] != config.model:
        raise WrongUse(
            f"start_from: {path} holds weights of {metadata['model']}, not of {config.model}",
            f"--model {metadata['model']}",
        )
    taken = training.adopt(tensors)
    if not taken:
        raise WrongUse(f"start_from: no tensor of {path} fits this network", "leave start_from out")
    training.remarks.append(f"begun with {taken} of the {len(tensors)} tensors of {path}")
    return {"start_from_sha256": digest}


def _load_state(
    training: Training, state: dict[str, Any], plan: Plan, run: RunFolder, data_sha256: str
) -> None:
    """Go on from a checkpoint of the same plan and images; another's is refused by what differs."""
    remedy = "start another run with --run, or give the settings that this one was started with"
    before = state.get("plan")
    parts = {"training", "watch", "data_sha256", "metrics", "origin"}
    if not isinstance(before, dict) or not isinstance(before.get("settings"), dict) or parts - state.keys():
        raise Failure(f"the checkpoints in {run.checkpoints} are not of this version of the program", remedy)
    # a setting that is newer than the checkpoint had its default then
    was = {**asdict(TrainConfig()), **asdict(plan.model.settings()), **before, **before["settings"]}
    differing = [name for name, value in flat(plan).items() if was.get(name) != value]
    differing = [name for name in differing if name not in CHANGEABLE_ON_RESUME and name != "preset"]
    if differing:
        listed = ", ".join(f"{name}={was.get(name)}" for name in differing)
        raise WrongUse(f"the checkpoints in {run.checkpoints} belong to a run with {listed}", remedy)
    if state["data_sha256"] != data_sha256:
        where = plan.config.hr or "embedded in scikit-image"
        raise WrongUse(
            f"the photographs ({where}) are not those that the run in {run.path} was started with",
            "bring them back, or start another run with --run",
        )
    training.load_state_dict(state["training"])


def _say_what(
    plan: Plan,
    photographs: Photographs,
    training: Training,
    validation: Validation | None,
    device: torch.device,
    ranks: Ranks,
    console: Console,
) -> None:
    config = plan.config
    shared = f", each batch shared by {ranks.count} processes" if ranks.count > 1 else ""
    lines = [
        f"training {config.model} x{config.scale} (preset {config.preset}) on {device}{shared}",
        f"{len(photographs.paths)} photographs, {photographs.megapixels:.1f} megapixels: "
        f"{config.hr or 'embedded in scikit-image'}",
        f"feature losses compare: {training.features_name}",
    ]
    if validation:
        lines.append(f"looking every {config.validate_every} steps at {validation.described}")
    if photographs.too_small:
        lines.append(f"left out: {len(photographs.too_small)} images smaller than {config.patch} pixels")
    lines += training.remarks
    if named := [path.name for path in photographs.paths if div2k_part(path.stem)]:
        lines.append(
            f"{plural(len(named), 'image')} named as DIV2K's validation or test ({named[0]}), which the challenge "
            "forbids to train on; `ntire-sr data check` lists them"
        )
    if training.features_reason:
        lines.append(f"filters in place of a pretrained network: {training.features_reason}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
