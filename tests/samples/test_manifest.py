"""Manifests that were damaged or edited by hand."""

import json
from pathlib import Path

import pytest
import torch
from msgspec.structs import asdict, replace

from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import sha256_bytes, write_json
from ntire_sr.models.loading import load_model
from ntire_sr.samples.manifest import SamplingSettings, load_manifest
from ntire_sr.sampling.generate import Request, generate


@pytest.fixture
def folder(lr_folder, tmp_path):
    cpu = torch.device("cpu")
    generate(Request(lr_folder, tmp_path / "SR", samples=1), load_model("bicubic", 4, cpu), cpu)
    return tmp_path / "SR"


def test_manifest_round_trip_keeps_its_bytes(folder):
    manifest = load_manifest(folder)
    before = (folder / "manifest.json").read_text()
    manifest.save(folder)
    assert (folder / "manifest.json").read_text() == before
    assert load_manifest(folder.parent) is None


def test_hyper_parameters_are_compared_only_for_the_same_model():
    ours = SamplingSettings("srgan", False, "a1", 4, 0, True, "float32", {"blocks": 4, "channels": 32})
    assert ours.differences(ours) == []
    trained_longer = replace(ours, weights_sha256="b2", hyper_parameters={"blocks": 4, "channels": 64})
    assert ours.differences(trained_longer) == [
        "weights_sha256: a1 there, b2 asked for",
        "channels: 32 there, 64 asked for",
    ]
    another_model = replace(
        ours, model="bicubic", deterministic=True, weights_sha256=None, seed=7, hyper_parameters={"growth": 16}
    )
    assert ours.differences(another_model) == [
        "model: srgan there, bicubic asked for",
        "weights_sha256: a1 there, None asked for",
        "seed: 0 there, 7 asked for",
    ]


def test_precision_of_samples_is_not_that_of_the_training():
    ours = SamplingSettings("srgan", False, "a1", 4, 0, True, "float32", {"precision": "float32"})
    assert ours.differences(replace(ours, precision="bfloat16")) == [
        "precision: float32 there, bfloat16 asked for"
    ]


def test_later_fields_keep_the_digest_of_earlier_settings():
    ours = SamplingSettings("srgan", False, "a1", 4, 0, True, "float32", {})
    earlier = {name: value for name, value in asdict(ours).items() if name not in SamplingSettings.EARLIER}
    earlier["test_time_augmentation"] = False
    assert ours.digest == sha256_bytes(json.dumps(earlier, sort_keys=True).encode())
    assert replace(ours, external=True).digest != ours.digest


NAME = "000000_sample00000.png"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["format"], "another"),
        (["version"], 9),
        (["samples"], "ten"),
        (["samples"], 10**9),
        (["samples"], 0),
        (["samples"], True),
        (["lr"], None),
        (["lr"], 5),
        (["images"], {}),
        (["images", 0, "name"], 7),
        (["images", 0, "infeasible"], True),
        (["images", 0], []),
        (["files"], []),
        (["files", NAME], None),
        (["files", NAME, "source"], 5),
        (["files", NAME, "source"], {"file": "a.png", "sha256": "0"}),
        (["files", NAME, "source"], {"file": 1, "sha256": "0", "lr_psnr_db": 39.0}),
        (["files", NAME, "source"], {"file": "a.png", "sha256": "0", "lr_psnr_db": "nan"}),
        (["files", NAME, "seed"], "x"),
        (["seconds"], -1),
        (["seconds"], "fast"),
        (["settings", "external"], 1),
        (["files", NAME, "seconds"], "x"),
        (["files", NAME, "lr_psnr_db"], "high"),
        (["files", NAME, "lr_psnr_db"], 10**400),
        (["files", NAME, "lr_psnr_db"], None),
        (["files", NAME, "seconds"], 10**400),
        (["files", NAME, "seconds"], "inf"),
        (["files", NAME, "seconds"], -1),
        (["files", NAME, "tile"], -5),
        (["files", "foo.png"], {}),
        (["tile"], -5),
        (["tile_asked"], 10**9),
        (["lr"], "a\0b"),
        (["lr"], "\ud800"),
        (["images", 0, "best_db"], 10**400),
        (["images"], []),
        (["settings"], None),
        (["settings", "model"], None),
        (["settings", "scale"], "4"),
        (["settings", "scale"], 3),
        (["settings", "unknown"], 1),
    ],
)
def test_a_wrong_value_is_one_clear_error(folder, path, value):
    change(folder, path, value)
    with pytest.raises(NtireSrError, match=r"manifest\.json"):
        load_manifest(folder)


