"""Which samples belong to which image, and everything that is wrong, at once."""

import numpy as np
import pandas as pd
import pytest

from ntire_sr.core.errors import ValidationErrors
from ntire_sr.evaluation.metrics.lr_psnr import LrValues
from ntire_sr.evaluation.score_folder import score_folder
from ntire_sr.evaluation.scoring.matching import match_samples
from ntire_sr.samples.image_files import write_png


def problems_of(folders, **options) -> ValidationErrors:
    with pytest.raises(ValidationErrors) as caught:
        match_samples(folders.hr, folders.sr, 3, 4, **options)
    return caught.value


def test_all_problems_of_a_folder_are_listed_at_once_with_their_counts(folders, photograph):
    (folders.sr / "000000_sample00001.png").unlink()
    write_png(folders.sr / "000001_sample00000.png", np.ascontiguousarray(photograph[:40, :40]))
    (folders.sr / "000001_sample00001.png").write_bytes(b"no image")
    whole = (folders.sr / "000001_sample00002.png").read_bytes()
    (folders.sr / "000001_sample00002.png").write_bytes(whole[:-200])
    write_png(folders.sr / "000007_sample00000.png", photograph)
    write_png(folders.sr / "stranger.png", photograph)
    error = problems_of(folders)
    text = str(error)
    assert len(error.problems) == 6
    for part in (
        "(1 missing, 1 wrongly named, 1 unexpected, 1 of a wrong size, 2 unreadable)",
        "stranger.png is not the name of a sample",
        "0801.png (index 0): 1 of 3 samples are missing: 1",
        "1 sample without an image: 000007_sample00000.png",
        "000001_sample00000.png has 40 x 40 pixels, not 80 x 64 to 84 x 72 for the 83 x 70 of 0802.png",
        "000001_sample00001.png is not a PNG file",
        "000001_sample00002.png is truncated or damaged",
        "--skip-missing",
    ):
        assert part in text


def test_flipped_bit_of_a_sample_is_found_before_measuring(folders):
    path = folders.sr / "000000_sample00001.png"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    assert "000000_sample00001.png is truncated or damaged" in str(problems_of(folders))


def test_a_grey_sample_and_a_damaged_hr_image_are_named(folders, photograph):
    import cv2

    cv2.imwrite(str(folders.sr / "000000_sample00001.png"), photograph[..., 0])
    (folders.hr / "0802.png").write_bytes((folders.hr / "0802.png").read_bytes()[:-100])
    text = str(problems_of(folders))
    assert "000000_sample00001.png is 8-bit grey, not 8-bit RGB" in text
    assert "0802.png is truncated or damaged" in text


def test_samples_numbered_from_1_are_recognised_as_wrongly_numbered(folders):
    for path in sorted(folders.sr.iterdir(), reverse=True):
        index = int(path.name[:6])
        path.rename(path.with_name(f"{index + 1:06d}{path.name[6:]}"))
    text = str(problems_of(folders))
    assert "1 wrongly numbered" in text
    assert "the lowest index is 1; the challenge counts from 0 (or from the HR images' 801 or 901)" in text


def test_sample_numbers_from_1_are_told_from_missing_first_samples(folders):
    for path in sorted(folders.sr.iterdir(), reverse=True):
        path.rename(path.with_name(f"{path.name[:13]}{int(path.name[13:18]) + 1:05d}.png"))
    assert "the lowest sample number is 1; the challenge counts from 0" in str(problems_of(folders))
    assert "the lowest sample number is 1" in str(problems_of(folders, skip_missing=True))
    for path in folders.sr.glob("*_sample00003.png"):
        path.unlink()
    assert [pair.numbers for pair in match_samples(folders.hr, folders.sr, 3, 4, skip_missing=True).images] == [
        (1, 2),
        (1, 2),
    ]


def test_an_hr_image_too_small_for_lpips_is_named(folders, photograph):
    write_png(folders.hr / "0801.png", np.ascontiguousarray(photograph[:30, :30]))
    assert "31 are needed" in str(problems_of(folders))


def test_first_samples_are_used_if_there_are_more(folders):
    pairs = match_samples(folders.hr, folders.sr, 2, 4)
    assert [pair.numbers for pair in pairs.images] == [(0, 1), (0, 1)]


def test_skip_missing_notes_missing_samples_in_every_output(folders, tmp_path, ntire_sr_command):
    (folders.sr / "000001_sample00001.png").unlink()
    words = (
        "--hr",
        folders.hr,
        "--sr",
        folders.sr,
        "--out",
        tmp_path / "out",
        "--samples",
        3,
        "--without-lpips",
    )
    refused = ntire_sr_command("score", *words)
    assert refused.code == 1 and "--skip-missing" in refused.err
    result = ntire_sr_command("score", *words, "--skip-missing")
    assert result.code == 0
    sentence = "INCOMPLETE: 1 of 6 samples are missing"
    assert sentence in result.out
    assert sentence in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for name in ("measure", "measure_full"):
        assert list(pd.read_csv(tmp_path / "out" / f"{name}.csv", index_col=0)["samples"]) == [3, 2]
        means = pd.read_csv(tmp_path / "out" / f"{name}_mean.csv", index_col=0)["0"]
        assert means["samples_missing"] == 1 and "samples" not in means
    as_json = ntire_sr_command("score", *words, "--skip-missing", "--json")
    assert '"complete": false' in as_json.out and "0802.png (index 1): 1 of 3 samples" in as_json.out


def test_skip_missing_keeps_figures_of_other_images_and_counts_samples(folders, tmp_path):
    options = {"samples": 3, "device": "cpu", "without_lpips": "away"}
    whole = score_folder(folders.hr, folders.sr, tmp_path / "whole", **options).score
    (folders.sr / "000001_sample00001.png").unlink()
    part = score_folder(folders.hr, folders.sr, tmp_path / "part", skip_missing=True, **options).score
    assert part.images[0] == whole.images[0]
    assert part.images[1].numbers == [0, 2]
    assert part.images[1].of(LrValues).lr_errors == whole.images[1].of(LrValues).lr_errors[::2]
    for k in (0, 2):
        (folders.sr / f"000001_sample0000{k}.png").unlink()
    without = score_folder(folders.hr, folders.sr, tmp_path / "without", skip_missing=True, **options).score
    assert [image.name for image in without.images] == ["0801.png"]
    assert (without.missing_images, without.missing_samples) == (1, 3)
    for k in range(3):
        (folders.sr / f"000001_sample0000{k}.png").write_bytes(
            (folders.sr / f"000000_sample0000{k}.png").read_bytes()
        )
        (folders.sr / f"000000_sample0000{k}.png").unlink()
    (folders.hr / "0802.png").write_bytes((folders.hr / "0801.png").read_bytes())
    score_folder(folders.hr, folders.sr, tmp_path / "second", skip_missing=True, **options)
    # rows keep the index of their image
    assert list(pd.read_csv(tmp_path / "second" / "measure.csv", index_col=0).index) == [1]


def test_no_samples_at_all_is_an_error_with_skip_missing_too(folders):
    for path in folders.sr.iterdir():
        path.unlink()
    assert "6 missing" in str(problems_of(folders, skip_missing=True))
