"""The constraints of `make test-lowest` are the lower bounds of setup.cfg."""

import pytest
from lowest_versions import ROOT, constraints, lowest_versions

SETUP = """
[options]
install_requires =
    torch>=2.8
    numpy>=1.26
[options.extras_require]
study =
    starlette>=0.40
test =
    pytest>=8
    starlette>=0.40
lint =
    ruff
"""
PINNED = 'torch==2.13.0\n# a comment\nnumpy==2.4.6; python_version >= "3.11"\nnetworkx==3.6.1; python_version >= "3.11"\n'


def test_constraints_take_lower_bounds_and_pin_torch_and_the_rest():
    assert constraints(SETUP, PINNED) == [
        "numpy==1.26",
        "starlette==0.40",
        "pytest==8",
        "torch==2.13.0",
        'networkx==3.6.1; python_version >= "3.11"',
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("starlette>=0.41", "two lower bounds, 0.40 and 0.41"),
        ("numpy>=1.26,<3", "numpy>=1.26,<3 is not of the form"),
        ("piq", "piq is not of the form"),
    ],
)
def test_requirement_without_one_lower_bound_is_refused(line, problem):
    with pytest.raises(ValueError, match=problem):
        lowest_versions(SETUP.replace("    pytest>=8", f"    pytest>=8\n    {line}"))


def test_every_package_of_setup_cfg_has_exactly_one_constraint():
    setup = (ROOT / "setup.cfg").read_text()
    names = [line.partition("==")[0] for line in constraints(setup, (ROOT / "constraints.txt").read_text())]
    assert len(names) == len(set(names)) and set(lowest_versions(setup)) <= set(names)
