"""Typed, frozen settings: made from presets and KEY=VALUE words, checked, and saved beside the result.

A settings record is a frozen dataclass whose fields are str, int, float, bool or an optional one of
these. What a value must satisfy stands in its `__post_init__`, as calls of `require`.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ntire_sr.errors import WrongUse
from ntire_sr.resize import SCALES

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class TrainConfig:
    """What one training run does, whatever the model; the model's own settings come beside it."""

    model: str = "srgan"  # a name from the table of models
    preset: str = "tiny"  # a named set of values for this record and the model's, applied before all others
    scale: int = 4  # HR pixels per LR pixel along an axis: 4 or 8
    hr: str | None = None  # folder of HR images, searched with its subfolders; none: the embedded photographs
    cache: str | None = "auto"  # folder for decoded images; auto: the user's cache folder; none: memory
    keep_on_device: bool = True  # with a GPU: all decoded images in its memory, if they fill at most half
    validation: str | None = "auto"  # folder of HR images to look at; auto: some left out of training; none
    validate_every: int = 250  # steps between looks at them
    start_from: str | None = None  # weights file of the same model to begin with: the tensors that fit; none
    sharp: float = 0.0  # share of the crops that are the sharpest of 4 places; 0: all fall anywhere
    seed: int = 0  # of the first weights, the crops and the noise
    device: str = "auto"  # auto, cpu or cuda
    steps: int = 700  # optimiser steps in all
    max_minutes: float = 6.0  # stop with a checkpoint after this time; 0: no limit
    patch: int = 64  # side of an HR crop in pixels, a multiple of the scale
    batch: int = 8  # crops per step
    checkpoint_every: int = 100  # steps between checkpoints
    log_every: int = 10  # steps between lines of the log
    tensorboard: bool = False  # also write log and previews for TensorBoard, with the extra [tensorboard]
    feature_weights: str | None = None  # file of the pretrained network that losses compare; none: looked up

    def __post_init__(self) -> None:
        require(self.scale in SCALES, f"scale {self.scale} is not offered", "4 or 8")
        require(
            self.device in ("auto", "cpu", "cuda"), f"device {self.device!r} is unknown", "auto, cpu or cuda"
        )
        require(0 <= self.seed < 2**63, f"seed {self.seed} is out of range", "0 to 2**63 - 1")
        require(0 <= self.sharp <= 1, f"sharp {self.sharp} is no share", "0 to 1")
        require(self.max_minutes >= 0, f"max_minutes {self.max_minutes} is negative", "0 for no limit")
        for name in ("steps", "batch", "checkpoint_every", "log_every", "validate_every"):
            require(getattr(self, name) >= 1, f"{name} {getattr(self, name)} is too small", "1 or more")
        nearest = max(4, round(self.patch / self.scale)) * self.scale
        require(
            self.patch % self.scale == 0 and self.patch >= 4 * self.scale,
            f"patch {self.patch} is not a multiple of scale {self.scale}, at least {4 * self.scale}",
            f"{nearest}",
        )


# Fields that a resumed run may change. They leave what is computed alone, but for two: with other `steps`
# the schedules end at the new last step, so the run is not the one that had been planned so long from its
# start; and every kind of `device` rounds in its own way and draws noise of its own.
CHANGEABLE_ON_RESUME = frozenset(
    {
        "steps",
        "max_minutes",
        "checkpoint_every",
        "log_every",
        "validate_every",
        "tensorboard",
        "device",
        "feature_weights",
        "cache",
        "keep_on_device",
    }
)


def require(condition: bool, found: str, remedy: str) -> None:
    """Raise WrongUse with what was found and what to write instead."""
    if not condition:
        raise WrongUse(found, remedy)


def suggestion(word: str, known: Collection[str]) -> str:
    """The known word that `word` was probably meant to be, or all of them.

    >>> suggestion("bacth", ["batch", "steps"])
    'batch'
    """
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return close[0] if close else "one of " + ", ".join(sorted(known))


def field_types(record: type) -> dict[str, Any]:
    """Field name -> declared type of a settings record."""
    hints = typing.get_type_hints(record)
    return {field.name: hints[field.name] for field in dataclasses.fields(record)}


def parse_words(words: Sequence[str]) -> dict[str, str]:
    """`["batch=4", "preset=tiny"]` as a dictionary; a word without `=` or given twice is refused."""
    values: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        require(bool(equals and key), f"--set {word} is not of the form KEY=VALUE", "--set batch=4")
        require(key not in values, f"--set {key} is given twice", "give it once")
        values[key] = value
    return values


def convert(name: str, value: Any, kind: Any) -> Any:
    """`value`, a text or a JSON value, as the declared type of the field `name`."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if type(None) in options and (value is None or value in ("none", "")):
        return None
    wanted = next(option for option in options if option is not type(None))
    try:
        if wanted is bool:
            if isinstance(value, bool):
                return value
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
                str(value).lower()
            ]
        if wanted is int and (isinstance(value, bool) or (isinstance(value, float) and value != int(value))):
            raise ValueError
        if wanted is str and not isinstance(value, str):
            raise ValueError
        return wanted(value)
    except (ValueError, KeyError, TypeError, OverflowError):
        example = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[wanted]
        raise WrongUse(f"{name} {value!r} is not {example}", f"{name}={example}") from None


def make(record: type[Settings], values: Mapping[str, Any]) -> Settings:
    """A settings record from values by name; unknown names are refused with a suggestion."""
    kinds = field_types(record)
    for name in values:
        require(name in kinds, f"unknown setting {name!r}", suggestion(name, kinds))
    return record(**{name: convert(name, value, kinds[name]) for name, value in values.items()})
