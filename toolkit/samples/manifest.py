"""The manifest of a folder of samples: model, settings, LR images, and the digest of each file.

While samples are being drawn, `manifest.json` holds the settings and the list of LR images, and one record per
image in `.records` holds its samples: several processes can write, each for its own images, and a kill loses
one sample at most. Once all samples are there the records are merged into `manifest.json`.
"""

import json
import math
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from statistics import mean
from typing import Any, ClassVar, TypeVar

from ntire_sr.challenge.downscale import SCALES
from ntire_sr.challenge.names import MOST_SAMPLES, parse_sample_name
from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import create_json, read_json, sha256_bytes, sha256_of_digests, write_json
from ntire_sr.core.settings import field_types, with_earlier_values
from ntire_sr.samples.folders import MANIFEST

FORMAT = "ntire-sr manifest"
VERSION = 3
RECORDS = ".records"  # folder beside the samples; names that begin with a dot are no samples
MOST_TILE_PX = 10**6
Record = TypeVar("Record")


@dataclass(frozen=True)
class SamplingSettings:
    """All that a sample's pixels depend on besides its LR image and number; the same for a whole folder."""

    model: str
    deterministic: bool  # True: all samples of an image are equal
    weights_sha256: str | None  # digest of the weights file; None if the model has no weights
    scale: int
    seed: int | None  # None: not known, since another program drew the images
    projection: bool  # False: samples are the network's output, only rounded to 8 bits
    precision: str  # precision of the network, float32, bfloat16 or unknown; the projection is always float32
    hyper_parameters: dict[str, Any]  # the model's settings and the projection's limits
    test_time_augmentation: bool = False  # averaging over flips or rotations: never, as the challenge requires
    code_sha256: str | None = None  # digest of the code of a network from outside; None: the package's own
    external: bool = False  # True: another program drew the images, which were only projected here

    # what a manifest without a field meant, see core.settings
    EARLIER: ClassVar[Mapping[str, Any]] = {"code_sha256": None, "external": False}

    @property
    def digest(self) -> str:
        """SHA-256 of all settings. Every sample's record holds it, so that other settings are noticed.

        Later fields count where they say something, so that earlier samples keep their digest."""
        said = {
            name: value
            for name, value in asdict(self).items()
            if name not in self.EARLIER or value != self.EARLIER[name]
        }
        return sha256_bytes(json.dumps(said, sort_keys=True).encode())

    def differences(self, other: "SamplingSettings") -> list[str]:
        """The settings that differ between a folder's (`self`) and those asked for (`other`), in words.

        Hyper-parameters are compared only where the model is the same: another model has others.
        """
        mine, theirs = asdict(self), asdict(other)
        hyper_parameters = [settings.pop("hyper_parameters") for settings in (mine, theirs)]
        if self.model == other.model:
            mine, theirs = mine | hyper_parameters[0], theirs | hyper_parameters[1]
        else:
            for settings in (mine, theirs):
                del settings["deterministic"], settings["code_sha256"]  # facts of the model
        names = [name for name in mine | theirs if mine.get(name) != theirs.get(name)]
        return [f"{name}: {mine.get(name)} there, {theirs.get(name)} asked for" for name in names]


@dataclass(frozen=True)
class ModelCode:
    """The code of a network from outside the package: a record, since nothing runs because a manifest names it."""

    folder: str  # folder of the files, relative to the manifest's where possible
    files: dict[str, str]  # path in that folder -> SHA-256 digest, of every Python file of the network
    parameters: int | None = None  # number of the network's parameters; None if they could not be counted

    EARLIER: ClassVar[Mapping[str, Any]] = {"parameters": None}

    @property
    def sha256(self) -> str:
        """One digest over all files."""
        return sha256_of_digests(self.files)


@dataclass(frozen=True)
class ImageRecord:
    """One LR image of the run."""

    name: str  # name of the LR file
    lr_sha256: str  # digest of its decoded pixels
    height: int  # height of the LR image in pixels
    width: int  # width of the LR image in pixels
    unreachable: bool = False  # True: no 8-bit HR image was found whose LR-PSNR reaches 45 dB
    reachable_db: float | None = None  # best LR-PSNR reached for an unreachable LR image


@dataclass(frozen=True)
class SourceRecord:
    """The image of another program that a sample was made from."""

    file: str  # its file, relative to the folder of the sources
    sha256: str  # digest of that file
    lr_psnr_db: float  # LR-PSNR before the projection, in dB


