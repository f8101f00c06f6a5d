"""`ntire-sr verify`: checking any folder or archive of samples against the challenge's rules."""

import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import multimode
from typing import Any

import numpy as np
import torch

from ntire_sr.challenge.downscale import REQUIRED_DB
from ntire_sr.challenge.editions import edition_named, edition_problems
from ntire_sr.challenge.names import DEFAULT_SAMPLES, SampleName
from ntire_sr.core.errors import NtireSrError, plural, require
from ntire_sr.core.files import make_folder, sha256_bytes
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.models.loading import LoadedModel, load_model
from ntire_sr.models.registry import MODELS
from ntire_sr.samples.folders import MANIFEST, list_images
from ntire_sr.samples.image_files import decode_png, read_image
from ntire_sr.samples.manifest import Manifest, load_manifest
from ntire_sr.samples.problems import in_manifest_order
from ntire_sr.samples.sources import Source, Submission, open_submission
from ntire_sr.sampling.generate import Request, generate
from ntire_sr.sampling.tolerance import same_sample
from ntire_sr.sampling.write_samples import ProjectionLimits
from ntire_sr.submission.check import check_samples, lr_folder
from ntire_sr.submission.origin import find_weights
from ntire_sr.submission.readme import readme_problems


@dataclass
class VerifyResult:
    """Result of `verify`."""

    samples: int  # samples in all that could be read
    images: int
    scale: int | None
    worst_db: float | None  # lowest LR-PSNR of all samples; None if none was measured
    problems: list[str]
    notes: list[str] = field(default_factory=list)
    drawn_again: list[str] = field(default_factory=list)  # samples that were reproduced by drawing them again
    seed: int | None = None  # seed of the random choice of samples to draw again

    @property
    def passes(self) -> bool:
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"passes": self.passes}


def verify(
    paths: Sequence[Path],
    lr: Path | None = None,
    samples: int | None = None,
    scale: int | None = None,
    edition: str | None = None,
    manifest: Path | None = None,
    regenerate: int = 0,
    weights: str | None = None,
    model: str | None = None,
    seed: int | None = None,
    device: torch.device | None = None,
    progress: Progress = SILENT,
) -> VerifyResult:
    """Check a folder of samples, an archive, or several archives that hold parts, drawn by any program.

    Archives are read without extracting them.

    Args:
        paths: a folder, or zip files.
        lr: folder of the LR images; None for the manifest's.
        samples: samples per image; None for the manifest's number, or without a manifest the number that most
            images have.
        scale: 4 or 8; None for the manifest's, or that of the first sample.
        edition: edition that prescribes the numbers of images and samples; None for any numbers, with a note
            if they are unusual.
        manifest: the manifest.json of the samples, or its folder; None for that of the folder in `paths`, if it is one.
        regenerate: number of samples, chosen at random, to draw again and compare.
        weights: file or name of the weights to draw with; None for the manifest's.
        model: the network to draw with, see `load_model`, which runs what is named here; None for the manifest's
            where that is the package's own.
        seed: seed of that choice; None for a new one each time.
        device: device to draw on; None for the CPU.
        progress: reports how many samples have been checked.

    Raises:
        NtireSrError: an archive, the manifest or the weights cannot be read at all.
        UsageError: a path or an option is wrong, for example `regenerate` without a manifest.
    """
    folder = _manifest_folder(manifest) or (paths[0] if len(paths) == 1 and paths[0].is_dir() else None)
    record = load_manifest(folder) if folder else None
    require(
        record is not None or not manifest,
        f"there is no manifest at {manifest}",
        "the manifest.json in the folder that generate or project filled",
    )
    require(
        record is not None or not regenerate,
        f"--regenerate needs a manifest, and {paths[0]} has none",
        "--manifest FILE, in the folder that the archive was packed from",
    )
    loaded = None
    if regenerate and record and folder:
        loaded = _generator(record, folder, weights, model, device or torch.device("cpu"))
    with open_submission(*paths) as submission:
        count = samples or (record.samples if record else _usual_count(submission))
        lr = lr_folder(folder or paths[0], lr, record)
        checked = check_samples(submission, lr, count, record, progress, scale)
        result = VerifyResult(
            len(checked.digests),
            checked.images,
            checked.scale,
            checked.worst_db,
            checked.messages(allow_duplicates=checked.is_deterministic),
        )
        if checked.is_deterministic:
            result.notes.append("all samples of each image are equal: a deterministic entry, without diversity")
        if result.worst_db is not None and result.worst_db < REQUIRED_DB and record is None:
            result.notes.append("`ntire-sr project` makes images of another program LR-exact")
        _check_form(result, paths, submission, edition, count)
        if loaded and record:
            _draw_again(result, submission, record, lr, regenerate, seed, loaded, device or torch.device("cpu"))
    return result


def _manifest_folder(given: Path | None) -> Path | None:
    """The folder of a manifest that was given as a file or by its folder.

    Raises:
        UsageError: it is a file of another name.
    """
    if given is None or not given.is_file():
        return given
    require(
        given.name == MANIFEST, f"--manifest {given} is no {MANIFEST}", "the file of this name, or its folder"
    )
    return given.parent


def _usual_count(submission: Submission) -> int:
    """The number of samples that most images have, judged by their highest number; 1 without samples."""
    highest: dict[int, int] = {}
    for name in submission.samples:
        highest[name.index] = max(highest.get(name.index, 0), name.sample + 1)
    return max(multimode(highest.values()), default=1)


