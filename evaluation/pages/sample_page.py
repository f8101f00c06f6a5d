"""The page and the contact sheet of samples without scores: `ntire-sr view`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from ntire_sr.challenge.downscale import REQUIRED_DB, lr_psnr_db
from ntire_sr.challenge.pixels import to_tensor
from ntire_sr.core.errors import NtireSrError, UsageError, plural
from ntire_sr.core.files import make_folder
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.threads import map_in_threads
from ntire_sr.evaluation.pages.image_table import ImageFigure, image_table
from ntire_sr.evaluation.pages.maps import SHOWN_SAMPLES, picture_deviation, picture_difference
from ntire_sr.evaluation.pages.page import Page, write_page
from ntire_sr.evaluation.pages.pictures import PAGE_BYTES, Detail, Picture, Target, choose_detail
from ntire_sr.evaluation.pages.tables import format_number
from ntire_sr.samples.folders import list_images, list_samples
from ntire_sr.samples.image_files import read_image

PICTURED = 20  # images on a page unless asked otherwise
SHEET_PX = 160  # side of a cell of the contact sheet
SHEET_SAMPLES = 5
LABEL_PX = 18


@dataclass(frozen=True)
class ViewedImage:
    """One LR image with its samples."""

    index: int  # from 0, in the order of the LR images
    name: str
    samples: Sequence[tuple[int, Path]]  # (number, file)
    lr: Path | None
    hr: Path | None


@dataclass(frozen=True)
class Measured:
    """What is shown of one image, and its figures."""

    entry: dict[str, Any] | None  # see `gallery.picture_image`; None if it is not pictured
    deviation: float  # mean standard deviation over the samples, in grey levels; nan for a single sample
    lr_psnr_db: float  # lowest of its samples; nan without an LR image
    sheet: list[tuple[str, np.ndarray]]  # (label, cell) of its row in the contact sheet; empty if it has none


def list_viewed(sr: Path, lr: Path | None, hr: Path | None) -> list[ViewedImage]:
    """The images of a folder of samples, with their LR and HR images by position.

    Raises:
        UsageError: the folder holds no samples, or LR or HR images are fewer than those of the samples.
    """
    files, _ = list_samples(sr)
    if not files:
        raise UsageError(f"{sr} holds no samples", "a folder that `ntire-sr generate` or `project` filled")
    by_index: dict[int, list[tuple[int, Path]]] = {}
    for name, path in sorted(files.items()):
        by_index.setdefault(name.index, []).append((name.sample, path))
    further: dict[str, list[Path]] = {}
    for kind, folder in (("LR", lr), ("HR", hr)):
        further[kind] = list_images(folder, kind) if folder else []
        if folder and len(further[kind]) <= max(by_index):
            raise UsageError(
                f"{folder} holds {plural(len(further[kind]), f'{kind} image')}, and {sr} has samples of image {max(by_index)}",
                f"the folder of the {kind} images that the samples are of",
            )

    def at(kind: str, index: int) -> Path | None:
        return further[kind][index] if further[kind] else None

    return [
        ViewedImage(
            index,
            (at("LR", index) or at("HR", index) or samples[0][1]).name,
            samples,
            at("LR", index),
            at("HR", index),
        )
        for index, samples in by_index.items()
    ]


def write_sample_page(
    page_file: Path,
    images: Sequence[ViewedImage],
    drawn_by: str = "",
    pictures: int = PICTURED,
    sheet: Path | None = None,
    progress: Progress = SILENT,
) -> list[float]:
    """Write the page of samples, one HTML file that needs no other file, and the contact sheet.

    Args:
        page_file: path of the page.
        images: from `list_viewed`.
        drawn_by: model and settings that drew the samples.
        pictures: number of images that are pictured, the first ones.
        sheet: path of the contact sheet, a PNG with a row per pictured image; None for none.
        progress: reports how many images are done.

    Returns:
        The lowest LR-PSNR of each image in dB; nan without an LR image.

    Raises:
        NtireSrError: a file cannot be read, or the samples of an image differ in size.
    """
    measured = []
    budget = PAGE_BYTES // max(1, min(pictures, len(images)))
    with progress.task("view", len(images)) as advance:
        for place, image in enumerate(images):
            measured.append(_measure(image, budget if place < pictures else None, sheet is not None))
            advance()
    make_folder(page_file.parent)
    write_page(page_file, _page(images, measured, drawn_by))
    if sheet is not None:
        rows = [(image.name, m.sheet) for image, m in zip(images, measured, strict=True) if m.sheet]
        make_folder(sheet.parent)
        _contact_sheet(rows).save(sheet)
    return [m.lr_psnr_db for m in measured]


def _measure(image: ViewedImage, budget: int | None, with_sheet: bool) -> Measured:
    samples = list(map_in_threads(read_image, [path for _, path in image.samples], "decode"))
    sizes = {sample.shape for sample in samples}
    if len(sizes) > 1:
        raise NtireSrError(
            f"the samples of {image.name} differ in size", "samples of one LR image have one size"
        )
    stack = np.stack(samples).astype(np.float32)
    deviation = stack.std(axis=0).mean(axis=-1) if len(samples) > 1 else None
    lr = read_image(image.lr) if image.lr else None
    scale = samples[0].shape[0] // lr.shape[0] if lr is not None else 4
    worst = np.nan
    if lr is not None:
        worst = min(lr_psnr_db(to_tensor(sample), to_tensor(lr), scale) for sample in samples)
    mean_deviation = np.nan if deviation is None else float(deviation.mean())
    if budget is None:
        return Measured(None, mean_deviation, worst, [])
    # the samples show the whole LR image, which the crop of the challenge may cut
    hr = read_image(image.hr) if image.hr else None
    target = Target(samples[0] if hr is None else hr, scale, crop=samples[0].shape[:2])
    detail = choose_detail(deviation, target.crop, scale)
    entry = target.entry(
        image.name, _pictures(image, target, detail, samples, stack, deviation, lr, hr), detail, [], budget
    )
    entry |= {"pictures": _join_differences(entry["pictures"]), "drawn": len(samples)}
    cells = _cells(detail, target, samples, deviation, lr, hr) if with_sheet else []
    return Measured(entry, mean_deviation, worst, cells)


def _pictures(
    image: ViewedImage,
    target: Target,
    detail: Detail,
    samples: Sequence[np.ndarray],
    stack: np.ndarray,
    deviation: np.ndarray | None,
    lr: np.ndarray | None,
    hr: np.ndarray | None,
) -> list[Picture]:
    """The pictures of one image: HR, samples, LR, mean, standard deviation, and each sample's difference to the mean."""
    pictures = [target.picture_hr(detail)] if hr is not None else []
    numbers = [number for number, _ in image.samples]
    for number, (_, path), sample in list(zip(numbers, image.samples, samples, strict=True))[:SHOWN_SAMPLES]:
        caption = f"Sample {number}: {path.name}, {target.size}"
        pictures.append(target.picture(f"{number}", f"sample {number}", caption, sample, detail))
    if lr is not None and image.lr:
        caption = f"LR: {image.lr.name}, {lr.shape[1]} x {lr.shape[0]} pixels, shown without interpolation"
        pictures.append(target.picture("lr", "LR", caption, lr, detail, pixelated=True))
    if deviation is None:
        return pictures
    mean = stack.mean(axis=0)
    caption = f"Mean of {plural(len(samples), 'sample')}"
    pictures.append(target.picture("mean", "mean", caption, mean.round().astype(np.uint8), detail))
    pictures.append(picture_deviation(deviation, len(samples), detail, target.crop))
    differences = [(sample - mean).mean(axis=-1) for sample in stack[:SHOWN_SAMPLES]]
    limit = float(np.percentile(np.abs(np.stack(differences)), 99))
    for number, difference in zip(numbers, differences, strict=False):
        pictures.append(picture_difference(number, difference, limit, detail, target.crop))
    return pictures


