"""Feature extractors."""

from dataclasses import replace

import pytest
import torch

from ntire_sr.core import pretrained
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.pretrained import NotFound
from ntire_sr.training.losses.features import (
    NETWORKS,
    FilterBank,
    build_features,
    classifier,
    feature_distance,
    unit_normalised,
)

pytestmark = pytest.mark.numerical


def test_unit_normalised_zeros_stay_zero_with_finite_gradient():
    maps = torch.randn(1, 8, 4, 4)
    maps[..., 0, 0] = 0
    maps.requires_grad_()
    normalised = unit_normalised(maps)
    lengths = normalised.norm(dim=1)
    assert lengths[0, 0, 0] == 0
    assert torch.allclose(lengths.flatten()[1:], torch.ones(15), atol=1e-4)
    normalised.sum().backward()
    assert torch.isfinite(maps.grad).all()


def test_the_filter_bank_is_fixed_and_gives_masks_and_three_octaves():
    image = torch.rand(2, 3, 32, 48)
    layers = FilterBank()(image)
    sizes = [(2, 15, 32, 48), (2, 36, 32, 48), (2, 36, 16, 24), (2, 36, 8, 12)]
    assert [tuple(maps.shape) for maps in layers] == sizes
    assert list(FilterBank().parameters()) == []
    assert all(torch.equal(a, b) for a, b in zip(layers, FilterBank()(image), strict=True))


def test_filter_bank_responds_to_orientation_only():
    stripes = torch.zeros(1, 3, 32, 32)
    stripes[..., ::4] = stripes[..., 1::4] = 1.0
    upright = FilterBank()(stripes)[1][0, 24:28, 8:-8, 8:-8].mean((1, 2))  # energies of brightness
    assert upright.argmax() == 0
    lying = FilterBank()(stripes.transpose(2, 3))[1][0, 24:28, 8:-8, 8:-8].mean((1, 2))
    assert lying.argmax() == 2
    flat = FilterBank()(torch.full((1, 3, 32, 32), 0.7))
    assert all(maps.abs().max() < 0.01 for maps in flat)


def test_only_masks_respond_to_one_pixel_stripes():
    stripes = torch.full((1, 3, 32, 32), 0.5)
    stripes[..., ::2] += 0.1
    stripes[..., 1::2] -= 0.1
    inside = [maps[0, :, 6:-6, 6:-6].square().sum(0).mean().sqrt() for maps in FilterBank(levels=1)(stripes)]
    assert inside[0] > 0.8
    assert inside[1] < 0.15
    across = FilterBank()(stripes)[0][0, :5, 6:-6, 6:-6].abs().mean((1, 2))
    assert across.argmax() == 1  # level down, spot across
    assert FilterBank()(stripes.transpose(2, 3))[0][0, :5].abs().mean((1, 2)).argmax() == 0


def test_filter_distance_grows_with_blur_and_noise(photograph):
    image = torch.from_numpy(photograph).permute(2, 0, 1)[None] / 255
    bank = FilterBank()
    reference = bank(image)
    noise = torch.randn_like(image)
    noisy = [
        feature_distance(bank(image + sigma * noise), reference).item() for sigma in (0.0, 0.02, 0.05, 0.1)
    ]
    blurred = [
        feature_distance(bank(torch.nn.functional.avg_pool2d(image, size, 1, size // 2)), reference).item()
        for size in (1, 3, 5)
    ]
    assert noisy == sorted(noisy) and noisy[0] == 0
    assert blurred == sorted(blurred) and blurred[0] == 0


def test_auto_is_squeezenet_and_filters_need_no_file():
    assert build_features("auto")[1] == "squeezenet1_1"
    features, name = build_features("filters")
    assert isinstance(features, FilterBank) and name == "filters"


def test_named_feature_network_is_not_replaced():
    with pytest.raises(NotFound, match="vgg19"):
        build_features("vgg19")
    with pytest.raises(UsageError, match="try: vgg19"):
        build_features("vgg16")


def test_squeezenet_gives_five_layers_of_unit_length(squeezenet, photograph):
    features, name = build_features("auto", str(squeezenet))
    assert name == "squeezenet1_1"
    layers = features(torch.from_numpy(photograph).permute(2, 0, 1)[None] / 255)
    assert [maps.shape[1] for maps in layers] == [64, 128, 256, 384, 512]
    assert all(torch.allclose(maps.norm(dim=1), torch.ones(1), atol=1e-3) for maps in layers)
    assert not any(parameter.requires_grad for parameter in features.parameters())


def test_the_file_of_one_network_is_refused_for_another(squeezenet):
    with pytest.raises(NtireSrError, match="does not hold torchvision's vgg19"):
        classifier("vgg19", squeezenet)


def test_vgg19_is_read_from_torchvisions_names(tmp_path, monkeypatch):
    tensors = NETWORKS["vgg19"][1]().state_dict()
    # the indices of torchvision's VGG-19 convolutions
    indices = {0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34}
    assert {int(name.split(".")[1]) for name in tensors} == indices
    torch.save(tensors, tmp_path / "vgg.pth")
    vgg19 = replace(pretrained.VGG19, tensors_sha256=pretrained.tensors_digest(tensors))
    monkeypatch.setitem(NETWORKS, "vgg19", (vgg19, NETWORKS["vgg19"][1]))
    layers = classifier("vgg19", tmp_path / "vgg.pth")(torch.rand(1, 3, 32, 32))
    shapes = [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]
    assert [tuple(maps.shape[1:]) for maps in layers] == shapes


def test_feature_distance_worked_out_by_hand():
    # layer 1: 4 channels, each 1 apart: 4 / sqrt(4) = 2; layer 2: 1 channel, 3 apart at half the places: 1.5
    first = [torch.zeros(1, 4, 2, 2), torch.zeros(1, 1, 1, 2)]
    second = [torch.ones(1, 4, 2, 2), torch.tensor([[[[3.0, 0.0]]]])]
    assert feature_distance(first, second).item() == pytest.approx((2 + 1.5) / 2)


def test_feature_distance_is_symmetric_and_zero_for_equal_maps():
    first, second = [torch.randn(2, 3, 4, 4)], [torch.randn(2, 3, 4, 4)]
    assert feature_distance(first, second) == feature_distance(second, first)
    assert feature_distance(first, first) == 0
