"""`ntire-sr data check`: sizes, duplicates and forbidden images of a folder of training images.

Two images look alike if the correlation of their signatures is ALIKE or more. A signature holds the 255 low
frequencies of the luma at 32 x 32 pixels, weighted so that fine and coarse ones count the same.
Measured on 364 photographs and pictures: after half size and JPEG quality 70, quarter size, eighth size,
or JPEG quality 30 every image had 0.992 or more with itself; without the first 1 % of rows and columns
two had less than 0.85, without 3 % at least six had less than 0.66; different pictures had 0.66 or less,
except those of one scene (0.82 to 0.996). So the check finds copies that were recompressed or resized, and
of validation images also copies that were mirrored or turned. It does not find crops, nor copies of pictures
without contrast unless their pixels are equal.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.threads import map_in_threads
from ntire_sr.data.image_cache import pixels_digest
from ntire_sr.data.photographs import VALIDATION_PHOTOGRAPHS, embedded_photographs
from ntire_sr.samples.folders import list_images
from ntire_sr.samples.image_files import read_image
from ntire_sr.samples.image_search import find_images
from ntire_sr.samples.metadata import ImageNotes

ALIKE = 0.85
SIDE, LOW = 32, 16  # along an axis: pixels of the small luma, and its frequencies that are compared
MEGAPIXELS = (0.25, 0.5, 1, 2, 4, 8)  # bounds of the histogram of sizes
ROWS_AT_ONCE = 2048  # rows of the correlation matrix that are computed at once
SHOWN = 10  # largest number of findings of each kind in the printed table

_DIV2K = re.compile(r"(?:div2k\D*)?(\d{4})(?:x[2348][a-z]*)?(?:_s\d+)?", re.IGNORECASE)
_PARTS = ((range(801, 901), "validation"), (range(901, 1001), "test"))


@dataclass(frozen=True)
class Findings:
    """The result of a check. Names of images are relative to their folder."""

    hr: str  # folder of training images
    validation: str  # folder of validation images
    patch: int  # side in pixels of a training crop
    images: int = 0  # number of readable images
    megapixels: float = 0.0  # of all readable images together
    smallest: str = ""  # name, width x height
    sizes: dict[str, int] = field(default_factory=dict)  # range of megapixels ("1 to 2") -> number of images
    too_small: list[str] = field(default_factory=list)  # images that are smaller than a crop
    same: list[tuple[str, str]] = field(default_factory=list)  # pairs with equal pixels within the folder
    # other pairs that look alike, with their correlation
    alike: list[tuple[str, str, float]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)  # named like images of DIV2K validation or test
    # lines about profiles and orientations that are not applied
    notes: list[str] = field(default_factory=list)
    passed_over: list[str] = field(
        default_factory=list
    )  # files that training does not read, a line for each reason
    # image, validation image, correlation
    validated: list[tuple[str, str, float]] = field(default_factory=list)

    @property
    def passes(self) -> bool:
        """Whether no image is unreadable or forbidden."""
        return not (self.unreadable or self.forbidden or self.validated)

    def as_json(self) -> dict[str, Any]:
        """All fields and `passes`, as values that JSON can hold."""
        return asdict(self) | {"passes": self.passes}


@dataclass(frozen=True)
class _ImageInfo:
    """Name, size, digest and signature of one image."""

    name: str
    height: int
    width: int
    digest: str
    signature: np.ndarray


def check(hr: Path, validation: Path | None, patch: int, progress: Progress = SILENT) -> Findings:
    """Check all images of a folder.

    Args:
        hr: folder of training images, searched with its subfolders.
        validation: folder of images that must not be among them; None means the embedded photographs.
        patch: side of a training crop in pixels.
        progress: receives the progress.

    Raises:
        UsageError: a folder is missing or holds no image.
        NtireSrError: a validation image cannot be read.
    """
    paths = list_images(hr, "HR", recursive=True)
    passed_over = find_images(hr, recursive=True).notes()
    held_out = (
        list_images(validation, "validation", recursive=True, progress=progress)
        if validation
        else embedded_photographs(VALIDATION_PHOTOGRAPHS)
    )
    names = [path.relative_to(hr).as_posix() for path in paths]
    images, unreadable, notes = _inspect(paths, names, "check", progress)
    others, broken, _ = _inspect(held_out, [path.name for path in held_out], "validation", progress)
    if broken:
        raise NtireSrError(f"validation images cannot be read: {'; '.join(broken)}", "replace or remove them")
    same, alike = _within(images)
    smallest = min(images, key=lambda image: min(image.height, image.width), default=None)
    return Findings(
        hr=str(hr),
        validation=str(validation) if validation else "embedded validation photographs",
        patch=patch,
        images=len(images),
        megapixels=round(sum(image.height * image.width for image in images) / 1e6, 3),
        smallest=f"{smallest.name}, {smallest.width} x {smallest.height}" if smallest else "",
        sizes=histogram([image.height * image.width / 1e6 for image in images]),
        too_small=[image.name for image in images if min(image.height, image.width) < patch],
        same=same,
        alike=alike,
        unreadable=unreadable,
        notes=notes,
        passed_over=passed_over,
        forbidden=[f"{name} (DIV2K {part})" for name in names if (part := div2k_part(Path(name).stem))],
        validated=_against(images, others),
    )


def print_findings(findings: Findings, console: Console) -> None:
    """Print the findings as a table, the worst kinds first, at most SHOWN of each kind."""
    table = Table("", "images", "which")
    table.add_row(
        "readable", str(findings.images), f"{findings.megapixels:.1f} megapixels; smallest: {findings.smallest}"
    )
    sizes = ", ".join(f"{label}: {count}" for label, count in findings.sizes.items())
    table.add_row("megapixels", "", sizes)
    rows = (
        ("FORBIDDEN: named as DIV2K's", findings.forbidden),
        ("FORBIDDEN: in the validation set", [_pair(*pair) for pair in findings.validated]),
        ("BROKEN", findings.unreadable),
        (f"no crop of {findings.patch} pixels fits", findings.too_small),
        ("equal images", [_pair(*pair) for pair in findings.same]),
        ("alike", [_pair(*pair) for pair in findings.alike]),
    )
    for label, names in rows:
        shown = names[:SHOWN] + (
            [f"... {len(names) - SHOWN} more (--json lists all)"] if len(names) > SHOWN else []
        )
        table.add_row(label, str(len(names)), Text("\n".join(shown)))
    console.print(table)
    for line in (*findings.notes, *findings.passed_over):
        console.print(f"note: {line}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"compared with: {findings.validation}", markup=False, highlight=False, soft_wrap=True)
    verdict = "PASS" if findings.passes else "FAIL: remove what is forbidden or broken"
    console.print(verdict, highlight=False)


def _pair(first: str, second: str, correlation: float | None = None) -> str:
    return f"{first} = {second}" if correlation is None else f"{first} ~ {second} ({correlation:.3f})"


def div2k_part(stem: str) -> str | None:
    """`validation` or `test` if a file name without its suffix is an image of that part of DIV2K, else None.

    >>> div2k_part("0801"), div2k_part("0950x4"), div2k_part("DIV2K_0801x4m"), div2k_part("0800")
    ('validation', 'test', 'validation', None)
    """
    match = _DIV2K.fullmatch(stem)
    return next((part for numbers, part in _PARTS if match and int(match[1]) in numbers), None)


def histogram(megapixels: Sequence[float]) -> dict[str, int]:
    """Number of images by range of sizes; empty ranges are left out.

    >>> histogram([0.1, 0.7, 0.8, 9.0])
    {'under 0.25': 1, '0.5 to 1': 2, '8 or more': 1}
    """
    labels = [
        f"under {MEGAPIXELS[0]:g}",
        *(f"{low:g} to {high:g}" for low, high in pairwise(MEGAPIXELS)),
        f"{MEGAPIXELS[-1]:g} or more",
    ]
    counts = np.bincount(np.searchsorted(MEGAPIXELS, megapixels, side="right"), minlength=len(labels))
    return {label: int(count) for label, count in zip(labels, counts, strict=True) if count}


def signature(image: np.ndarray) -> np.ndarray:
    """The signature of an image: (H, W, 3) uint8 to (LOW, LOW) float32 of norm 1, or all 0 without contrast.

    It holds the low frequencies of the luma's cosine transform without the mean, each multiplied by its
    distance from the mean, which compensates the decay of a photograph's spectrum.
    """
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    spectrum = cv2.dct(cv2.resize(luma, (SIDE, SIDE), interpolation=cv2.INTER_AREA))[:LOW, :LOW]
    spectrum[0, 0] = 0
    if np.linalg.norm(spectrum) < SIDE:  # less than one grey level root mean square: only noise is left
        return np.zeros_like(spectrum)
    spectrum = spectrum * np.hypot(*np.indices(spectrum.shape, np.float32))
    normalised: np.ndarray = spectrum / np.linalg.norm(spectrum)
    return normalised


def _inspect(
    paths: Sequence[Path], names: Sequence[str], what: str, progress: Progress
) -> tuple[list[_ImageInfo], list[str], list[str]]:
    """Read the images: the information on each readable one, a message for each of the others, and notes."""
    notes = ImageNotes()

    def inspect(item: tuple[Path, str]) -> _ImageInfo | NtireSrError:
        try:
            image = read_image(item[0], notes.of(item[1]))
        except NtireSrError as failure:
            return failure
        return _ImageInfo(item[1], image.shape[0], image.shape[1], pixels_digest(image), signature(image))

    with closing(map_in_threads(inspect, list(zip(paths, names, strict=True)), what, progress)) as inspected:
        results = list(inspected)
    images = [result for result in results if isinstance(result, _ImageInfo)]
    return images, [result.message for result in results if isinstance(result, NtireSrError)], notes.lines()


def _signatures(images: Sequence[_ImageInfo]) -> np.ndarray:
    """The signatures of the images, (images, LOW * LOW)."""
    return np.array([image.signature.ravel() for image in images], np.float32).reshape(len(images), LOW * LOW)


def _pairs(rows: np.ndarray, columns: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """(row, column, correlation) of all pairs of signatures whose correlation is ALIKE or more."""
    for first in range(0, len(rows), ROWS_AT_ONCE):
        correlation = rows[first : first + ROWS_AT_ONCE] @ columns.T
        for row, column in np.argwhere(correlation >= ALIKE):
            yield first + int(row), int(column), round(float(correlation[row, column]), 3)


def _within(images: Sequence[_ImageInfo]) -> tuple[list[tuple[str, str]], list[tuple[str, str, float]]]:
    """The pairs of images of one folder that have equal pixels, and the other pairs that look alike."""
    first_of: dict[str, _ImageInfo] = {}
    same = []
    for image in images:
        if image.digest in first_of:
            same.append((first_of[image.digest].name, image.name))
        else:
            first_of[image.digest] = image
    single = list(first_of.values())
    table = _signatures(single)
    alike = [
        (single[a].name, single[b].name, correlation) for a, b, correlation in _pairs(table, table) if a < b
    ]
    return same, alike


def _against(images: Sequence[_ImageInfo], held_out: Sequence[_ImageInfo]) -> list[tuple[str, str, float]]:
    """(image, validation image, correlation) of the images that are in both sets, mirrored or turned or not."""
    by_digest = {image.digest: image.name for image in held_out}
    correlations = {(image.name, by_digest[image.digest]): 1.0 for image in images if image.digest in by_digest}
    rows = _signatures(images)
    odd = 1.0 - 2.0 * (np.arange(LOW, dtype=np.float32) % 2)  # mirroring flips the sign of odd frequencies
    for turn in range(8):
        turned = _signatures(held_out).reshape(-1, LOW, LOW)
        turned = turned * odd[:, None] if turn & 1 else turned
        turned = turned * odd if turn & 2 else turned
        turned = turned.transpose(0, 2, 1) if turn & 4 else turned
        for row, column, correlation in _pairs(rows, turned.reshape(-1, LOW * LOW)):
            pair = images[row].name, held_out[column].name
            correlations[pair] = max(correlation, correlations.get(pair, 0.0))
    return [(*pair, correlation) for pair, correlation in correlations.items()]
