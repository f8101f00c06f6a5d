"""Reading and writing image files: PNG, JPEG and WebP to 8-bit RGB and back."""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import atomic_write, error_from_os_error, sha256_bytes
from ntire_sr.core.threads import set_image_warnings
from ntire_sr.samples.metadata import (
    NO_ORIENTATION,
    Note,
    ignore,
    is_readable_exif,
    png_profile,
    profile_note,
    without_metadata,
)

# zlib level of written PNGs. Samples are nearly incompressible: 1 is several times faster than the
# usual 6 and the files are a few per cent larger.
PNG_COMPRESSION = 1
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_PIXELS = Image.MAX_IMAGE_PIXELS or 1 << 27  # larger images are refused as decompression bombs
_COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


@dataclass(frozen=True)
class PngHeader:
    """Size and mode of a PNG, from its first 26 bytes."""

    width: int
    height: int
    bit_depth: int
    colour_type: int

    @property
    def mode(self) -> str:
        return f"{self.bit_depth}-bit {_COLOUR_TYPES.get(self.colour_type, 'unknown')}"

    @property
    def is_8bit_rgb(self) -> bool:
        return (self.bit_depth, self.colour_type) == (8, 2)


def _header(path: Path | str, content: bytes) -> PngHeader:
    if len(content) < 26 or content[:8] != PNG_SIGNATURE or content[12:16] != b"IHDR":
        raise NtireSrError(f"{path} is not a PNG file", "make it again")
    return PngHeader(*struct.unpack(">IIBB", content[16:26]))


def check_png(path: Path | str, content: bytes) -> PngHeader:
    """Check that a PNG is complete, without decompressing it: all chunks are there and match their checksums.

    Args:
        path: path of the file, for the error.
        content: bytes of the file.

    Raises:
        NtireSrError: it is no PNG, or truncated or damaged.
    """
    header = _header(path, content)
    position, name, data = 8, b"", 0
    while name != b"IEND":
        length, name = struct.unpack(">I4s", content[position : position + 8].ljust(8, b"\0"))
        end = position + 12 + length
        if end > len(content) or zlib.crc32(content[position + 4 : end - 4]) != int.from_bytes(
            content[end - 4 : end], "big"
        ):
            raise NtireSrError(f"{path} is truncated or damaged (at byte {position})", "replace the file")
        data += length if name == b"IDAT" else 0
        position = end
    if data == 0:
        raise NtireSrError(f"{path} is truncated or damaged (it holds no pixels)", "replace the file")
    return header


