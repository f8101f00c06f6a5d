"""Requirements of each edition of the challenge on archives."""

import re
from dataclasses import dataclass

from ntire_sr.core.errors import require, suggestion

CODABENCH_HANGS = 1_000_000_000  # bytes; larger uploads have hung there


@dataclass(frozen=True)
class Edition:
    """Requirements of one edition."""

    name: str
    readme: bool  # whether the servers parse a readme.txt at the root
    images: int | None  # images of a whole track; None for any number
    samples: int | None  # samples per image; None for any number
    large: int | None  # bytes above which uploads to its platform are known to hang
    description: str  # for users


EDITIONS = {
    edition.name: edition
    for edition in (
        Edition("ntire", True, None, None, CODABENCH_HANGS, "CodaLab or Codabench, any track"),
        Edition(
            "2021", False, 100, 10, None, "the web form of 2021: 100 images of 10 samples, and nothing else"
        ),
        Edition(
            "2022", True, 100, 10, CODABENCH_HANGS, "CodaLab in 2022: 100 images of 10 samples and readme.txt"
        ),
    )
}
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def edition_named(name: str) -> Edition:
    """The edition of this name.

    Raises:
        UsageError: there is none; the error suggests a name.
    """
    require(name in EDITIONS, f"unknown edition {name!r}", suggestion(name, EDITIONS))
    return EDITIONS[name]


def edition_problems(edition: Edition, images: int, samples: int) -> list[str]:
    """Problems of a submission with so many images and samples per image under an edition's rules."""
    problems = []
    if edition.images not in (None, images):
        problems.append(f"edition {edition.name} asks for {edition.images} images; there are {images}")
    if edition.samples not in (None, samples):
        problems.append(f"edition {edition.name} asks for {edition.samples} samples per image, not {samples}")
    return problems


def parse_size(word: str) -> int:
    """Parse a number of bytes from a text such as 900MB.

    >>> parse_size("900MB"), parse_size("1GiB"), parse_size("2g")
    (900000000, 1073741824, 2000000000)
    """
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*([kmg]i?|)b?", word.strip().lower())
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    require(size > 0, f"--max-size {word} is no size", "--max-size 900MB")
    return size
