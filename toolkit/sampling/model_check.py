"""Tests whether a network does everything that sampling requires: `ntire-sr models check`."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ntire_sr.challenge.downscale import REQUIRED_DB, SCALES, downscale_8bit, lr_psnr_db
from ntire_sr.challenge.mismatch import find_mismatch
from ntire_sr.challenge.pixels import to_8bit, to_tensor, to_unit
from ntire_sr.challenge.projection import project_uint8
from ntire_sr.core.errors import NtireSrError, plural
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.data.lr_images import downscale_array
from ntire_sr.data.photographs import VALIDATION_PHOTOGRAPHS, embedded_photographs
from ntire_sr.models.adapter import ModelAdapter
from ntire_sr.models.loading import LoadedModel, load_model
from ntire_sr.models.tiles import in_tiles
from ntire_sr.samples.image_files import read_image
from ntire_sr.sampling.sampler import Sampler

SIZE = (32, 48)  # height and width of the LR image of most checks
ODD_SIZES = ((23, 37), (37, 21))
CHECK_TILE_PX = 16  # side of the tiles that are compared with the whole image, in LR pixels


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    scale: int
    what: str
    holds: bool | None  # None: nothing to check
    found: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def check_model(
    model: str, weights: Path | None, scale: int | None, device: torch.device, progress: Progress = SILENT
) -> list[Finding]:
    """Build a network and check what sampling requires. The code that `model` names is run.

    Args:
        model: `source` of `load_model`.
        weights: file for the network; None for none.
        scale: 4 or 8; None for all that the network states, or if it states none, all that can be built.
        device: the device to compute on.
        progress: reports how many scales have been checked.

    Returns:
        The results of all checks, also of those that fail.

    Raises:
        NtireSrError: the network cannot be built for any scale; the error is that of the first.
    """
    scales = (scale,) if scale else SCALES
    findings: list[Finding] = []
    errors: dict[int, NtireSrError] = {}
    stated: set[int] = set()
    with progress.task("check", len(scales)) as advance:
        for tried_scale in scales:
            try:
                loaded = load_model(model, tried_scale, device, weights=weights)
            except NtireSrError as error:
                errors[tried_scale] = error
            else:
                stated |= set(getattr(loaded.generator, "stated_scales", SCALES))
                findings += _findings(
                    loaded, device, partial(load_model, model, tried_scale, device, weights=weights)
                )
            advance()
    if len(errors) == len(scales):
        raise errors[scales[0]]
    for failed_scale, error in errors.items():
        findings.append(
            Finding(failed_scale, "is built", False if failed_scale in stated else None, error.message)
        )
    return sorted(findings, key=lambda finding: finding.scale)


def _findings(
    loaded: LoadedModel, device: torch.device, build_again: Callable[[], LoadedModel]
) -> Iterator[Finding]:
    """The results of all checks at one scale; `build_again` builds the network once more."""
    generator, scale = loaded.generator, loaded.scale
    finding = partial(Finding, scale)
    yield finding("is built", True, _describe(loaded))
    lr = _photograph(*SIZE, scale).to(device)
    size = f"{SIZE[1]} x {SIZE[0]} LR pixels"
    try:
        start = time.monotonic()
        drawn = _draw(loaded, device, lr, seeds=(1, 1, 2))
        seconds = (time.monotonic() - start) / len(drawn)
    except NtireSrError as error:
        yield finding(f"draws {size}", False, error.message)
        return
    raw = lr_psnr_db(to_8bit(drawn[0]), lr, scale)
    first, again, second = (project_uint8(sr, lr, scale) for sr in drawn)
    yield finding(
        f"draws {size}", True, f"{seconds:.2g} s, values from {drawn[0].min():.2f} to {drawn[0].max():.2f}"
    )
    yield from (_odd_size(loaded, device, *odd_size) for odd_size in ODD_SIZES)
    yield finding(
        "is LR-consistent",
        first.lr_psnr_db >= REQUIRED_DB,
        f"{raw:.1f} dB before the projection, {first.lr_psnr_db:.1f} dB after it",
    )
    mismatch = find_mismatch(downscale_8bit(to_8bit(drawn[0]), scale), lr)
    yield finding(
        "fits the LR image before the projection",
        not (mismatch and mismatch.is_mistake),
        f"the image {mismatch.text}" if mismatch else f"{raw:.1f} dB",
    )
    difference = _levels(first.image, again.image)
    yield finding("draws the same from the same seed", difference == 0, _describe_levels(difference))
    if difference == 0:
        yield _without_memory(loaded, build_again(), device, lr, second.image)
    difference = _levels(first.image, second.image)
    if loaded.deterministic:
        yield finding(
            "draws the same from any seed, as it states", difference == 0, _describe_levels(difference)
        )
    else:
        yield finding("draws another image from another seed", difference > 0, _describe_levels(difference))
    yield from _in_tiles(loaded, device)
    if isinstance(generator, ModelAdapter):
        printed = generator.printed.text
        yield finding("writes nothing to standard output", not printed, " ".join(printed.split()) or "nothing")


def _describe(loaded: LoadedModel) -> str:
    generator = loaded.generator
    if isinstance(generator, ModelAdapter):
        count = generator.parameter_count
    else:
        count = sum(parameter.numel() for parameter in generator.parameters())
    parts = [f"{count:,} parameters" if count else "no parameters that could be counted"]
    parts.append("deterministic" if loaded.deterministic else "draws different samples")
    for name in ("trunk", "sample"):
        receptive_field = getattr(generator, f"{name}_receptive_field")
        parts += [f"{name}_receptive_field {receptive_field}"] if receptive_field is not None else []
    return ", ".join(parts)


def _odd_size(loaded: LoadedModel, device: torch.device, height: int, width: int) -> Finding:
    what = f"draws {width} x {height} LR pixels"
    try:
        _draw(loaded, device, _photograph(height, width, loaded.scale).to(device), seeds=(1,))
    except NtireSrError as error:
        return Finding(loaded.scale, what, False, error.message)
    return Finding(loaded.scale, what, True, f"{width * loaded.scale} x {height * loaded.scale} SR pixels")


def _without_memory(
    loaded: LoadedModel, fresh: LoadedModel, device: torch.device, lr: Tensor, second: Tensor
) -> Finding:
    """Check that what a network draws does not depend on the samples and images that it drew before.

    Args:
        loaded: the network, which has drawn samples of `lr`.
        fresh: the same network, built again, which has drawn nothing.
        device: where they compute.
        lr: the LR image.
        second: the projected sample that `loaded` drew from seed 2, after others.
    """
    what, other_lr = "draws a sample the same alone and after others", 255 - lr.flip(3)
    try:
        drawn = [_draw(network, device, other_lr, seeds=(2,))[0] for network in (fresh, loaded)]
        alone = _draw(fresh, device, lr, seeds=(2,))[0]
    except NtireSrError as error:
        return Finding(loaded.scale, what, False, error.message)
    images = [project_uint8(sr, other_lr, loaded.scale).image for sr in drawn]
    difference = max(_levels(*images), _levels(project_uint8(alone, lr, loaded.scale).image, second))
    hint = "; the network keeps something between calls, such as noise or features of an earlier sample"
    return Finding(
        loaded.scale, what, difference == 0, _describe_levels(difference) + (hint if difference else "")
    )


def _in_tiles(loaded: LoadedModel, device: torch.device) -> Iterator[Finding]:
    """Compare the image in tiles with the whole image, for each stated receptive field, in both directions."""
    generator = loaded.generator
    for name in ("trunk", "sample"):
        receptive_field = getattr(generator, f"{name}_receptive_field")
        what = f"draws in tiles what it draws at once ({name}_receptive_field)"
        if receptive_field is None:
            if name == "sample" or not isinstance(generator, ModelAdapter) or generator.has_trunk:
                yield Finding(loaded.scale, what, None, "not stated: never in tiles, however large the image")
            continue
        length = CHECK_TILE_PX * 3 + 2 * receptive_field  # no tile with its surroundings is the whole image
        difference = 0
        try:
            for height, width in ((CHECK_TILE_PX, length), (length, CHECK_TILE_PX)):
                lr = _photograph(height, width, loaded.scale).to(device)
                whole, tiled = (_draw(loaded, device, lr, (1,), {name: side})[0] for side in (0, CHECK_TILE_PX))
                images = (project_uint8(sr, lr, loaded.scale).image for sr in (whole, tiled))
                difference = max(difference, _levels(*images))
        except NtireSrError as error:
            yield Finding(loaded.scale, what, False, error.message)
            continue
        yield Finding(loaded.scale, what, difference <= 1, _describe_levels(difference))


@torch.no_grad()
def _draw(
    loaded: LoadedModel,
    device: torch.device,
    lr: Tensor,
    seeds: tuple[int, ...],
    tiles: dict[str, int] | None = None,
) -> list[Tensor]:
    """Samples before projection from one trunk, as `Sampler` draws them, with tiles for the parts in `tiles`."""
    tiles = tiles or {}
    trunk = Sampler(loaded, device, False, 0)
    sample = Sampler(loaded, device, False, tiles.get("sample", 0))
    unit = to_unit(lr)
    if tiles.get("trunk"):
        maps: Any = in_tiles(
            loaded.generator.trunk, loaded.generator.trunk_receptive_field, tiles["trunk"], unit
        )
    else:
        maps = trunk.trunk(unit)
    return [sample.sample(unit, maps, seed) for seed in seeds]


def _photograph(height: int, width: int, scale: int) -> Tensor:
    """An LR image of an embedded photograph, extended by mirroring if it is too small: (1, 3, height, width) uint8."""
    hr = read_image(embedded_photographs(VALIDATION_PHOTOGRAPHS)[0])
    missing = [max(0, side * scale - length) for side, length in zip((height, width), hr.shape, strict=False)]
    hr = np.pad(hr, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
    top, left = ((length - side * scale) // 2 for side, length in zip((height, width), hr.shape, strict=False))
    part = np.ascontiguousarray(hr[top : top + height * scale, left : left + width * scale])
    return to_tensor(downscale_array(part, scale, crop_multiple=1))


def _levels(first: Tensor, second: Tensor) -> int:
    """The largest difference of two 8-bit images, in grey levels."""
    return int((first.int() - second.int()).abs().max())


def _describe_levels(levels: int) -> str:
    return "the same bytes" if levels == 0 else f"differs by up to {plural(levels, 'grey level')}"
