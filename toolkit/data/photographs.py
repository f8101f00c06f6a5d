"""The embedded photographs: those inside scikit-image's wheel, which need no download."""

import importlib.util
from pathlib import Path

from ntire_sr.core.errors import NtireSrError

# Both halves of the stereo pair show the same scene, so they are in the same list; no photograph is in both.
TRAINING_PHOTOGRAPHS = ("astronaut.png", "motorcycle_left.png", "motorcycle_right.png", "rocket.jpg")
VALIDATION_PHOTOGRAPHS = ("chelsea.png", "coffee.png")


def embedded_photographs(names: tuple[str, ...]) -> list[Path]:
    """Paths of photographs inside the installed scikit-image, found without importing it.

    Raises:
        NtireSrError: scikit-image lacks some of them."""
    spec = importlib.util.find_spec("skimage")
    folders = [Path(folder) / "data" for folder in (spec.submodule_search_locations or [])] if spec else []
    paths = [next((folder / name for folder in folders if (folder / name).is_file()), None) for name in names]
    missing = [name for name, path in zip(names, paths, strict=True) if path is None]
    if missing:
        raise NtireSrError(
            f"scikit-image lacks its photographs {', '.join(missing)}",
            "pip install --force-reinstall scikit-image",
        )
    return [path for path in paths if path is not None]
