"""Archives in parts, the fact sheet, and verifying what somebody else made."""

import json
import stat
import struct
import zipfile
from itertools import chain
from pathlib import Path

import pytest
import torch

from ntire_sr.challenge.editions import parse_size
from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import NtireSrError, UsageError, ValidationErrors
from ntire_sr.core.package_files import package_files
from ntire_sr.samples.image_files import read_image, write_png
from ntire_sr.samples.manifest import load_manifest
from ntire_sr.submission.archive import END_BYTES, ENTRY_BYTES, split_images
from ntire_sr.submission.factsheet import BLANK
from ntire_sr.submission.package import PackageRequest, pack
from ntire_sr.submission.readme import Readme, readme_problems
from ntire_sr.submission.verify import verify

CPU = torch.device("cpu")


@pytest.fixture
def packed(samples, tmp_path) -> Path:
    pack(PackageRequest(samples, tmp_path / "out.zip"))
    return tmp_path / "out.zip"


# ---- package


def test_split_keeps_images_together_and_parts_below_the_limit():
    sizes = {SampleName(i, k): 1000 for i in range(5) for k in range(3)}
    image = 3 * (1000 + ENTRY_BYTES)
    for most, expected in ((2 * image, [2, 2, 1]), (image, [1] * 5), (5 * image, [5])):
        parts = split_images(sizes, 0, most + END_BYTES)
        assert [len({name.index for name in part}) for part in parts] == expected
        assert sorted(chain.from_iterable(parts)) == sorted(sizes)
    with pytest.raises(UsageError, match="image 0 alone"):
        split_images(sizes, 0, image)


