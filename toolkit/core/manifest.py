"""The manifest of a folder of samples: what drew them, from what, and the digest of each file.

While samples are being drawn, `manifest.json` says what the folder is for, and a record per image in `.records`
what has been drawn of it: several processes can write, each its own images, and a kill costs one sample at
most. When all is there the records are folded into `manifest.json`.
"""

import json
import math
import os
import types
import typing
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from ntire_sr.core.downscale import SCALES
from ntire_sr.core.errors import Failure
from ntire_sr.core.files import create_json, read_json, sha256_bytes, write_json
from ntire_sr.core.layout import MANIFEST, MOST_SAMPLES, parse_sample_name
from ntire_sr.core.settings import field_types

FORMAT = "ntire-sr manifest"
VERSION = 3
RECORDS = ".records"  # folder beside the samples; names with a dot are no samples
MOST_TILE_PX = 10**6
Record = TypeVar("Record")


@dataclass(frozen=True)
class SamplingSettings:
    """What the pixels of a sample depend on, beside its LR image and its number. One set per folder."""

    model: str
    deterministic: bool  # True: all samples of an image are equal
    weights_sha256: str | None  # of the weights file; None: the model has no weights
    scale: int
    seed: int
    projection: bool  # False: samples were written as the network drew them
    precision: str  # of the network: float32 or bfloat16; the projection is always float32
    hyper_parameters: dict[str, Any]  # the model's settings and the projection's limits
    test_time_augmentation: bool = False  # flips or rotations averaged: never, as the challenge asks

    @property
    def digest(self) -> str:
        """SHA-256 of all of them; stands beside every sample, so that none of other settings gets among them."""
        return sha256_bytes(json.dumps(asdict(self), sort_keys=True).encode())

    def differences(self, other: "SamplingSettings") -> list[str]:
        """What differs between two sets, in words."""
        mine, theirs = (
            {name: value for name, value in asdict(each).items() if name != "hyper_parameters"}
            | each.hyper_parameters
            for each in (self, other)
        )
        names = [name for name in mine | theirs if mine.get(name) != theirs.get(name)]
        return [f"{name}: {mine.get(name)} there, {theirs.get(name)} asked for" for name in names]


@dataclass(frozen=True)
class ImageRecord:
    """One LR image of the run."""

    name: str  # of the LR file
    lr_sha256: str  # of its decoded pixels
    height: int  # of the LR image, in pixels
    width: int
    unreachable: bool = False  # True: no 8-bit image was found that reduces to it to 45 dB
    reachable_db: float | None = None  # best LR-PSNR reached for an unreachable LR image


@dataclass(frozen=True)
class SampleRecord:
    """One file of samples."""

    seed: int  # of this sample alone
    settings_sha256: str  # of the settings that it was drawn with
    sha256: str  # of the PNG file
    lr_psnr_db: float  # of the 8-bit image against the LR file
    rounds: int  # of the projection
    tile: int  # LR pixels along the side of the tiles at most; 0: drawn at once
    seconds: float  # to draw and project it; the trunk's time is shared out


@dataclass
class Manifest:
    """The whole record; `images[i]` belongs to the files with index i."""

    settings: SamplingSettings
    samples: int
    lr: str  # folder of the LR images, relative to the manifest's where possible
    weights: str | None = None  # the weights file, relative to the manifest's folder where possible
    features: str | None = None  # what the weights' feature losses were computed on
    trained_steps: int | None = None
    tile: int = 0  # for the samples that are still to be drawn
    tile_asked: int = 0  # what `tile` was before memory ran out
    device: str = "cpu"
    threads: int = 1  # of torch; another number may change the last bits of a float
    versions: dict[str, str] = field(default_factory=dict)
    images: list[ImageRecord] = field(default_factory=list)
    files: dict[str, SampleRecord] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write `manifest.json` into the folder, atomically."""
        write_json(folder / MANIFEST, self._as_json())

    def create(self, folder: Path) -> bool:
        """`save`, unless another process was first; whether it was this one."""
        return create_json(folder / MANIFEST, self._as_json())

    def _as_json(self) -> dict[str, Any]:
        content = {"format": FORMAT, "version": VERSION, **asdict(self)}
        return content | {"files": {name: asdict(self.files[name]) for name in sorted(self.files)}}

    def save_record(self, folder: Path, index: int) -> None:
        """Write what is known of one image into the folder's records, atomically."""
        files = {n: asdict(r) for n, r in sorted(self.files.items()) if _image_of(n) == index}
        record = {"image": asdict(self.images[index]), "files": files}
        write_json(folder / RECORDS / f"{index:06d}.json", record)

    def take_records(self, folder: Path) -> list[Path]:
        """Add what the folder's records say, and return their files; damaged ones are passed over, since
        what they say can be drawn again."""
        taken, digest = [], self.settings.digest
        for path in sorted((folder / RECORDS).glob("*.json")):
            try:
                content = read_json(path, "record")
                image = _typed(ImageRecord, content["image"])
                files = {name: _sample(record) for name, record in content["files"].items()}
                index = int(path.stem)
                same = replace(image, unreachable=False, reachable_db=None)
                if replace(self.images[index], unreachable=False, reachable_db=None) != same:
                    raise ValueError("it belongs to another image")
                if any(_image_of(name) != index for name in files):
                    raise ValueError("it names another image's samples")
                if any(record.settings_sha256 != digest for record in files.values()):
                    raise ValueError("it is of another run")
                self.images[index] = image
                self.files |= files
            except (Failure, KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError):
                pass
            taken.append(path)
        return taken


