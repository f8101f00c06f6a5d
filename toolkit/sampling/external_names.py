"""Matching the file names of another program's images with LR images and sample numbers."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ntire_sr.challenge.names import MOST_SAMPLES, SampleName, first_index, image_key, parse_sample_name
from ntire_sr.challenge.pairs import NamePairs, pair_names
from ntire_sr.core.errors import require
from ntire_sr.samples.image_search import IMAGE_SUFFIXES
from ntire_sr.samples.problems import Kind, Problem, name_problems, of_kind, samples_without_image

_FIELD = re.compile(r"(\{[^{}]*\})")
_SCALE_SUFFIX = re.compile(r"x[2348]$")


@dataclass(frozen=True)
class NameMatch:
    """The file of each sample, with images and samples counted from 0, and the problems of the names."""

    files: dict[SampleName, str]
    per_image: int  # number of samples that each image should have
    problems: list[Problem]
    ignored: str = ""  # what was ignored to pair the names, see `challenge.pairs.NamePairs`
    example: str = ""


@dataclass(frozen=True)
class Pattern:
    """A pattern of file names, such as `{stem}_{sample}`."""

    text: str
    regex: re.Pattern[str]
    with_suffix: bool  # whether the pattern names the suffix, too

    @property
    def depth(self) -> int:
        """Number of folders in it.

        >>> parse_pattern("{stem}/{sample}").depth
        1
        """
        return self.text.count("/")

    def match(self, file: str) -> tuple[str, int] | None:
        """The stem of the LR image and the number of the sample in a file's name; None if it is of another form.

        >>> parse_pattern("{stem}_rlt").match("0801x4_rlt.png")
        ('0801x4', 0)
        >>> parse_pattern("{stem}/{sample}").match("a/07.jpg")
        ('a', 7)
        """
        text = file if self.with_suffix else str(PurePosixPath(file).with_suffix(""))
        match = self.regex.fullmatch(text)
        return (match["stem"], int(match.groupdict().get("sample") or 0)) if match else None


def parse_pattern(text: str) -> Pattern:
    """A pattern of names with `{stem}`, the stem of the LR image, and perhaps `{sample}`, a number.

    Raises:
        UsageError: it lacks `{stem}`, has other fields, or does not tell where the number begins.
    """
    parts = _FIELD.split(text)
    fields = [part for part in parts if _FIELD.fullmatch(part)]
    example = "for example --names '{stem}_{sample}', or '{stem}/{sample}' for a folder per image"
    for field in fields:
        require(field in ("{stem}", "{sample}"), f"--names {text}: unknown field {field}", example)
    for field, allowed in (("{stem}", (1,)), ("{sample}", (0, 1))):
        count = fields.count(field)
        require(count in allowed, f"--names {text} has {field} {count} times", example)
    require(
        not text.startswith("/") and ".." not in text.split("/"),
        f"--names {text} leaves the folder of the images",
        example,
    )
    if len(fields) == 2:
        between = parts[parts.index(fields[0]) + 1]
        require(
            re.search(r"\D", between) is not None,
            f"--names {text} does not tell where the number begins: a text that is not only digits must separate "
            "{stem} and {sample}",
            example,
        )
    groups = {"{stem}": r"(?P<stem>[^/]+)", "{sample}": r"(?P<sample>\d+)"}
    regex = "".join(groups.get(part, re.escape(part)) for part in parts)
    return Pattern(text, re.compile(regex), PurePosixPath(text).suffix.lower() in IMAGE_SUFFIXES)


def match_names(files: Sequence[str], lr: Sequence[Path], pattern: Pattern | None) -> NameMatch:
    """Match the names of another program's images with LR images.

    Without a pattern the names are either the LR images' own, for one sample per image, or the challenge's with
    the index of the LR image. Samples are numbered from 0 in the order of their numbers, wherever these begin.

    >>> matched = match_names(["a_1.png", "a_2.png"], [Path("a.png")], parse_pattern("{stem}_{sample}"))
    >>> matched.files, matched.problems
    ({SampleName(index=0, sample=0): 'a_1.png', SampleName(index=0, sample=1): 'a_2.png'}, [])

    Args:
        files: names, relative to their folder, with forward slashes.
        lr: LR images, in the order of their indices.
        pattern: form of the names; None: as described above.
    """
    if pattern is not None:
        return _number(*_by_pattern(files, lr, pattern), lr)
    readings = [_by_pattern(files, lr, parse_pattern("{stem}")), (*_by_index(files), NamePairs({}))]
    return _number(*min(readings, key=lambda reading: len(reading[1])), lr)


def suggested_pattern(files: Sequence[str], lr: Sequence[Path]) -> str | None:
    """A pattern that fits all the names; None if none was found.

    >>> suggested_pattern(["0801x4_rlt.png", "0802x4_rlt.png"], [Path("0801.png"), Path("0802.png")])
    '{stem}_rlt'
    >>> suggested_pattern(["a-0.png", "a-1.png"], [Path("a.png")])
    '{stem}-{sample}'
    """
    if not files or set("{}") & set(files[0]):
        return None
    name = str(PurePosixPath(files[0]).with_suffix(""))
    stems = sorted({stem for path in lr for stem in _spellings(path)} & _parts_of(name), key=len)
    for stem in reversed(stems):
        before, _, after = name.partition(stem)
        for text in (
            f"{before}{{stem}}{after}",
            f"{before}{{stem}}{re.sub(r'[0-9]+(?=[^0-9]*$)', '{sample}', after)}",
        ):
            if len(_FIELD.findall(text)) == 2 and not re.search(r"\}[^{]*\D[^{]*\{", text):
                continue
            groups, unmatched, _ = _by_pattern(files, lr, parse_pattern(text))
            if not unmatched and all(len(group) == 1 for group in groups.values()):
                return text
    return None


def _parts_of(name: str) -> set[str]:
    return {name[i:j] for i in range(len(name)) for j in range(i + 1, len(name) + 1)}


def _spellings(path: Path) -> list[str]:
    """The stem of an LR image, and how else its HR image may be called."""
    return list(
        dict.fromkeys(
            (
                path.stem,
                f"{path.stem}x4",
                f"{path.stem}x8",
                image_key(path),
                _SCALE_SUFFIX.sub("", path.stem),
            )
        )
    )


_Groups = dict[tuple[int, int], list[str]]  # (index of the LR image, number in the name) -> files


def _by_pattern(
    files: Iterable[str], lr: Sequence[Path], pattern: Pattern
) -> tuple[_Groups, list[str], NamePairs]:
    """Files by LR image and number, those of another form or without an LR image, and how the names were paired."""
    matches = {file: pattern.match(file) for file in files}
    stems = dict.fromkeys(f"{match[0]}.png" for match in matches.values() if match)
    pairs = pair_names(list(stems), [path.name for path in lr])
    groups: _Groups = defaultdict(list)
    unmatched = []
    for file, match in matches.items():
        index = pairs.positions.get(f"{match[0]}.png") if match else None
        if match is None or index is None:
            unmatched.append(file)
        else:
            groups[index, match[1]].append(file)
    return groups, unmatched, pairs


def _by_index(files: Iterable[str]) -> tuple[_Groups, list[str]]:
    """Files by the index and number in the challenge's names, and those that have other names."""
    named = {file: parse_sample_name(f"{PurePosixPath(file).stem}.png") for file in files}
    first = first_index(name.index for name in named.values() if name)
    groups: _Groups = defaultdict(list)
    for file, name in named.items():
        if name:
            groups[name.index - first, name.sample].append(file)
    return groups, [file for file, name in named.items() if name is None]


