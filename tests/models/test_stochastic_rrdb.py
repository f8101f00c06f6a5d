"""`stochastic` on a pretrained trunk: layers that start as the identity, weights files, tiles."""

import pytest
import torch
from batches import lr_crops
from conftest import shared_path
from safetensors.torch import save_file

from ntire_sr.challenge.pixels import to_tensor, to_unit
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.pretrained import tensors_digest
from ntire_sr.core.seeding import make_generator
from ntire_sr.models import package_weights, stochastic_rrdb
from ntire_sr.models.loading import load_model
from ntire_sr.models.modulation import Latents, zero_latents
from ntire_sr.models.rrdb import read_rrdb
from ntire_sr.models.stochastic_rrdb import RrdbGenerator, level_receptive_field
from ntire_sr.models.tiles import in_tiles
from ntire_sr.models.weights_files import needed_trunk, save_weights
from ntire_sr.training.rrdb_init import PretrainedDecoder
from ntire_sr.training.trainers.stochastic_settings import RRDB_SIZES, StochasticSettings

pytestmark = pytest.mark.numerical

SIZES = {**RRDB_SIZES, "rrdb": True, "groups": 1, "blocks": 1, "latent_channels": 2}


def test_with_zero_latents_only_the_parents_layers_have_an_effect(photograph):
    made = RrdbGenerator(4, StochasticSettings(**{**SIZES, "adapter_blocks": 1, "mid_blocks": 2}))
    lr = lr_crops(photograph, 16)
    latents = zero_latents(made.latents(lr, [make_generator(1)] * 3))
    with torch.no_grad():
        before = made.sample(made.trunk(lr), lr, latents)
        for module in (*made.modulations, made.full_modulation, *made.blocks, *made.mid_blocks):
            module.modulation.weight.mul_(3)
            module.strength.mul_(5)
        for block in (*made.blocks, *made.mid_blocks, *made.adapter):
            block.first.weight.mul_(2)
        assert torch.equal(made.sample(made.trunk(lr), lr, latents), before)
        with_latents = made.sample(made.trunk(lr), lr, made.latents(lr, [make_generator(1)] * 3))
    assert not torch.equal(with_latents, before)


def test_weights_without_trunk_get_the_trunk_of_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(package_weights, "FOLDER", tmp_path)
    package_weights.trunk_tensors.cache_clear()
    settings = StochasticSettings(**SIZES)
    state = RrdbGenerator(4, settings).state_dict()
    whole = {name: value.contiguous() for name, value in state.items()}
    trunk = {name.removeprefix("rrdb."): value for name, value in whole.items() if name.startswith("rrdb.")}
    decoder = {name: value for name, value in whole.items() if not name.startswith("rrdb.")}
    names = sorted(trunk)
    digest = tensors_digest({f"rrdb.{name}": value for name, value in trunk.items()})
    save_file({name: trunk[name] for name in names[:5]}, tmp_path / f"trunk_{digest[:12]}_1of2.safetensors")
    save_file({name: trunk[name] for name in names[5:]}, tmp_path / f"trunk_{digest[:12]}_2of2.safetensors")
    save_file({}, tmp_path / "trunk_000000000001_1of1.safetensors")  # of another decoder
    path = tmp_path / "decoder.safetensors"
    save_weights(path, "stochastic", 4, settings, decoder, {"step": 1, "trunk_sha256": digest})
    tensors = load_model(path, None, torch.device("cpu")).generator.state_dict()
    assert all(torch.equal(tensors[name], value) for name, value in whole.items())
    assert needed_trunk(path) == digest
    save_weights(path, "stochastic", 4, settings, decoder, {"step": 1, "trunk_sha256": "0" * 64})
    with pytest.raises(NtireSrError, match="needs the trunk with SHA-256 000000000000"):
        load_model(path, None, torch.device("cpu"))
    package_weights.trunk_tensors.cache_clear()


def test_tiles_of_the_package_trunk_change_no_visible_pixel(photograph):
    """Its convolutions reach 347 LR pixels; what lies beyond TRUNK_RECEPTIVE_FIELD must not show in 8 bits."""
    path = shared_path("weights/rrdb_x4_realsr_df2k.safetensors")
    tensors, blocks = read_rrdb(path)
    made = RrdbGenerator(4, StochasticSettings(**{**SIZES, "groups": blocks})).eval()
    made.rrdb.load_state_dict({name: tensors[name].float() for name in made.rrdb.state_dict()})
    parent = PretrainedDecoder(tensors)
    lr = to_unit(
        to_tensor(photograph[:16, :120].copy())
    )  # as if it were an LR image: long, so that tiles matter
    with torch.no_grad():
        whole = made.trunk(lr)
        tiled = in_tiles(made.trunk, made.trunk_receptive_field, 20, lr)
        drawn, again = parent(whole), parent(tiled)
    assert made.trunk_receptive_field == 48
    assert (drawn - again).abs().max() * 255 < 1