def read_png(path: Path) -> np.ndarray:
    """Read an 8-bit RGB PNG as (H, W, 3) uint8, about twice as fast as `read_image`.

    Raises:
        NtireSrError: it is missing, truncated, damaged or not 8-bit RGB; the message names it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise error_from_os_error(error, f"cannot read {path}") from error
    return decode_png(path, content)


def decode_png(path: Path | str, content: bytes) -> np.ndarray:
    """Decode the bytes of an 8-bit RGB PNG to (H, W, 3) uint8; see `check_png` and `read_png`."""
    header = check_png(path, content)
    if not header.is_8bit_rgb:
        raise NtireSrError(f"{path} is {header.mode}, not 8-bit RGB", "make it again")
    if header.width * header.height > MOST_PIXELS:
        raise NtireSrError(
            f"{path} claims more pixels than an image may have here ({header.width} x {header.height})"
        )
    # IMREAD_COLOR_RGB would save the swap of channels, 3 % of the time, but needs OpenCV 4.11
    options = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(without_metadata(content, orientation=False), np.uint8), options)
    if image is None or image.shape != (header.height, header.width, 3):
        raise NtireSrError(
            f"{path} is truncated or damaged (its pixels cannot be decompressed)", "replace the file"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def read_image(path: Path, note: Note = ignore) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 RGB.

    8-bit RGB is taken as it is. Grey and 1-bit images get three equal channels, a palette is replaced
    by its colours, an alpha channel is dropped where it is opaque everywhere, the EXIF orientation is
    applied, colour profiles are not. 16-bit, transparent, CMYK and animated images are refused:
    each would need a decision that only the user can make.

    Args:
        path: path of the file.
        note: receives what was not applied to the pixels: a colour profile, or an orientation that cannot be read.

    Raises:
        NtireSrError: the file is missing, truncated, damaged or of a refused kind; the message names it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise error_from_os_error(error, f"cannot read {path}") from error
    except MemoryError as error:
        raise NtireSrError(f"{path} does not fit into memory", "cut it into parts") from error
    return decode_image(path, content, note)


def decode_image(path: Path | str, content: bytes, note: Note = ignore) -> np.ndarray:
    """The content of an image file as (H, W, 3) uint8 RGB; see `read_image`.

    Args:
        path: where it comes from, for the error.
        content: of the file.
        note: receives what was not applied to the pixels.
    """
    try:
        with warnings.catch_warnings():
            set_image_warnings()
            return _decode(path, content, note)
    except NtireSrError:
        raise
    except UnidentifiedImageError as error:
        raise NtireSrError(
            f"{path} is not a PNG, JPEG or WebP image, or its header is damaged", "replace the file"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise NtireSrError(
            f"{path} claims more pixels than an image may have here ({error})", "cut it into parts"
        ) from error
    except MemoryError as error:
        raise NtireSrError(f"{path} does not fit into memory", "cut it into parts") from error
    except Exception as error:
        # on damaged files Pillow's parsers raise errors of many types: OSError, SyntaxError, TypeError ...
        raise NtireSrError(f"{path} is truncated or damaged ({error})", "replace the file") from error


def metadata_notes(path: Path) -> list[str]:
    """What `read_image` does not apply to the pixels of a file, without decoding it; empty if it cannot be read."""
    notes = []
    try:
        content = path.read_bytes()
        profile = png_profile(content) if content.startswith(PNG_SIGNATURE) else None
        if content.startswith(PNG_SIGNATURE):
            content = without_metadata(content)
        with warnings.catch_warnings():
            set_image_warnings()
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as image:
                profile, exif = profile or image.info.get("icc_profile"), image.info.get("exif")
    except Exception:  # reading the pixels raises the error, if there is one
        return []
    if profile is not None:
        notes.append(profile_note(profile))
    if exif and not is_readable_exif(exif):
        notes.append(NO_ORIENTATION)
    return notes


def _decode(path: Path | str, content: bytes, note: Note) -> np.ndarray:
    if not content.startswith(PNG_SIGNATURE):
        return _open(path, content, note)
    profile = png_profile(content)
    if profile is not None:
        note(profile_note(profile))
    try:
        return _open(path, without_metadata(content), note)
    except NtireSrError:
        raise
    except Exception:
        image = _open(
            path, without_metadata(content, orientation=False), note
        )  # its metadata are at fault, or it raises
        note(NO_ORIENTATION)
        return image


def _open(path: Path | str, content: bytes, note: Note) -> np.ndarray:
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as image:
        return _to_rgb(path, content, image, note)


def _to_rgb(path: Path | str, content: bytes, image: Image.Image, note: Note) -> np.ndarray:
    refusal = None
    # phones store depth and gain maps after the photograph, as MPO: its first frame is the photograph
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        refusal = "is animated", "save the frame you mean"
    elif image.format == "PNG" and _header(path, content).bit_depth == 16:
        refusal = "has 16 bits per channel", "convert it to 8 bits"
    elif image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        refusal = f"has mode {image.mode}", "convert it to 8-bit RGB"
    if refusal:
        raise NtireSrError(f"{path} {refusal[0]}", refusal[1])
    image.load()
    if profile := image.info.get("icc_profile"):
        note(profile_note(profile))
    upright = _upright(image, note)
    if "A" in upright.mode or "transparency" in upright.info:
        rgba = np.asarray(upright.convert("RGBA"))
        if (rgba[..., 3] != 255).any():
            raise NtireSrError(
                f"{path} has transparent pixels", "put it on a background and save it without alpha"
            )
        return np.ascontiguousarray(rgba[..., :3])
    return np.array(upright.convert("RGB"))


def _upright(image: Image.Image, note: Note) -> Image.Image:
    """The image with its EXIF orientation applied, if that can be read."""
    exif = image.info.get("exif")
    if exif and not is_readable_exif(exif):  # Pillow raises an error or not, which depends on the format
        note(NO_ORIENTATION)
        return image
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow raises errors of many types
        if not exif:
            raise
        note(NO_ORIENTATION)
        return image


def encode_png(image: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB as the bytes of an 8-bit RGB PNG."""
    succeeded, encoded = cv2.imencode(
        ".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION]
    )
    if not succeeded:
        raise RuntimeError(f"OpenCV could not encode an image of shape {image.shape}")
    return encoded.tobytes()


def write_png(path: Path, image: np.ndarray) -> str:
    """Write (H, W, 3) uint8 RGB atomically and return the SHA-256 of the file."""
    content = encode_png(image)
    atomic_write(path, content)
    return sha256_bytes(content)
