"""`ntire-sr train`: one linear loop for every model of the table."""

import json
import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, TextColumn, TimeRemainingColumn

from ntire_sr.checkpoint import load_checkpoint, save_checkpoint, saved_steps
from ntire_sr.config import CHANGEABLE_ON_RESUME, TrainConfig, field_types, make, require, suggestion
from ntire_sr.data import Photographs
from ntire_sr.device import choose_device
from ntire_sr.errors import Failure, WrongUse
from ntire_sr.files import explain, finite, make_folder, read_json, write_json, write_whole
from ntire_sr.layout import RunFolder
from ntire_sr.models.contract import Model, Training, seeded
from ntire_sr.models.table import model_named, save_weights
from ntire_sr.prefetch import Prefetch
from ntire_sr.progress import progress_bar

MOST_ROLLBACKS = 5  # of a training that goes wrong again and again


@dataclass(frozen=True)
class Plan:
    """A checked training configuration: the run's settings and the model's."""

    config: TrainConfig
    settings: Any

    @property
    def model(self) -> Model:
        return model_named(self.config.model)

    def as_json(self) -> dict[str, Any]:
        return asdict(self.config) | {"settings": asdict(self.settings)}


@dataclass(frozen=True)
class Outcome:
    """How a call of `train` ended."""

    steps_done: int
    steps: int
    why: str  # finished, time, signal
    weights: Path


def plan_training(values: Mapping[str, Any]) -> Plan:
    """A configuration from values by name, on top of a preset.

    Args:
        values: settings of the run and of its model, as texts or typed values; `model` and `preset`
            decide what the rest may be.

    Raises:
        WrongUse: an unknown name (with a suggestion), or a value out of range.
    """
    model = model_named(str(values.get("model", TrainConfig.model)))
    if model.training is None:
        raise WrongUse(
            f"the model {model.name} has nothing to train", f"ntire-sr generate --weights {model.name}"
        )
    preset = str(values.get("preset", TrainConfig.preset))
    require(
        preset in model.presets, f"unknown preset {preset!r} of {model.name}", suggestion(preset, model.presets)
    )
    merged = {**model.presets[preset], **values}
    for name in ("hr", "feature_weights"):  # whole, so that a run goes on from any folder
        if merged.get(name) not in (None, "none", ""):
            merged[name] = str(Path(str(merged[name])).resolve())
    if merged.get("cache") not in (None, "none", "", "auto"):
        merged["cache"] = str(Path(str(merged["cache"])).resolve())
    run_names, model_names = field_types(TrainConfig), field_types(model.settings)
    for name in merged:
        known = (*run_names, *model_names)
        require(name in known, f"unknown setting {name!r}", suggestion(name, known))
    config = make(TrainConfig, {name: value for name, value in merged.items() if name in run_names})
    settings = make(model.settings, {name: value for name, value in merged.items() if name in model_names})
    return Plan(config, settings)


def plan_of_run(run: RunFolder) -> Plan:
    """The configuration that a run folder was started with."""
    saved = read_json(run.config, "configuration")
    try:
        return plan_training({**{k: v for k, v in saved.items() if k != "settings"}, **saved["settings"]})
    except (KeyError, TypeError, AttributeError, WrongUse) as error:
        raise Failure(f"{run.config} is damaged ({error})", "start again in a new folder with --run") from error


def plan_resumed(run: RunFolder, values: Mapping[str, Any]) -> Plan:
    """The configuration of a run that goes on: its own, with what `values` may change of it.

    Raises:
        WrongUse: `values` ask for something that would make it another run.
    """
    plan = plan_of_run(run)
    given = plan_training({**_flat(plan), **values})
    for name in values:
        before, asked = _flat(plan)[name], _flat(given)[name]
        require(
            name in CHANGEABLE_ON_RESUME or asked == before,
            f"{run.path} was started with {name}={before}, not {asked}",
            f"leave {name} out to go on, or start another run with --run",
        )
    return given


def _flat(plan: Plan) -> dict[str, Any]:
    """All settings of a plan by name."""
    return asdict(plan.config) | asdict(plan.settings)


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


