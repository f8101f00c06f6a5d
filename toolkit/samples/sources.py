"""A file wherever it lies, in a folder or inside an archive: its name, and a way to read it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import error_from_os_error


@dataclass(frozen=True)
class Source:
    """One file, wherever it lies."""

    name: str
    read: Callable[[], bytes]  # raises NtireSrError, which names it


def file_source(path: Path, name: str | None = None, most_bytes: int | None = None) -> Source:
    """A file of a folder.

    Args:
        path: where it lies.
        name: what to call it; None: its path.
        most_bytes: larger files are refused unread; None: any size.
    """

    def read() -> bytes:
        try:
            size = path.stat().st_size
            if most_bytes is not None and size > most_bytes:
                raise NtireSrError(f"{path.name} has {size} bytes, more than any such file")
            return path.read_bytes()
        except OSError as error:
            raise error_from_os_error(error, f"cannot read {path}") from error

    return Source(str(path) if name is None else name, read)
