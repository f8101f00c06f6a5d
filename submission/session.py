"""One packing from a folder to an archive: what the `package` command and the demonstration call."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from ntire_sr.errors import Problems
from ntire_sr.layout import DEFAULT_SAMPLES
from ntire_sr.manifest import Manifest, load_manifest
from ntire_sr.submission.archive import write_archive
from ntire_sr.submission.check import check_samples, lr_folder
from ntire_sr.submission.readme import Readme


@dataclass(frozen=True)
class Packed:
    """An archive that was written."""

    out: Path
    sha256: str
    files: int
    bytes: int
    worst_db: float


def pack(
    sr: Path,
    out: Path,
    lr: Path | None = None,
    samples: int | None = None,
    seconds: float | None = None,
    extra_data: bool = True,
    description: str = "",
    done: Callable[[int, int], None] | None = None,
) -> Packed:
    """Check a folder of samples and write the archive.

    Args:
        sr: folder of samples.
        out: the zip file.
        lr: folder of the LR images; none: the manifest's.
        samples: per image; none: the manifest's, or 10.
        seconds: run time per image for the readme; none: measured when the samples were drawn.
        extra_data, description: for the readme.
        done: called with (files checked, files in all).

    Raises:
        Problems: everything that is wrong; nothing was written.
    """
    manifest = load_manifest(sr)
    count = samples or (manifest.samples if manifest else DEFAULT_SAMPLES)
    checked = check_samples(sr, lr_folder(sr, lr, manifest), count, manifest, done)
    if checked.problems:
        raise Problems(
            f"{sr} cannot be handed in",
            checked.problems,
            "draw them again with `ntire-sr generate`, or name the LR folder they belong to with --lr",
        )
    readme = Readme(
        seconds_per_image=seconds if seconds is not None else _measured_seconds(manifest),
        on_gpu=manifest is not None and manifest.device != "cpu",
        extra_data=extra_data,
        description=description or (manifest.settings.model if manifest else "ntire-sr"),
    )
    digest = write_archive(out, checked.files, count, readme)
    return Packed(out, digest, len(checked.files), out.stat().st_size, checked.worst_db)


def _measured_seconds(manifest: Manifest | None) -> float:
    """Mean time that drawing one sample took; 0 where nothing is known."""
    return mean(record.seconds for record in manifest.files.values()) if manifest and manifest.files else 0.0
