"""Packing a folder of samples for submission, from its check to the archives."""

import glob
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ntire_sr.challenge.editions import Edition, edition_named, edition_problems
from ntire_sr.challenge.names import DEFAULT_SAMPLES, SampleName
from ntire_sr.core.errors import NtireSrError, ValidationErrors, plural, require
from ntire_sr.core.files import read_json, remove_stale_temp_files, sha256_of_digests
from ntire_sr.core.package_files import package_files
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.seeding import make_generator
from ntire_sr.models.loading import LoadedModel, load_model
from ntire_sr.models.package_weights import trunk_files
from ntire_sr.models.registry import MODELS
from ntire_sr.models.weights_files import needs_trunk, read_weights
from ntire_sr.samples.folders import MANIFEST
from ntire_sr.samples.manifest import Manifest, load_manifest
from ntire_sr.samples.sources import README, Submission, file_source, open_submission
from ntire_sr.submission import factsheet
from ntire_sr.submission.archive import (
    Member,
    archive_name,
    part_name,
    split_images,
    text_member,
    write_archive,
)
from ntire_sr.submission.check import CheckResult, check_samples, lr_folder
from ntire_sr.submission.readme import Readme
from ntire_sr.submission.reproduce import reproduce
from ntire_sr.submission.weights import find_code, find_weights


@dataclass(frozen=True)
class PackageRequest:
    """Settings of packing."""

    sr: Path  # folder of samples
    out: Path  # the zip file
    lr: Path | None = None  # folder of the LR images; None for the manifest's
    samples: int | None = None  # samples per image; None for the manifest's number, or 10
    scale: int | None = None  # 4 or 8; None for the manifest's, or that of the first sample
    edition: str = "ntire"
    seconds: float | None = None  # run time per image for the readme; None for the manifest's mean
    on_gpu: bool | None = None  # whether that is on a GPU; None for the manifest's device
    extra_data: bool = True  # whether the training used data beyond the challenge's training set
    description: str = ""  # description for the readme; by default the model's name
    max_size: int | None = None  # largest archive in bytes; None for the edition's limit
    split: bool = False  # write several archives if one would be larger
    code: bool = True  # also write the archive with the fact sheet and the code
    team: Path | None = None  # JSON file with the team's facts, see factsheet.TEAM
    run: Path | None = None  # run folder, which may hold config.json, weights and score


@dataclass
class PackageResult:
    """The archives that were written, and warnings."""

    archives: list[tuple[Path, str]]  # (path, SHA-256) each
    files: int  # number of samples
    worst_db: float | None  # lowest LR-PSNR of all samples
    code: tuple[Path, str] | None = None  # archive with fact sheet and code; None if not requested
    blanks: list[str] = field(default_factory=list)  # labels of blanks in the fact sheet
    warnings: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for path, _ in self.archives)

    def as_json(self) -> dict[str, Any]:
        """All fields and `bytes`, as values that `files.json_safe` takes."""
        written = [{"path": str(path), "sha256": digest} for path, digest in self.archives]
        return {
            "samples": self.files,
            "worst_db": self.worst_db,
            "bytes": self.bytes,
            "archives": written,
            "code": self.code and {"path": str(self.code[0]), "sha256": self.code[1]},
            "blanks": self.blanks,
            "warnings": self.warnings,
        }


def pack(request: PackageRequest, progress: Progress = SILENT) -> PackageResult:
    """Check a folder of samples and write the archives.

    Args:
        request: settings of packing.
        progress: reports how many samples have been checked.

    Raises:
        ValidationErrors: all problems of the samples; nothing was written.
        UsageError: a path or an option is wrong, or one is missing.
    """
    edition = edition_named(request.edition)
    team = factsheet.read_team(request.team)
    require(
        not request.sr.is_file(), f"--sr {request.sr} is a file, not a folder of samples", "give the folder"
    )
    require(
        request.out.resolve().parent != request.sr.resolve(),
        f"--out {request.out} lies among the samples",
        "another folder for the archive",
    )
    manifest = load_manifest(request.sr)
    count = request.samples or (manifest.samples if manifest else DEFAULT_SAMPLES)
    require(
        request.seconds is None or 0 <= request.seconds < math.inf,
        f"--seconds {request.seconds} is no run time",
        "--seconds 10.4",
    )
    with open_submission(request.sr) as handed:
        beyond = [name for name in handed.samples if request.samples and name.sample >= count]
        for name in beyond:
            del handed.samples[name]
        lr = lr_folder(request.sr, request.lr, manifest)
        seconds, on_gpu = request.seconds, request.on_gpu
        if manifest and seconds is None:
            seconds = manifest.seconds_per_sample
        if manifest and on_gpu is None:
            on_gpu = manifest.on_gpu
        require(
            not edition.readme or (seconds is not None and on_gpu is not None),
            f"readme.txt needs the run time per image and whether a GPU took it, and {request.sr} has no manifest that says so",
            "--seconds NUMBER with --gpu or --cpu",
        )
        checked = check_samples(handed, lr, count, manifest, progress, request.scale)
        problems = checked.messages(allow_duplicates=bool(manifest and manifest.settings.deterministic))
        problems += edition_problems(edition, checked.images, count)
        if handed.readmes:
            problems.append(f"{README} is not the name of a sample; package writes its own into the archive")
        if problems:
            raise ValidationErrors(
                f"{request.sr} cannot be handed in",
                problems,
                _remedy(manifest),
            )
        readme = Readme(
            seconds_per_image=seconds or 0.0,
            on_gpu=bool(on_gpu),
            extra_data=request.extra_data,
            description=request.description or (manifest.settings.model if manifest else "ntire-sr"),
        )
        # all that can still be wrong shows here, before anything is written
        origin = _origin_of(request, manifest, checked)
        known = (
            _known(request, manifest, origin, seconds or None, on_gpu, team, count) if request.code else None
        )
        remove_stale_temp_files(request.out.parent, f"{request.out.stem}*")
        packed = PackageResult(
            _write_parts(request, edition, handed, checked, count, readme),
            len(checked.digests),
            checked.worst_db,
        )
    packed.warnings = _size_warnings(request, edition, packed)
    if beyond:
        packed.warnings.append(f"{plural(len(beyond), 'sample')} beyond {count} per image left out")
    if known:
        packed.warnings += _absent(manifest, origin)
        out = request.out.with_name(f"{request.out.stem}-code.zip")
        members = _code_members(request, manifest, origin, known)
        packed.code = out, write_archive(out, members, compress=True)
        packed.blanks = factsheet.blanks(known)
    return packed


