"""Finding the weights, and the code of a network from outside, that drew a folder of samples."""

from pathlib import Path

from ntire_sr.core.files import sha256_file
from ntire_sr.models.package_weights import shipped_weights
from ntire_sr.samples.manifest import Manifest


def find_weights(manifest: Manifest, folder: Path, run: Path | None = None) -> Path | None:
    """Find the weights file by its digest in the manifest: at the manifest's path, in a run folder, or among
    the weights that come with the package.

    Args:
        manifest: manifest of the samples.
        folder: folder of the manifest, which its paths are relative to.
        run: a run folder to search, too; None for none.

    Returns:
        The file; None if it is in none of these places, or the model has no weights.
    """
    if manifest.settings.weights_sha256 is None:
        return None
    candidates = [folder / manifest.weights] if manifest.weights else []
    candidates += [run / "weights.safetensors"] if run else []
    if shipped := shipped_weights(manifest.settings.model, manifest.settings.scale):
        candidates.append(shipped)
    for path in candidates:
        if path.is_file() and sha256_file(path) == manifest.settings.weights_sha256:
            return path
    return None


def find_code(manifest: Manifest, folder: Path) -> dict[str, Path] | None:
    """Find the code of a network from outside the package by its digests in the manifest. It is read, never run.

    Args:
        manifest: manifest of the samples.
        folder: folder of the manifest, which its paths are relative to.

    Returns:
        The files by their path in the folder that they were imported from; None if one of them is gone or
        changed, or the model is the package's own.
    """
    if manifest.code is None:
        return None
    found = {}
    for name, digest in manifest.code.files.items():
        path = folder / manifest.code.folder / name
        if not path.is_file() or sha256_file(path) != digest:
            return None
        found[name] = path
    return found
