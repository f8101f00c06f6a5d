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
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import Failure, WrongUse, plural, require
from ntire_sr.core.files import json_safe, make_folder, sha256_file, write_json
from ntire_sr.core.layout import RunFolder
from ntire_sr.core.progress import progress_bar
from ntire_sr.core.seeding import seeded
from ntire_sr.data.data_check import div2k_part
from ntire_sr.data.patches import PatchDataset
from ntire_sr.data.prefetch import Prefetch
from ntire_sr.models.interfaces import Trainer, diverged
from ntire_sr.models.registry import read_weights, save_weights
from ntire_sr.models.train_config import TrainConfig
from ntire_sr.training.checkpoints import load_checkpoint, save_checkpoint, saved_steps
from ntire_sr.training.logger import RunLogger
from ntire_sr.training.monitor import LossMonitor
from ntire_sr.training.run_config import CHANGEABLE_ON_RESUME, PATHS, RunConfig, flat
from ntire_sr.training.validation import IMAGES, Validator, open_validator


@dataclass(frozen=True)
class TrainResult:
    """How a call of `train` ended."""

    steps_done: int
    steps: int
    stop_reason: str  # finished, time, or the name of a signal
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


def train(
    run_config: RunConfig, run: RunFolder, resume: bool = False, console: Console | None = None
) -> TrainResult | None:
    """Train until the last step, the time limit or a signal; always ends with a checkpoint and weights.

    What a step computes depends on (settings, seed, step, state) alone, so a run that was killed and
    resumed goes on from its last checkpoint to the same result, bit for bit on the CPU. Started by
    `torchrun`, the processes share every batch; the first one writes.

    Args:
        plan: from `make_run_config`, or `resume_run_config` for a run that goes on.
        run: folder of the run; created.
        resume: go on where the folder holds a checkpoint.
        console: for progress; standard error if none.

    Returns:
        How it ended; none in all processes but the first.

    Raises:
        WrongUse: the folder holds a run and `resume` is false.
        Failure: the disk is full, images are broken, or the loss is no number any more.
    """
    processes = ProcessGroup()
    console = console or Console(stderr=True, quiet=not processes.is_main)
    result = _train(run_config, run, resume, console, processes)
    processes.close()
    return result if processes.is_main else None


