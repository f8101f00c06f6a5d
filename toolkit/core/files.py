"""Reading and writing files: atomic writes, temporary files of killed processes, JSON, SHA-256 digests."""

import errno
import hashlib
import json
import math
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ntire_sr.core.errors import NtireSrError, UsageError

_REMEDIES = {
    errno.ENOSPC: "free some space, or choose a folder on another disk; nothing half-written was left",
    errno.EDQUOT: "your disk quota is used up: free some space or choose another folder",
    errno.EACCES: "choose a folder you may write to, or change its permissions",
    errno.EPERM: "choose a folder you may write to, or change its permissions",
    errno.EROFS: "this file system is read-only: choose another folder",
    errno.ENOTDIR: "a file stands where a folder is needed: choose another path",
    errno.EEXIST: "a file stands where a folder is needed: choose another path",
    errno.EISDIR: "a folder stands where a file is needed: choose another path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}

FORGOTTEN_SECONDS = 24 * 3600  # age from which a temporary file belongs to no running process
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]

# errors of the path itself, whatever the state of the disk
_WRONG_PATH = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


def error_from_os_error(error: OSError, doing: str) -> NtireSrError:
    """A `NtireSrError` with a remedy for an operating-system error; a `UsageError` where the path is the mistake."""
    remedy = _REMEDIES.get(error.errno or 0, "check the disk and the path, then run the same command again")
    kind = UsageError if error.errno in _WRONG_PATH else NtireSrError
    return kind(f"{doing}: {error.strerror or error}", remedy)


def size_text(size: float) -> str:
    """A number of bytes with its unit.

    >>> size_text(22_500_000), size_text(3.14e9)
    ('22.5 MB', '3.1 GB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def require_room(folder: Path, needed: int, what: str, remedy: str) -> None:
    """Check that the disk of a folder, which need not exist yet, has room for `needed` bytes.

    Args:
        folder: the folder.
        needed: number of bytes.
        what: what needs them, for the error, as a plural.
        remedy: for the error.

    Raises:
        NtireSrError: it has not.
    """
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    with suppress(OSError):
        free = shutil.disk_usage(existing).free
        if needed > free:
            raise NtireSrError(
                f"{what} take {size_text(needed)}, and {existing} has {size_text(free)} left", remedy
            )


def make_folder(folder: Path) -> Path:
    """Create the folder and its parents.

    Raises:
        NtireSrError: it cannot be created, for example because of missing permissions.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise error_from_os_error(error, f"cannot create the folder {folder}") from error
    return folder


def _rename(part: Path, path: Path) -> None:
    part.replace(path)


@contextmanager
def atomic_file(path: Path, put: Callable[[Path, Path], None] = _rename) -> Iterator[Path]:
    """A temporary path next to `path`, renamed to `path` if writing it raises no error.

    The data is flushed to the disk before the rename, so that after a power cut the file is either
    the old one, the new one, or absent. Errors of the body pass through unchanged. `put` replaces the
    rename: it is called with (the written file, `path`).
    """
    make_folder(path.parent)
    part = path.with_name(f".{path.name}.{_HOST}-{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        yield part
        try:
            with open(part, "rb+") as written:
                os.fsync(written.fileno())
            put(part, path)
        except OSError as error:
            raise error_from_os_error(error, f"cannot write {path}") from error
    finally:
        with suppress(OSError):  # on a read-only disk this fails too, and would hide the reason
            part.unlink(missing_ok=True)


def remove_stale_temp_files(folder: Path, name: str = "*") -> None:
    """Remove the temporary files that killed processes left of files whose name matches the pattern `name`.

    Those of processes that are alive on this machine stay, and so do recent ones of other machines."""
    for part in folder.glob(f".{name}.*.part"):
        host, _, rest = part.name.split(".")[-2].partition("-")
        pid = rest.partition("-")[0]
        with suppress(OSError, ValueError):
            old = time.time() - part.stat().st_mtime > FORGOTTEN_SECONDS
            if old or (host == _HOST and not _is_alive(int(pid))):
                part.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # Windows has no signal that only tests for a process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        return True
    return True


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a small file atomically.

    Text is stored as UTF-8 with Unix line ends; lone surrogates, which come from undecodable file names, are escaped.
    """
    with atomic_file(path) as part:
        try:
            part.write_bytes(content.encode(errors="backslashreplace") if isinstance(content, str) else content)
        except OSError as error:
            raise error_from_os_error(error, f"cannot write {path}") from error


def write_csv(path: Path, text: str) -> None:
    """Write CSV atomically. Text that is not ASCII begins with a byte-order mark, without which spreadsheets garble it."""
    atomic_write(path, text if text.isascii() else f"\ufeff{text}")


def csv_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula.

    >>> csv_cell("=1+1")
    "'=1+1"
    """
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text


def create_json(path: Path, value: Any) -> bool:
    """`write_json`, unless the file exists, so that only one of several processes writes it.

    Returns:
        Whether this process did.
    """
    created = True

    def put(part: Path, path: Path) -> None:
        nonlocal created
        try:
            os.link(part, path)
        except FileExistsError:
            created = False
        except OSError:  # a file system without hard links
            part.replace(path)

    with atomic_file(path, put) as part:
        part.write_text(_json(value), encoding="utf-8")
    return created


def _json(value: Any) -> str:
    return json.dumps(json_safe(value), indent=1, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, indented, strictly valid: infinities become the strings "inf"/"-inf"."""
    atomic_write(path, _json(value))


def json_safe(value: Any) -> Any:
    """`value` with floats that JSON cannot hold replaced: inf by "inf", nan by null.

    >>> json_safe({"lr_psnr_db": float("inf"), "lpips": float("nan")})
    {'lr_psnr_db': 'inf', 'lpips': None}
    """
    if isinstance(value, dict):
        return {key: json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file that this package wrote; `what` it is goes into the error.

    Raises:
        NtireSrError: it cannot be read or is not valid JSON.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")  # Windows' editors begin files with a byte-order mark
        return json.loads(content)
    except OSError as error:
        raise error_from_os_error(error, f"cannot read the {what} {path}") from error
    except (ValueError, RecursionError) as error:
        key = _key_before(content, error.pos) if isinstance(error, json.JSONDecodeError) else None
        raise NtireSrError(
            f"the {what} {path} is not valid JSON ({error}{f', after the key {key}' if key else ''})",
            "correct it, make it again, or restore it from a copy",
        ) from error


def _key_before(content: str, position: int) -> str | None:
    """The last key of a JSON text before a position, with its quotes; None if there is none."""
    keys = re.findall(r'("[^"\n]{1,80}")\s*:', content[:position])
    return keys[-1] if keys else None


def sha256_bytes(content: bytes) -> str:
    """SHA-256 of `content`, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_digests(digests: Mapping[str, str]) -> str:
    """One SHA-256 over the names and SHA-256 digests of several files."""
    return sha256_bytes("".join(f"{name} {digests[name]}\n" for name in sorted(digests)).encode())


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def relative_to(path: Path, folder: Path) -> str:
    """`path` relative to `folder`, with forward slashes; absolute if they lie on different Windows drives."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:
        return path.resolve().as_posix()
