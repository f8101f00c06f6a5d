"""RRDBNet equals its plain definition, and its weights are read whatever program wrote them."""

import re

import pytest
import torch
from conftest import shared_path
from safetensors.torch import save_file
from torch.nn import functional

from ntire_sr.core.errors import NtireSrError
from ntire_sr.models.rrdb import RrdbDecoder, RrdbTrunk, expected_shapes, read_rrdb

pytestmark = pytest.mark.numerical


def plain_rrdbnet(t: dict[str, torch.Tensor], x: torch.Tensor, blocks: int) -> torch.Tensor:
    """RRDBNet written out from the paper's figures, without modules; weights under BasicSR's names."""

    def conv(name, maps):
        return functional.conv2d(maps, t[f"{name}.weight"], t[f"{name}.bias"], padding=1)

    def leaky(maps):
        return torch.where(maps > 0, maps, 0.2 * maps)

    def doubled(maps):
        return maps.repeat_interleave(2, 2).repeat_interleave(2, 3)

    first = conv("conv_first", x)
    maps = first
    for block in range(blocks):
        group = maps
        for dense in (1, 2, 3):
            name, seen = f"body.{block}.rdb{dense}", [group]
            for layer in (1, 2, 3, 4):
                seen.append(leaky(conv(f"{name}.conv{layer}", torch.cat(seen, 1))))
            group = group + 0.2 * conv(f"{name}.conv5", torch.cat(seen, 1))
        maps = maps + 0.2 * group
    maps = first + conv("conv_body", maps)
    maps = leaky(conv("conv_up1", doubled(maps)))
    maps = leaky(conv("conv_up2", doubled(maps)))
    return conv("conv_last", leaky(conv("conv_hr", maps)))


def some_weights(blocks: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(blocks)
    return {
        name: torch.randn(shape, generator=generator) * (0.05 if len(shape) > 1 else 0.01)
        for name, shape in expected_shapes(blocks).items()
    }


def network(tensors: dict[str, torch.Tensor], blocks: int):
    trunk, decoder = RrdbTrunk(blocks), RrdbDecoder()
    trunk.load_state_dict({name: tensors[name] for name in trunk.state_dict()})
    decoder.load_state_dict({name: tensors[name] for name in decoder.state_dict()})
    return lambda x: decoder(trunk(x))


def in_esrgans_first_names(name: str, blocks: int) -> str:
    """BasicSR's name as ESRGAN's first code, a nested nn.Sequential, wrote it."""
    name = re.sub(r"body\.(\d+)\.rdb(\d)\.conv(\d)\.", r"model.1.sub.\1.RDB\2.conv\3.0.", name)
    places = {"first": 0, "up1": 3, "up2": 6, "hr": 8, "last": 10}
    for word, place in places.items():
        name = name.replace(f"conv_{word}.", f"model.{place}.")
    return name.replace("conv_body.", f"model.1.sub.{blocks}.")


def in_esrgans_second_names(name: str, blocks: int) -> str:
    name = re.sub(r"body\.(\d+)\.rdb(\d)\.", r"RRDB_trunk.\1.RDB\2.", name)
    words = {"conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv"}
    for word, old in words.items():
        name = name.replace(word, old)
    return name


@pytest.mark.parametrize("size", [(9, 12), (1, 5)])
def test_trunk_and_decoder_equal_rrdbnet(size):
    tensors = some_weights(2)
    lr = torch.rand(2, 3, *size)
    with torch.no_grad():
        drawn, expected = network(tensors, 2)(lr), plain_rrdbnet(tensors, lr, 2)
    assert drawn.shape == (2, 3, 4 * size[0], 4 * size[1])
    assert (drawn - expected).abs().max() < 1e-5


def test_published_network_of_23_blocks_equals_rrdbnet(photograph):
    tensors, blocks = read_rrdb(shared_path("weights/rrdb_x4_realsr_df2k.safetensors"))
    assert blocks == 23
    tensors = {name: value.float() for name, value in tensors.items()}
    lr = torch.from_numpy(photograph[:20, :28]).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        drawn, expected = network(tensors, blocks)(lr), plain_rrdbnet(tensors, lr, blocks)
    assert (drawn - expected).abs().max() < 1e-5
    # it enlarges: the mean over 4 x 4 pixels is about the LR image
    assert (functional.avg_pool2d(drawn, 4) - lr).abs().mean() < 0.02


@pytest.mark.parametrize("kind", ["basicsr", "esrgan 1", "esrgan 2", "params_ema"])
@pytest.mark.parametrize("blocks", [1, 3])
def test_files_with_every_naming_give_the_same_tensors(tmp_path, kind, blocks):
    tensors = some_weights(blocks)
    rename = {"esrgan 1": in_esrgans_first_names, "esrgan 2": in_esrgans_second_names}.get(kind, lambda n, b: n)
    renamed = {rename(name, blocks): value for name, value in tensors.items()}
    if kind == "esrgan 1":
        assert "model.0.weight" in renamed and f"model.1.sub.{blocks}.weight" in renamed
    if kind == "esrgan 2":
        assert "RRDB_trunk.0.RDB1.conv1.weight" in renamed and "conv_first.bias" in renamed
    path = tmp_path / "net.pth"
    torch.save({"params_ema": renamed} if kind == "params_ema" else renamed, path)
    save_file(renamed, tmp_path / "net.safetensors")
    for file in (path, *([] if kind == "params_ema" else [tmp_path / "net.safetensors"])):
        tensors_read, count = read_rrdb(file)
        assert count == blocks and tensors_read.keys() == tensors.keys()
        assert all(torch.equal(tensors_read[name], value) for name, value in tensors.items())


def test_missing_tensors_and_wrong_shapes_are_named(tmp_path):
    tensors = some_weights(2)
    path = tmp_path / "net.safetensors"
    save_file({name: value for name, value in tensors.items() if "body.1.rdb3.conv2" not in name}, path)
    with pytest.raises(
        NtireSrError, match=r"lacks body\.1\.rdb3\.conv2\.weight, body\.1\.rdb3\.conv2\.bias of"
    ):
        read_rrdb(path)
    # an x2 network of Real-ESRGAN: its first layer takes 12 channels
    save_file({**tensors, "conv_first.weight": torch.zeros(64, 12, 3, 3)}, path)
    with pytest.raises(NtireSrError, match=r"conv_first\.weight \(64, 12, 3, 3\) instead of \(64, 3, 3, 3\)"):
        read_rrdb(path)
    save_file({"features.0.weight": torch.zeros(1)}, path)
    with pytest.raises(NtireSrError, match="holds no RRDBNet"):
        read_rrdb(path)


def test_code_in_a_file_is_not_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save({"params": Trap()}, tmp_path / "net.pth")
    with pytest.raises(NtireSrError, match="no readable weights file"):
        read_rrdb(tmp_path / "net.pth")
