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


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    return float((signature(first) * signature(second)).sum())


def test_resized_and_recompressed_copies_look_alike_others_do_not(photographs, tmp_path):
    for image in photographs:
        resized(image, 0.5).save(tmp_path / "a.jpg", quality=70)
        assert likeness(image, read_image(tmp_path / "a.jpg")) > 0.99
        assert likeness(image, np.asarray(resized(image, 0.125))) > 0.97
    single = [photographs[0], *photographs[2:]]  # 1 and 2 are a stereo pair
    assert max(likeness(a, b) for i, a in enumerate(single) for b in single[:i]) < ALIKE / 2


def test_signature_ignores_brightness_and_contrast(photograph):
    assert likeness(photograph, photograph // 2 + 40) > 0.99
    assert not signature(np.full((50, 60, 3), 99, np.uint8)).any()
    assert np.isclose(np.linalg.norm(signature(photograph)), 1)


def test_equal_and_similar_pairs_are_listed_once_each(tmp_path, photographs):
    write_png(tmp_path / "a.png", photographs[0])
    write_png(tmp_path / "sub" / "b.png", photographs[0])
    resized(photographs[0], 0.5).save(tmp_path / "c.jpg", quality=70)
    write_png(tmp_path / "other.png", photographs[3])
    findings = check(tmp_path, None, 64)
    assert findings.same == [("a.png", "sub/b.png")]
    assert [pair[:2] for pair in findings.alike] == [("a.png", "c.jpg")]
    assert findings.passes, "duplicates are no fault"


def test_flat_images_are_never_alike(tmp_path):
    for level in (10, 11, 12):
        write_png(tmp_path / f"{level}.png", np.full((40, 40, 3), level, np.uint8))
    write_png(tmp_path / "again.png", np.full((40, 40, 3), 12, np.uint8))
    findings = check(tmp_path, None, 32)
    assert findings.same == [("12.png", "again.png")] and findings.alike == []


@pytest.mark.parametrize("turn", [lambda x: x, np.fliplr, np.flipud, np.rot90, lambda x: x.transpose(1, 0, 2)])
def test_validation_images_are_found_flipped_resized_and_recompressed(tmp_path, photographs, turn):
    (tmp_path / "HR").mkdir()
    resized(np.ascontiguousarray(turn(photographs[-2])), 0.5).save(tmp_path / "HR" / "x.jpg", quality=70)
    findings = check(tmp_path / "HR", None, 64)  # against the embedded ones
    assert [pair[:2] for pair in findings.validated] == [("x.jpg", "chelsea.png")]
    assert not findings.passes
    write_png(tmp_path / "valid" / "0801.png", photographs[-1])
    assert check(tmp_path / "HR", tmp_path / "valid", 64).passes


def test_only_names_of_div2k_validation_and_test_are_forbidden(tmp_path, photograph):
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


def test_sizes_and_unreadable_images_are_reported(tmp_path, photograph):
    write_png(tmp_path / "a.png", photograph)
    write_png(tmp_path / "b.png", np.ascontiguousarray(photograph[:20]))
    for name in ("c.png", "d.png"):
        (tmp_path / name).write_bytes(b"no image")
    findings = check(tmp_path, None, 32)
    assert (findings.images, findings.megapixels, findings.smallest) == (2, 0.015, "b.png, 128 x 20")
    assert findings.sizes == {"under 0.25": 2} and findings.too_small == ["b.png"]
    assert [part in " ".join(findings.unreadable) for part in ("a.png", "c.png", "d.png")] == [
        False,
        True,
        True,
    ]
    assert not findings.passes


def test_empty_folder_and_broken_validation_images_are_errors(tmp_path, photograph):
    with pytest.raises(UsageError, match="does not exist"):
        check(tmp_path / "absent", None, 32)
    write_png(tmp_path / "HR" / "a.png", photograph)
    (tmp_path / "valid").mkdir()
    (tmp_path / "valid" / "v.png").write_bytes(b"")
    with pytest.raises(NtireSrError, match=r"validation images cannot be read: .*v\.png"):
        check(tmp_path / "HR", tmp_path / "valid", 32)


def test_folder_of_broken_images_is_reported(tmp_path):
    (tmp_path / "c.png").write_bytes(b"no image")
    findings = check(tmp_path, None, 32)
    assert (findings.images, findings.smallest, len(findings.unreadable)) == (0, "", 1)
