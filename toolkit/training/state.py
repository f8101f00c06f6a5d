"""The state of a training run: what changes with its steps, and how it is saved and restored."""

from dataclasses import dataclass, field
from typing import Any

from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.files import json_safe
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.core.settings import with_earlier_values
from ntire_sr.models.external import network_label
from ntire_sr.models.weights_files import save_weights
from ntire_sr.training.checkpoints import save_checkpoint
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.monitor import LossMonitor
from ntire_sr.training.run_config import CHANGEABLE_ON_RESUME, RunConfig, flat
from ntire_sr.training.trainers.interface import Trainer


@dataclass
class TrainState:
    """The state of a run besides that of its trainer."""

    step: int = 0  # number of steps done
    saved_at: int = -1  # step of the last checkpoint; -1 if there is none
    origin: dict[str, Any] = field(default_factory=dict)  # metadata about the weights that the run started from
    metrics: dict[str, Any] = field(default_factory=dict)  # figures of the last validation
    monitor: LossMonitor = field(default_factory=LossMonitor)


def save(state: TrainState, trainer: Trainer, run_config: RunConfig, run: RunFolder, data_sha256: str) -> None:
    """Write weights and a checkpoint.

    The weights are written first, so that they are never older than the last checkpoint.

    Args:
        state: the run's state.
        trainer: the trainer, with its weights and its state.
        run_config: the run's configuration.
        run: the run folder.
        data_sha256: digest of the training images.
    """
    config = run_config.config
    shared = {"data_sha256": data_sha256, "metrics": json_safe(state.metrics)}
    facts = {
        "step": state.step,
        "steps": config.steps,
        "seed": config.seed,
        "features": trainer.features_name,
        **shared,
        **state.origin,
    }
    save_weights(
        run.weights, network_label(config.model), config.scale, run_config.settings, trainer.weights(), facts
    )
    content = {
        "plan": run_config.as_json(),
        "training": trainer.state_dict(),
        "watch": state.monitor.state_dict(),
        **shared,
        "origin": state.origin,
    }
    save_checkpoint(run.checkpoints, state.step, content)


def restore(
    step: int,
    content: dict[str, Any],
    trainer: Trainer,
    run_config: RunConfig,
    run: RunFolder,
    data_sha256: str,
) -> TrainState:
    """Restore the state that `save` wrote after `step`: the trainer's in place, the run's as the return value.

    Raises:
        UsageError: it belongs to a run with other settings or images; the error names what differs.
        NtireSrError: it was written by another version of the program.
    """
    remedy = "start another run with --run, or give the settings that this one was started with"
    before = content.get("plan")
    parts = {"training", "watch", "data_sha256", "metrics", "origin"}
    if not isinstance(before, dict) or not isinstance(before.get("settings"), dict) or parts - content.keys():
        raise NtireSrError(
            f"the checkpoints in {run.checkpoints} are not of this version of the program", remedy
        )
    earlier = with_earlier_values(TrainConfig, before)
    earlier |= with_earlier_values(run_config.trainer.settings, before["settings"])
    differing = [name for name, value in flat(run_config).items() if earlier.get(name) != value]
    differing = [name for name in differing if name not in CHANGEABLE_ON_RESUME and name != "preset"]
    if differing:
        listed = ", ".join(f"{name}={earlier.get(name)}" for name in differing)
        raise UsageError(f"the checkpoints in {run.checkpoints} belong to a run with {listed}", remedy)
    if content["data_sha256"] != data_sha256:
        where = run_config.config.hr or "embedded in scikit-image"
        raise UsageError(
            f"the photographs ({where}) are not those that the run in {run.path} was started with",
            "bring them back, or start another run with --run",
        )
    trainer.load_state_dict(content["training"])
    state = TrainState(step, step, content["origin"], content["metrics"])
    state.monitor.load_state_dict(content["watch"])
    return state
