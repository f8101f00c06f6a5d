"""`ntire-sr train`: one linear training loop for every model of the registry."""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.core.seeding import make_generator
from ntire_sr.data.prefetch import Prefetch
from ntire_sr.training.gradient_guard import DivergenceError, divergence_error, has_exploded
from ntire_sr.training.run_config import RunConfig
from ntire_sr.training.setup import Setup, set_up
from ntire_sr.training.state import TrainState, save
from ntire_sr.training.status import saved_steps
from ntire_sr.training.stopping import StopRule

MOST_EXPLODED = 5  # steps in a row with exploded samples, after which a training without rollbacks ends


@dataclass(frozen=True)
class TrainResult:
    """The result of a call of `train`."""

    steps_done: int  # steps of the run so far
    steps: int  # steps of the whole run
    stop_reason: str  # finished, time, or the name of a signal
    weights: Path  # the weights file
    skipped: int = 0  # steps that were skipped in this call or before, since they would have exploded
    rollbacks: int = 0  # returns to earlier weights


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
        NtireSrError: the disk is full, images are broken, or the training has diverged.
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
    missing = [folder for folder in (run.path, run.path.parent) if not folder.exists()]
    try:
        setup, state = set_up(run_config, run, resume, processes, progress)
    except BaseException:
        for folder in missing:
            with suppress(OSError):  # it is not empty, or another process has removed it
                folder.rmdir()
        raise
    try:
        stop_reason, losses = _loop(setup, state, stop, after_validation)
    except DivergenceError as error:
        steps = [step for step, _ in saved_steps(run.checkpoints)]
        kept = f"; the checkpoint of step {steps[0]} is kept" if steps else "; no checkpoint was written before"
        raise NtireSrError(error.message, f"{error.remedy}{kept}") from error
    finally:
        if setup.logger:
            setup.logger.close()
    if after_validation:
        after_validation(run)
    skipped, rollbacks = (int(losses.get(name, 0)) for name in ("skipped", "rollbacks"))
    return TrainResult(state.step, run_config.config.steps, stop_reason, run.weights, skipped, rollbacks)


def _loop(
    setup: Setup, state: TrainState, stop: StopRule, after_validation: Callable[[RunFolder], object] | None
) -> tuple[str, dict[str, float]]:
    """Run the steps with log, validation and checkpoints; returns the reason of the stop, and the last losses."""
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
    stop_reason, exploded_in_a_row = None, 0
    losses: dict[str, float] = {}
    with stop, setup.progress.task("train", config.steps, done=state.step) as advance, batches:
        first_step, first_time = state.step, time.monotonic()
        for lr, hr, features in batches:
            generators = [make_generator(config.seed, state.step, index, device=setup.device) for index in mine]
            losses = setup.trainer.step(lr, hr, generators, features)
            if "skipped" not in losses:  # a trainer that skips bad steps watches them itself
                exploded_in_a_row = exploded_in_a_row + 1 if has_exploded(losses["off_range"]) else 0
                if not math.isfinite(losses["loss"]):
                    raise divergence_error(state.step, f"the loss is {losses['loss']}")
                if exploded_in_a_row >= MOST_EXPLODED or (exploded_in_a_row and state.step + 1 == config.steps):
                    levels = 255 * losses["off_range"]
                    raise divergence_error(state.step, f"samples are {levels:.2g} grey levels out of range")
            state.step += 1
            seconds = time.monotonic() - first_time
            images_per_second = (state.step - first_step) * config.batch / seconds
            advance(note=f"{images_per_second:.1f} images/s")
            validated = _log(setup, state, losses, images_per_second, batches.waited_seconds / seconds)
            if validated and after_validation:
                after_validation(setup.run)
            if state.step % config.checkpoint_every == 0 and not exploded_in_a_row:
                _save(setup, state)
            if stop_reason := stop.reason():
                break
        # still inside `stop`, so that a signal cannot interrupt this last save
        unsaved = state.saved_at != state.step or (processes.is_main and not setup.run.weights.is_file())
        if processes.any(unsaved):
            _save(setup, state)
    finished = state.step >= config.steps or stop_reason is None
    return "finished" if finished else str(stop_reason), losses


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
