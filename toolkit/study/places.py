"""Choosing the places of the images: spread over the images, textured, without overlap, seeded."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

import numpy as np

from ntire_sr.study.hashing import number_of, shuffled


@dataclass(frozen=True)
class Spot:
    """A square window of an image."""

    image: int  # from 0, in the order of the HR images
    top: int  # in pixels, a multiple of the scale
    left: int
    texture: float  # see `texture_of`


def texture_of(image: np.ndarray) -> float:
    """Mean absolute difference of neighbouring pixels, in grey levels; 0 for a plain area.

    A clear sky has about 1, foliage 10 or more.

    Args:
        image: (H, W, 3) uint8 RGB, two or more pixels along each axis.

    >>> stripes = np.zeros((4, 4, 3), np.uint8)
    >>> stripes[:, ::2] = 30
    >>> texture_of(stripes)
    15.0
    """
    grey = image.astype(np.float32).mean(axis=2)
    across, down = np.abs(np.diff(grey, axis=1)).mean(), np.abs(np.diff(grey, axis=0)).mean()
    return float((across + down) / 2)


def spots_of(image: np.ndarray, number: int, size: int, step: int, seed: int) -> list[Spot]:
    """Windows of one image that do not overlap: as many as fit, as a grid that begins at a seeded offset.

    Args:
        image: (H, W, 3) uint8 RGB, already cropped as the challenge does.
        number: of the image, from 0.
        size: side of a window in pixels.
        step: windows begin at multiples of this.
        seed: decides the offset.
    """
    starts = []
    for axis, side in enumerate(image.shape[:2]):
        room = (side % size) // step + 1 if side >= size else 1
        first = number_of(seed, "offset", number, axis) % room * step
        starts.append(range(first, side - size + 1, size))
    return [
        Spot(number, top, left, texture_of(image[top : top + size, left : left + size]))
        for top in starts[0]
        for left in starts[1]
    ]


def choose_spots(
    by_image: Sequence[Sequence[Spot]], count: int, texture: float, spread: bool, seed: int
) -> list[Spot]:
    """Spots in a seeded order; fewer than `count` where there are no more.

    Args:
        by_image: the spots of each image.
        count: how many to choose.
        texture: least `Spot.texture`.
        spread: take from each image in turn; False: every textured spot is equally likely.
        seed: decides which.
    """
    textured = [[spot for spot in spots if spot.texture >= texture] for spots in by_image]
    if not spread:
        return shuffled(chain(*textured), seed, "spots")[:count]
    turns = shuffled(
        [shuffled(spots, seed, "spots", number) for number, spots in enumerate(textured)], seed, "images"
    )
    in_turn = chain(*zip_longest(*turns))
    return [spot for spot in in_turn if spot is not None][:count]
