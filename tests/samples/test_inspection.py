"""The inspection of samples: names, files and sizes."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import sha256_bytes
from ntire_sr.samples.image_files import encode_png
from ntire_sr.samples.inspection import (
    AllowedSize,
    file_problems,
    inspect_files,
    inspect_sample,
    size_for_hr,
    size_for_lr,
)
from ntire_sr.samples.problems import Kind, Problem, name_problems, of_kind, order_problems
from ntire_sr.samples.sources import Source, file_source

IMAGES = [Path("0801.png"), Path("0802.png")]


def broken() -> bytes:
    raise NtireSrError("gone.png is gone")


def files_of(*names: SampleName) -> dict[SampleName, str]:
    return {name: str(name) for name in names}


def test_names_show_missing_and_unexpected_samples_in_one_line_each():
    samples = files_of(SampleName(0, 1), SampleName(0, 7), SampleName(0, 8), SampleName(2, 0))
    problems = name_problems(samples, ["notes.txt"], IMAGES, 4)
    assert [(problem.kind, problem.text, problem.count) for problem in problems] == [
        (Kind.WRONGLY_NAMED, "notes.txt is not the name of a sample", 1),
        (Kind.MISSING, "0801.png (index 0): 3 of 4 samples are missing: 0, 2 to 3", 3),
        (Kind.MISSING, "0802.png (index 1): 4 of 4 samples are missing: 0 to 3", 4),
        (Kind.UNEXPECTED, "1 sample without an image: 000002_sample00000.png", 1),
        (Kind.SURPLUS, "2 samples beyond 4 per image: 000000_sample00007.png, 000000_sample00008.png", 2),
    ]
    assert [problem.image for problem in of_kind(problems, Kind.MISSING)] == [0, 1]
    (nothing,) = name_problems({}, [], IMAGES, 4)
    assert (nothing.kind, nothing.text, nothing.count) == (Kind.MISSING, "there is no sample", 8)


def test_shifted_numbers_differ_from_missing_first_samples():
    shifted = files_of(*(SampleName(index, k) for index in (1, 2) for k in (2, 3)))
    problems = of_kind(name_problems(shifted, [], IMAGES, 2), Kind.WRONGLY_NUMBERED)
    assert [problem.text for problem in problems] == [
        "the lowest index is 1; the challenge counts from 0 (or from the HR images' 801 or 901)",
        "the lowest sample number is 2; the challenge counts from 0",
    ]
    last = files_of(SampleName(1, 1))
    assert not of_kind(name_problems(last, [], IMAGES, 2), Kind.WRONGLY_NUMBERED)


def test_image_out_of_order_is_reported_with_both_names():
    images = [SimpleNamespace(name="0802x4.png"), SimpleNamespace(name="0802x4.png")]
    (problem,) = order_problems(IMAGES, SimpleNamespace(images=images))
    assert (problem.kind, problem.image) == (Kind.OUT_OF_ORDER, 0)
    assert problem.text == "0801.png has index 0, but the samples of this index were drawn from 0802x4.png"


def test_inspection_reads_every_file_once_and_in_order(photograph):
    content, reads = encode_png(photograph), Counter()

    def source(name: str, content: bytes = content) -> Source:
        def read() -> bytes:
            reads[name] += 1
            return content

        return Source(name, read)

    groups = [
        (source(f"{i}"), [source(f"{i}.{k}", content[: len(content) - k]) for k in range(3)]) for i in range(9)
    ]
    for keep in (False, True):
        facts = list(inspect_files(groups, keep))
        assert [file.name for file in facts[:5]] == ["0", "0.0", "0.1", "0.2", "1"] and len(facts) == 36
        assert [bool(file.unreadable) for file in facts[:4]] == [False, False, True, True]
        assert facts[0].sha256 == facts[1].sha256 == sha256_bytes(content) != facts[2].sha256
        assert (facts[1].height, facts[1].width, facts[1].mode) == (96, 128, None)
        assert bool(facts[1].content) is keep and (facts[0].pixels is not None) is keep
    assert set(reads.values()) == {2}


def test_readable_file_reports_wrong_mode_and_size_together(photograph, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "grey.png"), photograph[:10, :10, 0])
    grey = inspect_sample(file_source(tmp_path / "grey.png", "grey.png"))
    name = SampleName(1, 2)
    mode = Problem(Kind.WRONG_MODE, "grey.png is 8-bit grey, not 8-bit RGB", name, image=1)
    size = "grey.png has 10 x 10 pixels, not 32 x 20, 4 times the 8 x 5 of a.png"
    assert file_problems(grey, size_for_lr("a.png", 5, 8, 4), name) == [
        mode,
        Problem(Kind.WRONG_SIZE, size, name, image=1),
    ]
    assert file_problems(grey, None, name) == [mode]


def test_an_unreadable_file_has_no_other_problem():
    gone = inspect_sample(Source("gone.png", broken))
    allowed = AllowedSize("8 x 8", (((8, 8), (8, 8)),))
    assert file_problems(gone, allowed) == [Problem(Kind.UNREADABLE, "gone.png is gone")]


@pytest.mark.parametrize(("height", "width", "allowed"), [
    (64, 80, True), (72, 84, True), (70, 83, True), (63, 80, False), (72, 85, False),
])  # fmt: skip
def test_sample_size_may_be_between_the_crop_and_lr_times_scale(height, width, allowed):
    assert size_for_hr("a.png", 70, 83, 4).allows(height, width) is allowed


@pytest.mark.parametrize(("height", "width", "allowed"), [(96, 128, True), (192, 256, True), (96, 256, False)])
def test_sample_size_without_scale_may_be_4_or_8_times_lr(height, width, allowed):
    assert size_for_lr("a.png", 24, 32).allows(height, width) is allowed


def test_too_large_and_missing_files_are_errors_that_name_them(tmp_path):
    (tmp_path / "a.png").write_bytes(bytes(11))
    assert file_source(tmp_path / "a.png", most_bytes=11).read() == bytes(11)
    with pytest.raises(NtireSrError, match=r"a\.png has 11 bytes, more than"):
        file_source(tmp_path / "a.png", most_bytes=10).read()
    with pytest.raises(NtireSrError, match=r"cannot read .*b\.png"):
        file_source(tmp_path / "b.png").read()
