"""Images that were not made from their LR image."""

import pytest
import torch

from ntire_sr.challenge.downscale import downscale_8bit
from ntire_sr.challenge.mismatch import OtherImages, find_mismatch
from ntire_sr.challenge.pixels import to_8bit, to_tensor, to_unit
from ntire_sr.challenge.projection import bicubic_upsample


@pytest.fixture(scope="module")
def lr(photograph):
    return downscale_8bit(to_tensor(photograph), 4)


@pytest.mark.parametrize(
    ("mistake", "text"),
    [
        (lambda lr: lr.flip(3), "looks mirrored ("),
        (lambda lr: lr.flip(2), "looks upside down ("),
        (lambda lr: lr.flip((2, 3)), "looks turned by 180 degrees ("),
        (lambda lr: lr.flip(1), "red and blue swapped (BGR) ("),
        (lambda lr: 255 - lr, "looks negative ("),
        (lambda lr: (2 * lr.int() - 255).clamp(0, 255).byte(), "in the range -1 to 1"),
        (lambda lr: lr[:, 1:2].expand(-1, 3, -1, -1), "is grey"),
        (torch.zeros_like, "has one colour"),
    ],
)
def test_mistake_is_named(lr, mistake, text):
    mismatch = find_mismatch(mistake(lr), lr)
    assert mismatch.is_mistake and text in mismatch.text


def test_square_image_that_is_turned_is_named(lr):
    square = lr[:, :, :24, :24]
    assert "turned by 90 degrees" in find_mismatch(square.rot90(1, (2, 3)), square).text
    assert "rows and columns swapped" in find_mismatch(square.transpose(2, 3), square).text


def test_poor_images_of_the_right_lr_image_pass(lr):
    noise = 25 * torch.randn(lr.shape, generator=torch.Generator().manual_seed(0))
    upsampled = to_8bit(bicubic_upsample(to_unit(lr), 4))
    for reduced in (
        lr,
        downscale_8bit(upsampled, 4),
        (lr + noise).clamp(0, 255).byte(),
        (lr.int() + 30).clamp(0, 255).byte(),
        lr.roll(1, 3),
    ):
        assert find_mismatch(reduced, lr) is None


def test_unexplained_distance_is_no_mistake(lr):
    noise = torch.randint(0, 256, lr.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mismatch = find_mismatch(noise, lr)
    assert not mismatch.is_mistake and mismatch.text.startswith("is far from its LR image: ")


def test_another_image_that_fits_better_is_named(lr):
    others = OtherImages()
    for name, image in (("1.png", lr), ("2.png", lr.flip((1, 3)))):
        others.add(name, image)
    assert find_mismatch(lr, lr, others) is None
    assert "fits 2.png better" in find_mismatch(lr.flip((1, 3)), lr, others).text
    assert "looks mirrored" in find_mismatch(lr.flip(3), lr, others).text
