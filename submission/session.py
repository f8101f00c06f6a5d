"""One packing from a folder to its archives: what the `package` command and the demonstration call."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from statistics import mean
from typing import Any

from ntire_sr.config import require
from ntire_sr.errors import Failure, Problems, plural
from ntire_sr.files import explain, read_json, sha256_file, sweep
from ntire_sr.layout import DEFAULT_SAMPLES, SampleName
from ntire_sr.manifest import Manifest, load_manifest
from ntire_sr.models.table import read_weights, shipped_weights
from ntire_sr.submission import factsheet
from ntire_sr.submission.archive import (
    Member,
    archive_name,
    part_name,
    split_images,
    text_member,
    write_archive,
)
from ntire_sr.submission.check import Checked, check_samples, lr_folder
from ntire_sr.submission.editions import Edition, edition_named
from ntire_sr.submission.readme import Readme
from ntire_sr.submission.sources import README, Handed, Source, opened


@dataclass(frozen=True)
class PackRequest:
    """What to pack and how."""

    sr: Path  # folder of samples
    out: Path  # the zip file
    lr: Path | None = None  # folder of the LR images; none: the manifest's
    samples: int | None = None  # per image; none: the manifest's, or 10
    edition: str = "ntire"
    seconds: float | None = None  # run time per image for the readme; none: measured when they were drawn
    extra_data: bool = True
    description: str = ""
    max_size: int | None = None  # bytes of an archive; none: the edition's
    split: bool = False  # into several archives where one would be larger
    code: bool = True  # also write the archive with the fact sheet and the code
    team: Path | None = None  # what the team says of itself, see factsheet.TEAM
    run: Path | None = None  # folder that may hold config.json, weights and score


@dataclass
class Packed:
    """Archives that were written."""

    archives: list[tuple[Path, str]]  # with their SHA-256
    files: int
    worst_db: float
    code: tuple[Path, str] | None = None
    blanks: list[str] = field(default_factory=list)  # of the fact sheet
    warnings: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for path, _ in self.archives)


def pack(request: PackRequest, done: Callable[[int, int], None] | None = None) -> Packed:
    """Check a folder of samples and write the archives.

    Args:
        request: what to pack.
        done: called with (files checked, files in all).

    Raises:
        Problems: everything that is wrong; nothing was written.
    """
    edition = edition_named(request.edition)
    team = factsheet.read_team(request.team)
    require(
        not request.sr.is_file(), f"--sr {request.sr} is a file, not a folder of samples", "give the folder"
    )
    manifest = load_manifest(request.sr)
    count = request.samples or (manifest.samples if manifest else DEFAULT_SAMPLES)
    with opened(request.sr) as handed:
        checked = check_samples(handed, lr_folder(request.sr, request.lr, manifest), count, manifest, done)
        problems = checked.problems + _edition_problems(edition, checked, count)
        if handed.readme:
            problems.append(f"{README}: no sample's name; it is written into the archive by itself")
        if problems:
            raise Problems(
                f"{request.sr} cannot be handed in",
                problems,
                "draw them again with `ntire-sr generate`, or name the LR folder they belong to with --lr",
            )
        seconds = request.seconds if request.seconds is not None else _measured_seconds(manifest)
        readme = Readme(
            seconds_per_image=seconds,
            on_gpu=manifest is not None and manifest.device != "cpu",
            extra_data=request.extra_data,
            description=request.description or (manifest.settings.model if manifest else "ntire-sr"),
        )
        sweep(request.out.parent, f"{request.out.stem}*")
        packed = Packed(
            _write_parts(request, edition, handed, checked, count, readme),
            len(checked.digests),
            checked.worst_db,
        )
    most = request.max_size or edition.large
    for path, _ in packed.archives:
        if most and path.stat().st_size > most:
            packed.warnings.append(
                f"{path} has {path.stat().st_size / 1e9:.2f} GB, more than {most / 1e9:g} GB: uploads of that size are known "
                "to hang; --split --max-size 900MB makes several archives"
            )
    if request.code:
        known = _known(request, manifest, seconds or None, team)
        out = request.out.with_name(f"{request.out.stem}-code.zip")
        packed.code = out, write_archive(out, _code_members(request, manifest, known), compress=True)
        packed.blanks = factsheet.blanks(known)
    return packed


def _edition_problems(edition: Edition, checked: Checked, samples: int) -> list[str]:
    images = len({name.index for name in checked.digests})
    problems = []
    if edition.images not in (None, images):
        problems.append(f"edition {edition.name} asks for {edition.images} images; there are {images}")
    if edition.samples not in (None, samples):
        problems.append(f"edition {edition.name} asks for {edition.samples} samples per image, not {samples}")
    return problems


def _write_parts(
    request: PackRequest, edition: Edition, handed: Handed, checked: Checked, samples: int, readme: Readme
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


def _measured_seconds(manifest: Manifest | None) -> float:
    """Mean time that drawing one sample took; 0 where nothing is known."""
    return mean(record.seconds for record in manifest.files.values()) if manifest and manifest.files else 0.0


def _weights(request: PackRequest, manifest: Manifest | None) -> Path | None:
    """The file of the weights that drew the samples, where it is still to be had."""
    if manifest is None or manifest.settings.weights_sha256 is None:
        return None
    candidates = [Path(manifest.weights)] if manifest.weights else []
    candidates += [request.run / "weights.safetensors"] if request.run else []
    if shipped := shipped_weights(manifest.settings.model, manifest.settings.scale):
        candidates.append(shipped)
    for path in candidates:
        if path.is_file() and sha256_file(path) == manifest.settings.weights_sha256:
            return path
    return None


def _known(
    request: PackRequest, manifest: Manifest | None, seconds: float | None, team: dict[str, str]
) -> factsheet.Known:
    facts: dict[str, Any] = {}
    parameters = 0 if manifest and manifest.settings.weights_sha256 is None else None
    config: dict[str, Any] = {}
    if weights := _weights(request, manifest):
        metadata, tensors = read_weights(weights)
        facts = _object(metadata["facts"], weights)
        parameters = sum(tensor.numel() for tensor in tensors.values())
        if request.run and weights.resolve() == (request.run / "weights.safetensors").resolve():
            config = _json_of(request.run / "config.json")
    score = _json_of(request.run / "score" / "score.json").get("summary") if request.run else None
    return factsheet.Known(
        manifest,
        parameters,
        facts,
        config,
        score if isinstance(score, dict) else {},
        seconds,
        request.extra_data,
        team,
    )


def _object(text: str, path: Path) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise Failure(f"the description inside {path} is damaged")
    return found


def _json_of(path: Path) -> dict[str, Any]:
    """A JSON object that may be absent; a damaged one is of no use either."""
    try:
        content = read_json(path, "file") if path.is_file() else {}
    except Failure:
        return {}
    return content if isinstance(content, dict) else {}


def _code_members(request: PackRequest, manifest: Manifest | None, known: factsheet.Known) -> list[Member]:
    """Fact sheet, how to draw the samples again, and all that it takes: code, weights, settings."""
    members = [
        text_member("factsheet.md", factsheet.as_markdown(known)),
        text_member("factsheet.tex", factsheet.as_latex(known)),
        text_member("REPRODUCE.md", _reproduce(request, manifest)),
    ]
    found: dict[str, Path] = {}
    if weights := _weights(request, manifest):
        found["weights.safetensors"] = weights
    if (request.sr / "manifest.json").is_file():
        found["manifest.json"] = request.sr / "manifest.json"
    if request.run:
        for name, path in (
            ("config.json", request.run / "config.json"),
            ("score.json", request.run / "score" / "score.json"),
        ):
            if path.is_file():
                found[name] = path
    for package in ("ntire_sr", "ntire_sr.evaluation", "ntire_sr.models", "ntire_sr.submission"):
        folder = Path(str(import_module(package).__file__)).parent
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                found[f"code/{package.replace('.', '/')}/{path.name}"] = path
    return members + [Member(name, Source(name, lambda path=path: _read(path))) for name, path in found.items()]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise explain(error, f"cannot read {path}") from error


def _reproduce(request: PackRequest, manifest: Manifest | None) -> str:
    if manifest is None:
        return "# How these samples were drawn\n\nThe folder of samples has no manifest: only the team knows.\n"
    s = manifest.settings
    weights = "weights.safetensors" if s.weights_sha256 else s.model
    words = [
        "ntire-sr generate --lr LR_FOLDER",
        f"--weights {weights}",
        f"--samples {manifest.samples}",
        f"--seed {s.seed}",
    ]
    words += [f"--scale {s.scale}", f"--tile {manifest.tile}", f"--precision {s.precision}", "--out samples"]
    words += [] if s.projection else ["--no-projection"]
    versions = "\n".join(f"* {name} {version}" for name, version in manifest.versions.items())
    return (
        "# How these samples were drawn\n\n"
        f"With the package in `code` (`ntire_sr`; version {manifest.versions.get('ntire-sr', '?')}) on the path and\n\n{versions}\n\n"
        f"on {manifest.device} with {plural(manifest.threads, 'thread')}:\n\n```\n{' '.join(words)}\n```\n\n"
        "`manifest.json` names the digest of every LR image, seed and sample. The same device, number of threads and tile give the same "
        "bytes; others differ by a grey level at most.\n"
    )
