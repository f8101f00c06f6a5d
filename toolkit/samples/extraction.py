"""Samples of an archive as a folder, for what reads files by their path."""

from collections.abc import Sequence
from pathlib import Path

from ntire_sr.core.errors import NtireSrError, ValidationErrors
from ntire_sr.core.files import atomic_write, make_folder, read_json, sha256_file, write_json
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.samples.sources import open_submission

RECORD = ".archive.json"  # next to the samples: the archives that they are from


def extract_samples(archives: Sequence[Path], folder: Path, progress: Progress = SILENT) -> Path:
    """Write the samples of archives into a folder under the challenge's names, unless they are there already.

    Other members are left out.

    Args:
        archives: zip files that hold the samples, or parts of them.
        folder: a folder for these samples alone.
        progress: reports how many samples have been written.

    Returns:
        `folder`.

    Raises:
        ValidationErrors: members are unsafe or damaged.
        NtireSrError: an archive cannot be read, or holds no samples.
    """
    digests = {str(number): sha256_file(path) for number, path in enumerate(archives) if path.is_file()}
    record = folder / RECORD
    if record.is_file() and read_json(record, "archives of samples") == digests:
        return folder
    with open_submission(*archives) as submission:
        if submission.problems:
            raise ValidationErrors(
                f"extracting {', '.join(path.name for path in archives)}",
                [problem.text for problem in submission.problems],
            )
        if not submission.samples:
            raise NtireSrError(
                f"{', '.join(path.name for path in archives)}: no samples", "000000_sample00000.png and so on"
            )
        record.unlink(missing_ok=True)
        for path in make_folder(folder).glob("*.png"):  # of another archive
            path.unlink()
        with progress.task("extract", len(submission.samples)) as advance:
            for name, source in submission.samples.items():
                atomic_write(folder / str(name), source.read())
                advance()
    write_json(record, digests)
    return folder
