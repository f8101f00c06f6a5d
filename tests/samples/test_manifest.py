"""Manifests that were damaged or edited by hand."""

import json
from dataclasses import asdict, replace

import pytest
import torch

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


def test_a_manifest_comes_back_as_it_was_saved(folder):
    manifest = load_manifest(folder)
    before = (folder / "manifest.json").read_text()
    manifest.save(folder)
    assert (folder / "manifest.json").read_text() == before
    assert load_manifest(folder.parent) is None


def test_hyper_parameters_are_compared_only_where_the_model_is_the_same():
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


def test_fields_that_came_later_leave_the_digest_of_earlier_settings_as_it_was():
    ours = SamplingSettings("srgan", False, "a1", 4, 0, True, "float32", {})
    earlier = {name: value for name, value in asdict(ours).items() if name not in ("external", "code_sha256")}
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
        (["images", 0, "unreachable"], True),
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
        (["images", 0, "reachable_db"], 10**400),
        (["images"], []),
        (["settings"], None),
        (["settings", "model"], None),
        (["settings", "scale"], "4"),
        (["settings", "scale"], 3),
        (["settings", "unknown"], 1),
    ],
)
def test_a_value_of_the_wrong_kind_or_size_is_one_clear_error(folder, path, value):
    content = json.loads((folder / "manifest.json").read_text())
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    write_json(folder / "manifest.json", content)
    with pytest.raises(NtireSrError, match=r"manifest\.json"):
        load_manifest(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "{}"])
def test_what_is_no_manifest_at_all_is_named(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(NtireSrError, match=r"manifest\.json"):
        load_manifest(tmp_path)
