"""Making a study from folders of samples."""

import hashlib
import json
import shutil

import cv2
import numpy as np
import pytest
from studying import CHECKS, PLACES, SIZE

from ntire_sr.challenge.downscale import downscale_8bit
from ntire_sr.challenge.pixels import to_array, to_tensor
from ntire_sr.core.errors import NtireSrError, UsageError, ValidationErrors
from ntire_sr.samples.image_files import read_png
from ntire_sr.study.folder import BICUBIC, HR, StudyFolder, check_pictures, load_study
from ntire_sr.study.make import make_study


def make(inputs, out, **changes):
    options = {"places": PLACES, "size": SIZE, "check": CHECKS, "texture": 0, "lr": True, **changes}
    return make_study(options.pop("hr", inputs.hr), options.pop("sr", inputs.sr), out, **options)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pictures_are_windows_of_images_and_samples(study, study_folder, inputs):
    folders = dict(inputs.sr)
    sizes = {place.kind: len(study.of_kind(place.kind)) for place in study.places}
    assert sizes == {"place": PLACES, "check": CHECKS, "practice": 2}
    for place in study.places:
        window = np.s_[place.top : place.top + SIZE, place.left : place.left + SIZE]
        pictures = {name: read_png(study_folder.picture(digest)) for name, digest in place.candidates.items()}
        image = read_png(inputs.hr / place.image)
        assert (pictures[HR] == image[window]).all()
        lr = to_array(downscale_8bit(to_tensor(image), 4))
        part = lr[place.top // 4 : (place.top + SIZE) // 4, place.left // 4 : (place.left + SIZE) // 4]
        assert (read_png(study_folder.picture(place.lr)) == part).all()
        if place.kind == "place":
            index = int(place.image[:4]) - 801
            for name, folder in folders.items():
                samples = [read_png(folder / f"{index:06d}_sample{k:05d}.png")[window] for k in range(2)]
                assert any((pictures[name] == sample).all() for sample in samples)
        else:
            enlarged = cv2.resize(lr, (128, 96), interpolation=cv2.INTER_CUBIC)
            difference = np.abs(pictures[BICUBIC].astype(int) - enlarged[window])
            assert difference[8:-8, 8:-8].max() <= 2


def test_places_do_not_overlap_and_all_samples_are_used(study, study_folder, inputs):
    places = list(study.places)
    for number, place in enumerate(places):
        for earlier in places[:number]:
            apart = abs(place.top - earlier.top) >= SIZE or abs(place.left - earlier.left) >= SIZE
            assert apart or place.image != earlier.image
    drawn = set()
    for place in study.of_kind("place"):
        window = np.s_[place.top : place.top + SIZE, place.left : place.left + SIZE]
        picture = read_png(study_folder.picture(place.candidates["sharp"]))
        index = int(place.image[:4]) - 801
        for k in range(2):
            if (read_png(inputs.sr[0][1] / f"{index:06d}_sample{k:05d}.png")[window] == picture).all():
                drawn.add(k)
    assert drawn == {0, 1}


def test_file_names_do_not_tell_the_method(study, study_folder):
    names = {path.name for path in study_folder.images.iterdir()}
    assert names == {f"{digest}.png" for digest in study.pictures}
    check_pictures(study_folder, study)


def test_same_input_gives_same_bytes_and_another_seed_does_not(first_study, inputs, tmp_path):
    made = make(inputs, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(first_study) and made.is_new
    assert not make(inputs, tmp_path / "again").is_new
    with_another_seed = make(inputs, tmp_path / "other", seed=1)
    assert with_another_seed.study.places != made.study.places


def test_interrupted_make_is_completed_by_same_call(first_study, inputs, tmp_path):
    out = shutil.copytree(first_study, tmp_path / "study")
    (out / "study.json").unlink()
    next(iter((out / "images").iterdir())).unlink()
    (out / "images" / f"{'0' * 64}.png").write_bytes(b"of other settings")
    make(inputs, out)
    assert contents(out) == contents(first_study)


def test_folder_with_another_study_or_files_is_not_changed(first_study, inputs, tmp_path):
    out = shutil.copytree(first_study, tmp_path / "study")
    with pytest.raises(UsageError, match="holds another study \\(seed: 0 there, 3 asked for\\)"):
        make(inputs, out, seed=3)
    assert contents(out) == contents(first_study)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    with pytest.raises(UsageError, match=r"holds other files \(thesis\.txt\)"):
        make(inputs, tmp_path / "mine")


def test_problems_of_all_methods_are_listed_at_once(inputs, tmp_path):
    broken = shutil.copytree(inputs.sr[0][1], tmp_path / "broken")
    (broken / "000000_sample00000.png").write_bytes(b"no picture")
    (broken / "notes.txt").write_text("")
    short = tmp_path / "short"
    short.mkdir()
    shutil.copy(inputs.sr[1][1] / "000000_sample00000.png", short)
    with pytest.raises(ValidationErrors) as caught:
        make(inputs, tmp_path / "out", sr=[("a", broken), ("b", short), ("c", tmp_path / "absent")])
    text = str(caught.value)
    for part in (
        "a: notes.txt is not the name of a sample",
        "000000_sample00000.png is not a PNG file",
        "b: 0802.png (index 1) has no sample",
        "c: the SR folder",
    ):
        assert part in text
    assert not (tmp_path / "out").exists()


def test_repeated_empty_and_reserved_names_are_refused(inputs, tmp_path):
    folder = inputs.sr[0][1]
    with pytest.raises(ValidationErrors) as caught:
        make(
            inputs,
            tmp_path / "out",
            sr=[("a", folder), ("a", folder), (" ", folder), ("hr", folder), ("b\n", folder)],
        )
    text = str(caught.value)
    for part in (
        "the name a is given 2 times",
        "' ' is no name",
        "the name hr means the HR images",
        r"'b\n' is no name",
    ):
        assert part in text
    with pytest.raises(ValidationErrors, match="9 methods, and a study has 1 to 8"):
        make(inputs, tmp_path / "out", sr=[(f"m{number}", folder) for number in range(9)])


def test_methods_with_the_same_picture_are_refused(inputs, tmp_path):
    with pytest.raises(ValidationErrors, match=r"one and two show the same picture of 080[12]\.png"):
        make(inputs, tmp_path / "out", sr=[("one", inputs.sr[0][1]), ("two", inputs.sr[0][1])], seed=5)


def test_too_few_places_and_wrong_size_are_refused_with_a_remedy(inputs, tmp_path):
    with pytest.raises(
        UsageError,
        match=r"has room for 24 places of 32 pixels .* and 36 are needed(.|\n)*try: --size 32 --places 20 --check 2, or more",
    ):
        make(inputs, tmp_path / "out", places=30, check=4)
    with pytest.raises(UsageError, match="size 30 is not a multiple of scale 4\n  try: --size 28"):
        make(inputs, tmp_path / "out", size=30)
    with pytest.raises(UsageError, match="24 without regard to texture"):
        make(inputs, tmp_path / "out", texture=200)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "another version"),
        ({"places": [{}]}, r"is damaged: .*missing required field `id` - at `\$\.places\[0\]`"),
        ({"surprise": 1}, r"is damaged: .*unknown field `surprise`"),
        ({"seed": "0"}, r"is damaged: Expected `int`, got `str` - at `\$\.seed`"),
        ({"mode": "all"}, r"is damaged: Invalid enum value 'all' - at `\$\.mode`"),
    ],
)
def test_damaged_study_is_refused_with_the_path_of_the_field(study_folder, change, message):
    content = json.loads(study_folder.study.read_text())
    study_folder.study.write_text(json.dumps({**content, **change}))
    with pytest.raises(NtireSrError, match=message):
        load_study(study_folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "../x"}, r"matching regex .* at `\$\.places\[0\]\.id`"),
        ({"id": "0" * 12 + "\n"}, r"matching regex .* at `\$\.places\[0\]\.id`"),
        (
            {"candidates": {"HR": "../../etc/passwd"}},
            r"matching regex .* at `\$\.places\[0\]\.candidates\[\.\.\.\]`",
        ),
        ({"lr": "a/b"}, r"matching regex .* at `\$\.places\[0\]\.lr`"),
        ({"candidates": {"HR": "0" * 64}}, "does not show all methods and HR"),
        ({"top": 1.5}, r"Expected `int`, got `float` - at `\$\.places\[0\]\.top`"),
    ],
)
def test_place_with_a_wrong_field_is_refused(study_folder, change, message):
    content = json.loads(study_folder.study.read_text())
    place = next(place for place in content["places"] if place["kind"] == "place")
    study_folder.study.write_text(json.dumps({**content, "places": [{**place, **change}]}))
    with pytest.raises(NtireSrError, match=f"is damaged: .*{message}"):
        load_study(study_folder)