@dataclass(frozen=True)
class SampleRecord:
    """One sample, in one file."""

    seed: int | None  # the sample's own seed; None: not known, since another program drew the image
    settings_sha256: str  # digest of the settings that it was drawn with
    sha256: str  # digest of the PNG file
    lr_psnr_db: float  # LR-PSNR of the 8-bit image against the LR file, in dB
    rounds: int  # number of rounds of the projection
    tile: int  # largest side of the tiles in LR pixels; 0: the whole image at once
    seconds: float  # time to draw and project it; the trunk's time is divided among the image's samples
    source: SourceRecord | None = None  # what was projected; None if the sample was drawn here

    EARLIER: ClassVar[Mapping[str, Any]] = {"source": None}


@dataclass
class Manifest:
    """The record of a whole folder; `images[i]` belongs to the files with index i."""

    settings: SamplingSettings
    samples: int  # samples per image
    lr: str  # folder of the LR images, relative to the manifest's where possible
    weights: str | None = None  # path of the weights file, relative to the manifest's folder where possible
    features: str | None = None  # feature network of the losses that the weights were trained with
    trained_steps: int | None = None  # training steps of the weights
    tile: int = 0  # tile side for the samples that are still to be drawn, in LR pixels
    tile_asked: int = 0  # the tile side before memory ran out
    device: str = "cpu"  # that the samples were drawn on: cpu, cuda, or unknown if another program drew them
    threads: int = 1  # number of torch's threads; another number may change the last bits of a float
    versions: dict[str, str] = field(default_factory=dict)
    code: ModelCode | None = None  # of a network from outside the package
    images: list[ImageRecord] = field(default_factory=list)
    files: dict[str, SampleRecord] = field(default_factory=dict)
    sources: str | None = None  # folder of another program's images, relative to the manifest's where possible
    seconds: float | None = None  # run time per sample of that program, as its user states it

    EARLIER: ClassVar[Mapping[str, Any]] = {"code": None, "sources": None, "seconds": None}

    @property
    def seconds_per_sample(self) -> float | None:
        """Run time per sample: the mean of what was measured here, or what is stated about another program;
        None if it is not known."""
        if self.settings.external:
            return self.seconds
        return mean(record.seconds for record in self.files.values()) if self.files else None

    @property
    def on_gpu(self) -> bool | None:
        """Whether the samples were drawn on a GPU; None if it is not known."""
        return None if self.device == "unknown" else self.device != "cpu"

    def save(self, folder: Path) -> None:
        """Write `manifest.json` into the folder, atomically."""
        write_json(folder / MANIFEST, self._as_json())

    def create(self, folder: Path) -> bool:
        """`save`, unless another process was first. Returns whether this process wrote it."""
        return create_json(folder / MANIFEST, self._as_json())

    def _as_json(self) -> dict[str, Any]:
        content = {"format": FORMAT, "version": VERSION, **asdict(self)}
        return content | {"files": {name: _record_as_json(self.files[name]) for name in sorted(self.files)}}

    def save_record(self, folder: Path, index: int) -> None:
        """Write the record of one image and its samples into the folder `.records`, atomically."""
        files = {n: _record_as_json(r) for n, r in sorted(self.files.items()) if _image_index(n) == index}
        record = {"image": asdict(self.images[index]), "files": files}
        write_json(folder / RECORDS / f"{index:06d}.json", record)

    def take_records(self, folder: Path) -> list[Path]:
        """Merge the records in the folder `.records` into this manifest, and return their files. Damaged
        records are skipped, since their samples can be drawn again."""
        taken, digest = [], self.settings.digest
        for path in sorted((folder / RECORDS).glob("*.json")):
            try:
                content = read_json(path, "record")
                image = _checked_record(ImageRecord, content["image"])
                files = {name: _sample_record(record) for name, record in content["files"].items()}
                index = int(path.stem)
                same = replace(image, unreachable=False, reachable_db=None)
                if replace(self.images[index], unreachable=False, reachable_db=None) != same:
                    raise ValueError("it belongs to another image")
                if any(_image_index(name) != index for name in files):
                    raise ValueError("it names another image's samples")
                if any(record.settings_sha256 != digest for record in files.values()):
                    raise ValueError("it is of another run")
                self.images[index] = image
                self.files |= files
            except (NtireSrError, KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError):
                pass
            taken.append(path)
        return taken


def _record_as_json(record: SampleRecord) -> dict[str, Any]:
    values = asdict(record)
    return values if record.source else {name: value for name, value in values.items() if name != "source"}


def _image_index(name: str) -> int:
    parsed = parse_sample_name(name)
    if parsed is None:
        raise ValueError(f"{name} is no sample's name")
    return parsed.index


