"""What each edition of the challenge asks of an archive."""

import re
from dataclasses import dataclass

from ntire_sr.core.errors import require, suggestion

CODABENCH_HANGS = 1_000_000_000  # bytes; uploads above have hung there


@dataclass(frozen=True)
class Edition:
    """One form of handing in."""

    name: str
    readme: bool  # whether the servers parse a readme.txt at the root
    images: int | None  # of a whole track; None: any number
    samples: int | None  # per image
    large: int | None  # bytes above which its platform is known to choke
    says: str


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
    """A row of the table; an unknown name is refused with a suggestion."""
    require(name in EDITIONS, f"unknown edition {name!r}", suggestion(name, EDITIONS))
    return EDITIONS[name]


def edition_problems(edition: Edition, images: int, samples: int) -> list[str]:
    """What an edition misses in so many images of so many samples each."""
    problems = []
    if edition.images not in (None, images):
        problems.append(f"edition {edition.name} asks for {edition.images} images; there are {images}")
    if edition.samples not in (None, samples):
        problems.append(f"edition {edition.name} asks for {edition.samples} samples per image, not {samples}")
    return problems


def parse_size(word: str) -> int:
    """A number of bytes from a text.

    >>> parse_size("900MB"), parse_size("1GiB"), parse_size("2g")
    (900000000, 1073741824, 2000000000)
    """
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*([kmg]i?|)b?", word.strip().lower())
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    require(size > 0, f"--max-size {word} is no size", "--max-size 900MB")
    return size
