"""The archive: PNGs and `readme.txt` at its root, the same bytes for the same input."""

import zipfile
from pathlib import Path

from ntire_sr.errors import WrongUse
from ntire_sr.files import explain, sha256_file, whole_file
from ntire_sr.layout import SampleName
from ntire_sr.submission.readme import Readme

README = "readme.txt"


def archive_name(name: SampleName, samples: int) -> str:
    """A sample's name in the archive; with one sample per image the official script wants no number.

    >>> archive_name(SampleName(3, 0), samples=10), archive_name(SampleName(3, 0), samples=1)
    ('000003_sample00000.png', '000003.png')
    """
    return f"{name.index:06d}.png" if samples == 1 else str(name)


def _entry(name: str) -> zipfile.ZipInfo:
    """A member with a fixed date and mode, so that the archive depends on its content alone."""
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # Unix, whatever system packs
    entry.external_attr = 0o100644 << 16
    return entry


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise explain(error, f"cannot read {path}") from error


def write_archive(out: Path, files: list[tuple[SampleName, Path]], samples: int, readme: Readme) -> str:
    """Write the zip beside its place and rename it when whole. PNGs are stored, not compressed again.

    Args:
        out: the zip file.
        files: checked samples.
        samples: per image.
        readme: for the archive's root.

    Returns:
        SHA-256 of the archive.
    """
    if out.is_dir():
        raise WrongUse(f"--out {out} is a folder", f"--out {out / 'submission.zip'}")
    with whole_file(out) as part:
        try:
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                archive.writestr(_entry(README), readme.text().encode(errors="backslashreplace"))
                for name, path in files:
                    archive.writestr(_entry(archive_name(name, samples)), _content(path))
        except OSError as error:
            raise explain(error, f"cannot write {out}") from error
    return sha256_file(out)
