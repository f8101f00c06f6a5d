"""LPIPS, every figure of one image, and those of a data set, from images in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ntire_sr.api.inputs import AnyImage, Figures, Images, repeat_to_match, take, whole_number
from ntire_sr.challenge.downscale import CROP_MULTIPLE, crop_size, lr_size
from ntire_sr.core.device import full_float32
from ntire_sr.core.errors import ArgumentValueError, UsageError, plural
from ntire_sr.core.pretrained import ALEXNET, find
from ntire_sr.evaluation.metrics.base import DataSetMetric
from ntire_sr.evaluation.metrics.declarations import ImageScore
from ntire_sr.evaluation.metrics.lpips_network import SMALLEST_PX, Lpips, LpipsReference, load_lpips
from ntire_sr.evaluation.metrics.registry import quality_metric
from ntire_sr.evaluation.scoring.records import ImageResult
from ntire_sr.evaluation.scoring.scorer import Scorer, Settings
from ntire_sr.evaluation.scoring.summary import ScoreSummary, image_json


@overload
def lpips(sr: AnyImage, hr: AnyImage, spatial: Literal[False] = False) -> Figures: ...
@overload
def lpips(sr: NDArray[np.uint8], hr: AnyImage, spatial: Literal[True]) -> NDArray[np.float32]: ...
@overload
def lpips(sr: Tensor, hr: AnyImage, spatial: Literal[True]) -> Tensor: ...
def lpips(sr: AnyImage, hr: AnyImage, spatial: bool = False) -> Any:
    """LPIPS with AlexNet, version 0.1, as the challenge computes it: 0 or more, lower is closer.

    The images are not cropped. The figures are computed on the device of `sr`. Float images are rounded to 8 bits
    first. AlexNet's weights come with the package, see docs/pretrained.md.

    >>> from ntire_sr import downscale, lpips
    >>> from skimage.data import astronaut
    >>> hr = astronaut()[80:176, 160:288]
    >>> nearest = downscale(hr, 4).repeat(4, axis=0).repeat(4, axis=1)
    >>> round(float(lpips(nearest, hr)), 3), float(lpips(hr, hr))
    (0.379, 0.0)
    >>> lpips(nearest, hr, spatial=True).shape
    (96, 128)

    Args:
        sr: (H, W, 3) or (N, H, W, 3) uint8, or a tensor (N, 3, H, W), uint8 or float in [0, 1].
        hr: the HR image of each in one of these forms, or a single one for all; of the same size, 31 x 31 or more.
        spatial: whether to return the maps instead of their means.

    Returns:
        A number for an image (H, W, 3), else (N,) float64. With `spatial` maps (H, W) or (N, H, W) float32, as numpy
        array if `sr` came as one, else as tensor.

    Raises:
        ValueError, TypeError: an image is none of these, or they do not belong together.
        NtireSrError: the file that NTIRE_SR_LPIPS_WEIGHTS names cannot be used.
    """
    taken, reference = take("sr", sr), take("hr", hr)
    if taken.pixels.shape[2:] != reference.pixels.shape[2:] or min(taken.pixels.shape[2:]) < SMALLEST_PX:
        raise ArgumentValueError(
            f"sr has {taken.size} and hr {reference.size}; expected one size, {SMALLEST_PX} x {SMALLEST_PX} or more",
            "images of one size; score_samples cuts them as the challenge does",
        )
    shared = len(reference.pixels) == 1
    hr_images = repeat_to_match(taken, reference).levels.split(1)
    network, maps = _network(find(ALEXNET), taken.pixels.device), []
    with torch.inference_mode(), full_float32(taken.pixels.device):
        hr_features = None
        for sr_image, hr_image in zip(taken.levels.split(1), hr_images, strict=True):
            if hr_features is None or not shared:
                hr_features = LpipsReference(network, hr_image, pairs=False)
            maps.append(hr_features.map_of(hr_features.compare(sr_image))[:, 0])
    if spatial:
        return taken.maps_as_given(torch.cat(maps))
    return taken.figures([lpips_map.mean().item() for lpips_map in maps])


def score_samples(
    samples: AnyImage, hr: AnyImage, scale: int, *, lpips: bool = True, realism: Sequence[str] = ()
) -> dict[str, Any]:
    """Every figure of the samples of one image, as `ntire-sr score` computes them.

    HR and samples are cut to the HR sides' multiples of 8, as in the challenge. The names are those of `score.json`:
    `LPIPS_mean`, `LRPSNR_worst`, `LRPSNR_mean` and `score` (S_n in %) are the official columns.

    >>> from ntire_sr import downscale, load, score_samples
    >>> from skimage.data import astronaut
    >>> hr = astronaut()[80:176, 160:288]
    >>> figures = score_samples(load("bicubic").sample(downscale(hr, 4), k=2), hr, 4)
    >>> round(figures["LPIPS_mean"], 2), round(figures["score"], 2), figures["LRPSNR_worst"] >= 50
    (0.28, 0.0, True)

    Args:
        samples: (k, H, W, 3) uint8, or a tensor (k, 3, H, W), uint8 or float in [0, 1]; of any size from the cut HR
            image's to that of the LR image times the scale.
        hr: the HR image, (H, W, 3) uint8, or a tensor (1, 3, H, W); 32 x 32 or more for LPIPS.
        scale: HR pixels per LR pixel along an axis.
        lpips: whether to measure LPIPS.
        realism: names of quality metrics to measure, such as niqe; see docs/scoring.md.

    Returns:
        Figures by name; `nan` where one is not defined, and lists with an entry per sample.

    Raises:
        ValueError, TypeError: an image or name is none of these, or they do not belong together.
        NtireSrError: the file that NTIRE_SR_LPIPS_WEIGHTS names cannot be used.
    """
    wanted = _Wanted.checked(scale, lpips, realism)
    whole = [name for name in wanted.realism if quality_metric(name).data_set]
    if whole:
        raise ArgumentValueError(
            f"{whole[0]} is a figure of a data set, not of an image", "ntire_sr.SampleSetMetric"
        )
    figures = image_json(_measured(samples, hr, wanted, 0).score)
    return {name: value for name, value in figures.items() if name not in ("name", "index", "samples")}


class SampleSetMetric:
    """The figures of a data set, image by image: those of `ntire-sr score`, with torchmetrics' method names.

    Nothing but figures is kept of an image.

    >>> from ntire_sr import SampleSetMetric, downscale, load
    >>> from skimage.data import astronaut, coffee
    >>> metric, bicubic = SampleSetMetric(4, lpips=False), load("bicubic")
    >>> for hr in (astronaut()[80:176, 160:288], coffee()[80:176, 160:288]):
    ...     metric.update(bicubic.sample(downscale(hr, 4), k=2), hr)
    >>> figures = metric.compute()
    >>> figures["images"], figures["samples_under_45_dB"], figures["MSE_score"]
    (2, 0, 0.0)

    Args:
        scale: HR pixels per LR pixel along an axis.
        lpips: whether to measure LPIPS.
        realism: names of quality metrics to measure, such as niqe or patch-frechet; see docs/scoring.md.

    Raises:
        ValueError, TypeError: a setting is none of these.
    """

    def __init__(self, scale: int, *, lpips: bool = True, realism: Sequence[str] = ()):
        self._wanted = _Wanted.checked(scale, lpips, realism)
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._images: list[ImageScore] = []
        self._data_set: dict[str, DataSetMetric] = {}

    def update(self, samples: AnyImage, hr: AnyImage) -> None:
        """Measure one more image, on the device on which its samples are.

        Args:
            samples, hr: as for `score_samples`; as many samples as of the images before.

        Raises:
            ValueError, TypeError: an image is none of these, or they do not belong together.
            NtireSrError: the file that NTIRE_SR_LPIPS_WEIGHTS names cannot be used.
        """
        measured = _measured(samples, hr, self._wanted, len(self._images))
        count = len(measured.score.numbers)
        if self._images and count != len(self._images[0].numbers):
            raise ArgumentValueError(
                f"samples has {plural(count, 'sample')}, the images before have {len(self._images[0].numbers)}",
                "as many samples of every image; reset() begins again",
            )
        for name in self._wanted.realism:
            if metric := quality_metric(name).data_set:
                of_image = metric.from_tensors(measured.tensors)
                if name in self._data_set:
                    self._data_set[name].merge(of_image)
                else:
                    self._data_set[name] = of_image
        self._images.append(measured.score)

    def compute(self) -> dict[str, Any]:
        """The means over all images so far, under the names of the summary in `score.json`.

        Raises:
            ValueError: there is no image yet.
        """
        if not self._images:
            raise ArgumentValueError("no image has been measured", "update(samples, hr) first")
        return ScoreSummary(
            images=list(self._images),
            samples=len(self._images[0].numbers),
            scale=self._wanted.scale,
            quality=self._wanted.realism,
            data_set={name: metric.compute() for name, metric in self._data_set.items()},
        ).summary()


@dataclass(frozen=True)
class _Wanted:
    """The figures to measure and how."""

    scale: int
    lpips: bool
    realism: tuple[str, ...]

    @classmethod
    def checked(cls, scale: int, lpips: bool, realism: Sequence[str]) -> "_Wanted":
        names = (realism,) if isinstance(realism, str) else tuple(dict.fromkeys(realism))
        for name in names:
            try:
                data_set = quality_metric(name).data_set
            except UsageError as error:
                raise ArgumentValueError(error.message, error.remedy) from error
            if data_set and data_set.needs_lpips and not lpips:
                raise ArgumentValueError(
                    f"{name} is measured on the features of LPIPS", "lpips=True, or leave it out"
                )
        return cls(whole_number("scale", scale, 1), lpips, names)


def _measured(samples: AnyImage, hr: AnyImage, wanted: _Wanted, index: int) -> ImageResult:
    drawn, reference = take("samples", samples), take("hr", hr)
    _check_sizes(drawn, reference, wanted)
    path = find(ALEXNET) if wanted.lpips else None
    settings = Settings(wanted.scale, str(drawn.pixels.device), path, wanted.lpips, wanted.realism)
    return _scorer(settings).measure_images(
        reference.levels, drawn.levels.split(1), range(len(drawn.pixels)), index, str(index)
    )


def _check_sizes(samples: Images, hr: Images, wanted: _Wanted) -> None:
    """Raise an error unless there is one HR image, and samples of a size that `ntire-sr score` takes."""
    if len(hr.pixels) != 1:
        raise ArgumentValueError(
            f"hr is a batch of {len(hr.pixels)}; expected one image", "one call per HR image"
        )
    sides = hr.pixels.shape[2:]
    least = list(crop_size(*sides))
    most = [lr_size(side, wanted.scale) * wanted.scale for side in sides]
    smallest = SMALLEST_PX if wanted.lpips else CROP_MULTIPLE
    if min(least) < smallest:
        raise ArgumentValueError(
            f"hr has {hr.size}; {smallest} are needed after the cut to multiples of {CROP_MULTIPLE}",
            "larger images",
        )
    sample_sides = samples.pixels.shape[2:]
    if not all(low <= side <= high for low, side, high in zip(least, sample_sides, most, strict=True)):
        raise ArgumentValueError(
            f"samples have {samples.size}; hr with its {hr.size} asks for {least[1]} x {least[0]} to {most[1]} x {most[0]}",
            "the samples of this HR image",
        )


@lru_cache(maxsize=4)
def _network(path: Path, device: torch.device) -> Lpips:
    return load_lpips(path, device)


@lru_cache(maxsize=4)
def _scorer(settings: Settings) -> Scorer:
    return Scorer(settings)
