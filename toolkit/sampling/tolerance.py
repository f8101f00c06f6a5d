"""How much a sample may differ when another processor draws it again."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tolerance:
    """Largest differences between two drawings of one sample on two processors, in grey levels."""

    most: int  # of any value of any pixel
    mean: float  # over all values


# Processors sum in different orders. In float32 the network's output differs by far less than a grey level, so
# rounding moves a value by 1 at most. bfloat16 keeps 8 bits of each number: in the package's networks two
# instruction sets were up to 4 levels apart and .3 in the mean, bfloat16 and float32 up to 7 and .4. Extremes are
# rarer than the 220,000 values measured can show, so the limit is about twice that; the mean tells samples apart.
TOLERANCES = {"float32": Tolerance(most=1, mean=1.0), "bfloat16": Tolerance(most=16, mean=1.0)}


def tolerance_of(precision: str) -> Tolerance:
    """The tolerance of a precision; float32's where it is unknown."""
    return TOLERANCES.get(precision, TOLERANCES["float32"])


def same_sample(image: np.ndarray, redrawn: np.ndarray, precision: str) -> bool:
    """Whether two 8-bit images may be the same sample, drawn on two processors.

    >>> import numpy
    >>> black, dark = numpy.zeros((2, 2, 3), numpy.uint8), numpy.zeros((2, 2, 3), numpy.uint8)
    >>> dark[0, 0] = 3
    >>> same_sample(black, dark, "float32"), same_sample(black, dark, "bfloat16")
    (False, True)

    Args:
        image, redrawn: (H, W, 3), uint8.
        precision: float32 or bfloat16, in which the network was computed.
    """
    if image.shape != redrawn.shape:
        return False
    tolerance = tolerance_of(precision)
    difference = np.abs(image.astype(np.int16) - redrawn.astype(np.int16))
    return int(difference.max()) <= tolerance.most and float(difference.mean()) <= tolerance.mean
