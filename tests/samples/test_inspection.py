"""What is wrong with samples, as facts and kinds of problems."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import sha256_bytes
from ntire_sr.samples.image_files import encode_png
from ntire_sr.samples.inspection import (
    Kind,
    Problem,
    SizeRange,
    file_problems,
    inspect_files,
    inspect_names,
    inspect_sample,
    of_kind,
)
from ntire_sr.samples.sources import Source, file_source

IMAGES = [Path("0801.png"), Path("0802.png")]


def broken() -> bytes:
    raise NtireSrError("gone.png is gone")


def test_names_tell_what_is_missing_in_runs_and_what_nobody_asked_for():
    names = [SampleName(0, 1), SampleName(0, 7), SampleName(2, 0)]
    problems = inspect_names(names, ["notes.txt"], IMAGES, 4)
    assert [(problem.kind, problem.subject, problem.count) for problem in problems] == [
        (Kind.WRONGLY_NAMED, "notes.txt", 1),
        (Kind.MISSING, "0801.png", 3),
        (Kind.MISSING, "0802.png", 4),
        (Kind.UNEXPECTED, "000000_sample00007.png", 1),
        (Kind.UNEXPECTED, "000002_sample00000.png", 1),
    ]
    assert [problem.numbers for problem in of_kind(problems, Kind.MISSING)] == [
        (range(0, 1), range(2, 4)),
        (range(0, 4),),
    ]
    moved = inspect_names([SampleName(name.index + 1, name.sample + 2) for name in names], [], IMAGES, 4)
    assert [(problem.subject, problem.found) for problem in of_kind(moved, Kind.WRONGLY_NUMBERED)] == [
        ("index", "1"),
        ("sample number", "2"),
    ]


def test_every_file_is_read_once_and_its_facts_come_in_order(photograph):
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
        assert [each.name for each in facts[:5]] == ["0", "0.0", "0.1", "0.2", "1"] and len(facts) == 36
        assert [bool(each.unreadable) for each in facts[:4]] == [False, False, True, True]
        assert facts[0].sha256 == facts[1].sha256 == sha256_bytes(content) != facts[2].sha256
        assert (facts[1].height, facts[1].width, facts[1].mode) == (96, 128, None)
        assert bool(facts[1].content) is keep and (facts[0].pixels is not None) is keep
    assert set(reads.values()) == {2}


def test_a_file_may_have_several_problems_and_one_that_cannot_be_read_has_no_other(photograph, tmp_path):
    import cv2

    sizes = [SizeRange((8, 8), (8, 8)), SizeRange((80, 120), (96, 128))]
    cv2.imwrite(str(tmp_path / "grey.png"), photograph[:10, :10, 0])
    grey = inspect_sample(file_source(tmp_path / "grey.png", "grey.png"))
    assert file_problems(grey, sizes) == [
        Problem(Kind.WRONG_MODE, "grey.png", "8-bit grey"),
        Problem(Kind.WRONG_SIZE, "grey.png", "10 x 10"),
    ]
    assert file_problems(grey, None) == [Problem(Kind.WRONG_MODE, "grey.png", "8-bit grey")]
    gone = inspect_sample(Source("gone.png", broken))
    assert file_problems(gone, sizes) == [Problem(Kind.UNREADABLE, "gone.png", "gone.png is gone")]
    for height, width, fits in ((8, 8, True), (88, 124, True), (8, 9, False), (97, 128, False)):
        made = encode_png(np.zeros((height, width, 3), np.uint8))
        facts = inspect_sample(Source("a.png", lambda made=made: made))
        assert (file_problems(facts, sizes) == []) is fits


def test_a_file_that_is_larger_than_it_may_be_or_absent_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(bytes(11))
    assert file_source(tmp_path / "a.png", most_bytes=11).read() == bytes(11)
    with pytest.raises(NtireSrError, match=r"a\.png has 11 bytes, more than"):
        file_source(tmp_path / "a.png", most_bytes=10).read()
    with pytest.raises(NtireSrError, match=r"cannot read .*b\.png"):
        file_source(tmp_path / "b.png").read()
