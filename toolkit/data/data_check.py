"""`ntire-sr data check`: what is in a folder of training images, and what must not be in it.

Two images look alike where their signatures correlate by ALIKE or more. A signature is what is left of
the luma at 32 x 32 pixels: 255 low frequencies, weighted so that fine and coarse ones count the same.
Measured on 364 photographs and pictures: after half size and JPEG quality 70, quarter size, eighth size,
or JPEG quality 30 every image had 0.992 or more with itself; without the first 1 % of rows and columns
two had less than 0.85, without 3 % at least six had less than 0.66; different pictures had 0.66 or less,
except those of one scene (0.82 to 0.996). So: found are copies that were recompressed or resized, also
mirrored or turned ones of validation images; not found are crops, and pictures without contrast unless
they are equal.
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

from ntire_sr.core.errors import Failure
from ntire_sr.core.images import read_image
from ntire_sr.core.layout import list_images
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.threads import map_in_threads
from ntire_sr.data.image_cache import pixels_digest
from ntire_sr.data.photographs import VALIDATION_PHOTOGRAPHS, embedded_photographs

ALIKE = 0.85
SIDE, LOW = 32, 16  # pixels of the small luma; frequencies of it that are compared, along an axis
MEGAPIXELS = (0.25, 0.5, 1, 2, 4, 8)  # bounds of the histogram of sizes
ROWS_AT_ONCE = 2048  # of the table of all pairs
SHOWN = 10  # of each kind of finding in the printed table

_DIV2K = re.compile(r"(?:div2k\D*)?(\d{4})(?:x[2348][a-z]*)?(?:_s\d+)?", re.IGNORECASE)
_PARTS = ((range(801, 901), "validation"), (range(901, 1001), "test"))


@dataclass(frozen=True)
class Findings:
    """What a check found. Images are named relative to their folder."""

    hr: str
    validation: str
    patch: int  # side in pixels of the crop that images should have room for
    images: int = 0  # that could be read
    megapixels: float = 0.0
    smallest: str = ""  # name, width x height
    sizes: dict[str, int] = field(default_factory=dict)  # megapixels in words -> images
    too_small: list[str] = field(default_factory=list)  # no crop fits into them
    same: list[tuple[str, str]] = field(default_factory=list)  # pairs within the folder, all pixels equal
    alike: list[tuple[str, str, float]] = field(default_factory=list)  # pairs that look alike, correlation
    unreadable: list[str] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)  # named as images of DIV2K validation or test
    validated: list[tuple[str, str, float]] = field(
        default_factory=list
    )  # image, validation image, correlation

    @property
    def passes(self) -> bool:
        """Whether nothing is broken or forbidden."""
        return not (self.unreadable or self.forbidden or self.validated)

    def as_json(self) -> dict[str, Any]:
        """Everything, for scripts."""
        return asdict(self) | {"passes": self.passes}


@dataclass(frozen=True)
class _Look:
    """What is kept of one image."""

    name: str
    height: int
    width: int
    digest: str
    signature: np.ndarray


def check(hr: Path, validation: Path | None, patch: int, progress: Progress = SILENT) -> Findings:
    """Look at all images of a folder.

    Args:
        hr: folder of training images, searched with its subfolders.
        validation: folder of images that must not be among them; None: the embedded ones.
        patch: side of a crop in pixels.
        progress: where it says how far it is.

    Raises:
        WrongUse: a folder is missing or holds no image.
        Failure: a validation image cannot be read.
    """
    paths = list_images(hr, "HR", recursive=True)
    held_out = (
        list_images(validation, "validation", recursive=True)
        if validation
        else embedded_photographs(VALIDATION_PHOTOGRAPHS)
    )
    names = [path.relative_to(hr).as_posix() for path in paths]
    looks, unreadable = _look(paths, names, "look at", progress)
    others, broken = _look(held_out, [path.name for path in held_out], "validation", progress)
    if broken:
        raise Failure(f"validation images cannot be read: {'; '.join(broken)}", "replace or remove them")
    same, alike = _within(looks)
    least = min(looks, key=lambda look: min(look.height, look.width), default=None)
    return Findings(
        hr=str(hr),
        validation=str(validation) if validation else "embedded validation photographs",
        patch=patch,
        images=len(looks),
        megapixels=round(sum(look.height * look.width for look in looks) / 1e6, 3),
        smallest=f"{least.name}, {least.width} x {least.height}" if least else "",
        sizes=histogram([look.height * look.width / 1e6 for look in looks]),
        too_small=[look.name for look in looks if min(look.height, look.width) < patch],
        same=same,
        alike=alike,
        unreadable=unreadable,
        forbidden=[f"{name} (DIV2K {part})" for name in names if (part := div2k_part(Path(name).stem))],
        validated=_against(looks, others),
    )


def print_findings(findings: Findings, console: Console) -> None:
    """The findings as a table: first what counts against the folder, at most SHOWN of each kind."""
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
    for what, found in rows:
        shown = found[:SHOWN] + (
            [f"... {len(found) - SHOWN} more (--json lists all)"] if len(found) > SHOWN else []
        )
        table.add_row(what, str(len(found)), Text("\n".join(shown)))
    console.print(table)
    console.print(f"compared with: {findings.validation}", markup=False, highlight=False, soft_wrap=True)
    verdict = "PASS" if findings.passes else "FAIL: remove what is forbidden or broken"
    console.print(verdict, highlight=False)


def _pair(one: str, other: str, likeness: float | None = None) -> str:
    return f"{one} = {other}" if likeness is None else f"{one} ~ {other} ({likeness:.3f})"


def div2k_part(stem: str) -> str | None:
    """`validation` or `test` where a file name without its suffix is one of DIV2K's, else None.

    >>> div2k_part("0801"), div2k_part("0950x4"), div2k_part("DIV2K_0801x4m"), div2k_part("0800")
    ('validation', 'test', 'validation', None)
    """
    match = _DIV2K.fullmatch(stem)
    return next((part for numbers, part in _PARTS if match and int(match[1]) in numbers), None)


def histogram(megapixels: Sequence[float]) -> dict[str, int]:
    """How many images have which size, in words; sizes that none has are left out.

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
    """What an image looks like: (H, W, 3) uint8 to (LOW, LOW) float32 of length 1, or 0 without contrast.

    Low frequencies of the luma's cosine transform, without the mean, times their distance from it, which
    undoes the fall of a photograph's spectrum.
    """
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    spectrum = cv2.dct(cv2.resize(luma, (SIDE, SIDE), interpolation=cv2.INTER_AREA))[:LOW, :LOW]
    spectrum[0, 0] = 0
    if np.linalg.norm(spectrum) < SIDE:  # less than one grey level in the mean square: only noise is left
        return np.zeros_like(spectrum)
    spectrum = spectrum * np.hypot(*np.indices(spectrum.shape, np.float32))
    return spectrum / np.linalg.norm(spectrum)


