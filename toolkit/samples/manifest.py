"""The manifest of a folder of samples: model, settings, LR images, and the digest of each file.

While samples are being drawn, `manifest.json` holds the settings and the list of LR images, and one record per
image in `.records` holds its samples: several processes can write, each for its own images, and a kill loses
one sample at most. Once all samples are there the records are merged into `manifest.json`.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from statistics import mean
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec.structs import replace

from ntire_sr.challenge.downscale import SCALES
from ntire_sr.challenge.names import MOST_SAMPLES, parse_sample_name
from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import create_json, read_json, sha256_bytes, sha256_of_digests, write_json
from ntire_sr.core.records import Record, to_record
from ntire_sr.samples.folders import MANIFEST

FORMAT = "ntire-sr manifest"
VERSION = 3
RECORDS = ".records"  # folder next to the samples; names that begin with a dot are no samples
MOST_TILE_PX = 10**6
MOST_TEMPERATURE = 2.0
REMEDY = "make the samples again with --overwrite, or move the manifest away to have them without one"
# keys of earlier versions -> today's
EARLIER_IMAGE_KEYS = {"unreachable": "infeasible", "reachable_db": "best_db"}

# settings that manifests of earlier versions hold -> the only value there
REMOVED_SETTINGS = {"test_time_augmentation": False}

TilePx = Annotated[int, msgspec.Meta(ge=0, le=MOST_TILE_PX)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class SamplingSettings(Record, frozen=True):
    """Everything except LR image and number that a sample's pixels depend on; the same for a whole folder."""

    model: str
    deterministic: bool  # True: all samples of an image are equal
    weights_sha256: str | None  # digest of the weights file; None if the model has no weights
    scale: int
    seed: int | None  # None: not known, since another program drew the images
    projection: bool  # False: samples are the network's output, only rounded to 8 bits
    precision: str  # precision of the network, float32, bfloat16 or unknown; the projection is always float32
    hyper_parameters: dict[str, Any]  # the model's settings and the projection's limits
    code_sha256: str | None = None  # digest of the code of a network from outside; None: the package's own
    external: bool = False  # True: another program drew the images, which were only projected here
    temperature: float = 1.0  # factor of latents and noise, the same for all samples

    # fields that earlier versions did not have, and what a manifest without them meant
    EARLIER: ClassVar[Mapping[str, Any]] = {"code_sha256": None, "external": False, "temperature": 1.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.temperature <= MOST_TEMPERATURE:
            raise ValueError(f"`temperature` is {self.temperature}, not in 0 to {MOST_TEMPERATURE:g}")
        if self.scale not in SCALES:
            raise ValueError(f"`scale` is {self.scale}, none of {', '.join(map(str, SCALES))}")

    @property
    def digest(self) -> str:
        """SHA-256 of all settings. Every sample's record holds it, so that other settings are noticed.

        Fields of `EARLIER` count only where they differ from it, and removed settings with their only value, so that
        earlier samples keep their digest.
        """
        values = {
            name: value
            for name, value in msgspec.structs.asdict(self).items()
            if name not in self.EARLIER or value != self.EARLIER[name]
        }
        return sha256_bytes(json.dumps(values | REMOVED_SETTINGS, sort_keys=True).encode())

    def differences(self, other: "SamplingSettings") -> list[str]:
        """The settings that differ between a folder's (`self`) and the requested ones (`other`), for users.

        Hyper-parameters are compared only if the model is the same: another model has others.
        """
        mine, theirs = msgspec.structs.asdict(self), msgspec.structs.asdict(other)
        hyper_parameters = [settings.pop("hyper_parameters") for settings in (mine, theirs)]
        if self.model == other.model:
            # both may have a precision: that of training is a hyper-parameter
            mine, theirs = mine | hyper_parameters[0] | mine, theirs | hyper_parameters[1] | theirs
        else:
            for settings in (mine, theirs):
                del settings["deterministic"], settings["code_sha256"]  # facts of the model
        names = [name for name in mine | theirs if mine.get(name) != theirs.get(name)]
        return [f"{name}: {mine.get(name)} there, {theirs.get(name)} asked for" for name in names]


class ModelCode(Record, frozen=True):
    """The code of a network from outside the package: a record, since nothing runs because a manifest names it."""

    folder: str  # folder of the files, relative to the manifest's where possible
    files: dict[str, str]  # path in that folder -> SHA-256 digest, of every Python file of the network
    parameters: int | None = None  # number of the network's parameters; None if they could not be counted

    @property
    def sha256(self) -> str:
        """One digest over all files."""
        return sha256_of_digests(self.files)


class ImageRecord(Record, frozen=True):
    """One LR image of the run."""

    name: str  # name of the LR file
    lr_sha256: str  # digest of its decoded pixels
    height: int  # height of the LR image in pixels
    width: int  # width of the LR image in pixels
    infeasible: bool  # True: no 8-bit HR image was found whose LR-PSNR reaches 45 dB
    best_db: float | None  # best LR-PSNR reached for an infeasible LR image, in dB

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.infeasible and self.best_db is None:
            raise ValueError("`infeasible` is true, but `best_db` is null")


class SourceRecord(Record, frozen=True):
    """The image of another program that a sample was made from."""

    file: str  # its file, relative to the folder of the sources
    sha256: str  # digest of that file
    lr_psnr_db: float  # LR-PSNR before the projection, in dB

    MAY_BE_INFINITE: ClassVar[tuple[str, ...]] = ("lr_psnr_db",)


class SampleRecord(Record, frozen=True, omit_defaults=True):
    """One sample, in one file."""

    seed: int | None  # the sample's own seed; None: not known, since another program drew the image
    settings_sha256: str  # digest of the settings that it was drawn with
    sha256: str  # digest of the PNG file
    lr_psnr_db: float  # LR-PSNR of the 8-bit image against the LR file, in dB
    rounds: int  # number of rounds of the projection
    tile: TilePx  # largest side of the tiles in LR pixels; 0: the whole image at once
    seconds: Seconds  # time to draw and project it; the trunk's time is divided among the image's samples
    source: SourceRecord | None = None  # what was projected; None if the sample was drawn here

    MAY_BE_INFINITE: ClassVar[tuple[str, ...]] = ("lr_psnr_db",)


class Manifest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The record of a whole folder; `images[i]` belongs to the files with index i."""

    settings: SamplingSettings
    samples: Annotated[int, msgspec.Meta(ge=1, le=MOST_SAMPLES)]  # samples per image
    lr: str  # folder of the LR images, relative to the manifest's where possible
    weights: str | None  # path of the weights file, relative to the manifest's folder where possible
    features: str | None  # feature network of the losses that the weights were trained with
    trained_steps: int | None  # training steps of the weights
    tile: TilePx  # tile side for the samples that are still to be drawn, in LR pixels
    tile_asked: TilePx  # the tile side before memory ran out
    device: str  # device that the samples were drawn on: cpu, cuda, or unknown if another program drew them
    threads: int  # number of torch's threads; another number may change the last bits of a float
    versions: dict[str, str]
    code: ModelCode | None = None  # code of a network from outside the package
    images: list[ImageRecord]
    files: dict[str, SampleRecord]
    sources: str | None = None  # folder of another program's images, relative to the manifest's where possible
    seconds: Seconds | None = None  # run time per sample of that program, as its user states it

    __post_init__ = Record.__post_init__
    MAY_BE_INFINITE: ClassVar[tuple[str, ...]] = ()

    @property
    def seconds_per_sample(self) -> float | None:
        """Run time per sample; None if it is not known.

        It is the mean of the times measured here, or what is stated about another program.
        """
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
        content = {"format": FORMAT, "version": VERSION, **msgspec.to_builtins(self)}
        return content | {"files": dict(sorted(content["files"].items()))}

    def save_record(self, folder: Path, index: int) -> None:
        """Write the record of one image and its samples into the folder `.records`, atomically."""
        files = {
            name: record for name, record in sorted(self.files.items()) if _image_index(name, folder) == index
        }
        record = msgspec.to_builtins({"image": self.images[index], "files": files})
        write_json(folder / RECORDS / f"{index:06d}.json", record)

    def take_records(self, folder: Path) -> list[Path]:
        """Merge the records in the folder `.records` into this manifest, and return their files.

        Damaged records are skipped, since their samples can be drawn again.
        """
        paths = sorted((folder / RECORDS).glob("*.json"))
        for path in paths:
            try:
                index = int(path.stem)
                image, files = self._load_image_file(path, index)
            except (NtireSrError, ValueError):
                continue
            self.images[index] = image
            self.files |= files
        return paths

    def _load_image_file(self, path: Path, index: int) -> tuple[ImageRecord, dict[str, SampleRecord]]:
        """An image and its samples from a file in `.records`.

        Raises:
            NtireSrError: it is damaged, or belongs to another run.
        """
        content = read_json(path, "record")
        if not isinstance(content, dict):
            raise NtireSrError(f"{path} is not an object")
        image = _parse_image(content.get("image"), f"{path}: image")
        files = _parse_files(content.get("files"), path)
        if not 0 <= index < len(self.images):
            raise NtireSrError(f"{path} belongs to no image")
        if replace(self.images[index], infeasible=image.infeasible, best_db=image.best_db) != image:
            raise NtireSrError(f"{path} belongs to another image")
        for name, record in files.items():
            if _image_index(name, path) != index or record.settings_sha256 != self.settings.digest:
                raise NtireSrError(f"{path} names samples of another image or run")
        return image, files


def load_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder, its records included; None if the folder has none.

    Raises:
        NtireSrError: there is one, but it is damaged or of another version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        if os.path.lexists(path):
            raise NtireSrError(f"{path} is not a regular file", "remove it, or choose another folder")
        return None
    content = read_json(path, "manifest")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise NtireSrError(f"{path} is not a manifest of ntire-sr", REMEDY)
    if content.get("version") != VERSION:
        raise NtireSrError(
            f"{path} has version {content.get('version')}; this program reads version {VERSION}", REMEDY
        )
    manifest = _parse_manifest(content, path)
    manifest.take_records(folder)
    return manifest


def _parse_manifest(content: dict[str, Any], path: Path) -> Manifest:
    """The manifest in a JSON object.

    Raises:
        NtireSrError: a key is missing or unknown, a value has a wrong type, or values contradict each other.
    """
    rest = {name: value for name, value in content.items() if name not in ("format", "version")}
    if isinstance(content.get("images"), list):
        images = enumerate(content["images"])
        rest["images"] = [_parse_image(image, f"{path}: images[{index}]") for index, image in images]
    if isinstance(content.get("settings"), dict):
        rest["settings"] = _without_removed(content["settings"], path)
    if "files" in content:
        rest["files"] = _parse_files(content["files"], path)
    manifest = to_record(rest, Manifest, str(path), REMEDY)
    for name in manifest.files:
        if _image_index(name, path) >= len(manifest.images):
            raise NtireSrError(f"{path}: {name} belongs to none of {len(manifest.images)} images", REMEDY)
    _check_code(manifest.code, manifest.settings.code_sha256, path)
    return manifest


def _without_removed(settings: dict[str, Any], path: Path) -> dict[str, Any]:
    for name, only in REMOVED_SETTINGS.items():
        if settings.get(name, only) is not only:
            raise NtireSrError(f"{path}: settings.{name} is {settings[name]!r}, not {json.dumps(only)}", REMEDY)
    return {name: value for name, value in settings.items() if name not in REMOVED_SETTINGS}


def _parse_image(content: Any, what: str) -> ImageRecord:
    if isinstance(content, dict):
        content = {EARLIER_IMAGE_KEYS.get(name, name): value for name, value in content.items()}
    return to_record(content, ImageRecord, what, REMEDY)


def _parse_files(content: Any, path: Path) -> dict[str, SampleRecord]:
    if not isinstance(content, dict):
        raise NtireSrError(f"{path}: files is not an object", REMEDY)
    return {
        name: to_record(_with_infinities(record), SampleRecord, f"{path}: files[{name}]", REMEDY)
        for name, record in content.items()
    }


def _with_infinities(content: Any) -> Any:
    """A sample's content with its infinite LR-PSNR, which JSON holds as the text "inf", as numbers."""
    if not isinstance(content, dict):
        return content
    content = content | ({"lr_psnr_db": math.inf} if content.get("lr_psnr_db") == "inf" else {})
    if "source" in content:
        content["source"] = _with_infinities(content["source"])
    return content


def _image_index(name: str, path: Path) -> int:
    sample = parse_sample_name(name)
    if sample is None:
        raise NtireSrError(f"{path}: files: {name!r} is not the name of a sample", REMEDY)
    return sample.index


def _check_code(code: ModelCode | None, sha256: str | None, path: Path) -> None:
    """Raise an error unless all code files are Python files inside their folder and have the given digest."""
    for name in code.files if code else ():
        file = PurePosixPath(name)
        if file.is_absolute() or ".." in file.parts or file.suffix != ".py" or "\\" in name or ":" in name:
            raise NtireSrError(f"{path}: code.files: {name!r} is no Python file inside its folder", REMEDY)
    if (code.sha256 if code else None) != sha256:
        raise NtireSrError(f"{path}: settings.code_sha256 is not the digest of the code", REMEDY)
