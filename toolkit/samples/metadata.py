"""Metadata of image files, as far as they concern pixels: orientation and colour profiles; and PNGs without metadata."""

import struct
import zlib
from collections.abc import Callable

from ntire_sr.core.errors import printable, shorten
from ntire_sr.core.progress import Progress

Note = Callable[[str], None]  # receives what was not applied to the pixels of a file

# chunks of a PNG that its pixels, its orientation or the number of its frames depend on, in addition to critical ones
_CHUNKS = (b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf")
_TEXTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")  # may hold the orientation
MOST_PROFILE_BYTES = 1 << 22  # of a profile that is looked at
NO_ORIENTATION = "the EXIF block cannot be read, so that its orientation is not applied"


def ignore(text: str) -> None:
    """Ignore a note."""


class ImageNotes:
    """Notes about image files, reported in one line for each text."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def of(self, name: str) -> Note:
        """A function that adds notes about the file `name`."""
        return lambda text: self._names.setdefault(text, []).append(name)

    def lines(self) -> list[str]:
        """A line for each text, with the files that it is about."""
        return [
            f"{printable(text)}: {shorten([printable(name) for name in sorted(names)])}"
            for text, names in sorted(self._names.items())
        ]

    def report(self, what: str, progress: Progress) -> None:
        """Report the lines about images of this kind ("LR", "HR", ...)."""
        for line in self.lines():
            progress.message(f"note: {what} images: {line}")


def without_metadata(content: bytes, orientation: bool = True) -> bytes:
    """A PNG without the chunks that its pixels do not depend on.

    Decoders refuse images whose profiles or texts are large.

    Args:
        content: bytes of the file, which may be damaged.
        orientation: whether to keep the chunks that may hold the orientation.
    """
    parts, position = [content[:8]], 8
    while position + 12 <= len(content):
        length, name = struct.unpack(">I4s", content[position : position + 8])
        end = position + 12 + length
        is_critical = not name[0] & 0x20
        is_text = name in (b"tEXt", b"zTXt", b"iTXt") and content[position + 8 :].startswith(_TEXTS)
        if is_critical or name in _CHUNKS[: None if orientation else -1] or (is_text and orientation):
            parts.append(content[position:end])
        position = end
        if name == b"IEND":
            break
    return b"".join([*parts, content[position:]])


def is_readable_exif(exif: bytes) -> bool:
    """Whether an EXIF block begins as TIFF does, with a directory of at least one entry or an empty one.

    >>> is_readable_exif(b"Exif\\0\\0garbage!")
    False
    """
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 10:
        return False
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    if start + 2 > len(exif):
        return False
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    return count == 0 or start + 14 <= len(exif)


def png_profile(content: bytes) -> bytes | None:
    """The colour profile of a PNG; None if it has none, empty if it cannot be read."""
    position = 8
    while position + 12 <= len(content):
        length, name = struct.unpack(">I4s", content[position : position + 8])
        if name == b"iCCP":
            _, _, compressed = content[position + 8 : position + 8 + length].partition(b"\0")
            try:
                return zlib.decompressobj().decompress(compressed[1:], MOST_PROFILE_BYTES)
            except zlib.error:
                return b""
        if name in (b"IDAT", b"IEND"):
            break
        position += 12 + length
    return None


def profile_note(profile: bytes) -> str:
    """What is noted about a colour profile, which is never applied.

    >>> profile_note(b"")
    "the colour profile 'unknown' is not applied: pixels are read as sRGB, convert them if their colours matter"
    """
    name = _profile_name(profile) or "unknown"
    if "srgb" in name.lower():
        return f"the colour profile {name!r} is left out, as images without one are read as sRGB"
    return f"the colour profile {name!r} is not applied: pixels are read as sRGB, convert them if their colours matter"


def _profile_name(profile: bytes) -> str:
    """The description inside an ICC profile (ICC.1:2022, sections 7.3, 10.13 and 10.15); empty if it is not found."""
    try:
        (count,) = struct.unpack_from(">I", profile, 128)
        for number in range(min(count, 100)):
            tag, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
            if tag != b"desc":
                continue
            content = profile[offset : offset + size]
            if content[:4] == b"mluc":
                length, start = struct.unpack_from(">II", content, 20)
                return content[start : start + length].decode("utf-16-be", errors="replace").strip("\0 ")
            (length,) = struct.unpack_from(">I", content, 8)
            return content[12 : 12 + length].decode("latin-1").strip("\0 ")
    except struct.error:
        pass
    return ""
