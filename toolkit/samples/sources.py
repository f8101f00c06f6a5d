"""Files in a folder or a zip archive: how to read one of them, and the samples among them."""

import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

from ntire_sr.challenge.names import SampleName, number_samples
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.files import error_from_os_error
from ntire_sr.samples.folders import README, list_samples
from ntire_sr.samples.image_files import MOST_PIXELS
from ntire_sr.samples.image_search import SYSTEM_FOLDERS
from ntire_sr.samples.problems import Kind, Problem, printable_name

MOST_BYTES = 3 * MOST_PIXELS  # largest file: more than a PNG of the largest allowed image
MOST_MEMBERS = 200_000  # members of an archive
BOMB_RATIO, BOMB_BYTES = 100, 10_000_000  # members over this ratio and this size are refused as zip bombs
MOST_README_BYTES = 100_000


@dataclass(frozen=True)
class Source:
    """One file in a folder or an archive."""

    name: str
    read: Callable[[], bytes]  # raises NtireSrError, which names the file


def file_source(path: Path, name: str | None = None, most_bytes: int | None = None) -> Source:
    """A file of a folder as a source.

    Args:
        path: path of the file.
        name: name for messages; None for the path.
        most_bytes: larger files are refused unread; None for any size.
    """
    shown = str(path) if name is None else name

    def read() -> bytes:
        try:
            size = path.stat().st_size
            if most_bytes is not None and size > most_bytes:
                raise NtireSrError(f"{shown} has {size} bytes, more than any such file")
            return path.read_bytes()
        except OSError as error:
            raise error_from_os_error(error, f"cannot read {path}") from error

    return Source(shown, read)


@dataclass(frozen=True)
class Submission:
    """The files of a submission, which anyone may have made."""

    samples: dict[SampleName, Source]  # images counted from 0
    readmes: list[Source]  # the readme.txt of each archive that has one
    unexpected_files: list[str]  # names of files that are not samples
    problems: list[Problem]  # problems of the archives and their members


@contextmanager
def open_submission(*paths: Path) -> Iterator[Submission]:
    """Open a folder of samples, an archive, or several archives that hold parts.

    Archives are not extracted; they stay open while the context lasts.

    Raises:
        UsageError: a path does not exist, or one of several is not a file.
        NtireSrError: an archive cannot be read at all.
    """
    if len(paths) == 1 and not paths[0].is_file():
        yield _open_folder(paths[0])
        return
    with ExitStack() as stack:
        yield _list_archives([stack.enter_context(_open_zip(path)) for path in paths])


def _open_zip(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise UsageError(f"{path} is not an archive", "one folder, or one or several zip files")
    try:
        return zipfile.ZipFile(path)
    except OSError as error:
        raise error_from_os_error(error, f"cannot read {path}") from error
    except Exception as error:  # on damaged files zipfile raises errors of various types
        raise NtireSrError(
            f"{path} is not a readable zip archive ({printable_name(str(error))})", "make it again"
        ) from error


def _open_folder(path: Path) -> Submission:
    if not path.is_dir():
        problem = "is neither a folder nor a file" if path.exists() else "does not exist"
        raise UsageError(f"{path} {problem}", "check the path: a folder of samples, or a zip")
    files, unexpected = list_samples(path)
    samples = {name: file_source(file, file.name, MOST_BYTES) for name, file in files.items()}
    readmes = [file_source(path / README, README, MOST_README_BYTES)] if (path / README).is_file() else []
    return Submission(samples, readmes, unexpected, [])


def _list_archives(archives: list[zipfile.ZipFile]) -> Submission:
    problems: list[Problem] = []
    sources: dict[str, Source] = {}
    readmes: list[Source] = []
    several = len(archives) > 1
    for archive in archives:
        members = archive.infolist()
        file = Path(str(archive.filename)).name
        if len(members) > MOST_MEMBERS:
            raise NtireSrError(
                f"{file} holds {len(members)} files; no track has more than {MOST_MEMBERS}", "make it again"
            )
        names: set[str] = set()
        lock = Lock()  # zipfile's count of open members is not thread-safe
        for member in members:
            name, faults = member.filename, _faults(member)
            if name in names:
                faults.append("is in the archive twice")
            elif name in sources:
                faults.append("is in another archive, too")
            where = f"{printable_name(name)}{f' in {file}' if several else ''}"
            problems += [Problem(Kind.UNSAFE, f"{where}: {fault}") for fault in faults]
            names.add(name)
            if not faults:
                source = Source(name, partial(_read_member, archive, member, lock))
                if name == README:
                    readmes.append(source)
                else:
                    sources[name] = source
    samples, unexpected = number_samples(list(sources))
    return Submission({name: sources[file] for name, file in samples.items()}, readmes, unexpected, problems)


def _faults(member: zipfile.ZipInfo) -> list[str]:
    """Faults of an archive member that its entry alone shows, such as unsafe paths."""
    name, mode = member.filename, member.external_attr >> 16
    if not name:
        return ["a member without a name"]
    parts = re.split(r"[/\\]", name)
    faults = []
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        faults.append("an absolute path")
    if ".." in parts:
        faults.append("a path that leaves the folder it is extracted to")
    if stat.S_ISLNK(mode):
        faults.append("a link")
    elif stat.S_IFMT(mode) and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        faults.append("not a regular file")
    if not faults and member.is_dir():
        faults.append("a folder; all files lie at the root")
    elif not faults and len(parts) > 1:
        by_system = parts[0].lower() in SYSTEM_FOLDERS
        reason = ", which the system added; zip without it" if by_system else "; all files lie at the root"
        faults.append(f"inside a folder{reason}")
    if member.flag_bits & 0x1:
        faults.append("encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        faults.append(f"compressed by method {member.compress_type}, which not every server knows")
    is_bomb = member.file_size > BOMB_BYTES and member.file_size > BOMB_RATIO * max(1, member.compress_size)
    if member.file_size > (MOST_README_BYTES if name == README else MOST_BYTES) or is_bomb:
        faults.append(f"claims {member.file_size} bytes from {member.compress_size}")
    return faults


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, lock: Lock) -> bytes:
    name = printable_name(member.filename)
    try:
        with lock, archive.open(member) as file:
            content = file.read(member.file_size)  # never more than it claims
            file.read(1)  # reaches the end of the file, where zipfile compares the checksum
    except OSError as error:
        raise error_from_os_error(error, f"cannot read {name}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise NtireSrError(
            f"{name} is damaged ({printable_name(str(error))})", "make the archive again"
        ) from error
    if len(content) != member.file_size:
        raise NtireSrError(f"{name} is shorter than it claims", "make the archive again")
    return content
