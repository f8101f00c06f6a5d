"""What is found in a folder of training images."""

import numpy as np
import pytest
from PIL import Image

from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.data.data_check import ALIKE, check, div2k_part, signature
from ntire_sr.data.photographs import TRAINING_PHOTOGRAPHS, VALIDATION_PHOTOGRAPHS, embedded_photographs
from ntire_sr.samples.image_files import read_image, write_png


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    return [read_image(path) for path in embedded_photographs(TRAINING_PHOTOGRAPHS + VALIDATION_PHOTOGRAPHS)]


def resized(image: np.ndarray, factor: float) -> Image.Image:
    height, width = image.shape[:2]
    return Image.fromarray(image).resize(
        (round(width * factor), round(height * factor)), Image.Resampling.LANCZOS
    )


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    return float((signature(one) * signature(other)).sum())


def test_copies_of_half_size_and_jpeg_70_look_alike_and_different_photographs_do_not(photographs, tmp_path):
    for image in photographs:
        resized(image, 0.5).save(tmp_path / "a.jpg", quality=70)
        assert likeness(image, read_image(tmp_path / "a.jpg")) > 0.99
        assert likeness(image, np.asarray(resized(image, 0.125))) > 0.97
    single = [photographs[0], *photographs[2:]]  # 1 and 2 are a stereo pair
    assert max(likeness(a, b) for i, a in enumerate(single) for b in single[:i]) < ALIKE / 2


def test_a_signature_ignores_brightness_and_contrast_and_flat_images_have_none(photograph):
    assert likeness(photograph, photograph // 2 + 40) > 0.99
    assert not signature(np.full((50, 60, 3), 99, np.uint8)).any()
    assert np.isclose(np.linalg.norm(signature(photograph)), 1)


def test_equal_and_similar_images_are_told_apart_and_each_pair_is_named_once(tmp_path, photographs):
    write_png(tmp_path / "a.png", photographs[0])
    write_png(tmp_path / "sub" / "b.png", photographs[0])
    resized(photographs[0], 0.5).save(tmp_path / "c.jpg", quality=70)
    write_png(tmp_path / "other.png", photographs[3])
    found = check(tmp_path, None, 64)
    assert found.same == [("a.png", "sub/b.png")]
    assert [pair[:2] for pair in found.alike] == [("a.png", "c.jpg")]
    assert found.passes, "duplicates are no fault"


def test_flat_images_are_equal_or_different_and_never_alike(tmp_path):
    for level in (10, 11, 12):
        write_png(tmp_path / f"{level}.png", np.full((40, 40, 3), level, np.uint8))
    write_png(tmp_path / "again.png", np.full((40, 40, 3), 12, np.uint8))
    found = check(tmp_path, None, 32)
    assert found.same == [("12.png", "again.png")] and found.alike == []


@pytest.mark.parametrize("turn", [lambda x: x, np.fliplr, np.flipud, np.rot90, lambda x: x.transpose(1, 0, 2)])
def test_validation_images_are_found_in_any_position_after_jpeg_and_resizing(tmp_path, photographs, turn):
    (tmp_path / "HR").mkdir()
    resized(np.ascontiguousarray(turn(photographs[-2])), 0.5).save(tmp_path / "HR" / "x.jpg", quality=70)
    found = check(tmp_path / "HR", None, 64)  # against the embedded ones
    assert [pair[:2] for pair in found.validated] == [("x.jpg", "chelsea.png")]
    assert not found.passes
    write_png(tmp_path / "valid" / "0801.png", photographs[-1])
    assert check(tmp_path / "HR", tmp_path / "valid", 64).passes


def test_names_of_div2k_validation_and_test_are_forbidden_and_others_are_not(tmp_path, photograph):
    assert [div2k_part(f"{number:04d}") for number in (800, 801, 900, 901, 1000, 1001)] == [
        None, "validation", "validation", "test", "test", None
    ]  # fmt: skip
    for stem in ("0801x2", "0801x4", "0801x8", "0801x4m", "0801_s001", "DIV2K_0850", "div2k_valid_0900x3"):
        assert div2k_part(stem) == "validation", stem
    for stem in ("000801", "img0801", "0801a", "10801", "0801-2", "901"):
        assert div2k_part(stem) is None, stem
    for name in ("0001.png", "0801x4.png", "sub/0901.jpg"):
        write_png(tmp_path / name, photograph)
    assert check(tmp_path, None, 32).forbidden == ["0801x4.png (DIV2K validation)", "sub/0901.jpg (DIV2K test)"]


def test_sizes_and_everything_unreadable_are_reported(tmp_path, photograph):
    write_png(tmp_path / "a.png", photograph)
    write_png(tmp_path / "b.png", np.ascontiguousarray(photograph[:20]))
    for name in ("c.png", "d.png"):
        (tmp_path / name).write_bytes(b"no image")
    found = check(tmp_path, None, 32)
    assert (found.images, found.megapixels, found.smallest) == (2, 0.015, "b.png, 128 x 20")
    assert found.sizes == {"under 0.25": 2} and found.too_small == ["b.png"]
    assert [part in " ".join(found.unreadable) for part in ("a.png", "c.png", "d.png")] == [False, True, True]
    assert not found.passes


def test_a_folder_without_images_and_broken_validation_images_are_errors(tmp_path, photograph):
    with pytest.raises(UsageError, match="does not exist"):
        check(tmp_path / "absent", None, 32)
    write_png(tmp_path / "HR" / "a.png", photograph)
    (tmp_path / "valid").mkdir()
    (tmp_path / "valid" / "v.png").write_bytes(b"")
    with pytest.raises(NtireSrError, match=r"validation images cannot be read: .*v\.png"):
        check(tmp_path / "HR", tmp_path / "valid", 32)


def test_a_folder_of_broken_images_alone_is_reported(tmp_path):
    (tmp_path / "c.png").write_bytes(b"no image")
    found = check(tmp_path, None, 32)
    assert (found.images, found.smallest, len(found.unreadable)) == (0, "", 1)