def _join_differences(pictures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pictures with all differences as one, which shows that of one sample at a time."""
    differences = [picture for picture in pictures if picture["key"].startswith("difference/")]
    others = [picture for picture in pictures if not picture["key"].startswith("difference/")]
    if not differences:
        return others
    joined = {name: differences[0][name] for name in ("pixelated", "legend")}
    return [
        *others,
        {
            "key": "difference",
            "label": "difference to mean",
            **joined,
            "samples": [
                {name: picture[name] for name in ("label", "caption", "whole", "detail")}
                for picture in differences
            ],
        },
    ]


def _page(images: Sequence[ViewedImage], measured: Sequence[Measured], drawn_by: str) -> Page:
    counts = sorted({len(image.samples) for image in images})
    deviations, decibels = [m.deviation for m in measured], [m.lr_psnr_db for m in measured]
    figures = [
        ImageFigure("deviation", "standard deviation", "grey levels", False, 2, [deviations]),
        ImageFigure("lr_psnr", "worst LR-PSNR", "dB", False, 2, [decibels], REQUIRED_DB),
    ]
    defined = [figure for figure in figures if not np.isnan(figure.values[0]).all()]
    summary = []
    if defined and defined[0].key == "deviation":
        value = format_number(float(np.nanmean(deviations)), 2)
        summary.append(("Standard deviation over the samples", value, "grey levels, mean of all images"))
    if defined and defined[-1].key == "lr_psnr":
        summary.append(
            (
                "Worst LR-PSNR",
                format_number(float(np.nanmin(decibels)), 2),
                f"dB; {REQUIRED_DB:.0f} are required",
            )
        )
    gallery = [m.entry for m in measured if m.entry]
    samples = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return Page(
        command="view",
        title=f"{plural(len(images), 'image')}, {samples} samples each"
        if counts != [1]
        else plural(len(images), "image"),
        methods=["samples"],
        drawn_by=drawn_by,
        summary=summary,
        images=image_table(
            defined or figures[:1], ["samples"], [image.name for image in images], range(len(gallery))
        ),
        gallery=gallery,
        left="lr" if images[0].lr else f"{images[0].samples[-1][0]}",
        right=f"{images[0].samples[0][0]}",
        result_files=[],
    )


def _cells(
    detail: Detail,
    target: Target,
    samples: Sequence[np.ndarray],
    deviation: np.ndarray | None,
    lr: np.ndarray | None,
    hr: np.ndarray | None,
) -> list[tuple[str, np.ndarray]]:
    """The row of a contact sheet: the middle of the detail, unscaled."""
    side = min(SHEET_PX, detail.width, detail.height)
    inner = Detail(
        detail.left + (detail.width - side) // 2, detail.top + (detail.height - side) // 2, side, side
    )
    cells = []
    if lr is not None:
        upsampled = cv2.resize(lr, (target.width, target.height), interpolation=cv2.INTER_NEAREST)
        cells.append(("LR", inner.cut(upsampled, target.crop)))
    if hr is not None:
        cells.append(("HR", inner.cut(target.image, target.crop)))
    cells += [
        (f"sample {at}", inner.cut(sample, target.crop)) for at, sample in enumerate(samples[:SHEET_SAMPLES])
    ]
    if deviation is not None:
        part = inner.cut(deviation, target.crop)
        grey = np.clip(part * (255 / max(1.0, float(np.percentile(part, 99)))), 0, 255).astype(np.uint8)
        cells.append(("standard deviation", np.repeat(grey[:, :, None], 3, axis=2)))
    return cells


def _contact_sheet(rows: Sequence[tuple[str, Sequence[tuple[str, np.ndarray]]]]) -> Image.Image:
    """A picture with a row of labelled cells per image."""
    columns = max(len(cells) for _, cells in rows)
    height = SHEET_PX + 2 * LABEL_PX
    sheet = Image.new("RGB", (columns * (SHEET_PX + 4), len(rows) * (height + 4)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, cells) in enumerate(rows):
        top = row * (height + 4)
        draw.text((2, top + 2), name.encode("ascii", "replace").decode(), fill="black")
        for column, (label, cell) in enumerate(cells):
            left = column * (SHEET_PX + 4)
            draw.text((left + 2, top + LABEL_PX), label, fill="grey")
            sheet.paste(Image.fromarray(cell), (left, top + 2 * LABEL_PX))
    return sheet
