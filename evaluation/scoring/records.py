"""Records of scored images: raw values, small maps, and a digest of the files and settings that they depend on."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import atomic_write, read_json, sha256_bytes, write_json
from ntire_sr.core.records import to_record
from ntire_sr.evaluation.metrics import registry
from ntire_sr.evaluation.metrics.declarations import ImageScore

_NAME = re.compile(r"\d{6}\.json")
AGAIN = "run `ntire-sr score` again with the same folders; what was measured is kept"
VERSION = 1  # version of the computation: images with records of another version are measured again


class _Head(msgspec.Struct, forbid_unknown_fields=True):
    """The part of a record that does not depend on the metrics."""

    version: int
    key: str
    tensors_sha256: str
    index: Annotated[int, msgspec.Meta(ge=0)]
    name: str
    numbers: Annotated[list[int], msgspec.Meta(min_length=1)]


@dataclass(frozen=True)
class ImageResult:
    """One image's values and the tensors saved with them, such as small maps and sums of features."""

    score: ImageScore
    tensors: dict[str, Tensor] = field(default_factory=dict)


class Records:
    """The records of the images of one scoring in `OUT/records`, two files per image.

    A record is valid only for the files and settings that it was measured with, so that an interrupted
    scoring can be resumed and several processes can share one.

    Args:
        folder: folder of the records.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def save(self, measured: ImageResult, key: str) -> None:
        """Write the tensors first and the values last, so that a record with values is complete."""
        content = save(measured.tensors)
        atomic_write(self._tensors(measured.score.index), content)
        record = {"version": VERSION, "key": key, "tensors_sha256": sha256_bytes(content)}
        write_json(self._figures(measured.score.index), {**record, **score_to_json(measured.score)})

    def load(self, index: int, key: str) -> ImageResult | None:
        """The record of an image; None if it is missing, damaged or of other files or settings."""
        try:
            return self.read(index, key)
        except NtireSrError:
            return None

    def read(self, index: int, key: str) -> ImageResult:
        """The record of an image.

        Raises:
            NtireSrError: it is missing, damaged, or of other files or settings.
        """
        path = self._figures(index)
        head, score = parse_record(read_json(path, "record"), str(path))
        try:
            tensors = load_file(self._tensors(index))
            digest = sha256_bytes(self._tensors(index).read_bytes())
        except (OSError, SafetensorError) as error:
            raise NtireSrError(f"{self._tensors(index)} cannot be read ({error})") from error
        if (head.version, head.key, head.tensors_sha256) != (VERSION, key, digest):
            raise NtireSrError(f"{path} is of other files or settings")
        return ImageResult(score, tensors)

    def discard_others(self, indices: set[int]) -> None:
        """Remove the records of images whose index is not among `indices`; other files stay."""
        for path in self.folder.glob("*.json"):
            if _NAME.fullmatch(path.name) and int(path.stem) not in indices and _is_record(path):
                path.unlink(missing_ok=True)
                path.with_suffix(".safetensors").unlink(missing_ok=True)

    def _figures(self, index: int) -> Path:
        return self.folder / f"{index:06d}.json"

    def _tensors(self, index: int) -> Path:
        return self.folder / f"{index:06d}.safetensors"


def score_to_json(score: ImageScore) -> dict[str, Any]:
    """An image's values as its record has them, in one flat object."""
    content: dict[str, Any] = {"index": score.index, "name": score.name, "numbers": score.numbers}
    for values in score.values.values():
        content |= msgspec.to_builtins(values)
    return content


def parse_record(content: Any, what: str) -> tuple[_Head, ImageScore]:
    """Check a record and read it.

    Args:
        content: the JSON of a record.
        what: name of the record, for errors.

    Raises:
        NtireSrError: a key is missing or unknown, or a value has a wrong type or range; the error has the key's path.
    """
    if not isinstance(content, dict):
        raise NtireSrError(f"{what} is damaged: not an object", AGAIN)
    rest = dict(content)

    def take(kind: type[Any]) -> Any:
        """Read one part of the record and take its keys away."""
        names = kind.__struct_fields__
        for name in names:
            if name not in content and not kind.__struct_config__.omit_defaults:
                raise NtireSrError(f"{what} is damaged: missing field `{name}`", AGAIN)
        return to_record({name: rest.pop(name) for name in names if name in rest}, kind, what, AGAIN)

    head = take(_Head)
    values = {kind: take(kind) for kind in registry.value_classes()}
    if rest:
        raise NtireSrError(f"{what} is damaged: unknown field `{next(iter(rest))}`", AGAIN)
    for part in values.values():
        try:
            part.check(len(head.numbers))
        except ValueError as error:
            raise NtireSrError(f"{what} is damaged: {error}", AGAIN) from error
    return head, ImageScore(head.index, head.name, head.numbers, values)


def _is_record(path: Path) -> bool:
    try:
        content = read_json(path, "record")
    except NtireSrError:
        return False
    return isinstance(content, dict) and {"version", "key", "tensors_sha256"} <= content.keys()


def key_of(facts: dict[str, Any]) -> str:
    """A digest of all facts that a record depends on."""
    return sha256_bytes(json.dumps(facts, sort_keys=True).encode())