def _check_form(
    result: VerifyResult, paths: Sequence[Path], submission: Submission, edition: str | None, samples: int
) -> None:
    """Check readme.txt, the numbers of images and samples, and the sizes of archives."""
    for readme in submission.readmes:
        try:
            result.problems += readme_problems(readme.read())
        except NtireSrError as error:
            result.problems.append(error.message)
    asked = edition_named(edition or "ntire")
    if len(submission.readmes) < len(paths) and paths[0].is_file() and asked.readme:
        result.notes.append("there is no readme.txt, which NTIRE's servers parse (the form of 2021 had none)")
    if edition:
        result.problems += edition_problems(asked, result.images, samples)
    elif samples != DEFAULT_SAMPLES:
        result.notes.append(
            f"{plural(samples, 'sample')} per image, where the challenge asks for {DEFAULT_SAMPLES}"
        )
    for path in paths:
        if asked.large and path.is_file() and path.stat().st_size > asked.large:
            result.notes.append(f"{path.name}: uploads of more than {asked.large / 1e9:g} GB are known to hang")


def _draw_again(
    result: VerifyResult,
    submission: Submission,
    manifest: Manifest,
    lr: Path,
    count: int,
    seed: int | None,
    loaded: LoadedModel,
    device: torch.device,
) -> None:
    """Draw some of the samples whose LR images exist again, and compare them; each failure is a problem."""
    result.seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    lr_paths = [
        path if _is_of(path, record.lr_sha256) else None
        for path, record in zip(
            in_manifest_order(list_images(lr, "LR"), manifest, "LR"), manifest.images, strict=False
        )
    ]
    names = sorted(
        name
        for name in submission.samples
        if str(name) in manifest.files and name.index < len(lr_paths) and lr_paths[name.index]
    )
    chosen = sorted(random.Random(result.seed).sample(names, min(count, len(names))))
    s = manifest.settings
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(chosen):
            # a sample depends only on its LR image's pixels and its number, so each LR image can stand alone
            alone, out = make_folder(Path(folder) / f"LR{number}"), Path(folder) / str(number)
            path = lr_paths[name.index]
            assert path is not None  # names without an LR image were left out
            shutil.copy(path, alone / path.name)
            only = SampleName(0, name.sample)
            try:
                request = Request(
                    alone, out, seed=s.seed or 0, projection=s.projection, projection_limits=ProjectionLimits.of(s),
                    allow_infeasible=True, only=frozenset((only,)), tile=manifest.files[str(name)].tile,
                    temperature=s.temperature, precision=s.precision,
                )  # fmt: skip
                generate(request, loaded, device)
                again = (out / str(only)).read_bytes()
                _compare(result, name, submission.samples[name], again, s.precision)
            except NtireSrError as error:
                result.problems.append(f"{name}: cannot be drawn again: {error.message}")


def _is_of(path: Path, lr_sha256: str) -> bool:
    try:
        return sha256_bytes(read_image(path).tobytes()) == lr_sha256
    except NtireSrError:
        return False


def _compare(result: VerifyResult, name: SampleName, source: Source, again: bytes, precision: str) -> None:
    try:
        content = source.read()
        if sha256_bytes(content) == sha256_bytes(again):
            result.drawn_again.append(str(name))
            return
        image, redrawn = decode_png(str(name), content), decode_png(str(name), again)
    except NtireSrError as error:
        result.problems.append(error.message)
        return
    difference = int(np.abs(image.astype(np.int16) - redrawn).max()) if image.shape == redrawn.shape else 255
    if same_sample(image, redrawn, precision):
        result.drawn_again.append(str(name))
        differs = f"differs by {plural(difference, 'grey level')} at most, as on another processor"
        same = "has the same pixels in another file"
        result.notes.append(f"{name}: drawn again it {differs if difference else same}")
    else:
        result.problems.append(
            f"{name}: drawn again from the weights it is another image (by up to {difference} grey levels)"
        )


def _generator(
    manifest: Manifest, folder: Path, weights: str | None, model: str | None, device: torch.device
) -> LoadedModel:
    s = manifest.settings
    require(
        not s.external,
        f"--regenerate: another program drew the samples of {folder} ({s.model}), and only it can draw them again",
        "verify without --regenerate",
    )
    # code runs because the user names it, never because a manifest does
    require(
        model is not None or (s.code_sha256 is None and (s.model in MODELS or bool(s.weights_sha256))),
        f"the samples were drawn by {s.model}, a network from outside of ntire-sr",
        "--model FILE.py:FUNCTION, if you have its code and trust it",
    )
    recorded = find_weights(manifest, folder)
    require(
        bool(weights or recorded or s.weights_sha256 is None),
        f"the weights that drew the samples (SHA-256 {s.weights_sha256}) were not found",
        "--weights FILE",
    )
    own_model = s.model if model is None else None
    loaded = load_model(model, s.scale, device, weights=weights or recorded or own_model)
    actual = (loaded.name, loaded.weights_sha256, loaded.code.sha256 if loaded.code else None)
    expected = (s.model, s.weights_sha256, s.code_sha256)
    for what, value, wanted in zip(("model", "weights", "code"), actual, expected, strict=True):
        require(
            value == wanted,
            f"{loaded.weights if what == 'weights' and loaded.weights else loaded.name} did not draw these samples: "
            f"its {what if what == 'model' else f'{what} with the SHA-256'} is {value}, the manifest's {wanted}",
            "--weights FILE" if what == "weights" else "--model with what drew them",
        )
    return loaded