def _train(
    run_config: RunConfig, run: RunFolder, resume: bool, console: Console, processes: ProcessGroup
) -> TrainResult:
    began = time.monotonic()
    config, device = run_config.config, choose_device(run_config.config.device)
    require(
        config.batch % processes.world_size == 0,
        f"batch {config.batch} cannot be shared equally by {processes.world_size} processes",
        f"batch={-(-config.batch // processes.world_size) * processes.world_size}",
    )
    if device.type == "cuda" and processes.world_size > 1:
        beside = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        require(
            beside <= torch.cuda.device_count(),
            f"{beside} processes cannot share {plural(torch.cuda.device_count(), 'GPU')} in training",
            f"--nproc-per-node {torch.cuda.device_count()}",
        )
        torch.cuda.set_device(device)
    processes.broadcast_from_main(lambda: _prepare_folder(run, resume))

    # ---- data, networks, and what an earlier call left
    photographs = PatchDataset(
        Path(config.hr) if config.hr else None,
        config.patch,
        config.scale,
        config.cache,
        config.sharp,
        leave_out=IMAGES if config.hr and config.validation == "auto" else 0,
        console=console,
    )
    same = {name: value for name, value in flat(run_config).items() if name not in PATHS}
    processes.assert_same(**same, images=photographs.digest)
    on_device = config.keep_on_device and device.type == "cuda" and photographs.keep_on(device)
    assert run_config.model.trainer is not None
    trainer: Trainer = run_config.model.trainer(config, run_config.settings, device, processes)
    # what `auto` stands for is decided once, so that a resumed run cannot decide otherwise
    run_config = replace(run_config, settings=trainer.settings)
    # machines share the run's folder, and yet a file that one has just written may be new to another
    found = processes.broadcast_from_main(lambda: load_checkpoint(run.checkpoints) if resume else None)
    step, monitor = 0, LossMonitor()
    origin: dict[str, Any] = {}  # of the first weights
    metrics: dict[str, Any] = {}  # of the last look at the validation photographs
    if found:
        step, state, passed = found
        for text in passed:
            console.print(f"passed over: {text}", markup=False, soft_wrap=True)
        _load_state(trainer, state, run_config, run, photographs.digest)
        metrics, origin = state["metrics"], state["origin"]
        monitor.load_state_dict(state["watch"])
        console.print(f"going on after step {step}")
    elif config.start_from:
        origin = _start(trainer, config, processes)
    validation = processes.on_main(lambda: open_validator(config.validation, photographs, config.scale, device))
    logger = processes.on_main(lambda: RunLogger(run, console, config.tensorboard, step))
    if not found:
        _say_what(run_config, photographs, trainer, validation, device, processes, console)
    kept = photographs.images.where + (", and on the GPU" if on_device else "")
    console.print(f"decoded images: {kept}", markup=False, highlight=False, soft_wrap=True)

    first_step, saved_at, why = step, step if found else -1, "finished"
    processes.broadcast_from_main(lambda: write_json(run.config, run_config.as_json()))

    def save() -> None:
        # the weights come first: whoever finds a checkpoint finds weights that are at least as new
        facts = {"step": step, "steps": config.steps, "seed": config.seed, "features": trainer.features_name}
        facts |= {"data_sha256": photographs.digest, "metrics": json_safe(metrics), **origin}
        save_weights(run.weights, config.model, config.scale, run_config.settings, trainer.weights(), facts)
        state = {"plan": run_config.as_json(), "training": trainer.state_dict(), "watch": monitor.state_dict()}
        state |= {"data_sha256": photographs.digest, "metrics": json_safe(metrics), "origin": origin}
        if logger:
            logger.flush()
        save_checkpoint(run.checkpoints, step, state)

    # ---- the loop
    share = (processes.rank, processes.world_size)
    mine = range(
        config.batch * processes.rank // processes.world_size,
        config.batch * (processes.rank + 1) // processes.world_size,
    )
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
            losses = trainer.step(lr, hr, [seeded(config.seed, step, index, device=device) for index in mine])
            if not math.isfinite(losses["loss"]) and "skipped" not in losses:  # a model that skips says so
                raise diverged(step, f"the loss is {losses['loss']}")
            step += 1
            seconds = time.monotonic() - first_time
            speed = (step - first_step) * config.batch / seconds
            progress.update(task, completed=step, speed=f"{speed:.1f} images/s")
            if logger:
                for text in monitor.update(losses):
                    logger.log_remark(step, text)
                line: dict[str, float] = {}
                if step % config.log_every == 0 or step == config.steps:
                    waited = batches.waited_seconds / seconds
                    line = {"images_per_second": round(speed, 2), "loader_share": round(waited, 4), **losses}
                if validation and (step % config.validate_every == 0 or step == config.steps):
                    look = validation.run(trainer.average)
                    metrics = {"step": step, **look.figures}
                    logger.log_preview(step, look)
                    line |= look.figures
                if line:
                    logger.log({"step": step, **line})
            if step % config.checkpoint_every == 0:
                processes.broadcast_from_main(save)
                saved_at = step
                if not console.is_terminal:
                    left = timedelta(seconds=round((config.steps - step) * config.batch / speed))
                    console.print(
                        f"step {step} of {config.steps}, {speed:.1f} images/s, {left} left", highlight=False
                    )
            minutes = (time.monotonic() - began) / 60
            late = bool(config.max_minutes and minutes >= config.max_minutes)
            if processes.any(bool(caught) or late):
                whys = processes.all_gather(caught[0] if caught else "time" if late else "")
                why = next(one for one in whys if one)
                break
        # a signal during this last save waits for it, too
        if processes.any(saved_at != step or (processes.is_main and not run.weights.is_file())):
            processes.broadcast_from_main(save)
    if logger:
        logger.close()
    return TrainResult(step, config.steps, "finished" if step >= config.steps else why, run.weights)


