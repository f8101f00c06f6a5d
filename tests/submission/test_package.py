"""Checking and packing."""

import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import NtireSrError, UsageError, ValidationErrors
from ntire_sr.core.files import sha256_file
from ntire_sr.models.loading import load_model
from ntire_sr.samples.image_files import read_image, write_png
from ntire_sr.samples.sources import Source
from ntire_sr.sampling.generate import Request, generate
from ntire_sr.submission.archive import Member, write_archive
from ntire_sr.submission.package import PackageRequest, PackageResult
from ntire_sr.submission.package import pack as pack_request
from ntire_sr.submission.readme import Readme


def pack(sr, out, **options) -> PackageResult:
    return pack_request(PackageRequest(sr, out, **options))


def sha256(packed: PackageResult) -> str:
    return packed.archives[0][1]


def test_archive_has_pngs_and_readme_at_its_root(samples, tmp_path):
    packed = pack(samples, tmp_path / "out.zip")
    with zipfile.ZipFile(packed.archives[0][0]) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert sorted(names) == sorted(
            [str(SampleName(i, k)) for i in range(2) for k in range(3)] + ["readme.txt"]
        )
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        for name in names[1:]:
            assert archive.read(name) == (samples / name).read_bytes()
        lines = archive.read("readme.txt").decode().splitlines()
    assert [line.split(" : ")[0] for line in lines] == [
        "runtime per image [s]",
        "CPU[1] / GPU[0]",
        "Extra Data [1] / No Extra Data [0]",
        "Other description",
    ]
    assert float(lines[0].split(" : ")[1]) >= 0
    assert [line.split(" : ")[1] for line in lines[1:]] == ["1", "1", "srgan"]
    assert packed.archives == [(tmp_path / "out.zip", sha256_file(tmp_path / "out.zip"))]
    assert packed.worst_db >= 50


def test_archive_bytes_do_not_depend_on_place_and_time(samples, tmp_path):
    import os

    here = pack(samples, tmp_path / "a" / "one.zip")
    for path in samples.iterdir():
        os.utime(path, (1, 1))
    again = pack(samples, tmp_path / "b" / "two.zip")
    assert sha256(again) == sha256(here) and again.code[1] == here.code[1]


def test_all_problems_are_listed_at_once_and_nothing_is_written(samples, tmp_path, photograph):
    (samples / "000000_sample00000.png").unlink()
    write_png(samples / "000000_sample00001.png", np.ascontiguousarray(photograph[:40, :40]))
    Image.open(samples / "000000_sample00002.png").convert("L").save(samples / "000000_sample00002.png")
    dark = read_image(samples / "000001_sample00000.png") // 2
    write_png(samples / "000001_sample00000.png", dark)
    (samples / "000001_sample00001.png").write_bytes((samples / "000001_sample00001.png").read_bytes()[:-100])
    (samples / "notes.txt").write_text("")
    write_png(samples / "000002_sample00000.png", photograph)
    with pytest.raises(ValidationErrors) as caught:
        pack(samples, tmp_path / "out.zip")
    text = str(caught.value)
    for part in (
        "0801.png (index 0): 1 of 3 samples are missing: 0",
        "000000_sample00001.png has 40 x 40 pixels, not 128 x 96, 4 times the 32 x 24 of 0801.png",
        "000000_sample00002.png is 8-bit grey, not 8-bit RGB",
        "000001_sample00000.png: LR-PSNR",
        "000001_sample00000.png: changed since it was drawn",
        "000001_sample00001.png is truncated",
        "notes.txt is not the name of a sample",
        "1 sample without an image: 000002_sample00000.png",
    ):
        assert part in text
    assert not list(tmp_path.glob("*.zip*")) and not list(tmp_path.glob(".*"))


def test_unreadable_lr_image_is_reported_once(samples, lr_folder, tmp_path):
    (lr_folder / "0801.png").write_bytes((lr_folder / "0801.png").read_bytes()[:100])
    with pytest.raises(ValidationErrors) as caught:
        pack(samples, tmp_path / "out.zip")
    assert len(caught.value.problems) == 1 and "0801.png is truncated" in caught.value.problems[0]