def test_study_of_earlier_versions_is_read_and_keeps_its_digest(tmp_path):
    """`study.json` as it was written before its records were typed; answers belong to its digest."""
    text = """{
 "format": 1, "seed": 0, "scale": 4, "size": 32, "texture": 0, "spread": true, "mode": "either",
 "hr_sha256": "ab", "methods": [{"name": "mine", "samples_sha256": "cd", "samples": 2}],
 "places": [{"id": "0123456789ab", "kind": "place", "image": "0801.png", "top": 4, "left": 8,
  "candidates": {"mine": "DIGEST_1", "HR": "DIGEST_2"}, "lr": null}]
}"""
    text = text.replace("DIGEST_1", "1" * 64).replace("DIGEST_2", "2" * 64)
    folder = StudyFolder(tmp_path)
    folder.study.write_text(text)
    study, digest = load_study(folder)
    assert digest == hashlib.sha256(text.encode()).hexdigest()
    assert study.names == ["mine", "HR"] and study.pictures == {"1" * 64, "2" * 64}
    assert json.loads(json.dumps(study.as_json())) == json.loads(text)


def test_all_missing_and_changed_pictures_are_named(study, study_folder):
    missing, changed = sorted(study.pictures)[:2]
    study_folder.picture(missing).unlink()
    study_folder.picture(changed).write_bytes(b"changed")
    with pytest.raises(ValidationErrors) as caught:
        check_pictures(study_folder, study)
    assert f"{missing}.png is missing" in str(caught.value) and f"{changed}.png is damaged" in str(caught.value)
