"""Samples under the names of their LR images, for users who look for a photograph."""

import shutil
from pathlib import Path

from ntire_sr.challenge.names import parse_sample_name
from ntire_sr.core.files import atomic_file, make_folder
from ntire_sr.samples.manifest import Manifest


def write_named_copies(manifest: Manifest, folder: Path, target: Path) -> int:
    """Copy each sample to `target` as STEM_sample00000.png, with the stem of its LR image's name.

    Args:
        manifest: manifest of the samples.
        folder: folder of the samples.
        target: folder for the copies; other files in it are left alone.

    Returns:
        The number of copies.

    Raises:
        NtireSrError: a copy cannot be written.
    """
    make_folder(target)
    for file in manifest.files:
        name = parse_sample_name(file)
        assert name is not None
        stem = Path(manifest.images[name.index].name).stem
        with atomic_file(target / f"{stem}_sample{name.sample:05d}.png") as part:
            shutil.copyfile(folder / file, part)
    return len(manifest.files)
