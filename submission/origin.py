"""Finding the files that belong to a folder of samples: weights, training configuration, score and network code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import NtireSrError, require
from ntire_sr.core.files import read_json, sha256_file, sha256_of_digests
from ntire_sr.models.package_weights import shipped_weights
from ntire_sr.samples.manifest import Manifest


@dataclass(frozen=True)
class Origin:
    """Files that belong to exactly these samples; None for files that were not found."""

    weights: Path | None
    config: Path | None  # settings of the training of these weights
    score: Path | None  # score.json of these samples
    network: dict[str, Path] | None  # code of a network from outside the package


def find_origin(
    manifest: Manifest | None,
    sr: Path,
    run: Path | None,
    digests: dict[SampleName, str],
    score: Path | None = None,
) -> Origin:
    """Find the files that belong to a folder of samples.

    Args:
        manifest: manifest of the samples; None if they have none.
        sr: folder of the samples.
        run: a run folder to search, too; None for none.
        digests: SHA-256 of each sample.
        score: folder that `score` wrote for these samples; None to search for it.

    Raises:
        UsageError: `score` holds no score of these samples.
    """
    weights = find_weights(manifest, sr, run) if manifest else None
    config = None
    # where `score` writes it by default, and where the documents write it
    scores = [sr.with_name(f"{sr.name}_score"), sr.with_name("score"), Path("score")]
    if run:
        if weights and weights.resolve() == (run / "weights.safetensors").resolve():
            config = run / "config.json"
        scores.insert(0, run / "score")
    digest = sha256_of_digests({str(name): digest for name, digest in digests.items()})
    score_files = [folder / "score.json" for folder in ([score] if score else scores)]
    score_file = next((path for path in score_files if read_object(path).get("samples_sha256") == digest), None)
    require(
        score is None or score_file is not None,
        f"--score {score} holds no score.json of exactly these samples",
        f"score them again: ntire-sr score --sr {sr} --out {score}",
    )
    network = find_code(manifest, sr) if manifest else None
    return Origin(weights, config if config and config.is_file() else None, score_file, network)


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if the file is missing or damaged."""
    try:
        content = read_json(path, "file") if path.is_file() else {}
    except NtireSrError:
        return {}
    return content if isinstance(content, dict) else {}


def find_weights(manifest: Manifest, folder: Path, run: Path | None = None) -> Path | None:
    """Find the weights file that has the digest in the manifest.

    It is searched at the path that the manifest names, in a run folder, and among the package's weights.

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
        The files by their path in the folder that they were imported from; None if one of them is missing or
        changed, or the model is the package's own.
    """
    if manifest.code is None:
        return None
    files = {}
    for name, digest in manifest.code.files.items():
        path = folder / manifest.code.folder / name
        if not path.is_file() or sha256_file(path) != digest:
            return None
        files[name] = path
    return files
