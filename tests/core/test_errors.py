"""Errors: their text, and the names that earlier versions used."""

import pytest

from ntire_sr.core import errors
from ntire_sr.core.errors import NtireSrError, UsageError, ValidationErrors, condense


@pytest.mark.parametrize(
    ("earlier", "now"),
    [
        ("Failure", "NtireSrError"),
        ("WrongUse", "UsageError"),
        ("Problems", "ValidationErrors"),
        ("WrongValue", "ArgumentValueError"),
        ("WrongType", "ArgumentTypeError"),
    ],
)
def test_earlier_name_is_the_same_error_and_warns(earlier, now):
    with pytest.warns(DeprecationWarning, match=f"{earlier} is now {now}"):
        error = getattr(errors, earlier)
    assert error is getattr(errors, now)


def test_unknown_name_is_no_error():
    with pytest.raises(AttributeError, match="no attribute 'Mistake'"):
        _ = errors.Mistake


def test_remedy_is_on_the_second_line():
    assert str(NtireSrError("a.png is broken", "replace it")) == "a.png is broken\n  try: replace it"
    assert str(NtireSrError("a.png is broken")) == "a.png is broken"


def test_validation_errors_list_all_problems():
    error = ValidationErrors("images in HR", ["a.png is broken", "b.png is missing"], "replace them")
    assert str(error).splitlines() == [
        "images in HR: 2 problems",
        "  - a.png is broken",
        "  - b.png is missing",
        "  try: replace them",
    ]


def test_many_problems_are_condensed_in_the_text_only():
    problems = [f"SR/{k:06d}.png is missing" for k in range(1000)] + ["readme.txt is empty"]
    error = ValidationErrors("samples", problems)
    lines = str(error).splitlines()
    assert error.problems == problems and lines[0] == "samples: 1001 problems"
    assert lines[3:] == [
        "  - SR/000002.png is missing",
        "  - ... and 997 more like this",
        "  - readme.txt is empty",
    ]
    different = [f"{chr(97 + k // 26)}{chr(97 + k % 26)}.png is broken" for k in range(60)]
    assert condense(different)[-2:] == ["at.png is broken", "... and 40 more"]


def test_argument_errors_are_also_pythons_own_errors():
    assert issubclass(errors.ArgumentValueError, (UsageError, ValueError))
    with pytest.raises(TypeError):
        raise errors.ArgumentTypeError("hr is a list")
