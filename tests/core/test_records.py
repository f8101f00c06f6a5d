"""Typed records: wrong types and unknown fields are refused with their path."""

import msgspec
import pytest

from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.records import to_record


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    size: float = 1.0


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: tuple[Item, ...]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"name": 1}, r"Expected `str`, got `int` - at `\$\.items\[0\]\.name`"),
        ({"name": "a", "size": True}, r"Expected `float`, got `bool` - at `\$\.items\[0\]\.size`"),
        ({}, r"missing required field `name` - at `\$\.items\[0\]`"),
        ({"name": "a", "sise": 2}, r"unknown field `sise` - at `\$\.items\[0\]`"),
    ],
)
def test_wrong_field_is_refused_with_its_path(item, message):
    with pytest.raises(NtireSrError, match=f"^list.json is damaged: .*{message}\n  try: make it again"):
        to_record({"items": [item]}, Listing, "list.json", "make it again")


def test_missing_field_has_its_default_and_integers_are_numbers():
    made = to_record({"items": [{"name": "a"}, {"name": "b", "size": 2}]}, Listing, "list.json", "")
    assert made == Listing((Item("a", 1.0), Item("b", 2.0)))


def test_lone_surrogate_in_a_key_is_refused():
    with pytest.raises(NtireSrError, match="is damaged"):
        to_record({"\ud800": 1, "name": "a"}, Item, "item.json", "make it again")
