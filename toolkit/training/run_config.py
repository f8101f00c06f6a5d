"""The configuration of a training run: checked settings, from presets, words and a run that is resumed."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ntire_sr.core.errors import EarlierNameWarning, NtireSrError, UsageError, require, suggestion
from ntire_sr.core.files import read_json
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.core.settings import (
    convert,
    field_types,
    make,
    make_from_file,
    removed_fields,
    renamed_fields,
    with_current_fields,
    with_earlier_values,
)
from ntire_sr.models.external import check_file, names_network, network_label, network_name
from ntire_sr.models.package_weights import shipped_weights
from ntire_sr.models.weights_files import read_weights, trained_model
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.trainers.interface import TrainerSpec
from ntire_sr.training.trainers.registry import TRAINERS, trainer_spec

# Settings that a resumed run may change. They do not change the result, with two exceptions: the schedules end
# at the last step, so a run with other `steps` differs from one that had them from the start; and every kind of
# `device` rounds differently and draws other noise.
CHANGEABLE_ON_RESUME = frozenset(
    {
        "steps",
        "max_minutes",
        "checkpoint_every",
        "log_every",
        "validate_every",
        "tensorboard",
        "device",
        "features_file",
        "cache",
        "keep_on_device",
    }
)

# names in other programs -> the setting that is meant
MEANT = {
    "lr": "learning_rate", "lr_g": "learning_rate", "epochs": "steps", "iterations": "steps", "iters": "steps", "max_steps": "steps",
    "batch_size": "batch", "bs": "batch", "patch_size": "patch", "crop": "patch", "crop_size": "patch", "gt_size": "patch",
    "ema": "ema_decay", "amp": "precision", "fp16": "precision", "bf16": "precision", "dataset": "hr", "data": "hr", "dataroot": "hr",
    "val": "validation", "val_every": "validate_every", "save_every": "checkpoint_every", "pretrained": "start_from", "init": "start_from",
    "nf": "channels", "width": "channels", "gan_weight": "adversarial", "perceptual_weight": "feature_weight", "minutes": "max_minutes",
}  # fmt: skip

# settings that are paths of files or folders
PATHS = ("hr", "validation", "cache", "features_file", "start_from", "trunk")


@dataclass(frozen=True)
class RunConfig:
    """A checked training configuration: the run's settings and the model's."""

    config: TrainConfig
    settings: Any
    trainer: TrainerSpec = field(compare=False)  # of the model, see `trainer_spec`

    def as_json(self) -> dict[str, Any]:
        return asdict(self.config) | {"settings": asdict(self.settings)}


def make_run_config(values: Mapping[str, Any]) -> RunConfig:
    """A configuration from a preset and values by name, which replace those of the preset.

    Args:
        values: settings of the run and of its model, as texts or typed values; which names are allowed
            depends on `model`, and the other values on `preset`.

    Raises:
        UsageError: an unknown name (with a suggestion), or a value out of range.
    """
    return _make(trainer_spec(str(values.get("model", TrainConfig.model))), values)


def _make(trainer: TrainerSpec, values: Mapping[str, Any]) -> RunConfig:
    """The configuration of a run of this trainer, see `make_run_config`."""
    values = _with_current_fields(trainer, values)
    preset, start_from = _preset_and_weights(trainer, values)
    merged = {**trainer.presets[preset], **values, "preset": preset, "start_from": start_from}
    merged["model"] = trainer.model  # the same from any folder
    for name in PATHS:  # absolute, so that a run can be resumed from any folder
        if merged.get(name) not in (None, "none", "", "auto", "package"):
            merged[name] = str(Path(str(merged[name])).resolve())
    run_names, model_names = field_types(TrainConfig), field_types(trainer.settings)
    names = (*run_names, *model_names)
    for name in merged:
        require(name in names, f"unknown setting {name!r}", suggestion(MEANT.get(name.lower(), name), names))
    config = make(TrainConfig, {name: value for name, value in merged.items() if name in run_names})
    sizes = field_types(trainer.architecture)
    require(
        not config.trunk or "rrdb" in sizes,
        f"trunk: {network_label(trainer.model)} is not built on a pretrained trunk",
        "--model stochastic, or leave trunk out",
    )
    if config.start_from and not sizes.keys() <= merged.keys():
        path = initial_weights(config.start_from, trainer.model, config.scale)
        if trainer.model in TRAINERS or trained_model(
            path
        ):  # else a network from outside reads it with its own code
            merged = _saved_sizes(trainer, path) | merged
    settings = make(trainer.settings, {name: value for name, value in merged.items() if name in model_names})
    window_px = getattr(settings, "window_px", 1)
    require(
        window_px <= config.patch,
        f"window_px {window_px} is more than patch {config.patch}",
        f"window_px={config.patch - 1 | 1}",
    )
    return RunConfig(config, settings, trainer)


def _saved_sizes(trainer: TrainerSpec, path: Path) -> dict[str, Any]:
    """The network sizes that a weights file states; none if it is of another model."""
    metadata, _ = read_weights(path)
    if metadata["model"] != network_label(trainer.model):
        return {}
    saved = with_earlier_values(trainer.architecture, json.loads(metadata["settings"]))
    return {name: saved[name] for name in field_types(trainer.architecture) if name in saved}


def check_files(run_config: RunConfig) -> None:
    """Check that the files and folders that a new run reads exist.

    Raises:
        UsageError: one does not; its setting is named.
    """
    config = run_config.config
    for name in ("hr", "validation"):
        folder = getattr(config, name)
        require(
            folder in (None, "auto") or Path(folder).is_dir(),
            f"{name}: the folder {folder} does not exist",
            "check the path",
        )
    for name in ("trunk", "features_file"):
        file = getattr(config, name)
        require(
            file is None or Path(file).is_file(), f"{name}: the file {file} does not exist", "check the path"
        )
    if config.start_from:
        initial_weights(config.start_from, config.model, config.scale)


def _with_current_fields(trainer: TrainerSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their current names, with a warning for each earlier or removed name."""
    records = (TrainConfig, trainer.settings)
    notes = {old: f"is now {new}" for old, new in renamed_fields(*records).items()}
    notes |= dict.fromkeys(removed_fields(*records), "has no effect any more")
    for name in notes.keys() & values.keys():
        warnings.warn(f"the setting {name} {notes[name]}", EarlierNameWarning, stacklevel=3)
    return with_current_fields(values, *records)