def _absent(manifest: Manifest | None, origin: "_Origin") -> list[str]:
    """Warnings about what the archive with the code should hold and lacks."""
    found = []
    if manifest and origin.weights is None and manifest.settings.weights_sha256:
        found.append(
            "the weights that drew the samples are not to be had, so the archive with the code lacks them; "
            + ("put them back" if manifest.code else "--run names the run folder that holds them")
        )
    if manifest and manifest.code and origin.network is None:
        found.append(
            f"the code of {manifest.settings.model} is gone or was changed since it drew the samples, so the archive "
            "with the code lacks it; put it back as it was"
        )
    return found


def _size_warnings(request: PackageRequest, edition: Edition, packed: PackageResult) -> list[str]:
    """Warnings about archives that are too large, and about archives of earlier calls beside the new ones."""
    found = []
    for path, _ in packed.archives:
        size = path.stat().st_size
        if request.max_size and size > request.max_size:
            found.append(
                f"{path} has {size / 1e6:.1f} MB, more than --max-size; --split makes several archives"
            )
        elif edition.large and size > edition.large:
            found.append(
                f"{path} has {size / 1e9:.2f} GB: uploads of more than {edition.large / 1e9:g} GB are known to hang; "
                "--split --max-size 900MB makes several archives"
            )
    written = {path for path, _ in packed.archives}
    candidates = [
        request.out,
        *sorted(request.out.parent.glob(f"{glob.escape(request.out.stem)}-part*of*.zip")),
    ]
    stale = [path.name for path in candidates if path not in written and path.is_file()]
    if stale:
        found.append(f"an earlier call left {', '.join(stale)}")
    return found


def _write_parts(
    request: PackageRequest,
    edition: Edition,
    handed: Submission,
    checked: CheckResult,
    samples: int,
    readme: Readme,
) -> list[tuple[Path, str]]:
    text = readme.text()
    first = [text_member(README, text)] if edition.readme else []

    def write(out: Path, names: list[SampleName]) -> tuple[Path, str]:
        members = [
            Member(archive_name(name, samples), handed.samples[name], checked.digests[name]) for name in names
        ]
        return out, write_archive(out, [*first, *members])

    if not request.split:
        return [write(request.out, list(checked.digests))]
    sizes = {name: (request.sr / handed.samples[name].name).stat().st_size for name in checked.digests}
    most = request.max_size or edition.large
    require(most is not None, "--split needs to know how large an archive may be", "--max-size 900MB")
    parts = split_images(sizes, len(text) * 4 + 500, int(most or 0))
    if len(parts) == 1:
        return [write(request.out, parts[0])]
    return [write(part_name(request.out, number, len(parts)), part) for number, part in enumerate(parts)]


def _remedy(manifest: Manifest | None) -> str:
    """What to do about samples that cannot be handed in, which this package drew, projected, or knows nothing of."""
    if manifest is None:
        does = "gives images of another program the challenge's names and 50 dB"
        return f"`ntire-sr project` {does}; --lr names the LR folder they belong to"
    does = "projects" if manifest.settings.external else "draws"
    command = "project" if manifest.settings.external else "generate"
    return (
        f"`ntire-sr {command}` {does} again what is missing or changed; --lr names the LR folder they belong to"
    )


