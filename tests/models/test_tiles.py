"""Drawing in tiles: the same image as drawn at once, whatever the tiles."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from ntire_sr.challenge.pixels import to_8bit
from ntire_sr.challenge.projection import project_uint8
from ntire_sr.core.seeding import make_generator
from ntire_sr.models.registry import MODELS
from ntire_sr.models.tiles import Tile, cut, in_tiles, tiles_of
from ntire_sr.sampling.sampler import Sampler

pytestmark = pytest.mark.numerical

SETTINGS = {
    "bicubic": MODELS["bicubic"].architecture(),
    "srgan": MODELS["srgan"].architecture(channels=6, blocks=1, noise_channels=2),
    "stochastic": MODELS["stochastic"].architecture(
        channels=6, growth=4, blocks=1, fine_channels=4, latent_channels=2
    ),
}


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (64, 64), (65, 20)])
@pytest.mark.parametrize("side", [0, 1, 5, 64, 1000])
def test_tiles_cover_every_pixel_once_and_keep_the_largest_side(size, side):
    seen = torch.zeros(size, dtype=torch.int64)
    for tile in tiles_of(*size, side):
        rows, columns = tile.slices(1)
        seen[rows, columns] += 1
        assert not side or max(tile.height, tile.width) <= side
    assert (seen == 1).all()


def test_tile_grows_up_to_the_border_and_cuts_maps_of_any_size():
    tile = Tile(2, 3, 4, 5)
    assert tile.grown(3, 7, 20) == Tile(0, 0, 7, 11)
    assert tile.grown(1, 100, 100) == Tile(1, 2, 6, 7)
    small, large = torch.arange(70.0).reshape(1, 1, 7, 10), torch.arange(280.0).reshape(1, 1, 14, 20)
    small_part, nothing, (large_part,) = cut([small, None, (large,)], tile, 7)
    assert nothing is None
    assert torch.equal(small_part, small[:, :, 2:6, 3:8]) and torch.equal(large_part, large[:, :, 4:12, 6:16])


def test_too_small_a_receptive_field_changes_the_result():
    image, kernel = torch.rand(1, 1, 20, 20), torch.rand(1, 1, 5, 5)

    def blurred(part):
        return functional.conv2d(part, kernel, padding=2)

    assert torch.allclose(in_tiles(blurred, 2, 7, image), blurred(image), atol=1e-6)
    assert not torch.allclose(in_tiles(blurred, 1, 7, image), blurred(image), atol=1e-6)


@pytest.mark.parametrize("scale", [4, 8])
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("size", [(23, 37), (4, 61), (33, 5)])
def test_sample_in_tiles_equals_whole_sample_within_a_grey_level(name, scale, size):
    torch.manual_seed(0)
    generator = MODELS[name].build(scale, SETTINGS[name]).eval()
    for module in generator.modules():  # an untrained tail draws next to nothing
        if isinstance(module, torch.nn.Conv2d) and module.out_channels == 3:
            torch.nn.init.normal_(module.weight, std=0.1)
    loaded = SimpleNamespace(generator=generator, scale=scale)
    # an LR image that some image downscales to, so that the projection has something to reach
    lr = to_8bit(functional.interpolate(torch.rand(1, 3, 6, 6), size, mode="bicubic").clamp(0.2, 0.8))
    unit = lr.float() / 255
    samples = {}
    for tile in (0, 8, 11, 40, 1000):
        sampler = Sampler(loaded, torch.device("cpu"), False, tile)
        sr = sampler.sample(unit, sampler.trunk(unit), 5)
        samples[tile] = sr, project_uint8(sr, lr, scale).image.int()
    assert model_is_alive(samples[0][0], unit, scale) == (name != "bicubic")
    for tile in (8, 11, 40, 1000):
        assert torch.allclose(samples[tile][0], samples[0][0], atol=1e-5), tile
        assert (samples[tile][1] - samples[0][1]).abs().max() <= 1, tile
    assert torch.equal(samples[1000][0], samples[0][0])


def model_is_alive(sr: torch.Tensor, lr: torch.Tensor, scale: int) -> bool:
    enlarged = functional.interpolate(lr, scale_factor=scale, mode="bicubic", align_corners=False)
    return bool((sr - enlarged).abs().max() > 0.02)


def test_latents_are_drawn_for_the_whole_image():
    generator = MODELS["stochastic"].build(4, SETTINGS["stochastic"])
    latents = generator.latents(torch.zeros(1, 3, 9, 13), [make_generator(3)])
    assert all(maps.shape[2] % 9 == 0 and maps.shape[3] % 13 == 0 for maps in (*latents[:2], *latents.noise))
    part = cut(latents, Tile(1, 2, 3, 4), 9)
    assert type(part) is type(latents)
    assert torch.equal(part.coarse, latents.coarse[:, :, 1:4, 2:6])
