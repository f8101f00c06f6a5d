"""Prints constraints for pip: the lowest versions that setup.cfg allows, which `make test-lowest` installs.

torch, and packages that only constraints.txt names, keep the versions of constraints.txt. Each lower bound
must be a release that exists: pip fails otherwise.
"""

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PINNED = ("torch",)  # older versions of torch come with other versions of CUDA, gigabytes each
LINE = re.compile(r"([A-Za-z0-9_-]+)>=([0-9.]+)")


def lowest_versions(setup: str) -> dict[str, str]:
    """Lowest version of each package that a setup.cfg with this text requires, by the package's name.

    Raises:
        ValueError: a requirement is not of the form package>=version, or a package has two lower bounds.
    """
    config = configparser.ConfigParser()
    config.read_string(setup)
    extras = [text for name, text in config["options.extras_require"].items() if name != "lint"]
    versions: dict[str, str] = {}
    for line in "\n".join([config["options"]["install_requires"], *extras]).split():
        match = LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"setup.cfg: {line} is not of the form package>=version")
        name, version = match.groups()
        if versions.setdefault(name, version) != version:
            raise ValueError(f"setup.cfg: {name} has two lower bounds, {versions[name]} and {version}")
    return versions


def constraints(setup: str, pinned: str) -> list[str]:
    """Lines of a constraints file: the lowest versions, and what only `pinned`, the text of constraints.txt, names."""
    versions = {name: version for name, version in lowest_versions(setup).items() if name not in PINNED}
    others = [
        line
        for line in pinned.splitlines()
        if "==" in line and not line.startswith("#") and line.partition("==")[0] not in versions
    ]
    return [f"{name}=={version}" for name, version in versions.items()] + others


if __name__ == "__main__":
    print("\n".join(constraints((ROOT / "setup.cfg").read_text(), (ROOT / "constraints.txt").read_text())))
