"""Declarations of figures: what a metric tells about its results, and how they are computed from its values.

Each metric file declares its figures. The table on the terminal, `score.json`, the CSV files, the pages and `compare`
iterate over the declarations of `registry.figures`, so that a new figure needs no change there.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Flag, auto
from statistics import fmean
from sys import float_info
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

Direction = Literal["lower", "higher"] | float | None
NonNegative = Annotated[float, msgspec.Meta(ge=0, le=float_info.max)]
Finite = Annotated[float, msgspec.Meta(ge=-float_info.max, le=float_info.max)]


class Values(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Base class of the values that a metric saves in the record of an image.

    The field names are the keys in the record, so that no two metrics may share one. A metric that is not always measured
    gives each field a default, which stands for "not measured". With `omit_defaults` it may lack in a record, as metrics
    do that were added after the record was written.
    """

    def check(self, samples: int) -> None:
        """Raise ValueError unless each list has an entry per sample, or is the default."""
        for field in msgspec.structs.fields(self):
            entries = getattr(self, field.name)
            lists = entries.values() if isinstance(entries, dict) else [entries]
            for values in lists:
                missing = isinstance(values, list) and len(values) != samples
                if missing and (values or field.required or isinstance(entries, dict)):
                    raise ValueError(f"{field.name} has {len(values)} values for {samples} samples")


V = TypeVar("V", bound=Values)


@dataclass(frozen=True)
class ImageScore:
    """The values of all metrics for one image."""

    index: int  # from 0, in the order of the HR images
    name: str  # name of the HR file
    numbers: list[int]  # numbers of the samples that were measured
    values: Mapping[type[Values], Values]  # of each metric, by the class of its values

    def of(self, kind: type[V]) -> V:
        """The values of one metric."""
        values = self.values[kind]
        assert isinstance(values, kind)
        return values


class Output(Flag):
    """The outputs that show a figure. All figures are in the summary of `score.json`."""

    TABLE = auto()  # the table that `score` prints and shows at the top of its page
    IMAGES = auto()  # the table of images on the page of `score`
    COMPARE = auto()  # `compare`: tables, page and JSON
    CSV = auto()  # `measure.csv`, whose other columns are the official script's


@dataclass(frozen=True, kw_only=True)
class Figure(Generic[V]):
    """A figure of a metric: name, label, unit, direction, digits and computation.

    A figure has a value for each image, a value for all images together, or both. Without `compute_images`, the value
    for all images is the mean over the images that have one, and `compare` computes paired differences.
    """

    name: str  # key in `score.json` and column in CSV files
    label: str  # for the table; may refer to the summary, as in "S_{samples}"
    unit: str = ""
    direction: Direction  # which values are better; a number is a target value, None is neither
    digits: int  # after the decimal point
    values: type[V]  # class of the values that it is computed from
    compute_image: Callable[[V], float] | None = None  # value of one image; nan where it is undefined
    compute_images: Callable[[Sequence[V]], float] | None = None  # value of all images
    compute_curve: Callable[[V], list[float]] | None = (
        None  # values for the first 1, 2, ... samples of an image
    )
    curve: str = ""  # name of the curve in `score.json`
    short: str = ""  # label where there is little room, as in `compare`; the same as `label` if empty
    note: str = ""  # added to `description`
    total: str = ""  # for a count: key in the summary of the number that it is out of
    undefined: str = ""  # why the value can be undefined
    outputs: Output = Output.TABLE | Output.IMAGES | Output.COMPARE
    needs_lpips: bool = False  # whether it is measured with the LPIPS network only
    instead_of: str = ""  # `compare` shows it only if a method lacks the figure of this name
    optional: bool = False  # whether the summary leaves it out where it is undefined
    required: float | None = None  # value that the challenge asks for
    data_set: bool = False  # whether it is computed from the saved tensors of all images, see `DataSetMetric`

    @property
    def description(self) -> str:
        """Unit, direction and note, for tables.

        >>> Figure(name="LRPSNR", label="LR-PSNR", unit="dB", direction="higher", digits=2, values=Values).description
        'dB, higher is better'
        """
        match self.direction:
            case None:
                direction = ""
            case "lower" | "higher":
                direction = f"{self.direction} is better"
            case target:
                direction = f"{target:g} is best"
        return ", ".join(filter(None, (self.unit, direction, self.note)))

    @property
    def lower_is_better(self) -> bool | None:
        """Whether lower values are better; None for a target value and for neither."""
        return self.direction == "lower" if self.direction in ("lower", "higher") else None

    @property
    def per_image(self) -> bool:
        """Whether each image has a value."""
        return self.compute_image is not None or self.compute_curve is not None

    @property
    def paired(self) -> bool:
        """Whether the value for all images is the mean over images, so that methods are compared image by image."""
        return self.per_image and self.compute_images is None

    def title(self, facts: Mapping[str, Any], short: bool = False) -> str:
        """The label, with facts from the summary such as the number of samples filled in."""
        label = self.short if short and self.short else self.label
        return label.format_map(facts) if "{" in label else label

    def of_image(self, image: ImageScore, samples: int | None = None) -> float:
        """The value of one image; nan if it is undefined or not measured.

        Args:
            image: the image.
            samples: for a figure with a curve, number of samples that count; None for all of the image.
        """
        return self.of_values(image.of(self.values), samples)

    def of_values(self, values: V, samples: int | None = None) -> float:
        """The value of one image from its metric's values; see `of_image`."""
        if self.compute_curve is not None:
            curve = self.compute_curve(values)
            position = len(curve) if samples is None else samples
            return curve[position - 1] if 0 < position <= len(curve) else math.nan
        assert self.compute_image is not None, f"{self.name} has no value for a single image"
        return self.compute_image(values)

    def of_images(self, images: Sequence[ImageScore]) -> float:
        """The value of all images together; nan if it is undefined or not measured."""
        if self.compute_images is not None:
            return self.compute_images([image.of(self.values) for image in images])
        return mean(self.of_image(image) for image in images)

    def curve_of_images(self, images: Sequence[ImageScore], samples: int) -> list[float]:
        """Means over images for the first 1, 2, ... samples; empty if it was not measured.

        Each mean is over the images that have so many samples, nan without any.
        """
        assert self.compute_curve is not None
        curves = [self.compute_curve(image.of(self.values)) for image in images]
        if not any(curves):
            return []
        return [mean(curve[n] for curve in curves if len(curve) > n) for n in range(samples)]


def mean(values: Iterable[float | None]) -> float:
    """The mean without None and nan values, as in the official tables; nan without any.

    >>> mean([1.0, math.nan, 3.0]), mean([])
    (2.0, nan)
    """
    defined = defined_values(values)
    return fmean(defined) if defined else math.nan


def defined_values(values: Iterable[float | None]) -> list[float]:
    """The values without None and nan, which stand for undefined."""
    return [value for value in values if value is not None and not math.isnan(value)]
