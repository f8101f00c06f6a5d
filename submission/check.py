"""Everything that must hold of samples before they are handed in."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from ntire_sr.core.downscale import REQUIRED_DB, SCALES, lr_psnr_db
from ntire_sr.core.errors import Failure, WrongUse, plural
from ntire_sr.core.files import sha256_bytes
from ntire_sr.core.images import check_png, decode_png, read_image, to_tensor
from ntire_sr.core.layout import SampleName, list_images, same_image
from ntire_sr.core.manifest import Manifest
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.seeding import sample_seed
from ntire_sr.submission.sources import Handed, Source, shown


@dataclass(frozen=True)
class Checked:
    """Samples, and what is wrong with them."""

    digests: dict[SampleName, str]  # SHA-256 of each file that could be read, in their order
    scale: int | None  # none: not one sample could be read
    problems: list[str]
    copies: list[str]  # samples that equal another one of their image, as problems
    deterministic: bool  # all samples of every image are equal: an entry without any noise
    worst_db: float | None  # lowest LR-PSNR of all samples against the LR files; None: nothing was measured

    @property
    def images(self) -> int:
        return len({name.index for name in self.digests})


def worst_in_words(worst_db: float | None) -> str:
    """The lowest LR-PSNR.

    >>> worst_in_words(51.234), worst_in_words(None)
    ('worst LR-PSNR 51.23 dB', 'no LR-PSNR measured')
    """
    return "no LR-PSNR measured" if worst_db is None else f"worst LR-PSNR {worst_db:.2f} dB"


def check_samples(
    handed: Handed,
    lr: Path,
    samples: int,
    manifest: Manifest | None,
    progress: Progress = SILENT,
    scale: int | None = None,
) -> Checked:
    """Check names, count, sizes, mode, LR-PSNR, duplicates and, with a manifest, digests and settings.

    Args:
        handed: the samples, also such that this package did not draw.
        lr: folder of the LR images, in the samples' order.
        samples: per LR image.
        manifest: of the samples, where they have one.
        progress: where it says how many files are checked.
        scale: 4 or 8; None: the manifest's, or that of the first sample.

    Returns:
        All problems at once; none is raised.
    """
    lr_paths = list_images(lr, "LR")
    found = handed.samples
    present = sorted(name for name in found if name.index < len(lr_paths) and name.sample < samples)
    problems = list(handed.problems)
    if found:
        problems += _missing(present, len(lr_paths), samples)
    else:
        problems.append("there is not one sample")
    problems += [
        f"{shown(found[name].name)}: beyond {plural(len(lr_paths), 'image')} of {plural(samples, 'sample')}"
        for name in sorted(found.keys() - set(present))
    ]
    problems += _manifest_problems(manifest, lr_paths, samples)
    scale = scale or (manifest.settings.scale if manifest else None)
    measured: list[float] = []
    digests: dict[SampleName, str] = {}
    copies: list[str] = []
    different = 0  # pictures, beyond the first of each image
    with progress.task("check", len(present)) as advance:
        for index, names in groupby(present, key=lambda name: name.index):
            lr_image: np.ndarray | None = None
            try:
                lr_image = read_image(lr_paths[index])
            except Failure as failure:
                problems.append(failure.message)
            lr_sha256 = sha256_bytes(lr_image.tobytes()) if lr_image is not None else None
            record = manifest.images[index] if manifest and index < len(manifest.images) else None
            if record and lr_sha256 not in (None, record.lr_sha256):
                problems.append(f"{lr_paths[index].name}: not the LR image that the samples were drawn from")
            seen: dict[str, str] = {}
            for name in names:
                if lr_image is not None:
                    source = found[name]
                    try:
                        content = source.read()
                        digests[name] = sha256_bytes(content)
                        image, problem = _image(source, content, lr_image, scale)
                        if problem:
                            problems.append(problem)
                        if image is not None:
                            scale = scale or image.shape[0] // lr_image.shape[0]
                            measured.append(lr_psnr_db(to_tensor(image), to_tensor(lr_image), scale))
                            if measured[-1] < REQUIRED_DB:
                                reason = (
                                    "; no 8-bit image reduces to its LR image"
                                    if record and record.unreachable
                                    else ""
                                )
                                problems.append(
                                    f"{shown(source.name)}: LR-PSNR {measured[-1]:.2f} dB, under {REQUIRED_DB:.0f}{reason}"
                                )
                            twin = seen.setdefault(sha256_bytes(image.tobytes()), source.name)
                            if twin != source.name:
                                copies.append(f"{shown(source.name)}: the same image as {shown(twin)}")
                        problems += _record_problems(name, digests[name], lr_sha256, manifest)
                    except Failure as failure:
                        problems.append(failure.message)
                advance()
            different += max(0, len(seen) - 1)
    return Checked(
        digests, scale, problems, copies, bool(copies) and not different, min(measured) if measured else None
    )


def _missing(present: list[SampleName], images: int, samples: int) -> list[str]:
    """What is not there of so many images of so many samples, in runs: a stranger's manifest may promise anything."""
    there: dict[int, list[int]] = {}
    for name in present:
        there.setdefault(name.index, []).append(name.sample)
    found = []
    for index in range(images):
        before = -1
        for sample in [*there.get(index, []), samples]:
            first, last, count = (
                SampleName(index, before + 1),
                SampleName(index, sample - 1),
                sample - before - 1,
            )
            if count == 1:
                found.append(f"{first}: missing")
            elif count:
                found.append(f"{first} to {last}: {count} missing")
            before = sample
    return found


