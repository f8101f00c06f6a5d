"""Names on disk."""

from pathlib import Path

import pytest

from ntire_sr.challenge.names import SampleName, image_key, parse_sample_name
from ntire_sr.core.errors import UsageError, ValidationErrors
from ntire_sr.samples.folders import list_images, list_samples


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_sample_name_round_trip():
    assert str(SampleName(3, 7)) == "000003_sample00007.png"
    assert parse_sample_name("000003_sample00007.png") == SampleName(3, 7)
    assert parse_sample_name("000003.png") == SampleName(3, 0)
    for stranger in ("0801.png", "000003_sample7.png", "000003_sample00007.jpg", "x000003.png", "000003.png\n"):
        assert parse_sample_name(stranger) is None


def test_hr_and_lr_folders_have_the_same_order_with_any_suffix(tmp_path):
    hr = touch(tmp_path / "HR", "1.png", "10.png", "2.JPG")
    lr = touch(tmp_path / "LR", "1x4.png", "10x4.png", "2x4.png")
    keys = [[image_key(path) for path in list_images(folder, "test")] for folder in (hr, lr)]
    assert keys[0] == keys[1] == ["1", "10", "2"]


def test_only_recursive_search_lists_subfolders_and_none_hidden_files(tmp_path):
    touch(tmp_path, "DIV2K_train_HR/0001.png", "a.webp", ".hidden.png", "notes.txt")
    assert [path.name for path in list_images(tmp_path, "HR")] == ["a.webp"]
    assert [path.name for path in list_images(tmp_path, "HR", recursive=True)] == ["a.webp", "0001.png"]


def test_empty_or_missing_folder_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="holds no image"):
        list_images(tmp_path, "LR")
    with pytest.raises(UsageError, match=r"LR folder .* does not exist"):
        list_images(tmp_path / "absent", "LR")


def test_two_files_for_one_image_are_an_error(tmp_path):
    with pytest.raises(ValidationErrors, match=r"0801\.jpg and 0801\.png"):
        list_images(touch(tmp_path, "0801.png", "0801.jpg"), "HR")


@pytest.mark.parametrize("first", [0, 801, 901])
def test_samples_may_be_numbered_from_0_or_as_the_hr_images_of_2021_and_2022(tmp_path, first):
    touch(
        tmp_path, *(str(SampleName(first + index, k)) for index in range(2) for k in range(2)), "manifest.json"
    )
    paths, unexpected = list_samples(tmp_path)
    assert sorted(paths) == [SampleName(0, 0), SampleName(0, 1), SampleName(1, 0), SampleName(1, 1)]
    assert unexpected == []


def test_files_that_are_not_samples_are_listed(tmp_path):
    touch(tmp_path, "000000_sample00000.png", "000000.png", "000000_sample0.png", "notes.txt")
    paths, unexpected = list_samples(tmp_path)
    assert list(paths) == [SampleName(0, 0)]
    assert len(unexpected) == 3


def test_x4_at_the_end_of_a_word_is_not_a_scale(tmp_path):
    names = [
        image_key(path)
        for path in list_images(touch(tmp_path, "matrix2.png", "matrix3.png", "0801x4.png"), "HR")
    ]
    assert names == ["0801", "matrix2", "matrix3"]