def change(folder: Path, path: list[str | int], value: object) -> None:
    """Set one value of a manifest."""
    content = json.loads((folder / "manifest.json").read_text())
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    write_json(folder / "manifest.json", content)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["settings", "seed"], "7", " is damaged: Expected `int | null`, got `str` - at `$.settings.seed`"),
        (["settings", "sed"], 7, " is damaged: Object contains unknown field `sed` - at `$.settings`"),
        (["settings", "scale"], 3, " is damaged: `scale` is 3, none of 4, 8 - at `$.settings`"),
        (["images", 1, "height"], None, ": images[1] is damaged: Expected `int`, got `null` - at `$.height`"),
        (["files", NAME, "tile"], -1, f": files[{NAME}] is damaged: Expected `int` >= 0 - at `$.tile`"),
        (
            ["files", NAME, "rounds"],
            True,
            f": files[{NAME}] is damaged: Expected `int`, got `bool` - at `$.rounds`",
        ),
        (["comment"], "mine", " is damaged: Object contains unknown field `comment`"),
    ],
)
def test_an_error_gives_the_path_of_the_wrong_key(folder, path, value, message):
    change(folder, path, value)
    with pytest.raises(NtireSrError) as caught:
        load_manifest(folder)
    assert caught.value.message == f"{folder / 'manifest.json'}{message}"


@pytest.mark.parametrize(
    "path",
    [["lr"], ["tile"], ["files"], ["settings", "model"], ["images", 0, "width"], ["files", NAME, "rounds"]],
)
def test_a_missing_key_is_an_error_that_names_it(folder, path):
    content = json.loads((folder / "manifest.json").read_text())
    place = content
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    write_json(folder / "manifest.json", content)
    with pytest.raises(NtireSrError, match=f"missing required field `{path[-1]}`"):
        load_manifest(folder)


def test_keys_of_earlier_versions_are_read_and_replaced(folder):
    content = json.loads((folder / "manifest.json").read_text())
    for image in content["images"]:
        assert (image.pop("infeasible"), image.pop("best_db")) == (False, None)
        image |= {"unreachable": True, "reachable_db": 17.5}
    write_json(folder / "manifest.json", content)
    manifest = load_manifest(folder)
    assert [(image.infeasible, image.best_db) for image in manifest.images] == [(True, 17.5)] * 2
    manifest.save(folder)
    text = (folder / "manifest.json").read_text()
    assert "reachable" not in text and load_manifest(folder) == manifest


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "{}"])
def test_file_that_is_not_a_manifest_is_an_error_that_names_it(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(NtireSrError, match=r"manifest\.json"):
        load_manifest(tmp_path)


def test_removed_setting_is_read_with_its_only_value(folder):
    content = json.loads((folder / "manifest.json").read_text())
    content["settings"]["test_time_augmentation"] = False
    write_json(folder / "manifest.json", content)
    manifest = load_manifest(folder)
    assert {record.settings_sha256 for record in manifest.files.values()} == {manifest.settings.digest}
    content["settings"]["test_time_augmentation"] = True
    write_json(folder / "manifest.json", content)
    with pytest.raises(NtireSrError, match=r"settings\.test_time_augmentation is True, not false"):
        load_manifest(folder)
