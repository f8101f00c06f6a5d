"""One image's figures, measured sample by sample: each is read once, and none is kept."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ntire_sr.core.device import choose_device, full_float32
from ntire_sr.core.downscale import downscale_8bit, lr_size, lr_squared_error
from ntire_sr.core.files import sha256_file
from ntire_sr.core.images import read_image, read_png, to_tensor
from ntire_sr.core.pretrained import ALEXNET, find
from ntire_sr.core.threads import map_ahead
from ntire_sr.evaluation.diversity import RunningDiversity
from ntire_sr.evaluation.lpips import Lpips, load_lpips
from ntire_sr.evaluation.lr_psnr import official_crop
from ntire_sr.evaluation.matching import SampleGroup
from ntire_sr.evaluation.perceptual import PerceptualErrors, shrink_map
from ntire_sr.evaluation.pixels import PixelErrors, box_mean
from ntire_sr.evaluation.realism import PATCH_FRECHET, OpenProxy, open_proxy
from ntire_sr.evaluation.records import ImageResult, ImageScore, key_of

AHEAD = 2  # samples that are read while one is measured


@dataclass(frozen=True)
class Settings:
    """What a scoring depends on beside the files."""

    scale: int
    device: str = "cpu"  # auto, cpu or cuda
    lpips_weights: Path | None = None  # AlexNet's file; None: looked up
    lpips: bool = True
    realism: tuple[str, ...] = ()  # names of proxies
    niqe_model: Path | None = None  # none: the one in the package


class Scorer:
    """Measures images one after another, with networks that are loaded once.

    Raises:
        NotFound: LPIPS is asked for and AlexNet is not there.
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
        self.proxies: list[OpenProxy] = [
            open_proxy(name, self.device, settings.niqe_model)
            for name in settings.realism
            if name != PATCH_FRECHET
        ]
        facts["realism"] = sorted([*settings.realism, *(proxy.version for proxy in self.proxies)])
        self.facts = facts

    def key(self, group: SampleGroup) -> str:
        """A digest of what the record of an image depends on."""
        return key_of({**self.facts, "name": group.hr.name, "numbers": group.numbers, "files": group.digests})

    def measure(self, group: SampleGroup) -> ImageResult:
        """All figures of one image.

        Raises:
            Failure: a file cannot be decoded.
        """
        with torch.inference_mode(), full_float32(self.device):
            return self._measure(group)

    def _measure(self, group: SampleGroup) -> ImageResult:
        whole_hr = to_tensor(read_image(group.hr)).to(self.device)
        hr = official_crop(whole_hr)
        height, width = hr.shape[2:]
        several = len(group.samples) > 1
        patches = PATCH_FRECHET in self.settings.realism
        perceptual = PerceptualErrors(self.lpips, hr, several, patches) if self.lpips else None
        pixels, boxes = PixelErrors(hr), RunningDiversity()
        lr = _LrOfSamples(whole_hr, hr, self.settings.scale)
        prepared = [(proxy, proxy.prepare(hr)) for proxy in self.proxies]
        realism: dict[str, list[float | None]] = {proxy.name: [] for proxy in self.proxies}
        for array in map_ahead(read_png, group.samples, AHEAD, AHEAD):
            whole_sr = to_tensor(array).to(self.device)
            sr = whole_sr[:, :, :height, :width]
            if perceptual:
                perceptual.update(sr)
            boxes.update(box_mean(pixels.update(sr)))
            lr.add(whole_sr, sr)
            for proxy, known in prepared:
                realism[proxy.name].append(proxy.measure(sr, known))
        score = ImageScore(
            index=group.index,
            name=group.hr.name,
            numbers=list(group.numbers),
            lpips=perceptual.diversity.means if perceptual else [],
            lpips_mosaics=perceptual.diversity.mosaics if perceptual else [],
            lpips_pairs=perceptual.mean_pair_distance if perceptual else None,
            mse=boxes.means,
            mse_mosaics=boxes.mosaics,
            pixel_distance=pixels.mean_distance,
            pixel_pairs=pixels.mean_pair_distance if several else None,
            lr_errors=lr.errors,
            lr_errors_uncropped=lr.errors_uncropped,
            realism=realism,
            realism_hr={
                proxy.name: proxy.measure(hr, known) for proxy, known in prepared if not proxy.needs_reference
            },
        )
        tensors = perceptual.tensors() if perceptual else {}
        if several:
            tensors["deviation"] = shrink_map(pixels.deviation()[None, None])[0, 0].half().cpu()
        return ImageResult(score, {name: value.contiguous() for name, value in tensors.items()})


class _LrOfSamples:
    """LR errors of samples: officially, of the crop, and of the whole images where the crop takes pixels away."""

    def __init__(self, whole_hr: Tensor, hr: Tensor, scale: int):
        self.scale = scale
        self.lr = downscale_8bit(hr, scale)
        self.whole_lr = downscale_8bit(whole_hr, scale) if hr.shape != whole_hr.shape else None
        self.errors: list[float] = []
        self.errors_uncropped: list[float] = []

    def add(self, whole_sr: Tensor, sr: Tensor) -> None:
        self.errors.append(lr_squared_error(sr, self.lr, self.scale))
        if self.whole_lr is not None and [lr_size(side, self.scale) for side in whole_sr.shape[2:]] == list(
            self.whole_lr.shape[2:]
        ):
            self.errors_uncropped.append(lr_squared_error(whole_sr, self.whole_lr, self.scale))
