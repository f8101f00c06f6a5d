"""The pictures of a page: LR, HR, and the samples of one method or of several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ntire_sr.core.errors import NtireSrError, UsageError, ValidationErrors, suggestion
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.threads import map_in_threads
from ntire_sr.evaluation.pages.maps import SHOWN_SAMPLES, Maps, map_notes, picture_maps
from ntire_sr.evaluation.pages.pictures import PAGE_BYTES, Detail, Picture, Target, choose_detail
from ntire_sr.evaluation.pages.scored_files import find_hr, find_samples
from ntire_sr.evaluation.scoring.comparison import Comparison
from ntire_sr.samples.image_files import read_image, read_png

PICTURED_IMAGES = 10
COMPARED_SAMPLES = 12  # pictures of samples for each image of a comparison, shared among the methods


@dataclass(frozen=True)
class Gallery:
    """The pictures of a comparison, and what is missing."""

    entries: list[dict[str, Any]]  # see `picture_image`
    images: list[int]  # for each entry, position among the comparison's images
    notes: list[str]
    methods: list[str] = field(default_factory=list)  # keys of the methods that are pictured


@dataclass(frozen=True)
class MethodSamples:
    """Samples of one method for one image."""

    files: Sequence[tuple[int, Path]]  # (sample number, file)
    name: str = ""  # of the method; empty if it is the only one
    number: int = 1  # of the method on the page
    figures: str = ""  # measured values, to show with its picture
    drawn: int = 0  # number of samples of the image, if more than `files`


def picture_image(
    hr: Path,
    name: str,
    scale: int,
    methods: Sequence[MethodSamples],
    budget_bytes: int,
    maps: Maps | None = None,
) -> dict[str, Any]:
    """Pictures and texts of one image for a page, ready for JSON. Each file is read once.

    Args:
        hr: the HR image.
        name: name of the image.
        scale: HR pixels per LR pixel along an axis.
        methods: the methods. The first 10 samples of each are pictured. Samples of a method without a name appear side
            by side; those of a method with a name share one picture, which shows one sample at a time.
        budget_bytes: upper limit for all pictures together in base64; they shrink until they fit.
        maps: maps over all samples of a single method.

    Returns:
        name, scale; width, height: size of the cropped HR image, px; shown: [width, height] of its whole
        picture, px; detail: left, top, width, height of the detail in the HR image, px; notes: sentences
        on what is not shown; drawn: number of samples of the method that has most; pictures: a list of
        dictionaries with the keys

            key       "hr", a sample's number "0", "1", ... or a method's "1", "2", ..., "lr", "deviation", "best", "lpips"
            label     a word or two
            caption   a sentence
            whole     data URL of the whole image
            detail    data URL of the detail, unscaled (LR and maps: their own pixels in that area)
            pixelated whether it is shown without interpolation
            legend    None for photographs; for sequential maps {"low", "high": texts, "colours": list from
                      low to high}; for `best` {"samples": [{"label", "colour", "share": text in %}]}

        The picture of a method with a name has `samples`, a list of dictionaries with `label`, `caption`, `whole`
        and `detail`, in place of the last three, and `figures`.

    Raises:
        NtireSrError: a file cannot be read.
        ValueError: no picture fits into the budget.
    """
    target = Target(read_image(hr), scale)
    images: dict[Path, np.ndarray] = {}  # samples that were read to choose the detail
    if maps is None:
        images = {
            path: target.crop_image(read_png(path)) for path in (method.files[0][1] for method in methods)
        }
    detail = choose_detail(maps.deviation if maps else _deviation(list(images.values())), target.crop, scale)

    def picture_sample(sample: tuple[MethodSamples, int, Path]) -> Picture:
        method, number, path = sample
        image = images.pop(path, None)
        if image is None:
            image = target.crop_image(read_png(path))
        return _picture_sample(target, method, number, path, image, detail)

    shown = [(method, number, path) for method in methods for number, path in method.files[:SHOWN_SAMPLES]]
    pictures = [target.picture_hr(detail), *map_in_threads(picture_sample, shown, "picture")]
    pictures.append(target.picture_lr(detail))
    notes: list[str] = []
    if maps:
        numbers = [number for number, _ in methods[0].files]
        pictures += picture_maps(maps, numbers, detail, target.crop)
        notes = map_notes(maps, len(numbers))
    entry = target.entry(name, pictures, detail, notes, budget_bytes)
    drawn = max(max(method.drawn, len(method.files)) for method in methods)
    return entry | {"pictures": _join_samples(entry["pictures"], methods), "drawn": drawn}


def _deviation(images: Sequence[np.ndarray]) -> np.ndarray | None:
    """Standard deviation over images, mean over RGB: where the methods differ; None for a single image."""
    return np.stack(images).astype(np.float32).std(axis=0).mean(axis=-1) if len(images) > 1 else None


def _picture_sample(
    target: Target, method: MethodSamples, number: int, path: Path, image: np.ndarray, detail: Detail
) -> Picture:
    key = f"{method.number}/{number}" if method.name else f"{number}"
    caption = f"{method.name}, sample {number}" if method.name else f"Sample {number}"
    return target.picture(key, f"sample {number}", f"{caption}: {path.name}, {target.size}", image, detail)


def _join_samples(pictures: list[dict[str, Any]], methods: Sequence[MethodSamples]) -> list[dict[str, Any]]:
    """The pictures with all samples of a method with a name as one."""
    joined: dict[str, dict[str, Any]] = {}
    by_number = {str(method.number): method for method in methods}
    for picture in pictures:
        number, separator, _ = picture["key"].partition("/")
        if not separator:
            joined[picture["key"]] = picture
            continue
        method = by_number[number]
        shown = joined.setdefault(
            number,
            {
                "key": number,
                "label": f"{number} {method.name}",
                "figures": method.figures,
                "pixelated": False,
                "legend": None,
                "samples": [],
            },
        )
        shown["samples"].append({name: picture[name] for name in ("label", "caption", "whole", "detail")})
    return list(joined.values())


def picture_comparison(
    comparison: Comparison,
    most: int = PICTURED_IMAGES,
    sr: Mapping[str, Path] | None = None,
    hr: Path | None = None,
    progress: Progress = SILENT,
) -> Gallery:
    """Pictures of those images in which the methods differ most.

    Only files with the digests of those that were scored are shown. Without `sr` and `hr` they are searched where
    they were scored, and missing ones are left out with a note.

    Args:
        comparison: the compared methods.
        most: number of images at most.
        sr: folder of the samples of some methods, by name.
        hr: folder of the HR images.
        progress: reports how many images were pictured.

    Raises:
        UsageError: a folder is given for a method that is not compared.
        ValidationErrors: the given folders lack files that were scored, or hold others of the same names.
    """
    folders = dict(sr or {})
    names = [method.name for method in comparison.methods]
    for name in folders:
        if name not in names:
            raise UsageError(f"--sr {name}=...: no such method is compared", suggestion(name, names))
    images = most_different(comparison)[:most]
    shown = max(1, min(SHOWN_SAMPLES, COMPARED_SAMPLES // len(names)))
    notes, problems = [], []
    samples: dict[
        int, list[list[tuple[int, Path]]]
    ] = {}  # position of the method -> samples of each pictured image
    for at, method in enumerate(comparison.methods if images else ()):
        scored = [comparison.images[at][image] for image in images]
        try:
            samples[at] = find_samples(folders.get(method.name, method.sr), scored, shown)
        except NtireSrError as failure:
            if method.name in folders:
                problems.append(f"{method.name}: {failure.message}")
            else:
                notes.append(
                    f"No pictures of {method.name}: {failure.message}; give --sr {method.name}=FOLDER."
                )
    hr_files: list[Path] = []
    try:
        hr_files = [find_hr(comparison, image, hr) for image in images]
    except NtireSrError as failure:
        if hr:
            problems.append(failure.message)
        else:
            notes.append(f"No pictures: {failure.message}; give --hr FOLDER.")
    if problems:
        raise ValidationErrors(
            "the pictures", problems, "give the folders that were scored, or leave out --sr and --hr"
        )
    if not hr_files or not samples:
        return Gallery([], [], notes)
    entries = []
    with progress.task("picture", len(images)) as advance:
        for position, (image, path) in enumerate(zip(images, hr_files, strict=True)):
            methods = [
                MethodSamples(
                    files[position],
                    names[at],
                    at + 1,
                    _figures(comparison, at, image),
                    len(comparison.images[at][image].score.numbers),
                )
                for at, files in samples.items()
            ]
            name, budget = comparison.names[image], PAGE_BYTES // len(images)
            entries.append(picture_image(path, name, comparison.scale, methods, budget))
            advance()
    return Gallery(entries, images, notes, [str(at + 1) for at in samples])


def most_different(comparison: Comparison) -> list[int]:
    """Positions of the images, beginning with those in which the first figure of the methods differs most."""
    lines = np.array(comparison.per_image(comparison.figures[0]))
    difference = np.nan_to_num(lines.max(axis=0) - lines.min(axis=0), nan=-1.0)
    return [int(at) for at in np.argsort(-difference, kind="stable")]


def _figures(comparison: Comparison, method: int, image: int) -> str:
    """The first two figures of one image of a method."""
    texts = []
    for figure in comparison.figures[:2]:
        value = figure.of_image(comparison.images[method][image].score, comparison.samples)
        texts.append(f"{figure.label} {value:.{figure.digits}f}".replace("nan", "-"))
    return " · ".join(texts)
