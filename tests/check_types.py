"""Check the types of the packages in CHECKED with mypy; `make lint` runs this.

In a checkout the package `ntire_sr` is spread over four folders, which mypy cannot follow. So the package is first
copied as it is installed.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from ntire_sr.core.package_files import package_files

ROOT = Path(__file__).parents[1]
COPY = ROOT / ".mypy_cache" / "installed"
CHECKED = (
    "ntire_sr.core",
    "ntire_sr.challenge",
    "ntire_sr.evaluation.metrics",
    "ntire_sr.data",
    "ntire_sr.study",
    "ntire_sr.api",
)


def main() -> int:
    shutil.rmtree(COPY, ignore_errors=True)
    for name, path in package_files():
        if path.suffix in (".py", ".typed"):
            target = COPY / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)  # with its time of change, so that mypy's cache stays valid
    words = [word for package in CHECKED for word in ("-p", package)]
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", *words]
    return subprocess.run([*command, "--cache-dir", ROOT / ".mypy_cache"], cwd=COPY).returncode


if __name__ == "__main__":
    sys.exit(main())
