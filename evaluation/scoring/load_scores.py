"""Scores read back from their folders, as methods to compare, with all that forbids a comparison in one error."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ntire_sr.challenge.downscale import SCALES
from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import NtireSrError, ValidationErrors, plural, shorten
from ntire_sr.core.files import read_json, sha256_of_digests
from ntire_sr.evaluation.scoring.records import VERSION, ImageResult, ImageScore, Records

SCORE_FILE = "score.json"
AGAIN = "run `ntire-sr score` again with the same folders; what was measured is kept"


@dataclass(frozen=True)
class MethodImage:
    """One image of a method: its record and what that is of."""

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
    realism: dict[str, str]  # version of each proxy that was measured
    hr: Path  # folder of the HR images when it was scored
    sr: Path  # folder of the samples when it was scored
    images: tuple[MethodImage, ...]

    @property
    def samples_sha256(self) -> str:
        """Over all its sample files, see `files.sha256_of_digests`."""
        return sha256_of_digests(
            {
                str(SampleName(image.score.index, number)): digest
                for image in self.images
                for number, digest in zip(image.score.numbers, image.samples_sha256, strict=True)
            }
        )

    def result(self, image: MethodImage) -> ImageResult | None:
        """The whole record of an image; None if it is gone or damaged."""
        return Records(self.folder / "records").load(image.score.index, image.record)


def read_methods(named: Sequence[tuple[str, Path]]) -> list[Method]:
    """Read scores that are to be compared.

    Args:
        named: (name, folder of a score) of each method, in the order of the comparison.

    Raises:
        ValidationErrors: all that is wrong with the names and folders, and all that forbids to compare them: other scales,
            other HR images of the same name, no image in common, other networks of LPIPS.
    """
    problems = _naming(named)
    methods = []
    for name, folder in named:
        try:
            methods.append(read_method(name, folder))
        except NtireSrError as failure:
            problems.append(f"{name}: {failure.message}{f'; {failure.remedy}' if failure.remedy else ''}")
    if len(methods) > 1:
        problems += _contradictions(methods)
    if problems:
        raise ValidationErrors(f"comparing {', '.join(name for name, _ in named)}", problems)
    return methods


def read_method(name: str, folder: Path) -> Method:
    """Read one score back.

    Raises:
        NtireSrError: it is no score, is damaged, or another version of ntire-sr measured it in another way.
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
    try:
        method = _parse(name, folder, content)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise NtireSrError(f"{path} is damaged ({type(error).__name__}: {error})", AGAIN) from error
    return method


def _no_score(folder: Path) -> tuple[str, str]:
    inner = folder / "score" / SCORE_FILE
    if inner.is_file():
        return f"{folder} is a run folder, not that of a score", f"give {inner.parent}"
    if not folder.is_dir():
        return f"the folder {folder} does not exist", "check the path"
    if (folder / "measure.csv").is_file():
        found = "holds a measure.csv, as the official script writes it, but no score.json"
    elif (folder / "records").is_dir():
        found = "holds a scoring that was not finished"
    else:
        found = "holds no score.json"
    return f"{folder} {found}", f"run `ntire-sr score --out {folder}` on its samples"


def _parse(name: str, folder: Path, content: dict[str, Any]) -> Method:
    summary, measured_with = content["summary"], content["measured_with"]
    scale, samples = summary["scale"], summary["samples"]
    if scale not in SCALES or type(samples) is not int or samples < 1:
        raise ValueError(f"scale {scale}, samples {samples}")
    records = Records(folder / "records")
    images, lost = [], []
    for each in content["images"]:
        found = records.load(each["index"], each["record"])
        if found is None:
            lost.append(str(each["name"]))
            continue
        digests = tuple(map(str, each["samples_sha256"]))
        _check(found.score, digests)
        images.append(MethodImage(found.score, each["record"], str(each["hr_sha256"]), digests))
    if not content["images"]:
        raise ValueError("it holds no image")
    if lost:
        raise NtireSrError(f"the records of {shorten(lost)} in {records.folder} are gone or damaged", AGAIN)
    return Method(
        name=name,
        folder=folder,
        version=str(content["version"]),
        scale=scale,
        samples=samples,
        missing=int(summary.get("samples_missing", 0)),
        lpips=None if measured_with["lpips"] is None else str(measured_with["lpips"]),
        realism={str(proxy): str(version) for proxy, version in measured_with["realism"].items()},
        hr=folder / content["hr"],
        sr=folder / content["sr"],
        images=tuple(images),
    )


