"""Pairing the names of the same images in two folders, such as HR `0801.png` and LR `0801x4.png`."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from ntire_sr.core.errors import require

_WORD = r"(?:x[2348][a-z]?|[2348]x|lr|hr|sr|gt|lq|bicubic|bic|bi|mod\d+)"
_SUFFIX = re.compile(rf"(?:x[2348][a-z]?|[-_. ]{_WORD})(?:[-_. ]?{_WORD})*$")  # of a name in lower case
_NUMBER = re.compile(r"\d+")


def _same_text(stem: str) -> str:
    return unicodedata.normalize("NFC", stem)


def _same_case(stem: str) -> str:
    return _same_text(_same_text(stem).casefold())


def _without_suffix(stem: str) -> str:
    folded = _same_case(stem)
    match = _SUFFIX.search(folded)
    return folded[: match.start()] if match and match.start() else folded


def _same_number(stem: str) -> str:
    return _NUMBER.sub(lambda number: str(int(number[0])), _without_suffix(stem))


# forms of a name, from the most to the least exact, and what is ignored in them
_FORMS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("", str),
    ("Unicode composition", _same_text),
    ("case", _same_case),
    ("suffixes such as x4 or _LR", _without_suffix),
    ("leading zeros", _same_number),
)


@dataclass(frozen=True)
class NamePairs:
    """The names of one folder, each with the position of its image in another folder."""

    positions: dict[str, int]  # name -> position in the other list; names without a partner are not in it
    ignored: str = ""  # what was ignored to pair them; empty if the names are equal
    example: str = ""  # a pair of different names


def stem_of(name: str) -> str:
    """A file name without its suffix.

    >>> stem_of("face.v2.png")
    'face.v2'
    """
    return PurePath(name).stem


def pair_names(names: Sequence[str], others: Sequence[str], pattern: str | None = None) -> NamePairs:
    """Pair file names of two folders by their stems.

    Names are compared as they are; if not all pair so, they are compared without regard to Unicode composition; then
    also to case, suffixes and leading zeros. The first of these forms in which most names pair counts for all of them,
    so that `face` and `facet` belong to `facex4` and `facetx4`. A name that is not unique in a form has no partner.

    >>> pair_names(["facetx4.png", "facex4.png"], ["face.png", "facet.png"])
    NamePairs(positions={'facetx4.png': 1, 'facex4.png': 0}, ignored='suffixes such as x4 or _LR', example='facetx4.png with facet.png')

    Args:
        names: names of files.
        others: names of the files in the other folder.
        pattern: form of `names`, in which `{stem}` stands for the stem of the other name, such as `{stem}_small`; None
            to find the form.
    """
    if pattern is None:
        return _best({name: stem_of(name) for name in names}, others)
    before, after = _parts(pattern)
    stems = {
        name: stem[len(before) : len(stem) - len(after)]
        for name in names
        if (stem := stem_of(name)).startswith(before)
        and stem.endswith(after)
        and len(stem) > len(before) + len(after)
    }
    return _best(stems, others)


def suggest_pattern(names: Sequence[str], others: Sequence[str]) -> str | None:
    """A pattern for `pair_names` with which every name has a partner; None if none was found.

    >>> suggest_pattern(["small-a.png", "small-b.png"], ["a.png", "b.png"])
    'small-{stem}'
    """
    if not names or set("{}") & set(names[0]):
        return None
    for stem in sorted(map(stem_of, others), key=len, reverse=True):
        name = stem_of(names[0])
        for before, separator, after in (name.partition(stem), name.rpartition(stem)):
            pattern = f"{before}{{stem}}{after}"
            if separator and len(pair_names(names, others, pattern).positions) == len(names):
                return pattern
    return None


def _parts(pattern: str) -> tuple[str, str]:
    """What a pattern has before and after the stem, without the suffix of the files.

    Raises:
        UsageError: it has not one `{stem}`.
    """
    text = re.sub(r"\.(png|jpe?g|webp)$", "", pattern, flags=re.IGNORECASE)
    before, _, after = text.partition("{stem}")
    require(
        text.count("{stem}") == 1 and not set("{}") & set(before + after),
        f"the pattern {pattern} does not have {{stem}} once",
        "for example {stem}_small, for 1_small.png of 1.png",
    )
    return before, after


def _best(stems: dict[str, str], others: Sequence[str]) -> NamePairs:
    """The pairs in the first form in which most names pair."""
    best = NamePairs({})
    for ignored, form in _FORMS:
        forms = [form(stem_of(name)) for name in others]
        unique = {text for text, count in Counter(forms).items() if count == 1}
        positions = {text: position for position, text in enumerate(forms) if text in unique}
        own = {name: form(stem) for name, stem in stems.items()}
        counts = Counter(own.values())
        pairs = {name: positions[text] for name, text in own.items() if counts[text] == 1 and text in positions}
        if len(pairs) > len(best.positions):
            example = next(
                (
                    f"{name} with {others[at]}"
                    for name, at in pairs.items()
                    if stem_of(name) != stem_of(others[at])
                ),
                "",
            )
            best = NamePairs(pairs, ignored if example else "", example)
        if len(pairs) == len(stems):
            break
    return best
