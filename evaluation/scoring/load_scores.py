"""Reading scores from their folders as methods to compare, with all obstacles to a comparison in one error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ntire_sr.challenge.downscale import SCALES
from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import NtireSrError, ValidationErrors, plural, shorten
from ntire_sr.core.files import read_json, sha256_of_digests
from ntire_sr.core.pretrained import ALEXNET
from ntire_sr.core.records import to_record
from ntire_sr.evaluation.metrics.declarations import ImageScore
from ntire_sr.evaluation.scoring.records import AGAIN, VERSION, ImageResult, Records

SCORE_FILE = "score.json"


@dataclass(frozen=True)
class MethodImage:
    """One image of a method: its values and the digests of its files."""

    score: ImageScore
    record: str  # key of its record
    hr_sha256: str
    samples_sha256: tuple[str, ...]  # of each sample file, in the order of `score.numbers`


@dataclass(frozen=True)
class Method:
    """A score under the name that the comparison gives it."""

    name: str
    folder: Path
    version: str  # version of ntire-sr that wrote it
    scale: int
    samples: int  # requested samples per image
    missing: int  # samples that were left out
    lpips: str | None  # SHA-256 of AlexNet's weights; None if LPIPS was not measured
    quality: dict[str, str]  # version of each quality metric that was measured
    hr: Path  # folder of the HR images when it was scored
    sr: Path  # folder of the samples when it was scored
    images: tuple[MethodImage, ...]

    @property
    def samples_sha256(self) -> str:
        """Digest of all its sample files, see `files.sha256_of_digests`."""
        return sha256_of_digests(
            {
                str(SampleName(image.score.index, number)): digest
                for image in self.images
                for number, digest in zip(image.score.numbers, image.samples_sha256, strict=True)
            }
        )

    def result(self, image: MethodImage) -> ImageResult | None:
        """The record of an image with its tensors; None if it is gone or damaged."""
        return Records(self.folder / "records").load(image.score.index, image.record)


def read_methods(named: Sequence[tuple[str, Path]], least: int = 2) -> list[Method]:
    """Read scores that are to be compared.

    Args:
        named: (name, folder of a score) of each method, in the order of the comparison.
        least: smallest number of methods.

    Raises:
        ValidationErrors: all problems of the names and folders, and all obstacles to a comparison: other scales,
            other HR images of the same name, no image in common, other networks of LPIPS.
    """
    problems = _naming(named)
    if len(named) < least:
        problems.insert(0, "a comparison takes two scores or more; give each as NAME=FOLDER")
    methods = []
    for name, folder in named:
        try:
            methods.append(read_method(name, folder))
        except NtireSrError as error:
            problems.append(f"{name}: {error.message}{f'; {error.remedy}' if error.remedy else ''}")
    if len(methods) > 1:
        problems += _contradictions(methods)
    if problems:
        raise ValidationErrors(f"comparing {', '.join(name for name, _ in named)}", problems)
    return methods


def read_method(name: str, folder: Path) -> Method:
    """Read one score.

    Raises:
        NtireSrError: it is not a score, is damaged, or was measured differently by another version of ntire-sr.
    """
    path = folder / SCORE_FILE
    if not path.is_file():
        raise NtireSrError(*_no_score(folder))
    content = read_json(path, "score")
    if not isinstance(content, dict) or not {"summary", "images"} <= content.keys():
        raise NtireSrError(f"{path} is not a score of ntire-sr", "score the samples with `ntire-sr score`")
    if "records_version" not in content:
        raise NtireSrError(
            f"{path} is of an earlier version, which did not say which HR images it is of", AGAIN
        )
    if content["records_version"] != VERSION:
        raise NtireSrError(
            f"{path} was written by ntire-sr {content.get('version')}, which measures differently "
            f"(records of version {content['records_version']}, here {VERSION})",
            AGAIN,
        )
    return _parse(name, folder, content)


def _no_score(folder: Path) -> tuple[str, str]:
    inner = folder / "score" / SCORE_FILE
    if inner.is_file():
        return f"{folder} is a run folder, not that of a score", f"give {inner.parent}"
    if not folder.is_dir():
        return f"the folder {folder} does not exist", "check the path"
    if (folder / "measure.csv").is_file():
        content = "holds a measure.csv, as the official script writes it, but no score.json"
    elif (folder / "records").is_dir():
        content = "holds a scoring that was not finished"
    else:
        content = "holds no score.json"
    return f"{folder} {content}", f"run `ntire-sr score --out {folder}` on its samples"


class _MeasuredWith(msgspec.Struct, forbid_unknown_fields=True):
    """Settings and versions that the values depend on, in addition to the files."""

    lpips: str | None  # SHA-256 of AlexNet's weights
    realism: dict[str, str]  # version of each quality metric


class _Summary(msgspec.Struct):
    """Keys of the summary that a comparison reads; its other keys are figures."""

    scale: int
    samples: Annotated[int, msgspec.Meta(ge=1)]
    samples_missing: int = 0


class _Image(msgspec.Struct):
    """Keys of an image that a comparison reads; its other keys are figures."""

    index: Annotated[int, msgspec.Meta(ge=0)]
    name: str
    record: str  # key of its record
    hr_sha256: str
    samples_sha256: list[str]


class _Score(msgspec.Struct, forbid_unknown_fields=True):
    """The content of `score.json`."""

    version: str
    records_version: int
    hr: str
    sr: str
    measured_with: _MeasuredWith
    required_db: float
    samples_sha256: str
    summary: _Summary
    missing: list[str]
    curves: dict[str, list[float | None]]
    standing_2021: dict[str, Any] | None
    images: Annotated[list[_Image], msgspec.Meta(min_length=1)]
    reasons: list[str] = []  # scores of earlier versions have none
    rank_histogram: list[float] = []  # earlier versions wrote none


def _parse(name: str, folder: Path, content: dict[str, Any]) -> Method:
    path = folder / SCORE_FILE
    score = to_record(content, _Score, str(path), AGAIN)
    if score.summary.scale not in SCALES:
        raise NtireSrError(
            f"{path} is damaged: unknown scale {score.summary.scale} - at `$.summary.scale`", AGAIN
        )
    records = Records(folder / "records")
    images, lost = [], []
    for image in score.images:
        result = records.load(image.index, image.record)
        if result is None or len(result.score.numbers) != len(image.samples_sha256):
            lost.append(image.name)
            continue
        images.append(MethodImage(result.score, image.record, image.hr_sha256, tuple(image.samples_sha256)))
    if lost:
        raise NtireSrError(f"the records of {shorten(lost)} in {records.folder} are gone or damaged", AGAIN)
    return Method(
        name=name,
        folder=folder,
        version=score.version,
        scale=score.summary.scale,
        samples=score.summary.samples,
        missing=score.summary.samples_missing,
        lpips=score.measured_with.lpips,
        quality=score.measured_with.realism,
        hr=folder / score.hr,
        sr=folder / score.sr,
        images=tuple(images),
    )


def _naming(named: Sequence[tuple[str, Path]]) -> list[str]:
    problems = []
    names = [name for name, _ in named]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        problems.append(f"the name {name} is given to {names.count(name)} scores; use different names")
    seen: dict[Path, str] = {}
    for name, folder in named:
        first_name = seen.setdefault(folder.resolve(), name)
        if first_name != name:
            problems.append(f"{first_name} and {name} are the same folder {folder}")
    return problems


def _contradictions(methods: Sequence[Method]) -> list[str]:
    """Obstacles to a comparison of these scores."""
    problems = []
    if len({method.scale for method in methods}) > 1:
        problems.append(f"their scales differ: {_list_by_method(methods, lambda method: str(method.scale))}")
    if len({_trunk(method.lpips) for method in methods if method.lpips}) > 1:
        digests = _list_by_method(methods, lambda method: (method.lpips or "not measured")[:12])
        problems.append(
            f"their LPIPS is of different AlexNet weights (SHA-256): {digests}; score them with one file"
        )
    # name of an HR image -> the first method that has it, and its digest
    first: dict[str, tuple[Method, str]] = {}
    for method in methods:
        differing: dict[str, list[str]] = {}
        for image in method.images:
            first_method, digest = first.setdefault(image.score.name, (method, image.hr_sha256))
            if digest != image.hr_sha256:
                differing.setdefault(first_method.name, []).append(image.score.name)
        for first_name, names in differing.items():
            problems.append(
                f"{plural(len(names), 'HR image')} of {method.name} differ from {first_name}'s of the same name: "
                f"{shorten(names)}; score both against the same HR files"
            )
    if not problems and not common_digests(methods):
        problems.append("no HR image is in all of them; score them against the same HR files")
    return problems


def _trunk(sha256: str) -> str:
    """The name of AlexNet's weights by the digest of their file: torchvision's .pth and the package's file hold the same."""
    official = sha256.startswith(ALEXNET.hash_prefix) or sha256 == ALEXNET.shipped_sha256
    return ALEXNET.name if official else sha256


def common_digests(methods: Sequence[Method]) -> list[str]:
    """SHA-256 of the HR images that all methods have, in the order of the first one."""
    others = [{image.hr_sha256 for image in method.images} for method in methods[1:]]
    digests = dict.fromkeys(image.hr_sha256 for image in methods[0].images)
    return [digest for digest in digests if all(digest in images for images in others)]


def _list_by_method(methods: Sequence[Method], describe: Callable[[Method], str]) -> str:
    return ", ".join(f"{method.name} {describe(method)}" for method in methods)
