"""`ntire-sr verify`: anyone's folder or archive against the challenge's rules, without extracting it."""

import random
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ntire_sr.config import require
from ntire_sr.errors import Failure, WrongUse, plural
from ntire_sr.files import sha256_bytes
from ntire_sr.generate import Request, generate
from ntire_sr.images import decode_png
from ntire_sr.layout import SampleName
from ntire_sr.manifest import Manifest, load_manifest
from ntire_sr.models.table import Loaded, load_generator
from ntire_sr.submission.check import check_samples, lr_folder
from ntire_sr.submission.readme import readme_problems
from ntire_sr.submission.sources import Handed, Source, opened


@dataclass
class Verified:
    """What was found."""

    samples: int  # files that are samples
    images: int
    scale: int | None
    worst_db: float
    problems: list[str]
    notes: list[str] = field(default_factory=list)
    drawn_again: list[str] = field(default_factory=list)  # samples that came out the same
    seed: int | None = None  # of the choice of these

    @property
    def passes(self) -> bool:
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"passes": self.passes}


def verify(
    path: Path,
    lr: Path | None = None,
    samples: int | None = None,
    manifest_of: Path | None = None,
    regenerate: int = 0,
    weights: str | None = None,
    seed: int | None = None,
    device: torch.device | None = None,
    done: Callable[[int, int], None] | None = None,
) -> Verified:
    """Check a folder or an archive of samples, whoever made it.

    Args:
        path: folder or zip.
        lr: folder of the LR images; none: the manifest's.
        samples: per image; none: the manifest's, or as many as the first image has.
        manifest_of: folder whose manifest belongs to the samples; none: `path`, where it has one.
        regenerate: how many samples, chosen at random, to draw again and compare.
        weights: file or name; none: the manifest's.
        seed: of that choice; none: a new one each time.
        device: where to draw.
        done: called with (files checked, files in all).

    Raises:
        Failure: the archive, the manifest or the weights cannot be read at all.
        WrongUse: there is no manifest to draw samples again by.
    """
    manifest = load_manifest(manifest_of) if manifest_of else load_manifest(path) if path.is_dir() else None
    require(
        manifest is not None or not manifest_of,
        f"{manifest_of} holds no manifest.json",
        "the folder that generate filled",
    )
    require(
        manifest is not None or not regenerate,
        f"--regenerate needs a manifest, and {path} has none",
        "--manifest FOLDER, the one that the archive was packed from",
    )
    with opened(path) as handed:
        first = sum(name.index == min(n.index for n in handed.samples) for name in handed.samples)
        count = samples or (manifest.samples if manifest else max(1, first))
        folder = lr_folder(manifest_of or path, lr, manifest)
        checked = check_samples(handed, folder, count, manifest, done)
        found = Verified(
            len(checked.digests), len({name.index for name in checked.digests}), checked.scale, checked.worst_db,
            checked.problems,
        )  # fmt: skip
        if handed.readme:
            try:
                found.problems += readme_problems(handed.readme.read())
            except Failure as failure:
                found.problems.append(failure.message)
        elif path.is_file():
            found.notes.append(
                "there is no readme.txt, which NTIRE's servers parse (the form of 2021 had none)"
            )
        if regenerate and manifest:
            _draw_again(
                found, handed, manifest, folder, regenerate, weights, seed, device or torch.device("cpu")
            )
    return found


def _draw_again(
    found: Verified,
    handed: Handed,
    manifest: Manifest,
    lr: Path,
    count: int,
    weights: str | None,
    seed: int | None,
    device: torch.device,
) -> None:
    loaded = _generator(manifest, weights, device)
    found.seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    names = sorted(name for name in handed.samples if str(name) in manifest.files)
    chosen = sorted(random.Random(found.seed).sample(names, min(count, len(names))))
    s = manifest.settings
    with tempfile.TemporaryDirectory() as folder:
        for tile in sorted({manifest.files[str(name)].tile for name in chosen}):
            out = Path(folder) / str(tile)
            only = frozenset(name for name in chosen if manifest.files[str(name)].tile == tile)
            generate(
                Request(
                    lr, out, None, s.seed, s.projection, allow_unreachable=True, only=only, tile=tile, precision=s.precision
                ),
                loaded, device,
            )  # fmt: skip
            for name in sorted(only):
                _compare(found, name, handed.samples[name], (out / str(name)).read_bytes())


def _compare(found: Verified, name: SampleName, source: Source, again: bytes) -> None:
    try:
        content = source.read()
        if sha256_bytes(content) == sha256_bytes(again):
            found.drawn_again.append(str(name))
            return
        one, other = (
            decode_png(str(name), content).astype(np.int16),
            decode_png(str(name), again).astype(np.int16),
        )
    except Failure as failure:
        found.problems.append(failure.message)
        return
    apart = int(np.abs(one - other).max()) if one.shape == other.shape else 255
    if apart <= 1:
        found.drawn_again.append(str(name))
        found.notes.append(
            f"{name}: drawn again it differs by {plural(apart, 'grey level')} at most, as on another machine"
        )
    else:
        found.problems.append(
            f"{name}: drawn again from the weights it is another image (by up to {apart} grey levels)"
        )


def _generator(manifest: Manifest, weights: str | None, device: torch.device) -> Loaded:
    s = manifest.settings
    try:
        loaded = load_generator(weights or manifest.weights or s.model, s.scale, device)
    except WrongUse as error:
        raise WrongUse(
            f"the weights that drew the samples are not to be had ({error.message})", "--weights FILE"
        ) from error
    if (loaded.model.name, loaded.weights_sha256) != (s.model, s.weights_sha256):
        raise WrongUse(
            f"{loaded.weights or loaded.model.name} did not draw these samples: its SHA-256 is {loaded.weights_sha256}, "
            f"the manifest's {s.weights_sha256}",
            "--weights FILE",
        )
    return loaded