@pytest.mark.parametrize(("scale", "shared", "radius"), [(4, 0, 15 + 2 + 4), (8, 1, 15 + 2 + 4 + 3)])
def test_trunk_in_tiles_equals_whole_trunk_with_stated_receptive_field(scale, shared, radius):
    sizes = {**SIZES, "adapter_blocks": 2, "shared_upsamplings": shared}
    made = RrdbGenerator(scale, StochasticSettings(**sizes)).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in made.parameters():
            value.copy_(0.1 * torch.randn(value.shape, generator=generator))
        lr = torch.rand(1, 3, 50, 9, dtype=torch.double, generator=generator)
        whole = made.trunk(lr)
        assert whole.shape[2:] == (50 << shared, 9 << shared)
        assert made.trunk_receptive_field == radius
        for reach, same in ((made.trunk_receptive_field, True), (made.trunk_receptive_field - 2, False)):
            tiled = in_tiles(made.trunk, reach, 5, lr)
            assert bool((tiled - whole).abs().max() < 1e-12 * whole.abs().max()) is same, reach


@pytest.mark.parametrize(
    ("scale", "sizes"),
    [
        (4, {"blocks": 2, "mid_blocks": 2}),
        (8, {"blocks": 1, "mid_blocks": 1}),
        (8, {"blocks": 2, "mid_blocks": 1, "shared_upsamplings": 1}),
    ],
)
def test_sample_in_tiles_equals_whole_sample_with_stated_receptive_field(scale, sizes):
    made = RrdbGenerator(scale, StochasticSettings(**{**SIZES, **sizes})).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for (
            value
        ) in made.parameters():  # no layer is the identity, so the receptive field is as large as it can be
            value.copy_(0.05 * torch.randn(value.shape, generator=generator))
        lr = torch.rand(1, 3, 12, 22, dtype=torch.double, generator=generator)
        factor = 2**made.architecture.shared_upsamplings
        maps = torch.rand(1, 64, 12 * factor, 22 * factor, dtype=torch.double, generator=generator)
        drawn = made.latents(lr, [make_generator(5)])
        latents = Latents(drawn.fine.double(), drawn.coarse.double(), [noise.double() for noise in drawn.noise])
        whole = made.sample(maps, lr, latents)
        for reach, same in ((made.sample_receptive_field, True), (made.sample_receptive_field - 2, False)):
            tiled = in_tiles(
                lambda lr, maps, latents: made.sample(maps, lr, latents), reach, 5, lr, maps, latents
            )
            assert bool((tiled - whole).abs().max() < 1e-12) is same, reach


def test_latents_do_not_enter_before_a_shared_upsampling(photograph):
    made = RrdbGenerator(8, StochasticSettings(**{**SIZES, "adapter_blocks": 1, "shared_upsamplings": 1}))
    lr = lr_crops(photograph, 16)
    latents = made.latents(lr, [make_generator(1)] * 3)
    trunk = made.trunk(lr)
    size = (2 * lr.shape[2], 2 * lr.shape[3])
    assert trunk.shape[2:] == latents.fine.shape[2:] == latents.coarse.shape[2:] == size
    assert made.sample(trunk, lr, latents).shape == (3, 3, 8 * lr.shape[2], 8 * lr.shape[3])
    maps = made.features(lr)  # the shared layers start as bilinear upsampling
    assert torch.allclose(
        trunk, torch.nn.functional.interpolate(maps, scale_factor=2, mode="bilinear"), atol=1e-6
    )
    with pytest.raises(UsageError, match="leaves no upsampling"):
        RrdbGenerator(4, StochasticSettings(**{**SIZES, "shared_upsamplings": 2}))


def test_third_upsampling_is_initialised_as_the_identity():
    made = RrdbGenerator(8, StochasticSettings(**SIZES))
    maps = torch.rand(1, 64, 5, 6)
    assert torch.equal(made.upsample_convs[2](maps), maps) and not torch.equal(
        made.upsample_convs[1](maps), maps
    )


def test_level_in_tiles_equals_whole_level(monkeypatch):
    """On processors each upsampling is computed in tiles that fit into the cache, except with gradients."""
    made = RrdbGenerator(8, StochasticSettings(**{**SIZES, "mid_blocks": 2}))
    generator = torch.Generator().manual_seed(0)
    for value in made.parameters():  # no layer is the identity, so the receptive field is as large as it can be
        value.data = 0.1 * torch.randn(value.shape, generator=generator)
    lr, maps = torch.rand(1, 3, 9, 14, generator=generator), torch.rand(1, 64, 9, 14, generator=generator)
    latents = made.latents(lr, [make_generator(5)])
    whole = made.sample(maps, lr, latents).detach()
    made.level_tile_px = 5
    counted = []
    level = made._level
    monkeypatch.setattr(made, "_level", lambda number, *words: counted.append(number) or level(number, *words))
    assert torch.equal(made.sample(maps, lr, latents), whole) and counted == [0, 1, 2]
    with torch.no_grad():
        tiled = made.sample(maps, lr, latents)
    assert len(counted) > 40 and (tiled - whole).abs().max() < 1e-5 * whole.abs().max()
    for last, finer in ((False, 2), (True, 2)):  # a pixel less would not do
        monkeypatch.setattr(
            stochastic_rrdb,
            "level_receptive_field",
            lambda *words, last=last, finer=finer: level_receptive_field(*words) - (words[1] is last),
        )
        with torch.no_grad():
            assert (made.sample(maps, lr, latents) - whole).abs().max() > 1e-4 * whole.abs().max()