def train(plan: Plan, run: RunFolder, resume: bool = False, console: Console | None = None) -> Outcome:
    """Train until the last step, the time limit or a signal; always ends with a checkpoint and weights.

    What a step computes depends on (settings, seed, step, state) alone, so a run that was killed and
    resumed goes on from its last checkpoint to the same result, bit for bit on the CPU.

    Args:
        plan: from `plan_training`, or `plan_resumed` for a run that goes on.
        run: folder of the run; created.
        resume: go on where the folder holds a checkpoint.
        console: for progress; standard error if none.

    Raises:
        WrongUse: the folder holds a run and `resume` is false.
        Failure: the disk is full, images are broken, or the loss is no number any more.
    """
    began = time.monotonic()
    console = console or Console(stderr=True)
    config, device = plan.config, choose_device(plan.config.device)
    if (run.config.exists() or saved_steps(run.checkpoints)) and not resume:
        raise WrongUse(
            f"{run.path} already holds a run", "add --resume to go on with it, or --run FOLDER for another"
        )
    make_folder(run.path)

    # ---- data, networks, and what an earlier call left
    hr_folder = Path(config.hr) if config.hr else None
    photographs = Photographs(hr_folder, config.patch, config.scale, config.cache, config.sharp, console)
    on_device = config.keep_on_device and device.type == "cuda" and photographs.keep_on(device)
    assert plan.model.training is not None
    training: Training = plan.model.training(config, plan.settings, device)
    # what `auto` stands for is decided once, so that a resumed run cannot decide otherwise
    plan = replace(plan, settings=training.settings)
    found = load_checkpoint(run.checkpoints, device) if resume else None
    step = 0
    if found:
        step, state, passed = found
        for text in passed:
            console.print(f"passed over: {text}", markup=False, soft_wrap=True)
        _load_state(training, state, plan, run)
        console.print(f"going on after step {step}")
    else:
        _say_what(plan, photographs, training, device, console)
    kept = photographs.images.where + (", and on the GPU" if on_device else "")
    console.print(f"decoded images: {kept}", markup=False, highlight=False, soft_wrap=True)
    write_json(run.config, plan.as_json())
    _trim_log(run.log, step)

    def save() -> None:
        # the weights come first: whoever finds a checkpoint finds weights that are at least as new
        facts = {"step": step, "steps": config.steps, "seed": config.seed, "features": training.features_name}
        facts["data_sha256"] = photographs.digest
        save_weights(run.weights, config.model, config.scale, plan.settings, training.weights(), facts)
        save_checkpoint(run.checkpoints, step, {"plan": plan.as_json(), "training": training.state_dict()})

    # ---- the loop
    columns = (MofNCompleteColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
    why, saved_at = "finished", step if found else -1
    batches = Prefetch(
        lambda at: photographs.prepare(config.batch, config.seed, at),
        lambda prepared: photographs.finish(prepared, device),
        step,
        config.steps,
    )
    with _polite_stop() as caught, progress_bar(*columns, console=console) as progress, batches:
        task = progress.add_task("train", total=config.steps, completed=step, speed="")
        first_step, first_time = step, time.monotonic()
        for lr, hr in batches:
            losses = training.step(lr, hr, seeded(config.seed, step))
            # a model that skips such steps says so, and goes back to its average after a few
            if (not math.isfinite(losses["loss"]) and "skipped" not in losses) or losses.get(
                "rollbacks", 0
            ) > MOST_ROLLBACKS:
                raise Failure(
                    f"the loss is {losses['loss']} at step {step}: training has diverged",
                    "lower learning_rate or gamma in a new run; the checkpoints before this step are untouched",
                )
            step += 1
            seconds = time.monotonic() - first_time
            speed = (step - first_step) * config.batch / seconds
            progress.update(task, completed=step, speed=f"{speed:.1f} images/s")
            if step % config.log_every == 0 or step == config.steps:
                share = round(batches.waited_seconds / seconds, 4)
                _log(
                    run.log,
                    {"step": step, "images_per_second": round(speed, 2), "loader_share": share, **losses},
                )
            if step % config.checkpoint_every == 0:
                save()
                saved_at = step
                if not console.is_terminal:
                    console.print(f"step {step} of {config.steps}, {speed:.1f} images/s", highlight=False)
            minutes = (time.monotonic() - began) / 60
            if caught or (config.max_minutes and minutes >= config.max_minutes):
                why = caught[0] if caught else "time"
                break
    if saved_at != step or not run.weights.is_file():
        save()
    return Outcome(step, config.steps, "finished" if step >= config.steps else why, run.weights)


def is_finished(run: RunFolder, plan: Plan) -> bool:
    """Whether the run's newest checkpoint is its last and its weights are there."""
    steps = saved_steps(run.checkpoints)
    return bool(steps) and steps[0][0] >= plan.config.steps and run.weights.is_file()


def _load_state(training: Training, state: dict[str, Any], plan: Plan, run: RunFolder) -> None:
    """Go on from a checkpoint of the same plan; another plan's is refused by what differs."""
    remedy = "start another run with --run, or give the settings that this one was started with"
    before = state.get("plan")
    if not isinstance(before, dict) or not isinstance(before.get("settings"), dict):
        raise Failure(f"the checkpoints in {run.checkpoints} are not of this program", remedy)
    # a setting that is newer than the checkpoint had its default then
    was = {**asdict(TrainConfig()), **asdict(plan.model.settings()), **before, **before["settings"]}
    differing = [name for name, value in _flat(plan).items() if was.get(name) != value]
    differing = [name for name in differing if name not in CHANGEABLE_ON_RESUME and name != "preset"]
    if differing:
        listed = ", ".join(f"{name}={was.get(name)}" for name in differing)
        raise WrongUse(f"the checkpoints in {run.checkpoints} belong to a run with {listed}", remedy)
    training.load_state_dict(state["training"])


def _say_what(
    plan: Plan, photographs: Photographs, training: Training, device: torch.device, console: Console
) -> None:
    config = plan.config
    lines = [
        f"training {config.model} x{config.scale} (preset {config.preset}) on {device}",
        f"{len(photographs.paths)} photographs, {photographs.megapixels:.1f} megapixels: "
        f"{config.hr or 'embedded in scikit-image'}",
        f"feature losses compare: {training.features_name}",
    ]
    if photographs.too_small:
        lines.append(f"left out: {len(photographs.too_small)} images smaller than {config.patch} pixels")
    lines += training.remarks
    if training.features_reason:
        lines.append(f"filters in place of a pretrained network: {training.features_reason}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _log(path: Path, values: dict[str, Any]) -> None:
    rounded = {
        name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in values.items()
    }
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(finite(rounded)) + "\n")
    except OSError as error:
        raise explain(error, f"cannot write {path}") from error


def _trim_log(path: Path, step: int) -> None:
    """Drop the lines after `step`: a resumed run writes them again. Half a line at the end goes too."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    write_whole(path, "".join(kept))
