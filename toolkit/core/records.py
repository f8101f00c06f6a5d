"""Typed records made from JSON values, with errors that name the field.

A record is a `msgspec.Struct` with `frozen=True` and, for files that this package writes, `forbid_unknown_fields=True`.
"""

from typing import Any, TypeVar

import msgspec

from ntire_sr.core.errors import NtireSrError

Record = TypeVar("Record")


def to_record(value: Any, kind: type[Record], what: str, remedy: str) -> Record:
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
    except msgspec.ValidationError as error:
        raise NtireSrError(f"{what} is damaged: {error}", remedy) from error
