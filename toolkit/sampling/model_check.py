"""`ntire-sr models check`: what of a network holds that drawing with it relies on."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ntire_sr.challenge.downscale import REQUIRED_DB, SCALES, lr_psnr_db
from ntire_sr.challenge.pixels import to_8bit, to_tensor, to_unit
from ntire_sr.challenge.projection import project_uint8
from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.data.lr_images import downscale_array
from ntire_sr.data.photographs import VALIDATION_PHOTOGRAPHS, embedded_photographs
from ntire_sr.models.adapter import ModelAdapter
from ntire_sr.models.registry import LoadedModel, load_model
from ntire_sr.models.tiles import in_tiles
from ntire_sr.samples.image_files import read_image
from ntire_sr.sampling.sampler import Sampler

SIZE = (32, 48)  # height and width of the LR image that most is tried on
ODD_SIZES = ((23, 37), (37, 21))
TILE_PX = 16  # side of the tiles that are compared with the image at once, in LR pixels


@dataclass(frozen=True)
class Finding:
    """One thing that was tried."""

    scale: int
    what: str
    holds: bool | None  # None: a fact, or nothing to try
    found: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def check_model(
    model: str, weights: Path | None, scale: int | None, device: torch.device, progress: Progress = SILENT
) -> list[Finding]:
    """Build a network and try what drawing with it relies on. The code that `model` names is run.

    Args:
        model: see `load_model`.
        weights: file for the network; None for none.
        scale: 4 or 8; None for those that it claims: all that can be built, if it states none.
        device: the device to compute on.
        progress: reports how many things have been tried.

    Returns:
        What was found; a network that breaks what it promises is no error.

    Raises:
        NtireSrError: it can be built for no scale, for the reason of the first.
    """
    asked = (scale,) if scale else SCALES
    found: list[Finding] = []
    refused: dict[int, NtireSrError] = {}
    claimed: set[int] = set()
    with progress.task("check", len(asked)) as advance:
        for each in asked:
            try:
                loaded = load_model(model, weights, each, device)
            except NtireSrError as failure:
                refused[each] = failure
            else:
                claimed |= set(getattr(loaded.generator, "stated_scales", SCALES))
                found += _findings(loaded, device)
            advance()
    if len(refused) == len(asked):
        raise refused[asked[0]]
    for each, why in refused.items():
        found.append(Finding(each, "is built", False if each in claimed else None, why.message))
    return sorted(found, key=lambda finding: finding.scale)


def _findings(loaded: LoadedModel, device: torch.device) -> Iterator[Finding]:
    """What holds at one scale."""
    generator, scale = loaded.generator, loaded.scale
    finding = partial(Finding, scale)
    yield finding("is built", True, _described(loaded))
    lr = _photograph(*SIZE, scale).to(device)
    size = f"{SIZE[1]} x {SIZE[0]} LR pixels"
    try:
        start = time.monotonic()
        drawn = _draw(loaded, device, lr, seeds=(1, 2, 1))
        seconds = (time.monotonic() - start) / len(drawn)
    except NtireSrError as failure:
        yield finding(f"draws {size}", False, failure.message)
        return
    raw = lr_psnr_db(to_8bit(drawn[0]), lr, scale)
    first, second, again = (project_uint8(each, lr, scale) for each in drawn)
    yield finding(
        f"draws {size}", True, f"{seconds:.2g} s, values from {drawn[0].min():.2f} to {drawn[0].max():.2f}"
    )
    yield from (_odd_size(loaded, device, *each) for each in ODD_SIZES)
    yield finding(
        "is LR-consistent",
        first.lr_psnr_db >= REQUIRED_DB,
        f"{raw:.1f} dB before the projection, {first.lr_psnr_db:.1f} dB after it",
    )
    apart = _levels(first.image, again.image)
    yield finding("draws the same from the same seed", apart == 0, _in_words(apart))
    apart = _levels(first.image, second.image)
    if loaded.deterministic:
        yield finding("draws the same from any seed, as it states", apart == 0, _in_words(apart))
    else:
        yield finding("draws another image from another seed", apart > 0, _in_words(apart))
    yield from _in_tiles(loaded, device)
    if isinstance(generator, ModelAdapter):
        said = generator.printed.text
        yield finding("writes nothing to standard output", not said, " ".join(said.split()) or "nothing")


def _described(loaded: LoadedModel) -> str:
    generator = loaded.generator
    if isinstance(generator, ModelAdapter):
        count = generator.parameter_count
    else:
        count = sum(each.numel() for each in generator.parameters())
    parts = [f"{count:,} parameters" if count else "no parameters that could be counted"]
    parts.append("deterministic" if loaded.deterministic else "draws different samples")
    for name in ("trunk", "sample"):
        reach = getattr(generator, f"{name}_reach")
        parts += [f"{name}_reach {reach}"] if reach is not None else []
    return ", ".join(parts)


def _odd_size(loaded: LoadedModel, device: torch.device, height: int, width: int) -> Finding:
    what = f"draws {width} x {height} LR pixels"
    try:
        _draw(loaded, device, _photograph(height, width, loaded.scale).to(device), seeds=(1,))
    except NtireSrError as failure:
        return Finding(loaded.scale, what, False, failure.message)
    return Finding(loaded.scale, what, True, f"{width * loaded.scale} x {height * loaded.scale} SR pixels")


def _in_tiles(loaded: LoadedModel, device: torch.device) -> Iterator[Finding]:
    """The image in tiles beside the image at once, each stated reach by itself, across and down."""
    generator = loaded.generator
    for name in ("trunk", "sample"):
        reach, what = (
            getattr(generator, f"{name}_reach"),
            f"draws in tiles what it draws at once ({name}_reach)",
        )
        if reach is None:
            if name == "sample" or not isinstance(generator, ModelAdapter) or generator.has_trunk:
                yield Finding(loaded.scale, what, None, "not stated: never in tiles, however large the image")
            continue
        length = TILE_PX * 3 + 2 * reach  # so long that no tile with its surroundings is the whole image
        apart = 0
        try:
            for height, width in ((TILE_PX, length), (length, TILE_PX)):
                lr = _photograph(height, width, loaded.scale).to(device)
                whole, tiled = (_draw(loaded, device, lr, (1,), {name: side})[0] for side in (0, TILE_PX))
                apart = max(
                    apart, _levels(*(project_uint8(sr, lr, loaded.scale).image for sr in (whole, tiled)))
                )
        except NtireSrError as failure:
            yield Finding(loaded.scale, what, False, failure.message)
            continue
        yield Finding(loaded.scale, what, apart <= 1, _in_words(apart))


@torch.no_grad()
def _draw(
    loaded: LoadedModel,
    device: torch.device,
    lr: Tensor,
    seeds: tuple[int, ...],
    tiles: dict[str, int] | None = None,
) -> list[Tensor]:
    """Samples before projection from one trunk, as `Sampler` draws them, but with tiles for one part alone."""
    tiles = tiles or {}
    trunk = Sampler(loaded, device, False, 0)
    sample = Sampler(loaded, device, False, tiles.get("sample", 0))
    unit = to_unit(lr)
    if tiles.get("trunk"):
        maps: Any = in_tiles(loaded.generator.trunk, loaded.generator.trunk_reach, tiles["trunk"], unit)
    else:
        maps = trunk.trunk(unit)
    return [sample.sample(unit, maps, seed) for seed in seeds]


def _photograph(height: int, width: int, scale: int) -> Tensor:
    """The LR image of a part of an embedded photograph, mirrored as often as the size asks for: (1, 3, height, width)."""
    hr = read_image(embedded_photographs(VALIDATION_PHOTOGRAPHS)[0])
    missing = [max(0, side * scale - have) for side, have in zip((height, width), hr.shape, strict=False)]
    hr = np.pad(hr, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
    top, left = ((have - side * scale) // 2 for side, have in zip((height, width), hr.shape, strict=False))
    part = np.ascontiguousarray(hr[top : top + height * scale, left : left + width * scale])
    return to_tensor(downscale_array(part, scale, crop_multiple=1))


def _levels(one: Tensor, other: Tensor) -> int:
    """The largest difference of two 8-bit images, in grey levels."""
    return int((one.int() - other.int()).abs().max())


def _in_words(levels: int) -> str:
    return "the same bytes" if levels == 0 else f"up to {levels} grey level{'s' if levels > 1 else ''} apart"
