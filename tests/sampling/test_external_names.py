"""Which sample a file of another program is, by its name."""

from pathlib import Path

import pytest

from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import UsageError
from ntire_sr.sampling.external_names import NameMatch, match_names, parse_pattern, suggested_pattern

LR = [Path("0801.png"), Path("0802.png")]


def matched(files: list[str], pattern: str | None = None, lr: list[Path] = LR) -> dict[str, SampleName]:
    match = match_names(files, lr, parse_pattern(pattern) if pattern else None)
    assert match.problems == []
    return {file: name for name, file in match.files.items()}


def texts(match: NameMatch) -> list[str]:
    return [problem.text for problem in match.problems]


def test_names_of_lr_images_match_with_any_suffix_and_scale():
    names = {"0801.jpg": SampleName(0, 0), "0802x4.png": SampleName(1, 0)}
    assert matched(list(names)) == names
    assert matched(list(names), lr=[Path("0801x4.png"), Path("0802x4.png")]) == names
    words = {"baboonx4.png": SampleName(0, 0), "matrix4.png": SampleName(1, 0)}
    assert matched(list(words), lr=[Path("baboon.png"), Path("matrix4.png")]) == words


@pytest.mark.parametrize("first", [0, 801, 901])
def test_the_challenges_names_match_by_index(first):
    names = [f"{first + index:06d}_sample{k:05d}.png" for index in (0, 1) for k in (0, 1)]
    assert list(matched(names).values()) == [SampleName(i, k) for i in (0, 1) for k in (0, 1)]
    assert matched(["000000.png", "000001.webp"])["000001.webp"] == SampleName(1, 0)


def test_name_of_an_lr_image_has_priority_over_an_index():
    lr = [Path("000001.png"), Path("000002.png")]
    assert matched(["000001.png", "000002.png"], lr=lr)["000001.png"] == SampleName(0, 0)
    assert matched(["000000.png", "000001.png"], lr=lr)["000001.png"] == SampleName(1, 0)


def test_pattern_matches_stem_and_sample_from_any_first_number():
    files = [f"{stem}x4_try{k}_out.png" for stem in ("0801", "0802") for k in (7, 8)]
    names = matched(files, "{stem}_try{sample}_out")
    assert list(names.values()) == [SampleName(i, k) for i in (0, 1) for k in (0, 1)]
    assert matched(["0/0801.png", "0/0802.png", "1/0801.png", "1/0802.png"], "{sample}/{stem}.png")
    assert matched(["a_1_2.png"], "{stem}_{sample}", [Path("a_1.png")]) == {"a_1_2.png": SampleName(0, 0)}
    names = match_names(["0801_rlt.jpg", "0802_rlt.png"], LR, parse_pattern("{stem}_rlt.png"))
    assert texts(names) == [
        "1 sample without an image: 0801_rlt.jpg",
        "0801.png (index 0): 1 of 1 samples are missing: 0",
    ]


def test_all_problems_of_names_are_found_at_once():
    files = ["0801_0.png", "0801_00.png", "0801_1.jpg", "0801_4.png", "0802_0.png", "0803_0.png", "x.png"]
    files.append("0802_20210304.png")
    match = match_names(files, LR, parse_pattern("{stem}_{sample}"))
    assert texts(match) == [
        "2 samples without an image: 0803_0.png, x.png",
        "0802_20210304.png: its sample number is too high",
        "0801_0.png and 0801_00.png: the same sample of 0801.png",
        "0801.png (index 0): 2 of 5 samples are missing: 2 to 3",
        "0802.png (index 1): 4 of 5 samples are missing: 1 to 4",
    ]
    match = match_names(["000000.png", "000002.png", "000000_sample00000.png"], LR, None)
    assert texts(match) == [
        "1 sample without an image: 000002.png",
        "000000.png and 000000_sample00000.png: the same sample of 0801.png",
        "0802.png (index 1): 1 of 1 samples are missing: 0",
    ]


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("out", "has {stem} 0 times"),
        ("{stem}{stem}", "has {stem} 2 times"),
        ("{sample}_{sample}_{stem}", "has {sample} 2 times"),
        ("{index}_{stem}", "unknown field {index}"),
        ("{stem}_{sample:05d}", "unknown field {sample:05d}"),
        ("{stem}{sample}", "does not tell where the number begins"),
        ("{stem}0{sample}", "does not tell where the number begins"),
        ("../{stem}", "leaves the folder"),
        ("/tmp/{stem}", "leaves the folder"),
    ],
)
def test_invalid_pattern_is_an_error_with_the_reason(pattern, says):
    with pytest.raises(UsageError) as caught:
        parse_pattern(pattern)
    assert says in str(caught.value) and "--names '{stem}_{sample}'" in str(caught.value)


def test_pattern_is_suggested_if_it_fits_all_files():
    assert suggested_pattern(["0801x4_SwinIR.png", "0802x4_SwinIR.png"], LR) == "{stem}_SwinIR"
    files = [f"sr_{stem}_{k}.png" for stem in ("0801", "0802") for k in (1, 2)]
    assert suggested_pattern(files, LR) == "sr_{stem}_{sample}"
    for hopeless in (["a.png", "b.png"], ["0801_a.png", "0802_b.png"], ["{0801}_a.png"], []):
        assert suggested_pattern(hopeless, LR) is None