def _check(score: ImageScore, digests: Sequence[str]) -> None:
    """Whether a record has the values that figures are computed from. Its JSON has no digest of its own."""
    count = len(score.numbers)
    of_lpips = [score.lpips, score.lpips_mosaics]
    lists = [score.numbers, score.mse, score.mse_mosaics, score.lr_errors, *(of_lpips if any(of_lpips) else [])]
    proxies = list(score.realism.values())
    single = [
        score.pixel_distance,
        *(each for each in (score.lpips_pairs, score.pixel_pairs) if each is not None),
    ]
    numbers = [value for values in (*lists, score.lr_errors_uncropped) for value in values] + single
    known = numbers + [value for values in proxies for value in values if value is not None]
    whole = [score.index, *score.numbers]
    if not count or any(len(values) != count for values in (*lists, *proxies, digests)):
        raise ValueError(f"values of {score.name} are missing")
    if any(type(value) not in (int, float) or not math.isfinite(value) for value in known) or min(numbers) < 0:
        raise ValueError(f"a value of {score.name} is no number, or negative")
    if type(score.name) is not str or any(type(value) is not int for value in whole):
        raise ValueError("the record's name or numbers are none")


def _naming(named: Sequence[tuple[str, Path]]) -> list[str]:
    problems = []
    if len(named) < 2:
        problems.append("a comparison takes two scores or more; give each as NAME=FOLDER")
    names = [name for name, _ in named]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        problems.append(f"the name {name} is given to {names.count(name)} scores; give each its own")
    seen: dict[Path, str] = {}
    for name, folder in named:
        earlier = seen.setdefault(folder.resolve(), name)
        if earlier != name:
            problems.append(f"{earlier} and {name} are the same folder {folder}")
    return problems


def _contradictions(methods: Sequence[Method]) -> list[str]:
    """What forbids to compare these scores."""
    problems = []
    if len({method.scale for method in methods}) > 1:
        problems.append(f"their scales differ: {_each(methods, lambda method: str(method.scale))}")
    if len({method.lpips for method in methods if method.lpips}) > 1:
        found = _each(methods, lambda method: (method.lpips or "not measured")[:12])
        problems.append(
            f"their LPIPS is of different AlexNet weights (SHA-256): {found}; score them with one file"
        )
    first: dict[
        str, tuple[Method, str]
    ] = {}  # name of an HR image -> the first method that has it, and its digest
    for method in methods:
        differing: dict[str, list[str]] = {}
        for image in method.images:
            earlier, digest = first.setdefault(image.score.name, (method, image.hr_sha256))
            if digest != image.hr_sha256:
                differing.setdefault(earlier.name, []).append(image.score.name)
        for other, names in differing.items():
            problems.append(
                f"{plural(len(names), 'HR image')} of {method.name} differ from {other}'s of the same name: "
                f"{shorten(names)}; score both against the same HR files"
            )
    if not problems and not common_digests(methods):
        problems.append("no HR image is in all of them; score them against the same HR files")
    return problems


def common_digests(methods: Sequence[Method]) -> list[str]:
    """SHA-256 of the HR images that all methods have, in the order of the first one."""
    others = [{image.hr_sha256 for image in method.images} for method in methods[1:]]
    found = dict.fromkeys(image.hr_sha256 for image in methods[0].images)
    return [digest for digest in found if all(digest in known for known in others)]


def _each(methods: Sequence[Method], says: Any) -> str:
    return ", ".join(f"{method.name} {says(method)}" for method in methods)
