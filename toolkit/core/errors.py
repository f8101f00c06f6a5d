"""Errors for the user: each names the problem, its place and the remedy.

Any other exception of a command is a defect of this package and shows its traceback.
"""

import difflib
import re
import warnings
from collections.abc import Collection, Sequence

JOINERS = "\u200c\u200d"  # without which names in Persian, Hindi and other languages are spelt wrongly


class NtireSrError(Exception):
    """The work was stopped by something outside the program: a broken file, a full disk, a failed check.

    Args:
        message: what was found and where, without a final full stop.
        remedy: what to do about it; shown on its own line.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str | None = None):
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  try: {self.remedy}" if self.remedy else self.message


class UsageError(NtireSrError):
    """A wrong option, setting or path, such as an unknown key or a folder without images."""

    exit_code = 2


class ArgumentValueError(UsageError, ValueError):
    """An argument of a Python function has a shape, range or number that it does not take."""


class ArgumentTypeError(UsageError, TypeError):
    """An argument of a Python function has a type that it does not take."""


class ValidationErrors(NtireSrError):
    """All problems of a folder in one error, whose text names many problems of one kind by their number."""

    def __init__(self, what: str, problems: Sequence[str], remedy: str | None = None):
        self.problems = list(problems)
        lines = "".join(f"\n  - {line}" for line in condense(self.problems))
        super().__init__(f"{what}: {plural(len(self.problems), 'problem')}{lines}", remedy)


class EarlierNameWarning(DeprecationWarning):
    """A name of an earlier version was used, which still works; commands print the message."""


def plural(count: int, word: str) -> str:
    """A number with its noun.

    >>> plural(1, "sample"), plural(2, "sample")
    ('1 sample', '2 samples')
    """
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def shorten(items: Sequence[object], most: int = 5) -> str:
    """The first few items of a list, and how many more there are.

    >>> shorten([1, 2, 3], most=2)
    '1, 2 and 1 more'
    """
    shown = ", ".join(map(str, items[:most]))
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"


def condense(lines: Sequence[str], most: int = 20, alike: int = 3) -> list[str]:
    """Lines for a reader: of many, the first few of each kind, and how many more there are.

    Lines are of one kind if they differ only in numbers.

    >>> condense([f"{k}.png is missing" for k in range(9)] + ["readme.txt is empty"], most=5, alike=1)
    ['0.png is missing', '... and 8 more like this', 'readme.txt is empty']

    Args:
        lines: the lines.
        most: number of lines that are left as they are; also the most lines in the result, but for one.
        alike: number of lines of each kind that are kept.
    """
    if len(lines) <= most:
        return list(lines)
    kinds: dict[str, list[str]] = {}
    for line in lines:
        kinds.setdefault(re.sub(r"\d+", "0", line), []).append(line)
    kept: list[str] = []
    left = len(lines)
    for members in kinds.values():
        if len(kept) >= most:
            return [*kept, f"... and {left} more"]
        left -= len(members)
        kept += members if len(members) <= alike + 1 else members[:alike]
        if len(members) > alike + 1:
            kept.append(f"... and {len(members) - alike} more like this")
    return kept


def printable(text: str) -> str:
    """A text that is safe to print on a terminal: control and other unprintable characters are escaped.

    >>> printable("a\\x1b[2Jb\\n")
    'a\\\\x1b[2Jb\\n'
    """
    return "".join(c if is_printable(c) or c == "\n" else ascii(c)[1:-1] for c in text)


def is_printable(text: str) -> bool:
    """Whether a text has no control characters; the joiners of many scripts and of emoji are none.

    >>> is_printable("\u0646\u200c\u0627"), is_printable("a\x1b")
    (True, False)
    """
    return all(c.isprintable() or c in JOINERS for c in text)


def require(condition: bool, message: str, remedy: str) -> None:
    """Raise UsageError with this message and remedy unless the condition holds."""
    if not condition:
        raise UsageError(message, remedy)


def suggestion(word: str, choices: Collection[str]) -> str:
    """The one of `choices` that is most similar to `word`, or all of them.

    >>> suggestion("bacth", ["batch", "steps"])
    'batch'
    """
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return close[0] if close else "one of " + ", ".join(sorted(choices))


_EARLIER_NAMES: dict[str, type[NtireSrError]] = {
    "Failure": NtireSrError,
    "WrongUse": UsageError,
    "Problems": ValidationErrors,
    "WrongValue": ArgumentValueError,
    "WrongType": ArgumentTypeError,
}


def __getattr__(name: str) -> type[NtireSrError]:
    """The error of an earlier name, with a warning (PEP 562)."""
    if name not in _EARLIER_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    error = _EARLIER_NAMES[name]
    warnings.warn(f"{__name__}.{name} is now {error.__name__}", EarlierNameWarning, stacklevel=2)
    return error