def _image(
    source: Source, content: bytes, lr: np.ndarray, scale: int | None
) -> tuple[np.ndarray | None, str | None]:
    """A sample of the right mode and size, or what is wrong with it."""
    header = check_png(shown(source.name), content)
    if not header.is_8bit_rgb:
        return None, f"{shown(source.name)}: {header.mode}, not 8-bit RGB"
    size, given = (header.height, header.width), f"{header.width} x {header.height} pixels"
    height, width = lr.shape[:2]
    fitting = [each for each in ((scale,) if scale else SCALES) if size == (height * each, width * each)]
    if not fitting and scale:
        return None, f"{shown(source.name)}: {given}, not {width * scale} x {height * scale}"
    if not fitting:
        return (
            None,
            f"{shown(source.name)}: {given}, neither 4 nor 8 times the {width} x {height} of its LR image",
        )
    return decode_png(shown(source.name), content), None


def _record_problems(
    name: SampleName, sha256: str, lr_sha256: str | None, manifest: Manifest | None
) -> list[str]:
    """Whether the file is the one that was drawn, by the folder's settings."""
    if manifest is None:
        return []
    record = manifest.files.get(str(name))
    if record is None:
        return [f"{name}: not in the manifest"]
    problems = []
    if record.sha256 != sha256:
        problems.append(f"{name}: changed since it was drawn (its SHA-256 is not the manifest's)")
    if record.settings_sha256 != manifest.settings.digest:
        problems.append(f"{name}: drawn with other settings than the manifest's")
    if lr_sha256 and record.seed != sample_seed(manifest.settings.seed, lr_sha256, name.sample):
        problems.append(f"{name}: its seed is not the one that the manifest's seed gives it")
    return problems


def _manifest_problems(manifest: Manifest | None, lr_paths: list[Path], samples: int) -> list[str]:
    if manifest is None:
        return []
    problems = []
    if manifest.settings.test_time_augmentation:
        problems.append(
            "the manifest says that samples were averaged over flips or rotations, which is forbidden"
        )
    if len(manifest.images) != len(lr_paths):
        problems.append(
            f"the samples were drawn from {plural(len(manifest.images), 'LR image')}; the LR folder holds {len(lr_paths)}"
        )
    for record, path in zip(manifest.images, lr_paths, strict=False):
        if not same_image(Path(record.name), path):
            problems.append(f"{path.name} stands where the samples were drawn from {record.name}")
    if manifest.samples < samples:
        problems.append(f"the manifest says {plural(manifest.samples, 'sample')} per image, not {samples}")
    return problems


def lr_folder(sr: Path, given: Path | None, manifest: Manifest | None) -> Path:
    """The LR folder: as given, else the manifest's."""
    if given:
        return given
    if manifest is None:
        raise WrongUse(f"{sr} has no manifest that says where the LR images are", "give --lr FOLDER")
    named = (sr / manifest.lr).resolve()
    if not named.is_dir():
        raise WrongUse(
            f"the LR folder {named} that the manifest of {sr} names is not there", "give --lr FOLDER"
        )
    return named
