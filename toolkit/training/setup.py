"""Setting up a training: everything that is opened before its first step."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ntire_sr.core.device import choose_device
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import UsageError, plural, require
from ntire_sr.core.files import make_folder, sha256_file, write_json
from ntire_sr.core.progress import Progress
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.core.variables import torchrun_number
from ntire_sr.data.data_check import div2k_part
from ntire_sr.data.feature_cache import FeatureCache
from ntire_sr.data.patches import PatchDataset
from ntire_sr.models.external import network_label
from ntire_sr.training.checkpoints import load_checkpoint
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.logger import RunLogger
from ntire_sr.training.run_config import PATHS, RunConfig, flat, initial_weights
from ntire_sr.training.state import TrainState, restore
from ntire_sr.training.status import saved_steps
from ntire_sr.training.trainers.interface import Trainer
from ntire_sr.training.validation import IMAGES, Validator, open_validator


@dataclass(frozen=True)
class Setup:
    """The parts of a training that are not replaced while it runs."""

    run_config: RunConfig  # with `auto` replaced by what was chosen for it
    run: RunFolder
    device: torch.device
    processes: ProcessGroup
    patches: PatchDataset
    trainer: Trainer
    validator: Validator | None  # None on all processes but the main one, and with `validation=none`
    logger: RunLogger | None  # None on all processes but the main one
    progress: Progress


def set_up(
    run_config: RunConfig, run: RunFolder, resume: bool, processes: ProcessGroup, progress: Progress
) -> tuple[Setup, TrainState]:
    """Open images, networks, validation and log, and load the last checkpoint if the run is resumed.

    Raises:
        UsageError: the folder holds a run and `resume` is false, or settings do not fit the processes.
        ValidationErrors: training images are broken.
        NtireSrError: no checkpoint can be read.
    """
    config, device = run_config.config, choose_device(run_config.config.device)
    _check_processes(config, device, processes)
    processes.broadcast_from_main(lambda: _prepare_folder(run, resume))
    patches = PatchDataset(
        Path(config.hr) if config.hr else None,
        config.patch,
        config.scale,
        config.cache,
        config.sharp,
        leave_out=IMAGES if config.hr and config.validation == "auto" else 0,
        progress=progress,
        downscale_min=config.downscale_min,
    )
    same = {name: value for name, value in flat(run_config).items() if name not in PATHS}
    processes.assert_same(**same, images=patches.digest)
    on_device = config.keep_on_device and device.type == "cuda" and patches.keep_on(device)
    trainer = run_config.trainer.trainer(config, run_config.settings, device, processes, progress)
    # the choice for `auto` is saved, so that a resumed run cannot choose otherwise
    run_config = replace(run_config, settings=trainer.settings)
    # machines share the run folder, but a file that one has just written may not yet be visible to another
    checkpoint = processes.broadcast_from_main(lambda: load_checkpoint(run.checkpoints) if resume else None)
    state = TrainState()
    if checkpoint:
        step, content, damaged = checkpoint
        for text in damaged:
            progress.message(f"skipped: {text}")
        state = restore(step, content, trainer, run_config, run, patches.digest)
        progress.message(f"resuming after step {step}")
        if trainer.origin.items() - state.origin.items():
            progress.message(
                f"warning: the code of {network_label(config.model)} has changed since this run's last checkpoint, "
                "so the run will not end like an uninterrupted one"
            )
    elif config.start_from:
        state.origin = _initialise_from_weights(trainer, config, processes)
    elif config.trunk:
        state.origin = {"trunk": f"{Path(config.trunk).name}, SHA-256 {sha256_file(Path(config.trunk))}"}
    state.origin |= trainer.origin
    orientations = _attach_features(trainer, config, patches, processes, progress)
    run_config = replace(run_config, config=replace(config, cached_orientations=orientations))
    validator = processes.on_main(
        lambda: open_validator(config.validation, patches, config.scale, device, progress)
    )
    logger = processes.on_main(lambda: RunLogger(run, progress, config.tensorboard, state.step))
    setup = Setup(run_config, run, device, processes, patches, trainer, validator, logger, progress)
    if not checkpoint:
        _describe(setup)
    progress.message(f"decoded images: {patches.images.where}" + (", and on the GPU" if on_device else ""))
    processes.broadcast_from_main(lambda: write_json(run.config, run_config.as_json()))
    return setup, state


def _check_processes(config: TrainConfig, device: torch.device, processes: ProcessGroup) -> None:
    require(
        config.batch % processes.world_size == 0,
        f"batch {config.batch} cannot be shared equally by {processes.world_size} processes",
        f"batch={-(-config.batch // processes.world_size) * processes.world_size}",
    )
    if device.type == "cuda" and processes.world_size > 1:
        local_processes = torchrun_number("LOCAL_WORLD_SIZE", 1)
        require(
            local_processes <= torch.cuda.device_count(),
            f"{local_processes} processes cannot share {plural(torch.cuda.device_count(), 'GPU')} in training",
            f"--nproc-per-node {torch.cuda.device_count()}",
        )
        torch.cuda.set_device(device)


def _prepare_folder(run: RunFolder, resume: bool) -> None:
    if (run.config.exists() or saved_steps(run.checkpoints)) and not resume:
        raise UsageError(
            f"{run.path} already holds a run", "add --resume to resume it, or --run FOLDER for another"
        )
    make_folder(run.path)


def _initialise_from_weights(trainer: Trainer, config: TrainConfig, processes: ProcessGroup) -> dict[str, Any]:
    """Initialise from the weights of another training; returns their digest and trunk for the new weights file."""
    path = initial_weights(str(config.start_from), config.model, config.scale)
    digest = sha256_file(path)
    processes.assert_same(start_from=digest)
    metadata, tensors = trainer.read_initial(path)
    label = network_label(config.model)
    if metadata["model"] != label:
        raise UsageError(
            f"start_from: {path} holds weights of {metadata['model']}, not of {label}",
            f"--model {metadata['model']}",
        )
    loaded = trainer.gan.load_matching(tensors)
    if not loaded:
        raise UsageError(f"start_from: no tensor of {path} fits this network", "leave start_from out")
    trainer.messages.append(f"initialised with {loaded} of the {len(tensors)} tensors of {path}")
    trunk = json.loads(metadata["facts"]).get("trunk")
    return {"start_from_sha256": digest} | ({"trunk": trunk} if trunk else {})


def _attach_features(
    trainer: Trainer,
    config: TrainConfig,
    patches: PatchDataset,
    processes: ProcessGroup,
    progress: Progress,
) -> str:
    """Cache the LR features that do not change during training; the processes share the work.

    Returns:
        The setting `cached_orientations` with `auto` replaced by the choice, so that a resumed run keeps it.
    """
    frozen = trainer.frozen_features()
    if frozen is None:
        return config.cached_orientations
    if config.cached_orientations == "auto":
        pays = config.steps * config.batch * config.patch**2 >= patches.megapixels * 1e6
        orientations = 1 if pays and config.downscale_min == 1 else 0
    else:
        orientations = int(config.cached_orientations)
    if orientations == 0:
        return "0"
    processes.assert_same(trunk=frozen.key)
    features = FeatureCache(
        patches.images, patches.numbers, patches.scale, orientations, frozen.compute, frozen.key
    )
    computed = features.fill((processes.rank, processes.world_size), progress)
    processes.all_gather(None)
    features.fill()  # what other processes have computed is there, unless their machine has a cache of its own
    patches.attach(features)
    progress.message(f"features of the frozen trunk: {features.where}, {computed or 'none'} computed now")
    return str(orientations)


def _describe(setup: Setup) -> None:
    """Show the model, device and images of a new run, the messages of its trainer, and warnings."""
    config, trainer, patches = setup.run_config.config, setup.trainer, setup.patches
    count = setup.processes.world_size
    shared = f", each batch shared by {count} processes" if count > 1 else ""
    lines = [
        f"training {network_label(config.model)} x{config.scale} (preset {config.preset}) on {setup.device}{shared}",
        f"{len(patches.paths)} photographs, {patches.megapixels:.1f} megapixels: "
        f"{config.hr or 'embedded in scikit-image'}",
        f"feature losses compare: {trainer.features_name}",
    ]
    if setup.validator:
        lines.append(f"validating every {config.validate_every} steps on {setup.validator.description}")
    if patches.too_small:
        lines.append(f"left out: {len(patches.too_small)} images smaller than {config.patch} pixels")
    lines += trainer.messages
    if named := [path.name for path in patches.paths if div2k_part(path.stem)]:
        lines.append(
            f"{plural(len(named), 'image')} named as DIV2K's validation or test ({named[0]}), which the challenge "
            "forbids to train on; `ntire-sr data check` lists them"
        )
    for line in lines:
        setup.progress.message(line)
