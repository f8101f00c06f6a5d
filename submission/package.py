"""Packing a folder of samples for submission, from its check to the archives."""

import glob
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ntire_sr.challenge.editions import Edition, edition_named, edition_problems
from ntire_sr.challenge.names import DEFAULT_SAMPLES, SampleName
from ntire_sr.core.errors import ValidationErrors, plural, require
from ntire_sr.core.files import remove_stale_temp_files
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.samples.folders import README
from ntire_sr.samples.manifest import Manifest, load_manifest
from ntire_sr.samples.sources import Submission, open_submission
from ntire_sr.submission.archive import (
    Member,
    archive_name,
    part_name,
    split_images,
    text_member,
    write_archive,
)
from ntire_sr.submission.check import CheckResult, check_samples, lr_folder
from ntire_sr.submission.code_archive import code_members, missing_file_warnings
from ntire_sr.submission.facts import collect_facts, read_team
from ntire_sr.submission.factsheet import blanks
from ntire_sr.submission.origin import find_origin
from ntire_sr.submission.readme import Readme


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
    team: Path | None = None  # JSON file with the team's facts, see facts.TEAM
    score: Path | None = None  # folder of the score; None to search for it
    run: Path | None = None  # run folder, which may hold config.json, weights and score


@dataclass
class PackageResult:
    """The archives that were written, and warnings."""

    archives: list[tuple[Path, str]]  # (path, SHA-256) of each
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
        return {
            "samples": self.files,
            "worst_db": self.worst_db,
            "bytes": self.bytes,
            "archives": [{"path": str(path), "sha256": digest} for path, digest in self.archives],
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
    team = read_team(request.team)
    _check_request(request)
    manifest = load_manifest(request.sr)
    samples = request.samples or (manifest.samples if manifest else DEFAULT_SAMPLES)
    with open_submission(request.sr) as submission:
        surplus = [name for name in submission.samples if request.samples and name.sample >= samples]
        for name in surplus:
            del submission.samples[name]
        lr = lr_folder(request.sr, request.lr, manifest)
        seconds, on_gpu = _run_time(request, manifest, edition)
        checked = check_samples(submission, lr, samples, manifest, progress, request.scale)
        _raise_problems(request, edition, submission, manifest, checked, samples)
        readme = Readme(
            seconds_per_image=seconds or 0.0,
            on_gpu=bool(on_gpu),
            extra_data=request.extra_data,
            description=request.description or (manifest.settings.model if manifest else "ntire-sr"),
        )
        # everything that can still be wrong is found here, before anything is written
        origin = find_origin(manifest, request.sr, request.run, checked.digests, request.score)
        facts = None
        if request.code:
            facts = collect_facts(
                manifest, origin, request.sr, samples, seconds or None, on_gpu, request.extra_data, team
            )
        remove_stale_temp_files(request.out.parent, f"{request.out.stem}*")
        archives = _write_parts(request, edition, submission, checked, samples, readme)
    packed = PackageResult(archives, len(checked.digests), checked.worst_db)
    packed.warnings = _archive_warnings(request, edition, archives)
    if submission.readmes:
        packed.warnings.append(
            f"{README} in {request.sr} was not packed; package writes its own into the archive"
        )
    if surplus:
        packed.warnings.append(f"{plural(len(surplus), 'sample')} beyond {samples} per image left out")
    if facts:
        packed.warnings += missing_file_warnings(manifest, origin)
        out = request.out.with_name(f"{request.out.stem}-code.zip")
        packed.code = out, write_archive(out, code_members(request.sr, origin, facts), compress=True)
        packed.blanks = blanks(facts)
    return packed


def _check_request(request: PackageRequest) -> None:
    require(
        not request.sr.is_file(), f"--sr {request.sr} is a file, not a folder of samples", "give the folder"
    )
    require(
        request.out.resolve().parent != request.sr.resolve(),
        f"--out {request.out} is in the folder of the samples",
        "another folder for the archive",
    )
    require(
        request.seconds is None or 0 <= request.seconds < math.inf,
        f"--seconds {request.seconds} is not a run time of 0 or more",
        "--seconds 10.4",
    )


def _run_time(
    request: PackageRequest, manifest: Manifest | None, edition: Edition
) -> tuple[float | None, bool | None]:
    """Seconds per image and whether a GPU was used, as requested or else from the manifest; None if not known."""
    seconds, on_gpu = request.seconds, request.on_gpu
    if manifest and seconds is None:
        seconds = manifest.seconds_per_sample
    if manifest and on_gpu is None:
        on_gpu = manifest.on_gpu
    require(
        not edition.readme or (seconds is not None and on_gpu is not None),
        f"readme.txt needs the run time per image and whether a GPU was used, and {request.sr} has no manifest "
        "with both",
        "--seconds NUMBER with --gpu or --cpu",
    )
    return seconds, on_gpu


def _raise_problems(
    request: PackageRequest,
    edition: Edition,
    submission: Submission,
    manifest: Manifest | None,
    checked: CheckResult,
    samples: int,
) -> None:
    """Raise all problems of the samples in one error, with what to do about samples of this kind."""
    problems = checked.messages(allow_duplicates=bool(manifest and manifest.settings.deterministic))
    problems += edition_problems(edition, checked.images, samples)
    if not problems:
        return
    if manifest is None:
        action = "`ntire-sr project` gives images of another program the challenge's names and 50 dB"
    elif manifest.settings.external:
        action = "`ntire-sr project` projects again what is missing or changed"
    else:
        action = "`ntire-sr generate` draws again what is missing or changed"
    remedy = f"{action}; --lr names the LR folder they belong to"
    raise ValidationErrors(f"{request.sr} cannot be submitted", problems, remedy)


def _write_parts(
    request: PackageRequest,
    edition: Edition,
    submission: Submission,
    checked: CheckResult,
    samples: int,
    readme: Readme,
) -> list[tuple[Path, str]]:
    """Write the samples into one archive, or into several if they are to be split; returns paths and digests."""
    text = readme.text()
    first = [text_member(README, text)] if edition.readme else []

    def write(out: Path, names: list[SampleName]) -> tuple[Path, str]:
        members = [
            Member(archive_name(name, samples), submission.samples[name], checked.digests[name])
            for name in names
        ]
        return out, write_archive(out, [*first, *members])

    if not request.split:
        return [write(request.out, list(checked.digests))]
    sizes = {name: (request.sr / submission.samples[name].name).stat().st_size for name in checked.digests}
    most = request.max_size or edition.large
    require(most is not None, "--split needs to know how large an archive may be", "--max-size 900MB")
    parts = split_images(sizes, len(text) * 4 + 500, int(most or 0))
    if len(parts) == 1:
        return [write(request.out, parts[0])]
    return [write(part_name(request.out, number, len(parts)), part) for number, part in enumerate(parts)]


def _archive_warnings(request: PackageRequest, edition: Edition, archives: list[tuple[Path, str]]) -> list[str]:
    """Warnings about archives that are too large, and about archives of earlier calls next to the new ones."""
    warnings = []
    for path, _ in archives:
        size = path.stat().st_size
        if request.max_size and size > request.max_size:
            warnings.append(
                f"{path} has {size / 1e6:.1f} MB, more than --max-size; --split makes several archives"
            )
        elif edition.large and size > edition.large:
            warnings.append(
                f"{path} has {size / 1e9:.2f} GB: uploads of more than {edition.large / 1e9:g} GB are known to hang; "
                "--split --max-size 900MB makes several archives"
            )
    written = {path for path, _ in archives}
    parts = request.out.parent.glob(f"{glob.escape(request.out.stem)}-part*of*.zip")
    stale = [path.name for path in (request.out, *sorted(parts)) if path not in written and path.is_file()]
    if stale:
        warnings.append(f"an earlier call left {', '.join(stale)}")
    return warnings