def _look(
    paths: Sequence[Path], names: Sequence[str], what: str, progress: Progress
) -> tuple[list[_Look], list[str]]:
    """What the images look like, and what is wrong with those that cannot be read."""

    def one(item: tuple[Path, str]) -> _Look | Failure:
        try:
            image = read_image(item[0])
        except Failure as failure:
            return failure
        return _Look(item[1], *image.shape[:2], pixels_digest(image), signature(image))

    with closing(map_in_threads(one, list(zip(paths, names, strict=True)), what, progress)) as found:
        results = list(found)
    looks = [result for result in results if isinstance(result, _Look)]
    return looks, [result.message for result in results if isinstance(result, Failure)]


def _table(looks: Sequence[_Look]) -> np.ndarray:
    """(images, LOW * LOW): their signatures."""
    return np.array([look.signature.ravel() for look in looks], np.float32).reshape(len(looks), LOW * LOW)


def _pairs(rows: np.ndarray, columns: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """(row, column, correlation) of all pairs that look alike."""
    for first in range(0, len(rows), ROWS_AT_ONCE):
        correlation = rows[first : first + ROWS_AT_ONCE] @ columns.T
        for row, column in np.argwhere(correlation >= ALIKE):
            yield first + int(row), int(column), round(float(correlation[row, column]), 3)


def _within(looks: Sequence[_Look]) -> tuple[list[tuple[str, str]], list[tuple[str, str, float]]]:
    """Pairs of one folder: with equal pixels, and the others that look alike."""
    first_of: dict[str, _Look] = {}
    same = []
    for look in looks:
        if look.digest in first_of:
            same.append((first_of[look.digest].name, look.name))
        else:
            first_of[look.digest] = look
    single = list(first_of.values())
    table = _table(single)
    alike = [(single[a].name, single[b].name, likeness) for a, b, likeness in _pairs(table, table) if a < b]
    return same, alike


def _against(looks: Sequence[_Look], others: Sequence[_Look]) -> list[tuple[str, str, float]]:
    """(image, validation image, correlation) of what is in both sets, in any of the eight positions."""
    by_digest = {other.digest: other.name for other in others}
    found = {(look.name, by_digest[look.digest]): 1.0 for look in looks if look.digest in by_digest}
    rows = _table(looks)
    odd = 1.0 - 2.0 * (np.arange(LOW, dtype=np.float32) % 2)  # mirroring changes the sign of odd frequencies
    for turn in range(8):
        turned = _table(others).reshape(-1, LOW, LOW)
        turned = turned * odd[:, None] if turn & 1 else turned
        turned = turned * odd if turn & 2 else turned
        turned = turned.transpose(0, 2, 1) if turn & 4 else turned
        for row, column, likeness in _pairs(rows, turned.reshape(-1, LOW * LOW)):
            pair = looks[row].name, others[column].name
            found[pair] = max(likeness, found.get(pair, 0.0))
    return [(*pair, likeness) for pair, likeness in found.items()]
