"""Facts for the fact sheet, collected from the manifest, the weights, the training, the score and the team."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ntire_sr.core.errors import NtireSrError, UsageError, require, suggestion
from ntire_sr.core.files import read_json
from ntire_sr.core.seeding import make_generator
from ntire_sr.models.checkpoints import is_checkpoint
from ntire_sr.models.loading import LoadedModel, load_model
from ntire_sr.models.registry import MODELS
from ntire_sr.models.weights_files import read_weights, trained_model
from ntire_sr.samples.manifest import Manifest
from ntire_sr.submission.origin import Origin, read_object

# facts that only the team knows: key in --team FILE -> label
TEAM = {
    "team": "Team name",
    "leader": "Team leader: name, address, phone, e-mail",
    "members": "Other members",
    "affiliation": "Affiliation",
    "user": "User names and number of submissions on the platform",
    "code": "Link to the code and the results",
    "title": "Title of the contribution",
    "description": "General description",
    "diagram": "Diagram of the method",
    "hardware": "Hardware and time of training",
    "references": "References",
}


@dataclass(frozen=True)
class Facts:
    """Facts for a fact sheet; a fact that is None becomes a blank."""

    manifest: Manifest | None
    samples: int  # samples per image
    parameters: int | None  # parameters of the network
    operations: tuple[float, float] | None  # multiply-adds per SR pixel of the trunk and of a sample
    training: dict[str, Any]  # facts about the training, from the weights file
    config: dict[str, Any]  # settings of the training, from config.json
    score: dict[str, Any]  # the summary of score.json
    seconds: float | None  # run time per sample
    on_gpu: bool | None  # whether that was on a GPU
    extra_data: bool  # whether the training used data beyond the challenge's training set
    team: dict[str, str]  # facts from the team, by keys of `TEAM`


def read_team(path: Path | None) -> dict[str, str]:
    """Read the team's facts: a JSON object of texts with keys of `TEAM`.

    Raises:
        UsageError: the file does not exist.
        NtireSrError: it is no such object; the error names the key.
    """
    if path is None:
        return {}
    keys = f"some of: {', '.join(TEAM)}"
    if not path.is_file():
        raise UsageError(f"--team {path} does not exist", f"a JSON file with {keys}")
    content = read_json(path, "team file")
    if not isinstance(content, dict):
        raise NtireSrError(f"{path} is not a JSON object", keys)
    for key, value in content.items():
        if key not in TEAM:
            raise NtireSrError(f"{path}: unknown key {key!r}", suggestion(key, TEAM))
        if not isinstance(value, str):
            raise NtireSrError(f"{path}: {key} is {json.dumps(value)}, not a text", f'"{key}": "..."')
    return content


def collect_facts(
    manifest: Manifest | None,
    origin: Origin,
    sr: Path,
    samples: int,
    seconds: float | None,
    on_gpu: bool | None,
    extra_data: bool,
    team: dict[str, str],
) -> Facts:
    """Collect the facts about a folder of samples. The code of a network from outside is not run.

    Args:
        manifest: manifest of the samples; None if they have none.
        origin: files that belong to the samples.
        sr: folder of the samples, for errors.
        samples, seconds, on_gpu, extra_data, team: as in `Facts`.

    Raises:
        UsageError: the samples were drawn by a model that this version does not know.
        NtireSrError: the weights are damaged.
    """
    training: dict[str, Any] = {}
    parameters = operations = None
    settings = manifest.settings if manifest else None
    checkpoint = origin.weights is not None and is_checkpoint(origin.weights)
    if manifest and manifest.code:  # counted when the samples were drawn; its code does not run here
        parameters = manifest.code.parameters
    elif settings and not settings.external:
        require(
            settings.model in MODELS or checkpoint,
            f"{sr} was drawn by {settings.model}, a model that this version of ntire-sr does not know; nothing was written",
            "the version that drew it, or --no-code for the samples without fact sheet and code",
        )
        if settings.weights_sha256 is None:
            parameters = 0
    if checkpoint and not (manifest and manifest.code):
        parameters = load_model(
            None, None, torch.device("cpu"), weights=origin.weights
        ).generator.parameter_count
    if origin.weights and not checkpoint and not (manifest and manifest.code):
        metadata, tensors = read_weights(origin.weights)
        training = json.loads(metadata["facts"])
        if not isinstance(training, dict):
            raise NtireSrError(f"the description inside {origin.weights} is damaged")
        parameters = sum(tensor.numel() for tensor in tensors.values())
        operations = _count_operations(load_model(None, None, torch.device("cpu"), weights=origin.weights))
    if manifest and manifest.code and origin.weights and trained_model(origin.weights) not in (None, *MODELS):
        training = json.loads(read_weights(origin.weights)[0]["facts"])
    score = read_object(origin.score).get("summary") if origin.score else None
    return Facts(
        manifest,
        samples,
        parameters,
        operations,
        training,
        read_object(origin.config) if origin.config else {},
        score if isinstance(score, dict) else {},
        seconds,
        on_gpu,
        extra_data,
        team,
    )


def _count_operations(loaded: LoadedModel) -> tuple[float, float]:
    """Multiply-adds per SR pixel of the trunk, once per image, and of each sample before projection."""
    lr = torch.zeros(1, 3, 32, 32)
    sr_pixels = (32 * loaded.scale) ** 2
    with torch.inference_mode():
        with FlopCounterMode(display=False) as trunk:
            maps = loaded.generator.trunk(lr)
        with FlopCounterMode(display=False) as sample:
            loaded.generator.sample(maps, lr, loaded.generator.latents(lr, [make_generator(0)]))
    return trunk.get_total_flops() / 2 / sr_pixels, sample.get_total_flops() / 2 / sr_pixels