def test_samples_option_reports_missing_and_leaves_out_surplus(samples, tmp_path):
    with pytest.raises(ValidationErrors, match=r"0801\.png \(index 0\): 1 of 4 samples are missing: 3"):
        pack(samples, tmp_path / "out.zip", samples=4)
    packed = pack(samples, tmp_path / "out.zip", samples=2)
    assert packed.files == 4 and packed.warnings == ["2 samples beyond 2 per image left out"]
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert "000001_sample00001.png" in archive.namelist()
        assert "000001_sample00002.png" not in archive.namelist()
    with zipfile.ZipFile(tmp_path / "out-code.zip") as archive:
        assert "--samples 2 " in archive.read("REPRODUCE.md").decode()


def test_duplicates_are_a_problem_unless_the_model_is_deterministic(samples, lr_folder, tmp_path):
    (samples / "000000_sample00001.png").write_bytes((samples / "000000_sample00000.png").read_bytes())
    with pytest.raises(
        ValidationErrors, match=r"000000_sample00001\.png: the same image as 000000_sample00000\.png"
    ):
        pack(samples, tmp_path / "out.zip")
    bicubic = load_model("bicubic", 4, torch.device("cpu"))
    generate(Request(lr_folder, tmp_path / "bicubic", samples=2), bicubic, torch.device("cpu"))
    assert pack(tmp_path / "bicubic", tmp_path / "out.zip").files == 4


def test_folder_without_manifest_is_packed_with_lr_and_run_time(samples, lr_folder, tmp_path):
    (samples / "manifest.json").unlink()
    with pytest.raises(UsageError, match="give --lr FOLDER"):
        pack(samples, tmp_path / "out.zip", seconds=1.5, on_gpu=True)
    for facts in ({}, {"seconds": 1.5}, {"on_gpu": True}):
        with pytest.raises(UsageError, match="--seconds NUMBER with --gpu or --cpu"):
            pack(samples, tmp_path / "out.zip", lr=lr_folder, samples=3, **facts)
    for seconds in (float("nan"), float("inf"), -1.0):
        with pytest.raises(UsageError, match="is not a run time"):
            pack(samples, tmp_path / "out.zip", lr=lr_folder, samples=3, seconds=seconds, on_gpu=True)
    assert pack(samples, tmp_path / "out.zip", lr=lr_folder, samples=3, seconds=1.5, on_gpu=True).files == 6
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert (
            archive.read("readme.txt")
            .decode()
            .startswith("runtime per image [s] : 1.50\nCPU[1] / GPU[0] : 0\n")
        )


def test_single_samples_are_packed_without_sample_number(lr_folder, trained, tmp_path):
    loaded = load_model(trained / "weights.safetensors", None, torch.device("cpu"))
    generate(Request(lr_folder, tmp_path / "SR", samples=1), loaded, torch.device("cpu"))
    pack(tmp_path / "SR", tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert sorted(archive.namelist()) == ["000000.png", "000001.png", "readme.txt"]


def test_interrupted_package_keeps_the_earlier_archive(samples, tmp_path, monkeypatch):
    out = tmp_path / "out.zip"
    before = sha256(pack(samples, out))
    whole = Member("000000_sample00000.png", Source("a", (samples / "000000_sample00000.png").read_bytes))
    for broken in (
        Member("absent.png", Source("b", (samples / "absent.png").read_bytes)),
        Member("changed.png", whole.source, sha256="0" * 64),
    ):
        with pytest.raises(NtireSrError, match=r"cannot write .*out\.zip|changed\.png was changed while"):
            write_archive(out, [whole, broken])
    assert sha256_file(out) == before
    assert sorted(path.name for path in tmp_path.glob("*.zip*")) == ["out-code.zip", "out.zip"]


def test_readme_has_four_lines_for_any_description():
    text = Readme(0.5, True, True, "two\nlines : and\ta colon").text()
    assert text.splitlines()[3] == "Other description : two lines : and a colon"
    assert len(text.splitlines()) == 4
