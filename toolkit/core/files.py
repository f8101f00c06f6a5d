"""Files on disk: whole or absent, never half, and the digests that prove it."""

import errno
import hashlib
import json
import math
import os
import platform
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ntire_sr.core.errors import Failure, WrongUse

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

FORGOTTEN_SECONDS = 24 * 3600  # after which a temporary file is nobody's any more
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]

# the path itself is the mistake, whatever the state of the disk
_WRONG_PATH = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


def failure_from_os_error(error: OSError, doing: str) -> Failure:
    """The user's words for an operating-system error, with a remedy."""
    remedy = _REMEDIES.get(error.errno or 0, "check the disk and the path, then run the same command again")
    kind = WrongUse if error.errno in _WRONG_PATH else Failure
    return kind(f"{doing}: {error.strerror or error}", remedy)


def make_folder(folder: Path) -> Path:
    """Create the folder and its parents; a clear error where that is not allowed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise failure_from_os_error(error, f"cannot create the folder {folder}") from error
    return folder


def _rename(part: Path, path: Path) -> None:
    part.replace(path)


@contextmanager
def atomic_file(path: Path, put: Callable[[Path, Path], None] = _rename) -> Iterator[Path]:
    """A temporary path beside `path` to write to, renamed to `path` only when everything worked.

    The data is flushed to the disk before the rename, so that after a power cut the file is either
    the old one, the new one, or absent. Errors of the body pass through as they are. `put` may do
    something else with (the written file, `path`) than to rename it.
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
            raise failure_from_os_error(error, f"cannot write {path}") from error
    finally:
        with suppress(OSError):  # on a read-only disk this fails too, and would hide the reason
            part.unlink(missing_ok=True)


def remove_stale_temp_files(folder: Path, name: str = "*") -> None:
    """Remove the temporary files that killed processes left beside files of this name (a pattern).

    Those of processes that are alive on this machine stay, and so do young ones of other machines."""
    for part in folder.glob(f".{name}.*.part"):
        host, _, rest = part.name.split(".")[-2].partition("-")
        pid = rest.partition("-")[0]
        with suppress(OSError, ValueError):
            old = time.time() - part.stat().st_mtime > FORGOTTEN_SECONDS
            if old or (host == _HOST and not _is_alive(int(pid))):
                part.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # there is no harmless signal
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a small file atomically. Text is stored as UTF-8 with Unix line ends; what UTF-8 cannot hold
    (half characters in file names) is written as an escape."""
    with atomic_file(path) as part:
        try:
            part.write_bytes(content.encode(errors="backslashreplace") if isinstance(content, str) else content)
        except OSError as error:
            raise failure_from_os_error(error, f"cannot write {path}") from error


def create_json(path: Path, value: Any) -> bool:
    """`write_json`, unless there is such a file: of several processes one writes. Whether it was this one."""
    created = True

    def put(part: Path, path: Path) -> None:
        nonlocal created
        try:
            os.link(part, path)
        except FileExistsError:
            created = False
        except OSError:  # a disk without links
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
    """Read a JSON file that this package wrote; a damaged one is named."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise failure_from_os_error(error, f"cannot read the {what} {path}") from error
    except (ValueError, RecursionError) as error:
        raise Failure(
            f"the {what} {path} is not valid JSON ({error})", "make it again, or restore it from a copy"
        ) from error


def sha256_bytes(content: bytes) -> str:
    """SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_digests(digests: Mapping[str, str]) -> str:
    """One SHA-256 of several files, by their names and their own."""
    return sha256_bytes("".join(f"{name} {digests[name]}\n" for name in sorted(digests)).encode())


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