def _prepare_folder(run: RunFolder, resume: bool) -> None:
    if (run.config.exists() or saved_steps(run.checkpoints)) and not resume:
        raise WrongUse(
            f"{run.path} already holds a run", "add --resume to go on with it, or --run FOLDER for another"
        )
    make_folder(run.path)


def _start(trainer: Trainer, config: TrainConfig, processes: ProcessGroup) -> dict[str, Any]:
    """Begin with the weights of another training; what the new weights say of it."""
    path = Path(str(config.start_from))
    if not path.is_file():
        raise WrongUse(f"start_from: there are no weights at {path}", "check the path")
    digest = sha256_file(path)
    processes.assert_same(start_from=digest)
    metadata, tensors = read_weights(path)
    if metadata["model"] != config.model:
        raise WrongUse(
            f"start_from: {path} holds weights of {metadata['model']}, not of {config.model}",
            f"--model {metadata['model']}",
        )
    taken = trainer.load_matching(tensors)
    if not taken:
        raise WrongUse(f"start_from: no tensor of {path} fits this network", "leave start_from out")
    trainer.remarks.append(f"begun with {taken} of the {len(tensors)} tensors of {path}")
    return {"start_from_sha256": digest}


def _load_state(
    trainer: Trainer, state: dict[str, Any], run_config: RunConfig, run: RunFolder, data_sha256: str
) -> None:
    """Go on from a checkpoint of the same plan and images; another's is refused by what differs."""
    remedy = "start another run with --run, or give the settings that this one was started with"
    before = state.get("plan")
    parts = {"training", "watch", "data_sha256", "metrics", "origin"}
    if not isinstance(before, dict) or not isinstance(before.get("settings"), dict) or parts - state.keys():
        raise Failure(f"the checkpoints in {run.checkpoints} are not of this version of the program", remedy)
    # a setting that is newer than the checkpoint had its default then
    was = {**asdict(TrainConfig()), **asdict(run_config.model.settings()), **before, **before["settings"]}
    differing = [name for name, value in flat(run_config).items() if was.get(name) != value]
    differing = [name for name in differing if name not in CHANGEABLE_ON_RESUME and name != "preset"]
    if differing:
        listed = ", ".join(f"{name}={was.get(name)}" for name in differing)
        raise WrongUse(f"the checkpoints in {run.checkpoints} belong to a run with {listed}", remedy)
    if state["data_sha256"] != data_sha256:
        where = run_config.config.hr or "embedded in scikit-image"
        raise WrongUse(
            f"the photographs ({where}) are not those that the run in {run.path} was started with",
            "bring them back, or start another run with --run",
        )
    trainer.load_state_dict(state["training"])


def _say_what(
    run_config: RunConfig,
    photographs: PatchDataset,
    trainer: Trainer,
    validation: Validator | None,
    device: torch.device,
    processes: ProcessGroup,
    console: Console,
) -> None:
    config = run_config.config
    shared = f", each batch shared by {processes.world_size} processes" if processes.world_size > 1 else ""
    lines = [
        f"training {config.model} x{config.scale} (preset {config.preset}) on {device}{shared}",
        f"{len(photographs.paths)} photographs, {photographs.megapixels:.1f} megapixels: "
        f"{config.hr or 'embedded in scikit-image'}",
        f"feature losses compare: {trainer.features_name}",
    ]
    if validation:
        lines.append(f"looking every {config.validate_every} steps at {validation.described}")
    if photographs.too_small:
        lines.append(f"left out: {len(photographs.too_small)} images smaller than {config.patch} pixels")
    lines += trainer.remarks
    if named := [path.name for path in photographs.paths if div2k_part(path.stem)]:
        lines.append(
            f"{plural(len(named), 'image')} named as DIV2K's validation or test ({named[0]}), which the challenge "
            "forbids to train on; `ntire-sr data check` lists them"
        )
    if trainer.features_reason:
        lines.append(f"filters in place of a pretrained network: {trainer.features_reason}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
