"""Finding the files that were scored: only files with the same digests are shown."""

from collections.abc import Sequence
from pathlib import Path

from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import NtireSrError, shorten
from ntire_sr.core.files import sha256_file
from ntire_sr.evaluation.scoring.comparison import Comparison
from ntire_sr.evaluation.scoring.load_scores import MethodImage
from ntire_sr.samples.folders import list_samples


def find_samples(folder: Path, images: Sequence[MethodImage], most: int) -> list[list[tuple[int, Path]]]:
    """(sample number, file) of the first `most` different samples of each image.

    Raises:
        NtireSrError: the folder lacks samples that were scored, or holds changed ones.
    """
    files, _ = list_samples(folder)
    missing, changed, samples = [], [], []
    for image in images:
        by_digest: dict[str, tuple[int, Path]] = {}
        for number, digest in zip(image.score.numbers, image.samples_sha256, strict=True):
            name = SampleName(image.score.index, number)
            if len(by_digest) == most or digest in by_digest:
                continue  # equal samples, as deterministic methods have them, are shown once
            if name not in files:
                missing.append(str(name))
            elif sha256_file(files[name]) != digest:
                changed.append(files[name].name)
            else:
                by_digest[digest] = (number, files[name])
        samples.append(list(by_digest.values()))
    problems = [f"lacks {shorten(missing)}"] if missing else []
    if changed:
        problems.append(f"holds other samples than were scored: {shorten(changed)}")
    if problems:
        raise NtireSrError(f"{folder} {' and '.join(problems)}")
    return samples


def find_hr(comparison: Comparison, image: int, folder: Path | None) -> Path:
    """The file of an HR image, in the given folder or in one of those that the methods were scored with.

    Args:
        comparison: the compared methods.
        image: position of the image.
        folder: the only folder to search; None for those of the methods.

    Raises:
        NtireSrError: the file is in none of them, or has changed.
    """
    names = dict.fromkeys(images[image].score.name for images in comparison.images)
    digest = comparison.images[0][image].hr_sha256
    folders = [folder] if folder else list(dict.fromkeys(method.hr for method in comparison.methods))
    for path in (place / name for place in folders for name in names):
        if path.is_file() and sha256_file(path) == digest:
            return path
    where = " or ".join(map(str, folders))
    raise NtireSrError(f"the HR image {comparison.names[image]} that was scored is not in {where}")
