"""Typed records made from JSON values, with errors that name the field.

A record is a `msgspec.Struct` with `frozen=True` and, for files that this package writes, `forbid_unknown_fields=True`.
"""

import math
from typing import Any, ClassVar, TypeVar

import msgspec

from ntire_sr.core.errors import NtireSrError

AnyRecord = TypeVar("AnyRecord")


def to_record(value: Any, kind: type[AnyRecord], what: str, remedy: str) -> AnyRecord:
    """A record of type `kind` from a value that JSON can hold.

    Args:
        value: such as `read_json` returns.
        kind: type of the record.
        what: what the value is of, for the error.
        remedy: for the error.

    Raises:
        NtireSrError: a field has the wrong type, is missing or is unknown; its path is given.

    >>> class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ...     x: int
    >>> to_record({"x": 1}, Point, "point.json", "make it again")
    Point(x=1)
    >>> to_record({"x": "one"}, Point, "point.json", "make it again")
    Traceback (most recent call last):
    ntire_sr.core.errors.NtireSrError: point.json is damaged: Expected `int`, got `str` - at `$.x`
      try: make it again
    """
    try:
        return msgspec.convert(value, kind)
    except ValueError as error:  # ValidationError, or UnicodeEncodeError of a lone surrogate in a key
        raise NtireSrError(f"{what} is damaged: {error}", remedy) from error


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen record whose texts can be paths and whose numbers are finite.

    A default value of a field is what a file without that field meant: fields without a default are required.
    """

    MAY_BE_INFINITE: ClassVar[tuple[str, ...]] = ()  # fields of float that may be infinite

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, str) and not _is_path_text(value):
                raise ValueError(f"`{name}` is not a valid text")
            if isinstance(value, float) and not _is_allowed(value, name in self.MAY_BE_INFINITE):
                raise ValueError(f"`{name}` is {value}")


def _is_path_text(text: str) -> bool:
    """Whether a text can be a path; lone surrogates of undecodable file names (os.fsdecode) are allowed."""
    try:
        text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _is_allowed(value: float, may_be_infinite: bool) -> bool:
    return math.isfinite(value) or (may_be_infinite and not math.isnan(value))
