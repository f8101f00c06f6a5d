"""Folders and files of this package, found by one walk, whether it is installed from a wheel or editable."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

# packages that lie beside `toolkit` in a checkout, and so outside its folder in an editable install
BESIDE = ("models", "evaluation", "submission")


def package_folders() -> dict[str, Path]:
    """Full name -> folder, for this package and all packages inside it.

    >>> "ntire_sr.core" in package_folders() and "ntire_sr.models" in package_folders()
    True
    """
    home = Path(__file__).parents[1]
    found = {"ntire_sr": home, **_subpackages("ntire_sr", home)}
    for room in BESIDE:
        name = f"ntire_sr.{room}"
        spec = importlib.util.find_spec(name)
        assert spec and spec.origin, f"{name} is missing from this installation"
        folder = Path(spec.origin).parent
        found |= {name: folder, **_subpackages(name, folder)}
    return dict(sorted(found.items()))


def package_files() -> Iterator[tuple[str, Path]]:
    """(path inside a wheel, file) of every file of the package, sorted; hidden files are left out."""
    for package, folder in package_folders().items():
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                yield f"{package.replace('.', '/')}/{path.name}", path


def _subpackages(package: str, folder: Path) -> dict[str, Path]:
    found = {}
    for each in sorted(folder.iterdir()):
        if (each / "__init__.py").is_file():
            found |= {f"{package}.{each.name}": each, **_subpackages(f"{package}.{each.name}", each)}
    return found
