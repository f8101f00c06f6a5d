"""`ntire-sr compare`, called as from a shell: page, JSON and usage errors."""

import json

import numpy as np
import pytest
from scores import write_images, write_method

from ntire_sr.challenge.names import SampleName
from ntire_sr.samples.image_files import write_png


@pytest.fixture
def scored(tmp_path, monkeypatch, photograph, ntire_sr_command):
    """Two scores without LPIPS, of samples that differ from HR by 2 and by 4 grey levels in one place."""
    monkeypatch.chdir(tmp_path)
    for index in range(2):
        image = np.ascontiguousarray(photograph[: 96 - 8 * index])
        write_png(tmp_path / "HR" / f"{801 + index:04d}.png", image)
        for name, strength in (("near", 2), ("far", 4)):
            for k in range(2):
                sample = image.copy()
                sample[8 + 16 * k : 24 + 16 * k, 8:40] ^= strength
                write_png(tmp_path / name / str(SampleName(index, k)), sample)
    for name in ("near", "far"):
        words = (
            "--hr",
            "HR",
            "--sr",
            name,
            "--samples",
            2,
            "--out",
            f"{name}_score",
            "--without-lpips",
            "--no-report",
        )
        assert ntire_sr_command("score", *words).code == 0
    return tmp_path


def test_compare_writes_page_and_json(scored, ntire_sr_command):
    result = ntire_sr_command("compare", "near=near_score", "far=far_score", "--out", "out", "--published")
    assert result.code == 0, result.err
    assert "2 methods, 2 images, scale 4" in result.out and "Deepest (NCSR)" in result.out
    assert result.out.rstrip().endswith("page: out/compare.html")
    page = (scored / "out" / "compare.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 2 * 2 * (
        2 + 4
    )  # whole and detail of HR, LR and both methods' samples
    written = json.loads((scored / "out" / "compare.json").read_text())
    pair = next(pair for pair in written["pairs"] if pair["figure"] == "MSE_mean")
    assert pair["difference"] < 0 and (pair["a_favoured"], pair["b_favoured"], pair["favours"]) == (
        2,
        0,
        "near",
    )
    printed = ntire_sr_command("compare", "near=near_score", "far=far_score", "--json")
    assert json.loads(printed.out) == written


def test_compare_without_out_writes_nothing(scored, ntire_sr_command):
    before = sorted(scored.rglob("*"))
    result = ntire_sr_command("compare", "near=near_score", "far=far_score")
    assert result.code == 0 and "add --out FOLDER" in result.out
    assert sorted(scored.rglob("*")) == before


def test_compare_sr_option_assigns_folders_by_method_name(scored, ntire_sr_command):
    (scored / "far").rename(scored / "elsewhere")
    words = ("compare", "near=near_score", "far=far_score", "--out", "out", "--pictures", 1)
    assert ntire_sr_command(*words).code == 0
    assert "No pictures of far" in (scored / "out" / "compare.html").read_text(encoding="utf-8")
    assert ntire_sr_command(*words, "--sr", "far=elsewhere", "--hr", "HR").code == 0
    page = (scored / "out" / "compare.html").read_text(encoding="utf-8")
    assert "No pictures" not in page and page.count("data:image/jpeg") == 2 * (2 + 4)
    result = ntire_sr_command(*words, "--sr", "far=near")
    assert result.code == 1 and "holds other samples than were scored" in result.err


def test_compare_usage_errors_are_one_clear_message(tmp_path, monkeypatch, ntire_sr_command):
    monkeypatch.chdir(tmp_path)
    hr = write_images(tmp_path / "HR", ["0801.png"])
    for name in ("a", "b"):
        write_method(tmp_path / name, hr, {"0801.png": [0.1]})
    for words, code, part in (
        ((), 2, "Missing argument 'NAME=FOLDER...'"),
        (("a",), 2, "'a' is not NAME=FOLDER, such as mine=a"),
        (("=a", "b=b"), 2, "is not NAME=FOLDER"),
        (("a=a",), 1, "two scores or more"),
        (("a=a", "b=nowhere"), 1, "b: the folder nowhere does not exist"),
        (("a=a", "b=b", "--sr", "a=a_samples"), 2, "give --out FOLDER"),
        (("a=a", "b=b", "--out", "o", "--sr", "x=a_samples"), 2, "no such method is compared"),
        (("a=a", "b=b", "--out", "o", "--sr", "a=a_samples", "--sr", "a=b_samples"), 2, "names a method twice"),
        (("a=a", "b=b", "--out", "HR/0801.png"), 2, "HR/0801.png"),
    ):  # fmt: skip
        result = ntire_sr_command("compare", *words)
        assert (result.code, "Traceback" in result.err) == (code, False), (words, result.err)
        assert part in result.err, (words, result.err)
    assert not (tmp_path / "o").exists()