def _number(groups: _Groups, unmatched: list[str], pairs: NamePairs, lr: Sequence[Path]) -> NameMatch:
    """The files with their samples numbered from 0, and all problems of their names."""
    without_image = sorted(unmatched)
    too_high: list[str] = []
    samples: _Groups = {}
    for (index, number), files in sorted(groups.items()):
        if index >= len(lr):
            without_image += files
        elif number >= MOST_SAMPLES:
            too_high += files
        else:
            samples[index, number] = files
    problems = [samples_without_image(without_image)] if without_image else []
    problems += [Problem(Kind.SURPLUS, f"{file}: its sample number is too high") for file in too_high]
    for (index, _), files in samples.items():
        if len(files) > 1:
            text = f"{' and '.join(sorted(files))}: the same sample of {lr[index].name}"
            problems.append(Problem(Kind.DUPLICATE, text, image=index, count=len(files)))
    if not samples:
        return NameMatch({}, 0, problems)
    numbers = [number for _, number in samples]
    first, per_image = min(numbers), max(numbers) - min(numbers) + 1
    matched = {SampleName(index, number - first): files[0] for (index, number), files in samples.items()}
    problems += of_kind(name_problems(matched, [], lr, per_image, first), Kind.MISSING)
    return NameMatch(matched, per_image, problems, pairs.ignored, pairs.example)
