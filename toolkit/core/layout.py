"""Paths and file names: the run folder, the challenge's file names, and pairs of HR and LR images."""

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ntire_sr.core.errors import Problems, WrongUse

DEFAULT_RUN = Path("runs/latest")
MOST_SAMPLES = 100_000  # five digits in a sample's name
DEFAULT_SAMPLES = 10  # per image, as the challenge asks for
MANIFEST = "manifest.json"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# The official scripts number SR images from 0; the 2021 and 2022 editions also saw the HR numbers.
FIRST_INDICES = (0, 801, 901)

_SAMPLE = re.compile(r"(?P<index>\d{6})(?:_sample(?P<sample>\d{5}))?\.png")
_SCALE_SUFFIX = re.compile(r"(?<=\d)x[2348]$")


@dataclass(frozen=True)
class RunFolder:
    """Paths of the results of one run."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def previews(self) -> Path:
        return self.path / "previews"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def weights(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def validation_hr(self) -> Path:
        return self.path / "validation" / "HR"

    def validation_lr(self, scale: int) -> Path:
        """Folder of the LR images of one scale; each scale has its own."""
        return self.path / "validation" / f"LRx{scale}"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def score(self) -> Path:
        return self.path / "score"

    @property
    def archive(self) -> Path:
        return self.path / "submission.zip"


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
    """The name that an HR image and its LR image share: the stem without DIV2K's `x4` behind a number.

    >>> image_key(Path("LR/0801x4.png")), image_key(Path("HR/matrix4.png"))
    ('0801', 'matrix4')
    """
    return _SCALE_SUFFIX.sub("", path.stem)


def same_image(one: Path, other: Path) -> bool:
    """Whether two names stand for the same image; an `x4` at the end of either is ignored.

    >>> same_image(Path("HR/baboon.png"), Path("LR/baboonx4.png"))
    True
    """
    shorter, longer = sorted((one.stem, other.stem), key=len)
    return (
        image_key(one) == image_key(other) or re.fullmatch(re.escape(shorter) + "x[2348]", longer) is not None
    )


def list_images(folder: Path, what: str, recursive: bool = False) -> list[Path]:
    """The image files of a folder, ordered by their key, so that HR and LR folders agree.

    Args:
        folder: folder to search.
        what: what the folder should hold, for the error ("LR", "HR", ...).
        recursive: whether to search subfolders, too.

    Raises:
        WrongUse: the folder is missing or holds no image.
        Problems: two files would be the same image (`0801.png` and `0801.jpg`).
    """
    if not folder.is_dir():
        problem = "is no folder" if folder.exists() else "does not exist"
        raise WrongUse(f"the {what} folder {folder} {problem}", "check the path")
    found = [
        path
        for path in (folder.rglob("*") if recursive else folder.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not found:
        raise WrongUse(
            f"the {what} folder {folder} holds no image ({', '.join(IMAGE_SUFFIXES)})",
            "give the folder that directly holds the images" if not recursive else "check the path",
        )
    found.sort(key=lambda path: (path.parent, image_key(path), path.name))
    if not recursive:
        duplicates = [f"{a.name} and {b.name}" for a, b in pairwise(found) if image_key(a) == image_key(b)]
        if duplicates:
            raise Problems(f"{folder}: the same image twice", duplicates, "keep one file per image")
    return found


def list_samples(folder: Path) -> tuple[dict[SampleName, Path], list[str]]:
    """The samples of a folder by image index and sample number, and the names of all other files.

    Image indices count from 0: those that begin at 801 or 901, as DIV2K's numbers do, are shifted.
    """
    if folder.is_file():
        raise WrongUse(f"--sr {folder} is a file, not a folder of samples", "give the folder")
    if not folder.is_dir():
        raise WrongUse(f"the SR folder {folder} does not exist", "check the path")
    paths = [
        path
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST and not (path.name.startswith(".") and parse_sample_name(path.name) is None)
    ]
    named, unexpected = number_samples([path.name for path in paths if path.is_file()])
    unexpected += [path.name for path in paths if not path.is_file()]
    return {name: folder / file for name, file in named.items()}, unexpected


def number_samples(names: Collection[str]) -> tuple[dict[SampleName, str], list[str]]:
    """File names by image index, shifted to count from 0, and sample number; and the names of other files.

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


def first_index(indices: Iterable[int]) -> int:
    """The index from which images are counted, one of `FIRST_INDICES`, where these are in use.

    >>> first_index([803, 801]), first_index([3])
    (801, 0)
    """
    lowest = min(indices, default=0)
    return max(start for start in FIRST_INDICES if start <= lowest)


def results_path(sr: Path, run: RunFolder, own: Path, ending: str) -> Path:
    """Where results about a folder of samples go by default: to `own`, a path of the run, if the samples are the
    run's, and else beside them, so that nobody's results replace another's.

    >>> run = RunFolder(Path("runs/latest"))
    >>> results_path(Path("runs/latest/samples"), run, run.score, "_score").as_posix()
    'runs/latest/score'
    >>> results_path(Path("theirs/SR"), run, run.score, "_score").as_posix()
    'theirs/SR_score'
    """
    if sr.resolve() == run.samples.resolve():
        return own
    named = sr if sr.name not in ("", "..") else sr.resolve()
    return named.with_name(f"{named.name}{ending}")


def relative_to(path: Path, folder: Path) -> str:
    """`path` relative to `folder`, with forward slashes; absolute if they lie on different Windows drives."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:
        return path.resolve().as_posix()
