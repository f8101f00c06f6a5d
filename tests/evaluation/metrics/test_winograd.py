"""Convolutions with fewer multiplications."""

import pytest
import torch

from ntire_sr.evaluation.metrics.winograd import WinogradConvolution, transforms

pytestmark = pytest.mark.numerical


def test_winograd_matrices_of_2_outputs_and_3_taps_equal_values_by_hand():
    # 1 2 3 4 with 1 10 100: 1 + 20 + 300 = 321 and 2 + 30 + 400 = 432
    a, g, b = transforms(2, 3)
    signal, kernel = torch.tensor([1.0, 2, 3, 4]).double(), torch.tensor([1.0, 10, 100]).double()
    assert (a @ ((g @ kernel) * (b @ signal))).tolist() == pytest.approx([321, 432], rel=1e-12)


@pytest.mark.parametrize(("outputs", "taps"), [(2, 3), (4, 3), (6, 3), (4, 5), (2, 5)])
def test_winograd_matrices_convolve_any_signal(outputs, taps):
    a, g, b = transforms(outputs, taps)
    signal, kernel = torch.randn(outputs + taps - 1).double(), torch.randn(taps).double()
    expected = torch.stack([(signal[i : i + taps] * kernel).sum() for i in range(outputs)])
    assert torch.allclose(a @ ((g @ kernel) * (b @ signal)), expected, atol=1e-12)


def test_too_many_winograd_points_are_an_error():
    with pytest.raises(ValueError, match="need 9 points"):
        transforms(6, 5)


@pytest.mark.parametrize(("outputs", "taps"), [(4, 5), (6, 3)])
@pytest.mark.parametrize("size", [(1, 1), (3, 7), (24, 18), (25, 19), (97, 41)])
def test_winograd_equals_the_direct_convolution_on_any_size(outputs, taps, size):
    direct = torch.nn.Conv2d(5, 7, taps, padding=taps // 2)
    fast = WinogradConvolution(direct, outputs)
    image = torch.randn(1, 5, *size).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = direct.double()(image.double()).relu()
        maps = fast(image)
    assert maps.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(maps.double(), expected, atol=2e-5)
