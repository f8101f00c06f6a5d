"""Where the files of this package lie, found by one walk, however it is installed."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

# rooms that lie beside `toolkit` in a checkout, so that an editable install has them elsewhere, too
BESIDE = ("models", "evaluation", "submission")


def package_folders() -> dict[str, Path]:
    """Full name -> folder of this package and of all packages inside it, whether installed from a wheel or editable.

    >>> "ntire_sr.core" in package_folders() and "ntire_sr.models" in package_folders()
    True
    """
    home = Path(__file__).parents[1]
    found = {"ntire_sr": home, **_inside("ntire_sr", home)}
    for room in BESIDE:
        name = f"ntire_sr.{room}"
        spec = importlib.util.find_spec(name)
        assert spec and spec.origin, f"{name} is missing from this installation"
        folder = Path(spec.origin).parent
        found |= {name: folder, **_inside(name, folder)}
    return dict(sorted(found.items()))


def package_files() -> Iterator[tuple[str, Path]]:
    """(path inside a wheel, file) of every file of the package, in order; hidden ones left out."""
    for package, folder in package_folders().items():
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                yield f"{package.replace('.', '/')}/{path.name}", path


def _inside(package: str, folder: Path) -> dict[str, Path]:
    found = {}
    for each in sorted(folder.iterdir()):
        if (each / "__init__.py").is_file():
            found |= {f"{package}.{each.name}": each, **_inside(f"{package}.{each.name}", each)}
    return found
