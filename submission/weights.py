"""Where the weights are that drew a folder of samples."""

from pathlib import Path

from ntire_sr.core.files import sha256_file
from ntire_sr.core.manifest import Manifest
from ntire_sr.models.registry import shipped_weights


def find_weights(manifest: Manifest, folder: Path, run: Path | None = None) -> Path | None:
    """The weights file by the digest that the manifest holds: where the manifest says, in a run folder, or
    with the package; none where it is in none of these places, or the model has no weights.

    Args:
        manifest: of the samples.
        folder: that holds it; its paths begin there.
        run: a run folder.
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