def _image_of(name: str) -> int:
    parsed = parse_sample_name(name)
    if parsed is None:
        raise ValueError(f"{name} is no sample's name")
    return parsed.index


def load_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder with its records, or None where it has none.

    Raises:
        Failure: there is one, but it is damaged or of another version.
    """
    path = folder / MANIFEST
    remedy = "draw the samples again with `ntire-sr generate --overwrite`"
    if not path.is_file():
        if os.path.lexists(path):
            raise Failure(f"{path} is no regular file", "remove it, or choose another folder")
        return None
    content = read_json(path, "manifest")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise Failure(f"{path} is not a manifest of ntire-sr", remedy)
    if content.get("version") != VERSION:
        raise Failure(
            f"{path} has version {content.get('version')}; this program reads version {VERSION}", remedy
        )
    try:
        kept = {f.name: content[f.name] for f in fields(Manifest)}
        kept["settings"] = _typed(SamplingSettings, kept["settings"])
        if not isinstance(kept["images"], list):
            raise TypeError("images is no list")
        kept["images"] = [_typed(ImageRecord, record) for record in kept["images"]]
        kept["files"] = {name: _sample(record) for name, record in kept["files"].items()}
        manifest = _typed(Manifest, kept)
        _check_ranges(manifest)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise Failure(f"{path} is damaged ({type(error).__name__}: {error})", remedy) from error
    manifest.take_records(folder)
    return manifest


def _sample(values: dict[str, Any]) -> SampleRecord:
    record = _typed(SampleRecord, {**values, "lr_psnr_db": float(values["lr_psnr_db"])})
    if math.isnan(record.lr_psnr_db):
        raise ValueError("lr_psnr_db is no number")
    if not 0 <= record.seconds < math.inf:
        raise ValueError(f"seconds is {record.seconds}")
    _check_tile(record.tile)
    return record


def _typed(record: type[Record], values: dict[str, Any]) -> Record:
    """A record from JSON values, each of the type that the record declares."""
    kinds = field_types(record)
    checked = {}
    for name, value in values.items():
        kind = kinds[name]
        options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
        allowed = tuple(typing.get_origin(option) or option for option in options)
        if isinstance(value, int) and not isinstance(value, bool) and float in allowed and int not in allowed:
            value = float(value)
        truth = isinstance(value, bool) and bool not in allowed  # which Python takes for a number
        if truth or not isinstance(value, allowed):
            raise TypeError(f"{name} is {value!r}")
        if isinstance(value, str) and ("\0" in value or not _is_text(value)):
            raise ValueError(f"{name} is no text")
        checked[name] = value
    return record(**checked)


def _is_text(value: str) -> bool:
    """Whether UTF-8 can hold it, half characters of file names aside (os.fsencode's)."""
    try:
        value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _check_ranges(manifest: Manifest) -> None:
    if not 1 <= manifest.samples <= MOST_SAMPLES:
        raise ValueError(f"samples is {manifest.samples}")
    if manifest.settings.scale not in SCALES:
        raise ValueError(f"scale is {manifest.settings.scale}")
    for tile in (manifest.tile, manifest.tile_asked):
        _check_tile(tile)
    for image in manifest.images:
        if image.unreachable and image.reachable_db is None:
            raise ValueError(f"{image.name} is unreachable without a value")
        if not math.isfinite(image.reachable_db or 0):
            raise ValueError(f"reachable_db of {image.name} is {image.reachable_db}")
    for name in manifest.files:
        if _image_of(name) >= len(manifest.images):
            raise ValueError(f"{name} belongs to none of {len(manifest.images)} images")


def _check_tile(tile: int) -> None:
    if not 0 <= tile <= MOST_TILE_PX:
        raise ValueError(f"tile is {tile}")
