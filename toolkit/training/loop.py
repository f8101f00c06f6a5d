"""`ntire-sr train`: one linear training loop for every model of the registry."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.core.seeding import make_generator
from ntire_sr.data.prefetch import Prefetch
from ntire_sr.training.gradient_guard import divergence_error
from ntire_sr.training.run_config import RunConfig
from ntire_sr.training.setup import Setup, set_up
from ntire_sr.training.state import TrainState, save
from ntire_sr.training.stopping import StopRule


@dataclass(frozen=True)
class TrainResult:
    """The result of a call of `train`."""

    steps_done: int  # steps of the run so far
    steps: int  # steps of the whole run
    stop_reason: str  # finished, time, or the name of a signal
    weights: Path  # the weights file


def train(
    run_config: RunConfig,
    run: RunFolder,
    resume: bool = False,
    progress: Progress = SILENT,
    after_validation: Callable[[RunFolder], object] | None = None,
) -> TrainResult | None:
    """Train until the last step, the time limit or a signal; always ends with a checkpoint and weights.

    A step depends on (settings, seed, step, state) alone, so a run that was killed and resumed from its last
    checkpoint ends with the same result, on the CPU bit for bit. Started by `torchrun`, the processes divide
    every batch among themselves, and the main process writes all files.

    Args:
        run_config: from `make_run_config`, or from `resume_run_config` for a run that is resumed.
        run: the run folder; created if it does not exist.
        resume: resume from the folder's last checkpoint, if there is one.
        progress: receives the progress and messages.
        after_validation: called on the main process after each validation and at the end, for example to draw the log.

    Returns:
        The result on the main process, None on the others.

    Raises:
        UsageError: the folder holds a run and `resume` is false.
        NtireSrError: the disk is full, images are broken, or the loss is NaN or infinite.
    """
    processes = ProcessGroup()
    # in a separate function, so that the networks, whose gradients refer to the group, are deleted before it closes
    after = after_validation if processes.is_main else None
    result = _train(run_config, run, resume, processes, progress if processes.is_main else SILENT, after)
    processes.close()
    return result if processes.is_main else None


def _train(
    run_config: RunConfig,
    run: RunFolder,
    resume: bool,
    processes: ProcessGroup,
    progress: Progress,
    after_validation: Callable[[RunFolder], object] | None,
) -> TrainResult:
    stop = StopRule(run_config.config.max_minutes, processes)
    setup, state = set_up(run_config, run, resume, processes, progress)
    stop_reason = _loop(setup, state, stop, after_validation)
    if setup.logger:
        setup.logger.close()
    if after_validation:
        after_validation(run)
    return TrainResult(state.step, run_config.config.steps, stop_reason, run.weights)


def _loop(
    setup: Setup, state: TrainState, stop: StopRule, after_validation: Callable[[RunFolder], object] | None
) -> str:
    """Run the steps with log, validation and checkpoints; returns the reason of the stop."""
    config, processes, patches = setup.run_config.config, setup.processes, setup.patches
    rank, world_size = processes.rank, processes.world_size
    mine = range(config.batch * rank // world_size, config.batch * (rank + 1) // world_size)
    pinned = setup.device.type == "cuda"
    batches = Prefetch(
        lambda at: patches.prepare(config.batch, config.seed, at, (rank, world_size), pinned),
        lambda prepared: patches.finish(prepared, setup.device),
        state.step,
        config.steps,
    )
    stop_reason = None
    with stop, setup.progress.task("train", config.steps, done=state.step) as advance, batches:
        first_step, first_time = state.step, time.monotonic()
        for lr, hr, features in batches:
            generators = [make_generator(config.seed, state.step, index, device=setup.device) for index in mine]
            losses = setup.trainer.step(lr, hr, generators, features)
            if (
                not math.isfinite(losses["loss"]) and "skipped" not in losses
            ):  # a trainer that skips a step reports it
                raise divergence_error(state.step, f"the loss is {losses['loss']}")
            state.step += 1
            seconds = time.monotonic() - first_time
            images_per_second = (state.step - first_step) * config.batch / seconds
            advance(note=f"{images_per_second:.1f} images/s")
            validated = _log(setup, state, losses, images_per_second, batches.waited_seconds / seconds)
            if validated and after_validation:
                after_validation(setup.run)
            if state.step % config.checkpoint_every == 0:
                _save(setup, state)
            if stop_reason := stop.reason():
                break
        # still inside `stop`, so that a signal cannot interrupt this last save
        unsaved = state.saved_at != state.step or (processes.is_main and not setup.run.weights.is_file())
        if processes.any(unsaved):
            _save(setup, state)
    return "finished" if state.step >= config.steps or stop_reason is None else stop_reason


def _log(
    setup: Setup, state: TrainState, losses: dict[str, float], images_per_second: float, loader_share: float
) -> bool:
    """Write this step's warnings, log line and validation, if it has any, on the main process.

    Returns:
        Whether there was a validation.
    """
    config, logger, step = setup.run_config.config, setup.logger, state.step
    if logger is None:
        return False
    for text in state.monitor.update(losses):
        logger.log_warning(step, text)
    line: dict[str, float] = {}
    if step % config.log_every == 0 or step == config.steps:
        line = {
            "images_per_second": round(images_per_second, 2),
            "loader_share": round(loader_share, 4),
            "learning_rate": setup.trainer.gan.generator_optimiser.param_groups[0]["lr"],
            **losses,
        }
    validation_is_due = bool(setup.validator) and (step % config.validate_every == 0 or step == config.steps)
    if setup.validator and validation_is_due:
        validated = setup.validator.run(setup.trainer.gan.ema)
        state.metrics = {"step": step, **validated.figures}
        logger.log_preview(step, validated)
        line |= validated.figures
    if line:
        logger.log({"step": step, **line})
    return validation_is_due


def _save(setup: Setup, state: TrainState) -> None:
    """Save weights and a checkpoint on the main process while the others wait."""

    def write() -> None:
        if setup.logger:
            setup.logger.flush()
        save(state, setup.trainer, setup.run_config, setup.run, setup.patches.digest)

    setup.processes.broadcast_from_main(write)
    state.saved_at = state.step
