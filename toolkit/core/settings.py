"""Typed, frozen settings: made from presets and KEY=VALUE words, checked, and saved with the result.

A settings record is a frozen dataclass whose fields are str, int, float or bool, or one of these or None.
Its `__post_init__` checks the ranges of its values with calls of `require`.

Records that are saved change over time. A record names its renamed fields in `RENAMED`, earlier name -> name, its
removed fields in `REMOVED`, name -> the only value that is still supported, and what a file without a later field
meant in `EARLIER`, field -> value. A default may change, or depend on the machine; a value in `EARLIER` must not.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ntire_sr.core.errors import UsageError, require, suggestion

Settings = TypeVar("Settings")


def field_types(record: type) -> dict[str, Any]:
    """Field name -> declared type of a settings record."""
    hints = typing.get_type_hints(record)
    return {field.name: hints[field.name] for field in dataclasses.fields(record)}


def parse_words(words: Sequence[str]) -> dict[str, str]:
    """`["batch=4", "preset=tiny"]` as a dictionary.

    Raises:
        UsageError: a word has no `=`, or a key is given twice."""
    values: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        require(bool(equals and key), f"--set {word} is not of the form KEY=VALUE", "--set batch=4")
        require(key not in values, f"--set {key} is given twice", "give it once")
        values[key] = value
    return values


def convert(name: str, value: Any, kind: Any) -> Any:
    """Convert `value`, a text or a JSON value, to `kind`, the declared type of the field `name`.

    Raises:
        UsageError: it is no value of that type."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if type(None) in options and (value is None or value in ("none", "")):
        return None
    wanted = next(option for option in options if option is not type(None))
    try:
        if wanted is bool:
            if isinstance(value, bool):
                return value
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
                str(value).lower()
            ]
        if wanted is int and (isinstance(value, bool) or (isinstance(value, float) and value != int(value))):
            raise ValueError
        if wanted is str and not isinstance(value, str):
            raise ValueError
        converted = wanted(value)
        if wanted is float and not math.isfinite(converted):
            raise ValueError
        return converted
    except (ValueError, KeyError, TypeError, OverflowError):
        example = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a text"}[
            wanted
        ]
        raise UsageError(f"{name} {value!r} is not {example}", f"{name}={example}") from None


def make(record: type[Settings], values: Mapping[str, Any]) -> Settings:
    """A settings record from values by name.

    Raises:
        UsageError: a name is unknown (a similar one is suggested), or a value has the wrong type or range."""
    kinds = field_types(record)
    for name in values:
        require(name in kinds, f"unknown setting {name!r}", suggestion(name, kinds))
    return record(**{name: convert(name, value, kinds[name]) for name, value in values.items()})


def renamed_fields(*records: type) -> dict[str, str]:
    """Earlier name -> current name of every renamed field of some records."""
    return {old: new for record in records for old, new in getattr(record, "RENAMED", {}).items()}


def removed_fields(*records: type) -> dict[str, Any]:
    """Name of every removed field of some records -> the only value that is still supported."""
    return {name: only for record in records for name, only in getattr(record, "REMOVED", {}).items()}


def with_current_fields(values: Mapping[str, Any], *records: type) -> dict[str, Any]:
    """Values by name, with renamed fields of some records under their current names and without removed ones.

    Raises:
        UsageError: a field is given by both names, or a removed field has a value that is no longer supported.
    """
    renamed, removed = renamed_fields(*records), removed_fields(*records)
    for old, new in renamed.items():
        require(not {old, new} <= values.keys(), f"{new} is given twice, once as {old}", f"leave {old} out")
    for name in removed.keys() & values.keys():
        supported = convert(name, values[name], type(removed[name])) == removed[name]
        require(supported, f"{name}={values[name]} is no longer supported", f"leave {name} out")
    return {renamed.get(name, name): value for name, value in values.items() if name not in removed}


def with_earlier_values(record: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values from a file of any version, under the current names and completed with `record.EARLIER`."""
    return {**getattr(record, "EARLIER", {}), **with_current_fields(values, record)}


def make_from_file(record: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Build a settings record from saved values, without defaults or presets.

    Raises:
        UsageError: a name is unknown, a value is wrong, or a field that every version saved is missing."""
    complete = with_earlier_values(record, values)
    missing = [name for name in field_types(record) if name not in complete]
    require(not missing, f"{', '.join(missing)} missing", "a file as it was saved")
    return make(record, complete)