def _preset_and_weights(trainer: TrainerSpec, values: Mapping[str, Any]) -> tuple[str, str | None]:
    """Preset and initial weights of a run, with `auto` replaced by what it means for these values."""
    preset = str(values.get("preset", "auto"))
    if preset != "auto":
        presets = trainer.presets
        require(
            preset in presets,
            f"unknown preset {preset!r} of {network_label(trainer.model)}",
            suggestion(preset, presets),
        )
    chosen = {**trainer.presets.get(preset, {}), **values}
    start_from, trunk = chosen.get("start_from", "auto"), chosen.get("trunk") not in (None, "none", "")
    if start_from == "auto":
        sized = trunk or not field_types(trainer.architecture).keys().isdisjoint(chosen)
        shipped = shipped_weights(trainer.model, convert("scale", chosen.get("scale", TrainConfig.scale), int))
        start_from = "package" if shipped and not sized else None
    if preset == "auto":
        preset = "pretrained" if trunk else "finetune" if start_from not in (None, "none", "") else "tiny"
        preset = preset if preset in trainer.presets else "tiny"
    return preset, start_from


def read_settings(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name from a JSON file, replaced by `values`.

    Args:
        path: the `config.json` of a run, or an object of any settings by name.
        values: settings that were given in addition to it.

    Raises:
        UsageError: the file does not exist, or `values` name a preset although the file gives every setting of a run.
        NtireSrError: it is no JSON object.
    """
    require(path.is_file(), f"--config {path} does not exist", "the config.json of a run")
    content = read_json(path, "configuration")
    own = content.get("settings", {}) if isinstance(content, dict) else None
    if not isinstance(own, dict):
        raise NtireSrError(
            f"{path} holds no settings", "an object of settings by name, such as a run's config.json"
        )
    require(
        "settings" not in content or values.get("preset") in (None, content.get("preset")),
        f"preset {values.get('preset')} in addition to --config {path}, which gives every setting",
        "leave out one of the two",
    )
    if "settings" in content:  # of a run, perhaps of an earlier version
        trainer = trainer_spec(str(content.get("model")))
        content = with_earlier_values(TrainConfig, content)
        own = with_earlier_values(trainer.settings, own)
    return {**{name: value for name, value in content.items() if name != "settings"}, **own, **values}


def initial_weights(start_from: str, model: str, scale: int) -> Path:
    """The file that the setting `start_from` names.

    Raises:
        UsageError: there is none.
    """
    path = shipped_weights(model, scale) if start_from == "package" else Path(start_from)
    if path is None:
        raise UsageError(f"start_from: no weights of {model} x{scale} come with the package", "start_from=FILE")
    require(path.is_file(), f"start_from: there are no weights at {path}", "check the path")
    return path


def load_run_config(run: RunFolder) -> RunConfig:
    """The configuration in a run folder, in which nothing is left to presets and defaults.

    Raises:
        NtireSrError: it is missing or damaged."""
    saved = read_json(run.config, "configuration")
    if isinstance(saved, dict) and names_network(str(saved.get("model"))):
        check_file(str(saved["model"]), run.path)
    try:
        config = make_from_file(TrainConfig, {k: v for k, v in saved.items() if k != "settings"})
        trainer = trainer_spec(config.model)
        return RunConfig(config, make_from_file(trainer.settings, saved["settings"]), trainer)
    except (KeyError, TypeError, AttributeError, UsageError) as error:
        raise NtireSrError(
            f"{run.config} is damaged ({error})", "start again in a new folder with --run"
        ) from error


def resume_run_config(run: RunFolder, values: Mapping[str, Any]) -> RunConfig:
    """The configuration of a run that is resumed: its own, with the changes in `values`.

    Raises:
        UsageError: `values` name another model, or change a setting that is not in CHANGEABLE_ON_RESUME.
    """
    run_config = load_run_config(run)
    values = _with_current_fields(run_config.trainer, values)
    if names_network(str(values.get("model"))):
        values["model"] = network_name(str(values["model"]))
    trained, asked_model = run_config.config.model, str(values.get("model", run_config.config.model))
    same_label = network_label(trained) == network_label(asked_model)  # then their folders tell them apart
    trained_name, asked_name = (name if same_label else network_label(name) for name in (trained, asked_model))
    require(
        trained == asked_model,
        f"{run.path} was trained with {trained_name}, not {asked_name}",
        f"leave --model out to resume it: ntire-sr train --run {run.path} --resume; or start another run with --run",
    )
    given = _make(run_config.trainer, {**flat(run_config), **values})
    for name in values:
        before, asked = flat(run_config)[name], flat(given)[name]
        require(
            name in CHANGEABLE_ON_RESUME or asked == before,
            f"{run.path} was started with {name}={before}, not {asked}",
            f"leave {name} out to resume, or start another run with --run",
        )
    return given


def flat(run_config: RunConfig) -> dict[str, Any]:
    """All settings of a run and its model by name."""
    return asdict(run_config.config) | asdict(run_config.settings)
