"""Records of images: what is refused, with the path of the field."""

import json

import pytest
from scores import write_images, write_method

from ntire_sr.core.errors import NtireSrError
from ntire_sr.evaluation.scoring.records import Records, parse_record, score_to_json


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("scored")
    return write_method(home / "a", write_images(home / "HR", ["0801.png"]), {"0801.png": [0.2, 0.4]})


@pytest.fixture
def record(folder) -> dict:
    return json.loads((folder / "records" / "000000.json").read_text())


def test_record_is_written_and_read_without_loss(folder, record):
    result = Records(folder / "records").read(0, record["key"])
    assert score_to_json(result.score).items() <= record.items()
    assert result.score.name == "0801.png" and result.score.numbers == [0, 1]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"lpips": [0.1, "0.2"]}, "$.lpips[1]"),
        ({"lpips": [0.1, None]}, "$.lpips[1]"),
        ({"mse": [1.0, True]}, "$.mse[1]"),
        ({"mse": [1.0, -1.0]}, "$.mse[1]"),
        ({"mse": [1.0, float("inf")]}, "$.mse[1]"),
        ({"pixel_distance": "near"}, "$.pixel_distance"),
        ({"realism": {"niqe": [1.0, {}]}}, "$.realism[...][1]"),
        ({"index": 0.5}, "$.index"),
        ({"name": 801}, "$.name"),
        ({"numbers": []}, "$.numbers"),
        ({"surprise": 1}, "unknown field `surprise`"),
        ({"mse": [1.0]}, "mse has 1 values for 2 samples"),
        ({"realism": {"niqe": []}}, "realism has 0 values for 2 samples"),
        ({"lr_errors": [0.1]}, "lr_errors has 1 values for 2 samples"),
    ],
)
def test_wrong_record_is_refused_with_the_path_of_the_field(record, change, path):
    with pytest.raises(NtireSrError) as refused:
        parse_record(record | change, "000000.json")
    assert refused.value.message.startswith("000000.json is damaged") and path in refused.value.message


@pytest.mark.parametrize("name", ["version", "key", "numbers", "lpips", "mse", "lr_errors", "realism_hr"])
def test_record_without_a_field_is_refused(record, name):
    del record[name]
    with pytest.raises(NtireSrError, match=f"missing field `{name}`"):
        parse_record(record, "000000.json")


@pytest.mark.parametrize("content", [[], 3, None, "record"])
def test_record_that_is_no_object_is_refused(content):
    with pytest.raises(NtireSrError, match="not an object"):
        parse_record(content, "000000.json")


def test_record_of_other_files_is_not_loaded(folder, record):
    records = Records(folder / "records")
    assert records.load(0, record["key"]) is not None
    assert records.load(0, "0" * 64) is None and records.load(1, record["key"]) is None
    with pytest.raises(NtireSrError, match="of other files or settings"):
        records.read(0, "0" * 64)