def test_too_large_archive_is_split_or_warns(samples, tmp_path):
    size = sum(path.stat().st_size for path in samples.glob("*.png"))
    whole = pack(PackageRequest(samples, tmp_path / "out.zip", max_size=size // 2))
    assert len(whole.warnings) == 1 and "--split" in whole.warnings[0]
    most = sum(path.stat().st_size for path in samples.glob("000000*.png")) + 4 * ENTRY_BYTES + 2 * END_BYTES
    parts = pack(PackageRequest(samples, tmp_path / "out.zip", max_size=most, split=True))
    assert [path.name for path, _ in parts.archives] == ["out-part1of2.zip", "out-part2of2.zip"]
    assert parts.warnings == ["an earlier call left out.zip"]
    for index, (path, _) in enumerate(parts.archives):
        assert path.stat().st_size <= most
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == ["readme.txt", *(str(SampleName(index, k)) for k in range(3))]
    assert (
        pack(PackageRequest(samples, tmp_path / "out.zip", split=True)).archives[0][0] == tmp_path / "out.zip"
    )


def test_sizes_are_texts_with_units():
    assert [parse_size(word) for word in ("5", "1.5MB", " 2 GiB ", "3kb")] == [5, 1_500_000, 2**31, 3000]
    for word in ("", "x", "-1", "0", "1TB", "1e9", "nan"):
        with pytest.raises(UsageError, match="--max-size"):
            parse_size(word)


def test_edition_requires_its_numbers_of_images_and_samples(samples, tmp_path):
    with pytest.raises(ValidationErrors) as caught:
        pack(PackageRequest(samples, tmp_path / "out.zip", edition="2021"))
    assert "asks for 100 images; there are 2" in str(caught.value)
    assert "asks for 10 samples per image, not 3" in str(caught.value)
    with pytest.raises(UsageError, match="unknown edition '2020'"):
        pack(PackageRequest(samples, tmp_path / "out.zip", edition="2020"))


def test_samples_of_mixed_settings_seeds_or_lr_images_are_refused(samples, lr_folder, tmp_path):
    content = json.loads((samples / "manifest.json").read_text())
    content["files"]["000000_sample00001.png"]["settings_sha256"] = "0" * 64
    content["files"]["000001_sample00000.png"]["seed"] += 1
    (samples / "manifest.json").write_text(json.dumps(content))
    lr = read_image(lr_folder / "0802.png").copy()
    lr[0, 0] ^= 1
    write_png(lr_folder / "0802.png", lr)
    with pytest.raises(ValidationErrors) as caught:
        pack(PackageRequest(samples, tmp_path / "out.zip"))
    for text in (
        "000000_sample00001.png: drawn with other settings", "000001_sample00000.png: its seed does not follow",
        "0802.png: not the LR image",
    ):  # fmt: skip
        assert text in str(caught.value)


def test_equal_pixels_in_different_files_are_duplicates(samples, tmp_path, lr_folder):
    import cv2

    (samples / "manifest.json").unlink()
    image = cv2.imread(str(samples / "000000_sample00000.png"))
    cv2.imwrite(str(samples / "000000_sample00002.png"), image, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    with pytest.raises(
        ValidationErrors, match=r"000000_sample00002\.png: the same image as 000000_sample00000\.png"
    ):
        pack(PackageRequest(samples, tmp_path / "out.zip", lr=lr_folder, samples=3, seconds=1, on_gpu=False))


def test_fact_sheet_is_filled_from_the_run_and_lists_blanks(samples, trained, tmp_path):
    team = tmp_path / "team.json"
    team.write_text(json.dumps({"team": "50% of_us & \\others", "leader": "A. Person"}))
    packed = pack(PackageRequest(samples, tmp_path / "out.zip", team=team, run=trained))
    assert "Affiliation" in packed.blanks and "Team name" not in packed.blanks
    assert not {"Parameters", "Steps", "Data", "Run time", "Seeds", "Platform"} & set(packed.blanks)
    with zipfile.ZipFile(packed.code[0]) as archive:
        names = archive.namelist()
        markdown, latex = (archive.read(f"factsheet.{kind}").decode() for kind in ("md", "tex"))
        assert "--seed 0" in archive.read("REPRODUCE.md").decode()
        assert archive.read("weights.safetensors") == (trained / "weights.safetensors").read_bytes()
        assert {"manifest.json", "config.json"} <= set(names)
        code = {name.removeprefix("code/") for name in names if name.startswith("code/")}
        assert code == {
            name
            for name, path in package_files()
            if path.suffix != ".safetensors" or name.startswith("ntire_sr/evaluation/")
        }
        assert not [name for name in names if "__pycache__" in name or ".git" in name]
    for title in ("Team", "Contribution", "Method", "Training", "Ensembles and fusion", "Other"):
        assert f"## {title}\n" in markdown and f"\\section{{{title}}}" in latex
    assert "2 steps of 2 crops of 32 px" in markdown
    assert markdown.count(BLANK) == latex.count(BLANK) == len(packed.blanks)
    assert "50\\% of\\_us \\& \\textbackslash{}others" in latex
    settings = load_manifest(samples).settings
    digest = settings.weights_sha256
    assert digest in markdown and r"\allowbreak{}".join(digest) in latex  # else it runs off the page
    assert f"gamma {settings.hyper_parameters['gamma']}, " in markdown
    for content, said in (
        ("[1]", "is not a JSON object"),
        ('{"tema": "x"}', "unknown key 'tema'"),
        ('{"team": 5}', "team is 5, not a text"),
        ("{", "not valid JSON"),
    ):
        team.write_text(content)
        with pytest.raises(NtireSrError, match=said):
            pack(PackageRequest(samples, tmp_path / "out.zip", team=team))


# ---- verify


def test_own_archive_and_folder_pass_and_samples_are_reproduced(packed, samples, lr_folder):
    result = verify([packed], lr_folder, manifest=samples, regenerate=4, seed=1)
    assert result.passes and result.notes == ["3 samples per image, where the challenge asks for 10"]
    assert (result.samples, result.images, result.scale, len(result.drawn_again)) == (6, 2, 4, 4)
    assert result.worst_db >= 50
    assert verify([samples], regenerate=2).passes
    assert verify([packed], lr_folder).samples == 6


def test_regenerate_detects_changed_samples_and_other_weights(packed, samples, lr_folder, tmp_path):
    manifest = load_manifest(samples)
    path = samples / "000000_sample00000.png"
    write_png(path, 255 - read_image(path))
    result = verify([samples], regenerate=6)
    assert "000000_sample00000.png: drawn again from the weights it is another image (by up to" in "".join(
        result.problems
    )
    assert len(result.drawn_again) == 5
    manifest.weights = "absent.safetensors"
    manifest.save(samples)
    with pytest.raises(UsageError, match="were not found"):
        verify([samples], regenerate=1)
    with pytest.raises(UsageError, match="did not draw these samples"):
        verify([samples], regenerate=1, weights="bicubic")
    with pytest.raises(UsageError, match="--regenerate needs a manifest"):
        verify([packed], lr_folder, regenerate=1)


def test_difference_of_one_grey_level_passes_with_a_note(samples):
    path = samples / "000000_sample00000.png"
    image = read_image(path).copy()
    image[0, 0, 0] ^= 1
    write_png(path, image)
    result = verify([samples], regenerate=6)
    assert len(result.drawn_again) == 6 and "differs by 1 grey level at most" in result.notes[1]


def rewritten(packed: Path, out: Path, change) -> Path:
    """The archive with members as `change(name, content)` wants them: none, one or several (entry, content)."""
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            for entry, content in change(name, old.read(name)):
                new.writestr(entry, content)
    return out


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return entry


def bomb(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def test_unsafe_members_are_listed_and_nothing_is_extracted(packed, lr_folder, tmp_path):
    hostile = {
        "/etc/passwd.png": "an absolute path", "C:\\a.png": "an absolute path", "../000009_sample00000.png": "leaves the folder",
        "a\\..\\b.png": "leaves the folder", "SR/000009_sample00000.png": "inside a folder", "folder/": "a folder;",
        "notes\x1b[2J.txt": "is not the name of a sample",
    }  # fmt: skip
    extra = [(name, b"") for name in hostile]
    extra += [(link("link.png"), b"/etc/passwd"), (bomb("bomb.png"), bytes(50_000_000))]

    def change(name, content):
        return [(name, content), *(extra if name == "readme.txt" else [])]

    out = rewritten(packed, tmp_path / "hostile.zip", change)
    before = sorted(tmp_path.rglob("*"))
    result = verify([out], lr_folder, samples=3)
    text = "\n".join(result.problems)
    for name, said in hostile.items():
        assert any(said in line for line in result.problems), (name, text)
    assert "link.png: a link" in text and "bomb.png: claims 50000000 bytes" in text
    assert "\x1b" not in text
    assert result.samples == 6  # the good ones are measured all the same
    assert sorted(tmp_path.rglob("*")) == before


def test_common_mistakes_in_archives_are_listed(packed, lr_folder, tmp_path):
    def inside_a_folder(name, content):
        return [(f"SR/{name}", content)]

    result = verify([rewritten(packed, tmp_path / "a.zip", inside_a_folder)], lr_folder, samples=3)
    assert result.samples == 0 and sum("inside a folder" in line for line in result.problems) == 7
    assert result.problems[-1] == "there is no sample" and result.worst_db is None

    def twice(name, content):
        return [(name, content)] * (2 if name == "000000_sample00000.png" else 1)

    with pytest.warns(UserWarning, match="Duplicate name"):
        out = rewritten(packed, tmp_path / "b.zip", twice)
    assert verify([out], lr_folder, samples=3).problems == ["000000_sample00000.png: is in the archive twice"]

    def half(name, content):
        return [(name, content[: len(content) // 2] if name == "000001_sample00002.png" else content)]

    result = verify([rewritten(packed, tmp_path / "c.zip", half)], lr_folder)
    assert len(result.problems) == 1 and "000001_sample00002.png is truncated" in result.problems[0]

    def without_readme(name, content):
        return [] if name == "readme.txt" else [(name, content)]

    result = verify([rewritten(packed, tmp_path / "d.zip", without_readme)], lr_folder)
    assert result.passes and "no readme.txt" in result.notes[0] and len(result.notes) == 2

    def other_order(name, content):
        return [(name.replace("000001", "000801").replace("000000", "000802"), content)]

    result = verify([rewritten(packed, tmp_path / "e.zip", other_order)], lr_folder)
    assert len(result.problems) == 6 and all("pixels, not 4 or 8 times the" in line for line in result.problems)


def test_damaged_archive_is_an_error_and_damaged_member_a_problem(packed, lr_folder, tmp_path):
    content = packed.read_bytes()
    for number, damaged in enumerate((content[:-50], b"no zip", b"")):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(damaged)
        with pytest.raises(NtireSrError, match=rf"{number}\.zip is not a readable zip"):
            verify([path], lr_folder)
    place = content.index(b"IDAT") + 100
    (tmp_path / "flipped.zip").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    result = verify([tmp_path / "flipped.zip"], lr_folder)
    assert len(result.problems) == 1 and "000000_sample00000.png is damaged (Bad CRC-32" in result.problems[0]
    with pytest.raises(UsageError, match="absent does not exist"):
        verify([tmp_path / "absent"], lr_folder)


def test_png_with_a_huge_claimed_size_uses_no_memory(lr_folder, tmp_path):
    import zlib

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    huge = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0))
    huge += chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("000000_sample00000.png", huge)
    result = verify([tmp_path / "a.zip"], lr_folder, samples=1)
    assert any("2147483647 x 2147483647 pixels" in line for line in result.problems)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (Readme(1.0, True, False, "ours").text(), None),
        ("Runtime per image [s]:2\nCPU[1]/GPU[0]:1\nExtra Data [1] / No Extra Data [0]: 0\nOther description: x", None),
        ("", "'runtime per image [s]' is missing"),
        (Readme(1.0, True, False, "").text().replace("1.00", "fast"), "no number of seconds"),
        (Readme(1.0, True, False, "").text().replace("1.00", "nan"), "no number of seconds"),
        (Readme(1.0, True, False, "").text().replace(": 0\n", ": GPU\n"), "neither 0 nor 1"),
        ("\xff\x00" * 50, "is missing"),
    ],
)  # fmt: skip
def test_readme_is_parsed_as_servers_do(text, said):
    problems = readme_problems(text.encode("latin-1"))
    assert (not problems) if said is None else any(said in line for line in problems)


def test_verify_prints_problems_and_exits_with_1(packed, samples, lr_folder, ntire_sr_command):
    result = ntire_sr_command("verify", packed, "--lr", lr_folder, "--manifest", samples, "--regenerate", 2)
    assert result.code == 0 and result.out.endswith("PASS\n"), result.err
    assert "2 drawn again and found the same (chosen with --seed" in result.out
    (samples / "000000_sample00001.png").unlink()
    result = ntire_sr_command("verify", samples, "--json")
    assert result.code == 1 and json.loads(result.out)["problems"] == [
        "0801.png (index 0): 1 of 3 samples are missing: 1"
    ]


def test_member_is_not_read_beyond_its_claimed_size(packed, lr_folder, tmp_path):
    content = bytearray(packed.read_bytes())
    with zipfile.ZipFile(packed) as archive:
        entry = archive.getinfo("000000_sample00000.png")
    size = struct.pack("<I", entry.file_size)
    directory = content.rindex(b"000000_sample00000.png") - 46
    at = content.index(size, directory)
    content[at : at + 4] = struct.pack("<I", entry.file_size - 10)
    (tmp_path / "short.zip").write_bytes(bytes(content))
    result = verify([tmp_path / "short.zip"], lr_folder)
    assert not result.passes and "000000_sample00000.png" in result.problems[0]