def load_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder, its records included; None if the folder has none.

    Raises:
        NtireSrError: there is one, but it is damaged or of another version.
    """
    path = folder / MANIFEST
    remedy = "make the samples again with --overwrite, or move the manifest away to have them without one"
    if not path.is_file():
        if os.path.lexists(path):
            raise NtireSrError(f"{path} is no regular file", "remove it, or choose another folder")
        return None
    content = read_json(path, "manifest")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise NtireSrError(f"{path} is not a manifest of ntire-sr", remedy)
    if content.get("version") != VERSION:
        raise NtireSrError(
            f"{path} has version {content.get('version')}; this program reads version {VERSION}", remedy
        )
    try:
        content = with_earlier_values(Manifest, content)
        kept = {f.name: content[f.name] for f in fields(Manifest)}
        kept["settings"] = _checked_record(SamplingSettings, kept["settings"])
        kept["code"] = None if kept["code"] is None else _checked_record(ModelCode, kept["code"])
        if not isinstance(kept["images"], list):
            raise TypeError("images is no list")
        kept["images"] = [_checked_record(ImageRecord, record) for record in kept["images"]]
        kept["files"] = {name: _sample_record(record) for name, record in kept["files"].items()}
        manifest = _checked_record(Manifest, kept)
        _check_ranges(manifest)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise NtireSrError(f"{path} is damaged ({type(error).__name__}: {error})", remedy) from error
    manifest.take_records(folder)
    return manifest


def _sample_record(values: dict[str, Any]) -> SampleRecord:
    source = values.get("source")
    if source is not None:
        source = _checked_record(SourceRecord, {**source, "lr_psnr_db": _decibels(source)})
    record = _checked_record(SampleRecord, {**values, "lr_psnr_db": _decibels(values), "source": source})
    if not 0 <= record.seconds < math.inf:
        raise ValueError(f"seconds is {record.seconds}")
    _check_tile(record.tile)
    return record


def _decibels(values: dict[str, Any]) -> float:
    """The LR-PSNR in a record, whose infinity is a text."""
    value = float(values["lr_psnr_db"])
    if math.isnan(value):
        raise ValueError("lr_psnr_db is no number")
    return value


def _checked_record(record: type[Record], values: dict[str, Any]) -> Record:
    """A record from JSON values; a missing value, and one of another type than declared, raise an error."""
    values, kinds = with_earlier_values(record, values), field_types(record)
    if missing := kinds.keys() - values.keys():
        raise KeyError(", ".join(sorted(missing)))
    checked = {}
    for name, value in values.items():
        kind = kinds[name]
        options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
        allowed = tuple(typing.get_origin(option) or option for option in options)
        if isinstance(value, int) and not isinstance(value, bool) and float in allowed and int not in allowed:
            value = float(value)
        is_bool = isinstance(value, bool) and bool not in allowed  # to Python a bool is an int
        if is_bool or not isinstance(value, allowed):
            raise TypeError(f"{name} is {value!r}")
        if isinstance(value, str) and ("\0" in value or not _is_text(value)):
            raise ValueError(f"{name} is no text")
        checked[name] = value
    return record(**checked)


def _is_text(value: str) -> bool:
    """Whether UTF-8 can encode it; the lone surrogates of undecodable file names (os.fsdecode) are allowed."""
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
    if not 0 <= (manifest.seconds or 0) < math.inf:
        raise ValueError(f"seconds is {manifest.seconds}")
    for tile in (manifest.tile, manifest.tile_asked):
        _check_tile(tile)
    _check_code(manifest.code, manifest.settings.code_sha256)
    for image in manifest.images:
        if image.unreachable and image.reachable_db is None:
            raise ValueError(f"{image.name} is unreachable without a value")
        if not math.isfinite(image.reachable_db or 0):
            raise ValueError(f"reachable_db of {image.name} is {image.reachable_db}")
    for name in manifest.files:
        if _image_index(name) >= len(manifest.images):
            raise ValueError(f"{name} belongs to none of {len(manifest.images)} images")


def _check_tile(tile: int) -> None:
    if not 0 <= tile <= MOST_TILE_PX:
        raise ValueError(f"tile is {tile}")


def _check_code(code: ModelCode | None, sha256: str | None) -> None:
    for name, digest in code.files.items() if code else ():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or path.suffix != ".py" or "\\" in name or ":" in name:
            raise ValueError(f"{name!r} is no Python file inside its folder")
        if not isinstance(digest, str):
            raise TypeError(f"the digest of {name!r} is {digest!r}")
    if (code.sha256 if code else None) != sha256:
        raise ValueError("code_sha256 is not that of the code")
