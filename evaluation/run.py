"""One image's figures, measured sample by sample: each is read once, and none is kept."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ntire_sr.device import choose_device, full_float32
from ntire_sr.evaluation.calibration import FeatureSpread
from ntire_sr.evaluation.consistency import official_crop
from ntire_sr.evaluation.diversity import RunningDiversity
from ntire_sr.evaluation.frechet import PatchStatistics
from ntire_sr.evaluation.lpips import DEEPEST_CHANNELS, Lpips, enlarged, load_lpips
from ntire_sr.evaluation.pairs import Pair
from ntire_sr.evaluation.pixels import PixelErrors, box_mean
from ntire_sr.evaluation.realism import PATCH_FRECHET, OpenProxy, open_proxy
from ntire_sr.evaluation.records import ImageScore, Measured, key_of
from ntire_sr.files import sha256_file
from ntire_sr.images import read_image, read_png, to_tensor
from ntire_sr.pretrained import ALEXNET, find
from ntire_sr.resize import downscale_8bit, lr_size, lr_squared_error

MAP_PX = 640  # long side of the maps that are kept for the report
AHEAD = 2  # samples that are read while one is measured


@dataclass(frozen=True)
class Settings:
    """What a scoring depends on beside the files."""

    scale: int
    device: str = "cpu"  # auto, cpu or cuda
    lpips_weights: Path | None = None  # AlexNet's file; none: looked up
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

    def key(self, pair: Pair) -> str:
        """A digest of what the record of an image depends on."""
        return key_of({**self.facts, "name": pair.hr.name, "numbers": pair.numbers, "files": pair.digests})

    def measure(self, pair: Pair) -> Measured:
        """All figures of one image.

        Raises:
            Failure: a file cannot be decoded.
        """
        with torch.inference_mode(), full_float32(self.device):
            return self._measure(pair)

    def _measure(self, pair: Pair) -> Measured:
        scale, lpips = self.settings.scale, self.lpips
        whole_hr = to_tensor(read_image(pair.hr)).to(self.device)
        hr = official_crop(whole_hr)
        size = (hr.shape[2], hr.shape[3])
        cropped = size != tuple(whole_hr.shape[2:])
        lr, whole_lr = downscale_8bit(hr, scale), downscale_8bit(whole_hr, scale) if cropped else None
        prepared = [proxy.prepare(hr) for proxy in self.proxies]
        with_patches = lpips is not None and PATCH_FRECHET in self.settings.realism
        hr_patches = PatchStatistics(DEEPEST_CHANNELS, self.device) if with_patches else None
        sr_patches = PatchStatistics(DEEPEST_CHANNELS, self.device) if with_patches else None
        spread = features = None
        if lpips:
            deepest: list[Tensor] = []
            features = lpips.features(hr, deepest)
            spread = FeatureSpread(lpips, features) if len(pair.samples) > 1 else None
            if hr_patches:
                hr_patches.add(deepest[0])
            del deepest
        perceptual, boxes, pixels = RunningDiversity(), RunningDiversity(), PixelErrors(hr)
        lr_errors, whole_errors = [], []
        realism: dict[str, list[float | None]] = {proxy.name: [] for proxy in self.proxies}
        small_maps = []
        for array in read_ahead(pair.samples):
            whole_sr = to_tensor(array).to(self.device)
            sr = whole_sr[:, :, : size[0], : size[1]]
            if lpips and features:
                deepest = []
                coarse = lpips.compare(
                    features, sr, spread.sums if spread else None, deepest if sr_patches else None
                )
                if spread:
                    spread.add(coarse)
                if sr_patches:
                    sr_patches.add(deepest[0])
                whole_map = enlarged(coarse, size)
                perceptual.add(whole_map)
                small_maps.append(reduced(whole_map)[0, 0].cpu())
            boxes.add(box_mean(pixels.add(sr)))
            lr_errors.append(lr_squared_error(sr, lr, scale))
            if whole_lr is not None and all(
                lr_size(side, scale) == there
                for side, there in zip(whole_sr.shape[2:], whole_lr.shape[2:], strict=True)
            ):
                whole_errors.append(lr_squared_error(whole_sr, whole_lr, scale))
            for proxy, known in zip(self.proxies, prepared, strict=True):
                realism[proxy.name].append(proxy.measure(sr, known))
        single = len(pair.samples) < 2
        score = ImageScore(
            index=pair.index,
            name=pair.hr.name,
            numbers=list(pair.numbers),
            lpips=perceptual.means,
            lpips_mosaics=perceptual.mosaics,
            lpips_pairs=spread.mean_pair_distance(size) if spread else None,
            mse=boxes.means,
            mse_mosaics=boxes.mosaics,
            pixel_distance=pixels.mean_distance,
            pixel_pairs=None if single else pixels.mean_pair_distance,
            lr_errors=lr_errors,
            lr_errors_uncropped=whole_errors,
            realism=realism,
            realism_hr={
                proxy.name: proxy.measure(hr, known)
                for proxy, known in zip(self.proxies, prepared, strict=True)
                if not proxy.needs_reference
            },
        )
        tensors = {}
        if not single:
            tensors["deviation"] = reduced(pixels.deviation()[None, None])[0, 0].half().cpu()
        if small_maps:
            stack = torch.stack(small_maps)
            tensors["lpips"] = stack.mean(0).half()
            tensors["best"] = stack.argmin(0).clamp(max=255).byte()  # the report has fewer colours
        for name, patches in (("hr", hr_patches), ("sr", sr_patches)):
            if patches:
                tensors |= {f"{name}_patches.{part}": value for part, value in patches.to_tensors().items()}
        return Measured(score, {name: value.contiguous() for name, value in tensors.items()})


def reduced(whole: Tensor) -> Tensor:
    """(1, 1, H, W) averaged over areas so that the long side is at most MAP_PX."""
    height, width = whole.shape[2:]
    factor = max(height, width) / MAP_PX
    if factor <= 1:
        return whole
    return functional.adaptive_avg_pool2d(
        whole, (max(1, round(height / factor)), max(1, round(width / factor)))
    )


def read_ahead(paths: Iterable[Path], ahead: int = AHEAD) -> Iterator[np.ndarray]:
    """8-bit RGB PNGs in order, the next few decoded meanwhile by other threads: (H, W, 3) uint8 each.

    Raises:
        Failure: a file cannot be decoded, when its turn comes.
    """
    with ThreadPoolExecutor(ahead) as pool:
        waiting: list[Future[np.ndarray]] = []
        for path in paths:
            waiting.append(pool.submit(read_png, path))
            if len(waiting) > ahead:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