@dataclass(frozen=True)
class _Origin:
    """Files that belong to exactly these samples; None for files that were not found."""

    weights: Path | None
    config: Path | None  # settings of the training of these weights
    score: Path | None  # score.json of these samples
    network: dict[str, Path] | None  # code of a network from outside the package


def _origin_of(request: PackageRequest, manifest: Manifest | None, checked: CheckResult) -> _Origin:
    weights = find_weights(manifest, request.sr, request.run) if manifest else None
    config = None
    scores = [request.sr.with_name(f"{request.sr.name}_score")]  # as `score` writes it beside them
    if request.run:
        if weights and weights.resolve() == (request.run / "weights.safetensors").resolve():
            config = request.run / "config.json"
        scores.insert(0, request.run / "score")
    digest = sha256_of_digests({str(name): digest for name, digest in checked.digests.items()})
    found = (score / "score.json" for score in scores)
    score = next((path for path in found if _json_of(path).get("samples_sha256") == digest), None)
    network = find_code(manifest, request.sr) if manifest else None
    return _Origin(weights, config if config and config.is_file() else None, score, network)


def _known(
    request: PackageRequest,
    manifest: Manifest | None,
    origin: _Origin,
    seconds: float | None,
    on_gpu: bool | None,
    team: dict[str, str],
    samples: int,
) -> factsheet.Known:
    facts: dict[str, Any] = {}
    parameters = operations = None
    settings = manifest.settings if manifest else None
    if manifest and manifest.code:  # what drew the samples counted them; its code does not run here
        parameters = manifest.code.parameters
    elif settings and not settings.external:
        require(
            settings.model in MODELS,
            f"{request.sr} was drawn by {settings.model}, a model that this version of ntire-sr does not know; nothing was written",
            "the version that drew it, or --no-code for the samples without fact sheet and code",
        )
        if settings.weights_sha256 is None:
            parameters = 0
    if origin.weights and not (manifest and manifest.code):
        metadata, tensors = read_weights(origin.weights)
        facts = _object(metadata["facts"], origin.weights)
        parameters = sum(tensor.numel() for tensor in tensors.values())
        operations = _operations(load_model(None, None, torch.device("cpu"), weights=origin.weights))
    score = _json_of(origin.score).get("summary") if origin.score else None
    return factsheet.Known(
        manifest,
        samples,
        parameters,
        operations,
        facts,
        _json_of(origin.config) if origin.config else {},
        score if isinstance(score, dict) else {},
        seconds,
        on_gpu,
        request.extra_data,
        team,
    )


def _operations(loaded: LoadedModel) -> tuple[float, float]:
    """Multiply-adds per SR pixel of the trunk, once per image, and of each sample before projection."""
    lr, found = torch.zeros(1, 3, 32, 32), []
    with torch.inference_mode():
        for part in ("trunk", "sample"):
            with FlopCounterMode(display=False) as counter:
                if part == "trunk":
                    maps = loaded.generator.trunk(lr)
                else:
                    loaded.generator.sample(maps, lr, loaded.generator.latents(lr, [make_generator(0)]))
            found.append(counter.get_total_flops() / 2 / (32 * loaded.scale) ** 2)
    return found[0], found[1]


def _object(text: str, path: Path) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise NtireSrError(f"the description inside {path} is damaged")
    return found


def _json_of(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if the file is missing or damaged."""
    try:
        content = read_json(path, "file") if path.is_file() else {}
    except NtireSrError:
        return {}
    return content if isinstance(content, dict) else {}


def _code_members(
    request: PackageRequest, manifest: Manifest | None, origin: _Origin, known: factsheet.Known
) -> list[Member]:
    """Fact sheet, instructions to reproduce the samples, and all files for that: code, weights, settings."""
    members = [
        text_member("factsheet.md", factsheet.as_markdown(known)),
        text_member("factsheet.tex", factsheet.as_latex(known)),
        text_member("REPRODUCE.md", reproduce(known, _weights_name(manifest, origin.weights))),
    ]
    outside = manifest is not None and manifest.code is not None
    named = {
        _weights_name(manifest, origin.weights): origin.weights,
        "manifest.json": request.sr / MANIFEST if manifest else None,
        "config.json": origin.config,
        "score.json": origin.score,
    }
    found = {name: path for name, path in named.items() if path}
    # the weights used are listed above; of the package's own weights only a trunk that they need is added
    needed = set(trunk_files()) if origin.weights and not outside and needs_trunk(origin.weights) else set()
    found |= {f"network/{name}": path for name, path in (origin.network or {}).items()}
    for name, path in package_files():
        weights = name.startswith("ntire_sr/models/") and path.suffix == ".safetensors"
        if not weights or path in needed:
            found[f"code/{name}"] = path
    return members + [Member(name, file_source(path, name)) for name, path in found.items()]


def _weights_name(manifest: Manifest | None, weights: Path | None) -> str:
    """The name of the weights in the archive; those of a network from outside may be of any format."""
    return f"weights{weights.suffix if weights and manifest and manifest.code else '.safetensors'}"
