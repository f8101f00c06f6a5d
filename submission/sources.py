"""Reading a submission: a folder, or zip files, which are not extracted."""

import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

from ntire_sr.challenge.names import SampleName, number_samples
from ntire_sr.core.errors import NtireSrError, UsageError, printable
from ntire_sr.core.files import error_from_os_error
from ntire_sr.samples.folders import list_samples
from ntire_sr.samples.image_files import MOST_PIXELS
from ntire_sr.samples.sources import Source, file_source

README = "readme.txt"
MOST_BYTES = 3 * MOST_PIXELS  # largest file: more than a PNG of the largest allowed image
MOST_MEMBERS = 200_000  # members of an archive
BOMB_RATIO, BOMB_BYTES = 100, 10_000_000  # members over this ratio and this size are refused as zip bombs
MOST_README_BYTES = 100_000


@dataclass(frozen=True)
class Submission:
    """The files of a submission, which anyone may have made."""

    samples: dict[SampleName, Source]  # images counted from 0
    readmes: list[Source]  # the readme.txt of each archive that has one
    strangers: list[str]  # names of files that are not samples
    problems: list[str]  # problems of the archives and their members


def shown(name: str) -> str:
    """A name from an archive in a form that is safe to print.

    >>> shown("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return printable(name[:200]).replace("\n", "\\n")


@contextmanager
def open_submission(*paths: Path) -> Iterator[Submission]:
    """Open a folder of samples, an archive, or several archives that hold parts. Archives stay open while the
    context lasts.

    Raises:
        UsageError: a path does not exist, or one of several is not a file.
        NtireSrError: an archive cannot be read at all.
    """
    if len(paths) == 1 and not paths[0].is_file():
        yield _folder(paths[0])
        return
    with ExitStack() as stack:
        yield _archives([stack.enter_context(_zip(path)) for path in paths])


def _zip(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise UsageError(f"{path} is no archive", "one folder, or one or several zip files")
    try:
        return zipfile.ZipFile(path)
    except OSError as error:
        raise error_from_os_error(error, f"cannot read {path}") from error
    except Exception as error:  # on damaged files zipfile raises errors of various types
        raise NtireSrError(
            f"{path} is no readable zip archive ({shown(str(error))})", "make it again"
        ) from error


def _folder(path: Path) -> Submission:
    if not path.is_dir():
        said = "is neither a folder nor a file" if path.exists() else "does not exist"
        raise UsageError(f"{path} {said}", "check the path: a folder of samples, or a zip")
    found, strangers = list_samples(path)
    readme = path / README if README in strangers else None
    sources = {name: file_source(file, file.name, MOST_BYTES) for name, file in found.items()}
    readmes = [file_source(readme, README, MOST_README_BYTES)] if readme else []
    return Submission(sources, readmes, [name for name in strangers if name != README], [])


def _archives(archives: list[zipfile.ZipFile]) -> Submission:
    problems: list[str] = []
    sources: dict[str, Source] = {}
    readmes: list[Source] = []
    several = len(archives) > 1
    for archive in archives:
        members = archive.infolist()
        file = Path(str(archive.filename)).name
        if len(members) > MOST_MEMBERS:
            raise NtireSrError(f"{file} holds {len(members)} members, more than any track", "make it again")
        names: set[str] = set()
        lock = Lock()  # zipfile's count of open members is not thread-safe
        for member in members:
            name, found = member.filename, _problems_of(member)
            if name in names:
                found.append("is there twice")
            elif name in sources:
                found.append("is in another archive, too")
            problems += [f"{shown(name)}{f' in {file}' if several else ''}: {each}" for each in found]
            names.add(name)
            if not found:
                source = Source(name, partial(_member, archive, member, lock))
                if name == README:
                    readmes.append(source)
                else:
                    sources[name] = source
    named, strangers = number_samples(list(sources))
    return Submission({name: sources[file] for name, file in named.items()}, readmes, strangers, problems)


def _problems_of(member: zipfile.ZipInfo) -> list[str]:
    """Problems of an archive member that its entry alone shows, such as unsafe paths."""
    name, mode = member.filename, member.external_attr >> 16
    if not name:
        return ["a member without a name"]
    parts = re.split(r"[/\\]", name)
    found = []
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        found.append("an absolute path")
    if ".." in parts:
        found.append("a path that leaves the folder it is extracted to")
    if stat.S_ISLNK(mode):
        found.append("a link")
    elif stat.S_IFMT(mode) and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        found.append("no regular file")
    if not found and member.is_dir():
        found.append("a folder; all files lie at the root")
    elif not found and len(parts) > 1:
        found.append("inside a folder; all files lie at the root")
    if member.flag_bits & 0x1:
        found.append("encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        found.append(f"compressed by method {member.compress_type}, which not every server knows")
    large = member.file_size > BOMB_BYTES and member.file_size > BOMB_RATIO * max(1, member.compress_size)
    if member.file_size > (MOST_README_BYTES if name == README else MOST_BYTES) or large:
        found.append(f"claims {member.file_size} bytes from {member.compress_size}")
    return found


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, lock: Lock) -> bytes:
    try:
        with lock, archive.open(member) as file:
            content = file.read(member.file_size)  # never more than it claims
            file.read(1)  # reaches the end of the file, where zipfile compares the checksum
    except OSError as error:
        raise error_from_os_error(error, f"cannot read {shown(member.filename)}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise NtireSrError(
            f"{shown(member.filename)} is damaged ({shown(str(error))})", "make the archive again"
        ) from error
    if len(content) != member.file_size:
        raise NtireSrError(f"{shown(member.filename)} is shorter than it claims", "make the archive again")
    return content
