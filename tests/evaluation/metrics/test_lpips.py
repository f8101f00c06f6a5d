"""LPIPS."""

import copy

import numpy as np
import pytest
import torch
from missing_operators import import_or_skip

from ntire_sr.challenge.pixels import to_8bit, to_tensor, to_unit
from ntire_sr.core.errors import ArgumentTypeError, ArgumentValueError, NtireSrError
from ntire_sr.evaluation.metrics.lpips_network import Lpips, load_lpips, network_input
from ntire_sr.evaluation.metrics.lr_psnr import official_crop
from ntire_sr.samples.image_files import read_image

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def lpips(alexnet) -> Lpips:
    return load_lpips(alexnet)


def eight_bits(path) -> torch.Tensor:
    return to_tensor(read_image(path))


def noisy(image: torch.Tensor, sigma: float) -> torch.Tensor:
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    return to_8bit(to_unit(image) + sigma * noise)


def test_lpips_of_the_papers_example_is_0_722_and_0_138(lpips, golden):
    reference, far, near = (eight_bits(golden / f"ex_{name}.png") for name in ("ref", "p0", "p1"))
    assert lpips(reference, far).mean().item() == pytest.approx(0.722, abs=5e-4)
    assert lpips(reference, near).mean().item() == pytest.approx(0.138, abs=5e-4)


@pytest.mark.filterwarnings("ignore")  # about arguments of torchvision that the package still uses
def test_lpips_equals_the_lpips_package(lpips, golden):
    package = import_or_skip("lpips")
    official = package.LPIPS(net="alex", version="0.1", spatial=True, pnet_rand=True, verbose=False)
    slices = [getattr(official.net, f"slice{n}") for n in range(1, 6)]
    convolutions = [layer for part in slices for layer in part if isinstance(layer, torch.nn.Conv2d)]
    for mine, theirs in zip(lpips.convolutions, convolutions, strict=True):
        theirs.load_state_dict(mine.state_dict())
    for folder, names in ((golden, ("ex_ref", "ex_p0")), (golden / "x4", ("HR/0801", "SR/000000_sample00003"))):
        hr, sr = (official_crop(eight_bits(folder / f"{name}.png")) for name in names)
        with torch.no_grad():
            expected = official(to_unit(hr) * 2 - 1, to_unit(sr) * 2 - 1)
        lpips_map = lpips(hr, sr)
        assert torch.allclose(lpips_map, expected, rtol=1e-4, atol=1e-6)
        assert lpips_map.mean().item() == pytest.approx(expected.mean().item(), rel=1e-5)


def test_lpips_is_zero_for_equal_images_symmetric_and_grows_with_noise(lpips, photograph):
    image = to_tensor(photograph)
    assert lpips(image, image).abs().max() == 0
    assert torch.allclose(lpips(image, noisy(image, 0.1)), lpips(noisy(image, 0.1), image), atol=1e-6)
    distances = [lpips(image, noisy(image, sigma)).mean().item() for sigma in (0.01, 0.03, 0.1, 0.3)]
    assert distances == sorted(distances)


def test_winograd_and_direct_convolutions_give_close_features(lpips, photograph):
    image = to_tensor(photograph)
    maps = network_input(image).double()
    convolutions = copy.deepcopy(lpips.convolutions).double()
    for index, winograd_maps in enumerate(lpips.layers(image)):
        if index in (1, 2):
            maps = torch.nn.functional.max_pool2d(maps, 3, stride=2)
        maps = convolutions[index](maps).relu()
        assert ((winograd_maps - maps).norm() / maps.norm()).item() < 5e-6


def test_lpips_compare_keeps_features_and_sums_differences(lpips, photograph):
    image = to_tensor(photograph)
    features = lpips.features(image).vectors
    before = [layer.clone() for layer in features]
    sums = [torch.zeros_like(layer) for layer in features]
    others = [noisy(image, 0.1), noisy(image, 0.2)]
    for image_of_list in others:
        lpips.compare(image_of_list, features, sums)
    expected = [lpips.features(image_of_list).vectors for image_of_list in others]
    for layer, total, kept, expected_first, two in zip(features, sums, before, *expected, strict=True):
        assert torch.equal(layer, kept)
        assert torch.allclose(total, expected_first + two - 2 * kept, atol=1e-6)


def test_deepest_maps_are_the_unnormalised_fifth_convolution(lpips, photograph):
    image = to_tensor(photograph)
    expected = list(lpips.layers(image))[-1]
    features = lpips.features(image)
    compared = lpips.compare(image, features.vectors)
    assert torch.equal(features.deepest, expected) and torch.equal(compared.deepest, expected)


def test_lpips_of_a_small_network_has_the_hand_computed_value():
    # every convolution is zero but for its bias: 1 in the first channel for one image is the same
    # for the other, so the features agree and LPIPS is 0, whatever the images
    names = [(0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3)]
    trunk = {}
    for index, outputs, inputs, size in names:
        trunk[f"features.{index}.weight"] = torch.zeros(outputs, inputs, size, size)
        trunk[f"features.{index}.bias"] = torch.zeros(outputs)
    # channel 0 of layer 1 is the centre red value, channel 1 the negative of it
    trunk["features.0.weight"][0, 0, 5, 5] = 1
    trunk["features.0.weight"][1, 0, 5, 5] = -1
    linear = [torch.zeros(1, outputs, 1, 1) for _, outputs, _, _ in names]
    linear[0][0, 0], linear[0][0, 1] = 0.25, 0.5
    made = Lpips(trunk, linear)
    bright = torch.full((1, 3, 64, 64), 255, dtype=torch.uint8)
    dark = torch.zeros_like(bright)
    # red is (1 + 0.03) / 0.458 > 0 for bright, (-1 + 0.03) / 0.458 < 0 for dark: after ReLU and division
    # by the length the vectors are (1, 0) and (0, 1), so the map is 0.25 * 1 + 0.5 * 1 everywhere
    assert torch.allclose(made(bright, dark), torch.full((1, 1, 64, 64), 0.75), atol=1e-6)


def test_weights_of_another_network_than_alexnet_are_an_error(squeezenet):
    with pytest.raises(NtireSrError, match="does not hold torchvision's alexnet") as caught:
        load_lpips(squeezenet)
    assert "leave out --lpips-weights" in str(caught.value)


def test_the_map_does_not_depend_on_memory_layout(lpips, photograph):
    image = to_tensor(photograph)
    sample = to_tensor(np.ascontiguousarray(photograph[::-1]))
    expected = lpips(image, sample)
    assert torch.equal(lpips(image.contiguous(), sample), expected)


def test_lpips_refuses_float_images(lpips, photograph):
    unit = to_unit(to_tensor(photograph))
    with pytest.raises(ArgumentTypeError, match=r"a tensor \(1, 3, 96, 128\) of float32, not of uint8"):
        lpips(unit, unit)


def test_lpips_refuses_a_batch(lpips, photograph):
    batch = to_tensor(photograph).expand(3, 3, 96, 128)
    with pytest.raises(ArgumentValueError, match=r"a tensor \(3, 3, 96, 128\) of uint8, not a single image"):
        lpips(batch, batch)


def test_lpips_refuses_images_of_two_sizes(lpips, photograph):
    image = to_tensor(photograph)
    with pytest.raises(ArgumentValueError, match=r"the HR image has \(96, 128\)"):
        lpips(image, image.transpose(2, 3))
    with pytest.raises(ArgumentValueError, match="sides of 31 pixels"):
        lpips(image[:, :, :30], image[:, :, :30])
