"""File names of the challenge: samples, their numbers, and pairs of HR and LR images."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

MOST_SAMPLES = 100_000  # five digits in a sample's name
DEFAULT_SAMPLES = 10  # per image, as the challenge asks for
# The official scripts number SR images from 0; the 2021 and 2022 editions also saw the HR numbers.
FIRST_INDICES = (0, 801, 901)
_SAMPLE = re.compile(r"(?P<index>\d{6})(?:_sample(?P<sample>\d{5}))?\.png")
_SCALE_SUFFIX = re.compile(r"(?<=\d)x[2348]$")


@dataclass(frozen=True, order=True)
class SampleName:
    """The image index and sample number in a file name `{index:06d}_sample{k:05d}.png`."""

    index: int
    sample: int

    def __str__(self) -> str:
        return f"{self.index:06d}_sample{self.sample:05d}.png"


def parse_sample_name(name: str) -> SampleName | None:
    """The image index and sample number in a file name; None if it is not the name of a sample.

    >>> parse_sample_name("000003_sample00007.png")
    SampleName(index=3, sample=7)
    >>> parse_sample_name("000003.png")
    SampleName(index=3, sample=0)
    >>> parse_sample_name("0801.png") is None
    True
    """
    match = _SAMPLE.fullmatch(name)
    return SampleName(int(match["index"]), int(match["sample"] or 0)) if match else None


def image_key(path: Path) -> str:
    """The name that an HR image and its LR image share: the stem without DIV2K's `x4` after a number.

    >>> image_key(Path("LR/0801x4.png")), image_key(Path("HR/matrix4.png"))
    ('0801', 'matrix4')
    """
    return _SCALE_SUFFIX.sub("", path.stem)


def number_samples(names: Collection[str]) -> tuple[dict[SampleName, str], list[str]]:
    """Parse file names to sample names with images numbered from 0; also returns the names of other files.

    >>> number_samples(["000801_sample00000.png", "readme.txt"])
    ({SampleName(index=0, sample=0): '000801_sample00000.png'}, ['readme.txt'])
    """
    named: dict[SampleName, str] = {}
    unexpected: list[str] = []
    for file in names:
        name = parse_sample_name(file)
        if name is None:
            unexpected.append(file)
        elif name in named:
            unexpected.append(f"{file} (the same sample as {named[name]})")
        else:
            named[name] = file
    first = first_index(name.index for name in named)
    return {SampleName(name.index - first, name.sample): file for name, file in named.items()}, unexpected


def samples_per_image(names: Iterable[SampleName]) -> int:
    """The samples per image that names show: the highest number plus 1, up to `DEFAULT_SAMPLES`; that without names.

    >>> samples_per_image([SampleName(0, 0), SampleName(1, 2)]), samples_per_image([SampleName(0, 19)])
    (3, 10)
    """
    return min(max((name.sample + 1 for name in names), default=DEFAULT_SAMPLES), DEFAULT_SAMPLES)


def first_index(indices: Iterable[int]) -> int:
    """The index from which images are counted, one of `FIRST_INDICES`, where these are in use.

    >>> first_index([803, 801]), first_index([3])
    (801, 0)
    """
    lowest = min(indices, default=0)
    return max(start for start in FIRST_INDICES if start <= lowest)
