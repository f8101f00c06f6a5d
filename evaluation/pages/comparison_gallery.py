"""The pictures of a comparison: the samples of all methods beside HR and LR, found by their digests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import NtireSrError, UsageError, ValidationErrors, shorten, suggestion
from ntire_sr.core.files import sha256_file
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.evaluation.pages.gallery import SHOWN_SAMPLES
from ntire_sr.evaluation.pages.pictures import PAGE_BYTES, Target, detail_place
from ntire_sr.evaluation.scoring.comparison import Comparison
from ntire_sr.evaluation.scoring.load_scores import Method, MethodImage
from ntire_sr.samples.folders import list_samples
from ntire_sr.samples.image_files import read_image

PICTURED_IMAGES = 10
SAMPLES_IN_ALL = 12  # pictures of samples for each image, shared among the methods


@dataclass(frozen=True)
class Gallery:
    """The pictures, and what of them is missing."""

    entries: list[dict[str, Any]]  # see `picture_methods`
    images: list[int]  # position among the comparison's images of each entry
    notes: list[str]


def picture_comparison(
    comparison: Comparison,
    most: int = PICTURED_IMAGES,
    sr: Mapping[str, Path] | None = None,
    hr: Path | None = None,
    progress: Progress = SILENT,
) -> Gallery:
    """Pictures of those images in which the methods differ most.

    Only files that are those that were scored are shown, told by their digests. Without `sr` and `hr` they are
    looked for where they were scored, and what is not there any more is left out with a note.

    Args:
        comparison: the compared methods.
        most: number of images at most.
        sr: folder of the samples of some methods, by name.
        hr: folder of the HR images.
        progress: reports how many images were pictured.

    Raises:
        UsageError: a folder is given for a method that is not compared.
        ValidationErrors: the given folders lack files that were scored, or hold others of their names.
    """
    given = dict(sr or {})
    for name in given:
        known = [method.name for method in comparison.methods]
        if name not in known:
            raise UsageError(f"--sr {name}=...: no such method is compared", suggestion(name, known))
    images = most_different(comparison)[:most]
    each = max(1, min(SHOWN_SAMPLES, SAMPLES_IN_ALL // len(comparison.methods)))
    notes, problems = [], []
    found: dict[int, list[list[tuple[int, Path]]]] = {}  # method -> samples of each pictured image
    for at, method in enumerate(comparison.methods if images else ()):
        folder = given.get(method.name, method.sr)
        try:
            found[at] = _samples(method, folder, [comparison.images[at][image] for image in images], each)
        except NtireSrError as failure:
            if method.name in given:
                problems.append(f"{method.name}: {failure.message}")
            else:
                notes.append(
                    f"No pictures of {method.name}: {failure.message}; give --sr {method.name}=FOLDER."
                )
    targets: list[Path] = []
    try:
        targets = [_hr(comparison, image, hr) for image in images]
    except NtireSrError as failure:
        if hr:
            problems.append(failure.message)
        else:
            notes.append(f"No pictures: {failure.message}; give --hr FOLDER.")
    if problems:
        raise ValidationErrors(
            "the pictures", problems, "give the folders that were scored, or leave out --sr and --hr"
        )
    if not targets or not found:
        return Gallery([], [], notes)
    entries = []
    with progress.task("picture", len(images)) as advance:
        for position, (image, path) in enumerate(zip(images, targets, strict=True)):
            samples = {at: of_images[position] for at, of_images in found.items()}
            entries.append(picture_methods(comparison, image, path, samples, PAGE_BYTES // len(images)))
            advance()
    return Gallery(entries, images, notes)


def most_different(comparison: Comparison) -> list[int]:
    """Positions of the images, those first in which the first figure of the methods differs most."""
    lines = np.array(comparison.per_image(comparison.figures[0]))
    apart = np.nan_to_num(lines.max(axis=0) - lines.min(axis=0), nan=-1.0)
    return [int(at) for at in np.argsort(-apart, kind="stable")]


def _samples(
    method: Method, folder: Path, images: Sequence[MethodImage], most: int
) -> list[list[tuple[int, Path]]]:
    """(number, file) of the first different samples of each image."""
    files, _ = list_samples(folder)
    missing, changed, chosen = [], [], []
    for image in images:
        kept: dict[str, tuple[int, Path]] = {}
        for number, digest in zip(image.score.numbers, image.samples_sha256, strict=True):
            name = SampleName(image.score.index, number)
            if len(kept) == most or digest in kept:
                continue  # equal samples, as deterministic methods have them, are shown once
            if name not in files:
                missing.append(str(name))
            elif sha256_file(files[name]) != digest:
                changed.append(files[name].name)
            else:
                kept[digest] = (number, files[name])
        chosen.append(list(kept.values()))
    found = [f"lacks {shorten(missing)}"] if missing else []
    if changed:
        found.append(f"holds others than were scored: {shorten(changed)}")
    if found:
        raise NtireSrError(f"{folder} {' and '.join(found)}")
    return chosen


def _hr(comparison: Comparison, image: int, folder: Path | None) -> Path:
    """The file of an HR image, in the given folder or in one of those that the methods were scored with."""
    names = dict.fromkeys(own[image].score.name for own in comparison.images)
    digest = comparison.images[0][image].hr_sha256
    folders = [folder] if folder else list(dict.fromkeys(method.hr for method in comparison.methods))
    for place in folders:
        for name in names:
            if (place / name).is_file() and sha256_file(place / name) == digest:
                return place / name
    where = " or ".join(map(str, folders))
    raise NtireSrError(f"the HR image {comparison.names[image]} that was scored is not in {where}")


def picture_methods(
    comparison: Comparison, image: int, hr: Path, samples: Mapping[int, Sequence[tuple[int, Path]]], budget: int
) -> dict[str, Any]:
    """All that the page shows of one image, as `gallery.picture_image` gives it; each file is read once.

    The picture of a method has no `caption`, `whole` and `detail` of its own, but `samples`, a list of dictionaries
    with these and `label`, and `figures`, what was measured. Its key is the number of the method from 1, its label
    that and the name. The detail lies where the first samples of the methods differ most.

    Args:
        comparison: the compared methods.
        image: position of the image.
        hr: the HR image.
        samples: (number, file) of the samples to show, by position of the method.
        budget: upper limit for all pictures together in base64.
    """
    target = Target(hr, comparison.scale)
    firsts = [target.cropped(read_image(own[0][1])) for own in samples.values()]
    deviation = np.stack(firsts).astype(np.float32).std(axis=0).mean(axis=-1) if len(firsts) > 1 else None
    place = detail_place(deviation, target.crop, comparison.scale)
    pictures = target.pictures(place)
    for at, first in zip(samples, firsts, strict=True):
        name = comparison.methods[at].name
        for number, path in samples[at]:
            sample = first if path == samples[at][0][1] else target.cropped(read_image(path))
            caption = f"{name}, sample {number}: {path.name}, {target.size}"
            pictures.append(target.picture(f"{at}/{number}", f"sample {number}", caption, sample, place))
    entry = target.entry(comparison.names[image], pictures, place, [], budget)
    lr, hr_picture, *encoded = entry["pictures"]
    methods = [
        {
            "key": f"{at + 1}",
            "label": f"{at + 1} {comparison.methods[at].name}",
            "figures": _figures(comparison, at, image),
            "pixelated": False,
            "legend": None,
            "samples": [
                {name: picture[name] for name in ("label", "caption", "whole", "detail")}
                for picture in encoded
                if picture["key"].split("/")[0] == str(at)
            ],
        }
        for at in samples
    ]
    return entry | {"pictures": [hr_picture, *methods, lr]}


def _figures(comparison: Comparison, method: int, image: int) -> str:
    """What the first two figures are of one image of a method."""
    said = []
    for figure in comparison.figures[:2]:
        assert figure.of_image
        value = figure.of_image(comparison.images[method][image].score)
        said.append(f"{figure.label} {value:.{figure.digits}f}".replace("nan", "-"))
    return " · ".join(said)
