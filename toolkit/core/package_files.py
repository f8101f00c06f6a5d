"""Folders and files of this package, installed from a wheel or editable."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

# packages next to `toolkit` in a checkout, and so outside its folder in an editable install
BESIDE = ("models", "evaluation", "submission")


def package_folders() -> dict[str, Path]:
    """Full name -> folder, for this package and all packages inside it.

    >>> "ntire_sr.core" in package_folders() and "ntire_sr.models" in package_folders()
    True
    """
    home = Path(__file__).parents[1]
    folders = {"ntire_sr": home, **_subpackages("ntire_sr", home)}
    for room in BESIDE:
        name = f"ntire_sr.{room}"
        spec = importlib.util.find_spec(name)
        assert spec and spec.origin, f"{name} is missing from this installation"
        folder = Path(spec.origin).parent
        folders |= {name: folder, **_subpackages(name, folder)}
    return dict(sorted(folders.items()))


def package_files() -> Iterator[tuple[str, Path]]:
    """(path inside a wheel, file) of every file of the package, sorted; hidden files are left out."""
    for package, folder in package_folders().items():
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                yield f"{package.replace('.', '/')}/{path.name}", path


def _subpackages(package: str, folder: Path) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for subfolder in sorted(folder.iterdir()):
        if (subfolder / "__init__.py").is_file():
            folders |= {
                f"{package}.{subfolder.name}": subfolder,
                **_subpackages(f"{package}.{subfolder.name}", subfolder),
            }
    return folders
