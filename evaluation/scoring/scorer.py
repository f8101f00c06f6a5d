"""Measuring all values of one image, sample by sample: each file is read once, and no sample is kept."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ntire_sr.challenge.pixels import to_tensor
from ntire_sr.core.device import choose_device, full_float32
from ntire_sr.core.files import sha256_file
from ntire_sr.core.pretrained import ALEXNET, find
from ntire_sr.core.threads import map_ahead
from ntire_sr.evaluation.metrics import registry
from ntire_sr.evaluation.metrics.base import Reference
from ntire_sr.evaluation.metrics.declarations import ImageScore
from ntire_sr.evaluation.metrics.lpips_network import Lpips, load_lpips
from ntire_sr.evaluation.metrics.lr_psnr import official_crop
from ntire_sr.evaluation.scoring.matching import SampleGroup
from ntire_sr.evaluation.scoring.records import ImageResult, key_of
from ntire_sr.samples.image_files import read_image, read_png

AHEAD = 2  # samples that are read ahead while one is measured


@dataclass(frozen=True)
class Settings:
    """Settings of a scoring, on which its values depend in addition to the files."""

    scale: int
    device: str = "cpu"  # auto, cpu or cuda
    lpips_weights: Path | None = None  # file of AlexNet's weights; None for the one in the package
    lpips: bool = True  # whether to measure LPIPS
    realism: tuple[str, ...] = ()  # names of quality metrics
    niqe_model: Path | None = None  # None for the one in the package
    border_px: int | None = None  # border that PSNR and SSIM leave out; None to measure neither


class Scorer:
    """Measures images one after another, with networks that are loaded once.

    Raises:
        NtireSrError: the given file of AlexNet's weights cannot be used.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.device = choose_device(settings.device)
        self.lpips: Lpips | None = None
        facts: dict[str, object] = {"scale": settings.scale, "lpips": None}
        if settings.lpips:
            path = find(ALEXNET, settings.lpips_weights)
            self.lpips = load_lpips(path, self.device)
            facts["lpips"] = sha256_file(path)
        metrics = [registry.quality_metric(name) for name in settings.realism]
        self.quality = [
            (metric, metric.load(self.device, settings.niqe_model)) for metric in metrics if metric.load
        ]
        self.data_set_metrics = [metric.data_set for metric in metrics if metric.data_set]
        if settings.border_px is not None:
            facts["border_px"] = settings.border_px
        facts["realism"] = sorted([*settings.realism, *(loaded.version for _, loaded in self.quality)])
        self.facts = facts

    @property
    def measured_with(self) -> dict[str, Any]:
        """`lpips`: SHA-256 of AlexNet's weights, None without LPIPS; `realism`: version of each quality metric."""
        versions = {metric.name: loaded.version for metric, loaded in self.quality}
        # metrics of a whole data set have no version: they are of the features of LPIPS
        return {
            "lpips": self.facts["lpips"],
            "realism": {name: versions.get(name, "") for name in self.settings.realism},
        }

    def key(self, group: SampleGroup) -> str:
        """A digest of all files and settings that the record of an image depends on."""
        return key_of({**self.facts, "name": group.hr.name, "numbers": group.numbers, "files": group.digests})

    def measure(self, group: SampleGroup, count: Callable[[int], None] | None = None) -> ImageResult:
        """All values of one image. Samples are decoded in threads while earlier ones are measured.

        Args:
            group: the image and its samples.
            count: is called with 1 after each sample.

        Raises:
            NtireSrError: a file cannot be decoded.
        """

        def samples() -> Iterator[Tensor]:
            for array in map_ahead(read_png, group.samples, AHEAD, AHEAD):
                yield to_tensor(array)
                if count is not None:
                    count(1)

        return self.measure_images(
            to_tensor(read_image(group.hr)), samples(), group.numbers, group.index, group.hr.name
        )

    def measure_images(
        self, whole: Tensor, samples: Iterable[Tensor], numbers: Sequence[int], index: int, name: str
    ) -> ImageResult:
        """All values of one image from images in memory.

        Args:
            whole: the HR image, (1, 3, H, W) uint8.
            samples: one after another, (1, 3, H', W') uint8, not smaller than the official crop of the HR image.
            numbers: numbers of the samples.
            index: of the image, from 0.
            name: of the HR image.
        """
        with torch.inference_mode(), full_float32(self.device):
            return self._measure_images(whole.to(self.device), samples, numbers, index, name)

    def _measure_images(
        self, whole: Tensor, samples: Iterable[Tensor], numbers: Sequence[int], index: int, name: str
    ) -> ImageResult:
        reference = Reference(
            official_crop(whole),
            self.settings.scale,
            self.lpips,
            len(numbers) > 1,
            whole,
            self.quality,
            self.settings.border_px,
        )
        image_metrics = [kind(reference) for kind in registry.METRICS if self.lpips or not kind.needs_lpips]
        data_set_metrics = [metric.of_image(reference) for metric in self.data_set_metrics]
        metrics = (*image_metrics, *data_set_metrics)
        for image in samples:
            sample = reference.sample(image.to(self.device))
            for metric in metrics:
                metric.update(sample)
        values = {kind.values: kind.values() for kind in registry.METRICS if kind.needs_lpips}
        values |= {metric.values: metric.compute() for metric in image_metrics}
        tensors = {name: value for metric in metrics for name, value in metric.tensors().items()}
        return ImageResult(
            ImageScore(index, name, list(numbers), {kind: values[kind] for kind in registry.value_classes()}),
            {name: value.contiguous() for name, value in tensors.items()},
        )
