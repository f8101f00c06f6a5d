"""Comparing scores: figures and pairs by hand, what is said, and what is refused."""

import json
import math
import shutil

import msgspec
import numpy as np
import pytest
from fuzzing import with_odd_leaf
from scores import edit_score, write_images, write_method

from ntire_sr.core.errors import NtireSrError, UsageError, ValidationErrors
from ntire_sr.core.files import json_safe, sha256_file
from ntire_sr.core.pretrained import ALEXNET
from ntire_sr.evaluation.metrics.declarations import Figure, Values
from ntire_sr.evaluation.pages.comparison_page import comparison_page
from ntire_sr.evaluation.pages.gallery import most_different, picture_comparison
from ntire_sr.evaluation.pages.page import render
from ntire_sr.evaluation.scoring.columns import MethodColumn
from ntire_sr.evaluation.scoring.comparison import compare
from ntire_sr.evaluation.scoring.load_scores import read_methods
from ntire_sr.evaluation.scoring.opinion import MethodOpinion, Opinions
from ntire_sr.evaluation.scoring.study_ranks import ranked_comparison, with_opinions
from ntire_sr.samples.image_files import write_png

NAMES = ["0801.png", "0802.png", "0803.png"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """HR images, and two methods of two samples each, a with lower LPIPS in two of three images."""
    home = tmp_path_factory.mktemp("made")
    hr = write_images(home / "HR", NAMES)
    write_method(
        home / "a",
        hr,
        {"0801.png": [0.2, 0.4], "0802.png": [0.3, 0.3], "0803.png": [0.5, 0.3]},
        {"0801.png": [0.2, 0.1], "0802.png": [0.3, 0.3], "0803.png": [0.5, 0.24]},
    )
    write_method(
        home / "b",
        hr,
        {"0801.png": [0.5, 0.5], "0802.png": [0.4, 0.4], "0803.png": [0.4, 0.4]},
        {"0801.png": [0.5, 0.375], "0802.png": [0.4, 0.3], "0803.png": [0.4, 0.3]},
        colour=(200, 30, 30),
        lr_error=1.0,
    )
    return home


@pytest.fixture
def two(made, tmp_path):
    """Copies of both, which a test may change; what they are relative to was copied with them."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return [("a", tmp_path / "a"), ("b", tmp_path / "b")]


@pytest.fixture
def hr(tmp_path):
    return write_images(tmp_path / "HR", NAMES)


def refusal(named) -> str:
    with pytest.raises(ValidationErrors) as refused:
        read_methods(named)
    return str(refused.value)


def test_figures_and_differences_equal_values_by_hand(two):
    comparison = compare(read_methods(two))
    assert (comparison.scale, comparison.samples, comparison.names) == (4, 2, NAMES)
    values = {key: [round(estimate.value, 6) for estimate in line] for key, line in comparison.values.items()}
    # a: means .3, .3, .4; S_2 = 100 (.2 - .1) / .2, 0, 100 (.3 - .24) / .3
    assert values["LPIPS_mean"] == [round(1 / 3, 6), round(1.3 / 3, 6)]
    assert values["score"] == [round((50 + 0 + 20) / 3, 6), 25.0]
    assert values["r_LPIPS"] == [0.5, 0.5]
    assert values["LRPSNR_mean"] == pytest.approx([68.130804, 48.130804])
    (a, b, pair), *others = comparison.pairs["LPIPS_mean"]
    assert (a, b, others) == (0, 1, [])
    assert pair.difference == pytest.approx(-0.1)
    assert (pair.a_favoured, pair.b_favoured, pair.equal) == (2, 0, 1)
    low, high = pair.interval
    assert -0.201 < low < -0.1 < high < 0.001  # the differences are -.2, -.1 and 0
    spread = comparison.pairs["score"][0][2]
    assert spread.difference == pytest.approx(70 / 3 - 25) and (spread.a_favoured, spread.b_favoured) == (1, 2)
    assert comparison.best("LPIPS_mean", True) == {0} and comparison.best("score", False) == {1}
    assert comparison.best("r_LPIPS", None) == set()


def test_json_holds_methods_pairs_curves_and_images(two):
    content = json.loads(json.dumps(json_safe(compare(read_methods(two)).as_json()), allow_nan=False))
    first, second = content["methods"]
    assert (first["name"], second["name"]) == ("a", "b")
    assert first["curves"]["LPIPS_score"] == pytest.approx([0, 70 / 3])
    assert second["curves"]["LPIPS_score"] == pytest.approx([0, 25])
    assert first["intervals"]["LPIPS_mean"] == pytest.approx([0.3, 0.4], abs=0.02)
    pair = next(
        pair_of_figure for pair_of_figure in content["pairs"] if pair_of_figure["figure"] == "LRPSNR_mean"
    )
    assert (pair["a"], pair["b"], pair["difference"]) == ("a", "b", pytest.approx(20))
    assert (pair["a_favoured"], pair["favours"], pair["interval"]) == (3, "a", pytest.approx([20, 20]))
    assert content["images"][2] == {
        "name": "0803.png",
        "LPIPS_mean": pytest.approx([0.4, 0.4]),
        "score": pytest.approx([20, 25]),
        "LRPSNR_mean": pytest.approx([68.130804, 48.130804]),
        "LRPSNR_worst_sample": pytest.approx([68.130804, 48.130804]),
    }


def test_only_common_images_are_compared_with_a_note_on_others(tmp_path, hr, two):
    (tmp_path / "others").mkdir()
    shutil.copy(hr / "0803.png", tmp_path / "others" / "renamed.png")  # the same image by another name
    shutil.copy(hr / "0801.png", tmp_path / "others" / "0801.png")
    c = write_method(tmp_path / "c", tmp_path / "others", {"renamed.png": [0.1, 0.1], "0801.png": [0.2, 0.2]})
    comparison = compare(read_methods([*two, ("c", c)]))
    assert comparison.names == ["0801.png", "0803.png"]
    assert [round(estimate.value, 6) for estimate in comparison.values["LPIPS_mean"]] == [0.35, 0.45, 0.15]
    assert comparison.notes[0] == (
        "Only the 2 images that all methods have are compared; left out: 1 of a, 1 of b."
    )
    assert len(comparison.pairs["score"]) == 3


def test_s_n_is_compared_at_the_common_number_of_samples(tmp_path, hr):
    three = write_method(tmp_path / "x", hr, {"0801.png": [0.4, 0.4, 0.4]}, {"0801.png": [0.4, 0.3, 0.1]})
    two = write_method(tmp_path / "y", hr, {"0801.png": [0.4, 0.2]}, {"0801.png": [0.4, 0.1]})
    single = write_method(tmp_path / "z", hr, {"0801.png": [0.3]})
    comparison = compare(read_methods([("x", three), ("y", two), ("z", single)]))
    assert comparison.samples == 2 and comparison.figures[1].label == "S_2"
    values = [estimate.value for estimate in comparison.values["score"]]
    assert values[:2] == pytest.approx([25, 50]) and math.isnan(values[2])
    assert [pair.images for _, _, pair in comparison.pairs["score"]] == [1, 0, 0]
    assert "x 3, y 2, z 1. Means are over all samples of each; S_2 is of the first 2." in comparison.notes[0]


def test_squared_errors_are_compared_if_a_score_lacks_lpips(tmp_path, hr, two):
    c = write_method(tmp_path / "c", hr, {name: [0.3, 0.2] for name in NAMES}, with_lpips=None)
    comparison = compare(read_methods([*two, ("c", c)]))
    assert [figure.name for figure in comparison.figures[:6]] == [
        "LPIPS_mean",
        "score",
        "r_LPIPS",
        "MSE_mean",
        "MSE_score",
        "r_pixels",
    ]
    assert math.isnan(comparison.values["LPIPS_mean"][2].value)
    assert comparison.values["MSE_mean"][2].value == pytest.approx(25.0)
    assert "LPIPS was not measured for c." in comparison.notes
    only = compare(
        read_methods(
            [
                ("c", c),
                ("d", write_method(tmp_path / "d", hr, {name: [0.3, 0.2] for name in NAMES}, with_lpips=None)),
            ]
        )
    )
    assert only.figures[0].name == "MSE_mean" and not only.with_lpips


def test_quality_metrics_of_other_versions_are_left_out_with_a_note(tmp_path, hr):
    lpips = {"0801.png": [0.3, 0.2], "0802.png": [0.3, 0.2]}
    a = write_method(tmp_path / "a", hr, lpips, realism={"niqe": ("1", 3.0), "log-spectral": ("1", 2.0)})
    b = write_method(tmp_path / "b", hr, lpips, realism={"niqe": ("2", 4.0), "log-spectral": ("1", 1.0)})
    comparison = compare(read_methods([("a", a), ("b", b)]))
    assert [estimate.value for estimate in comparison.values["log-spectral"]] == [2.0, 1.0]
    assert comparison.pairs["log-spectral"][0][2].b_favoured == 2
    assert "niqe" not in comparison.values
    assert "niqe is left out: its model or library is not the same for all methods." in comparison.notes
    c = write_method(tmp_path / "c", hr, lpips)
    assert (
        "log-spectral is left out: it was not measured for c."
        in compare(read_methods([("a", a), ("c", c)])).notes
    )


def test_means_are_over_the_same_images_of_all_methods(tmp_path, hr):
    # S_2 of b is undefined in the first image, where the best sample equals the HR image
    a = write_method(tmp_path / "a", hr, {name: [0.4, 0.4 - 0.1 * at] for at, name in enumerate(NAMES)})
    b = write_method(tmp_path / "b", hr, {NAMES[0]: [0.0, 0.0], NAMES[1]: [0.4, 0.3], NAMES[2]: [0.4, 0.2]})
    comparison = compare(read_methods([("a", a), ("b", b)]))
    per_image = comparison.per_image(next(figure for figure in comparison.figures if figure.name == "score"))
    assert math.isnan(per_image[1][0]) and not math.isnan(per_image[0][0])
    assert [value.value for value in comparison.values["score"]] == pytest.approx(
        [np.mean(row[1:]) for row in per_image]
    )
    assert [curves["LPIPS_score"][1] for curves in comparison.curves()] == pytest.approx(
        [np.mean(row[1:]) for row in per_image]
    )
    assert (
        "S_2 is over 2 of 3 images: those where it is defined for all methods that have it." in comparison.notes
    )
    assert sum("is over" in note for note in comparison.notes) == sum(
        "S_2" in figure.label for figure in comparison.figures
    )


def test_note_names_versions_that_measure_alike(two):
    edit_score(two[1][1], version="0.0.7")
    notes = compare(read_methods(two)).notes
    assert any(
        "several versions of ntire-sr, which measure alike" in note and "b 0.0.7" in note for note in notes
    )


def test_notes_name_samples_under_45_db_and_few_images(tmp_path, hr, two):
    c = write_method(tmp_path / "c", hr, {name: [0.3, 0.2] for name in NAMES}, lr_error=100.0)
    notes = compare(read_methods([*two, ("c", c)])).notes
    assert "Samples under the 45 dB that the challenge asks for: c 6." in notes
    assert "3 images: so few make the intervals too narrow." in notes


def opinions_of(*methods) -> Opinions:
    return Opinions(tuple(methods), candidates=3, raters=5, answers=100)


def test_opinions_are_found_by_samples_whatever_the_names(two, ntire_sr_command, tmp_path):
    methods = read_methods(two)
    said = [
        MethodOpinion("b", methods[0].samples_sha256, mor=2.5, low=2.25, high=2.75),
        MethodOpinion("a", methods[1].samples_sha256, mor=1.5, low=None, high=None),
    ]
    comparison = with_opinions(compare(methods), opinions_of(*said))
    assert "In the study, by the digests of the samples, a is b, b is a." in comparison.notes
    assert [estimate.value for estimate in comparison.values["MOR"]] == [2.5, 1.5]
    assert comparison.values["MOR"][0].interval == (2.25, 2.75)
    # b has the better rank in MOR; of two methods each rank is 1 or 2, and equal ones share the better
    s_n = [estimate.value for estimate in comparison.values["score"]]
    expected = [(1 + (s_n[1] > s_n[0]) + 2) / 2, (1 + (s_n[0] > s_n[1]) + 1) / 2]
    assert [estimate.value for estimate in comparison.values["final_rank"]] == expected
    assert {"MOR", "final_rank"} <= comparison.as_json()["methods"][0].keys()
    only = with_opinions(compare(methods), opinions_of(msgspec.structs.replace(said[1], name="third")))
    assert math.isnan(only.values["MOR"][0].value) and "final_rank" not in only.values
    with pytest.raises(UsageError, match="none of these methods, but those of third"):
        with_opinions(compare(methods), opinions_of(MethodOpinion("third", "0" * 64, 1.0, None, None)))
    result = ntire_sr_command(
        "compare", *(f"{name}={path}" for name, path in two), "--study", tmp_path / "absent"
    )
    assert result.code == 2 and "does not exist" in result.err


def test_study_orders_the_methods_by_final_rank(two):
    methods = read_methods(two)
    s_n = [value.value for value in compare(methods).values["score"]]
    better = s_n.index(max(s_n))  # in S_n; it has the better opinion, too
    said = [
        MethodOpinion(method.name, method.samples_sha256, mor=1.0 if at == better else 2.0)
        for at, method in enumerate(methods)
    ]
    for order in (methods, methods[::-1]):
        ranked = ranked_comparison(order, opinions_of(*said))
        assert ranked.methods[0].name == methods[better].name
        assert [value.value for value in ranked.values["final_rank"]] == [1.0, 2.0]
    assert ranked_comparison(methods[::-1], None).methods == tuple(methods[::-1])


def test_study_of_other_samples_under_the_same_name_is_refused(two):
    methods = read_methods(two)
    said = [
        MethodOpinion("a", methods[0].samples_sha256, mor=2.5),
        MethodOpinion("b", "0" * 64, mor=1.5),
    ]
    with pytest.raises(UsageError, match=rf"the score b .* {methods[1].samples_sha256[:12]}, .*: 0{{12}}"):
        with_opinions(compare(methods), opinions_of(*said))


def test_added_columns_are_in_table_and_json(two):
    mor = Figure(name="MOR", label="MOR", direction="lower", digits=2, values=Values)
    column = MethodColumn(mor, {"b": 1.5}, {"b": (1.2, 1.8)})
    comparison = compare(read_methods(two)).with_columns([column])
    first, second = comparison.as_json()["methods"]
    assert math.isnan(first["MOR"]) and second["MOR"] == 1.5 and second["intervals"]["MOR"] == (1.2, 1.8)
    assert comparison.as_json()["figures"]["MOR"]["lower_is_better"] is True


# ---- what is refused


def test_other_hr_images_scales_and_networks_are_refused_together(tmp_path, hr, two):
    second_hr = write_images(tmp_path / "other", NAMES)
    for at, name in enumerate(NAMES[1:]):
        write_png(second_hr / name, np.full((48, 64, 3), 7 + at, np.uint8))
    c = write_method(
        tmp_path / "c", second_hr, {name: [0.3, 0.2] for name in NAMES}, scale=8, with_lpips="b" * 64
    )
    said = refusal([*two, ("c", c)])
    assert "comparing a, b, c: 3 problems" in said
    assert "2 HR images of c differ from a's of the same name: 0802.png, 0803.png" in said
    assert "their scales differ: a 4, b 4, c 8" in said
    assert "different AlexNet weights (SHA-256): a aaaaaaaaaaaa, b aaaaaaaaaaaa, c bbbbbbbbbbbb" in said


def test_alexnet_of_torchvision_and_of_the_package_may_be_compared(tmp_path, hr):
    lpips = {name: [0.3, 0.2] for name in NAMES}
    official = write_method(tmp_path / "a", hr, lpips, with_lpips="7be5be79" + 56 * "0")
    shipped = write_method(tmp_path / "b", hr, lpips, with_lpips=ALEXNET.shipped_sha256)
    assert compare(read_methods([("a", official), ("b", shipped)])).with_lpips


def test_no_image_in_common_is_refused(tmp_path, hr, two):
    write_png(hr / "0804.png", np.full((48, 64, 3), 9, np.uint8))
    c = write_method(tmp_path / "c", hr, {"0804.png": [0.3]})
    assert "no HR image is in all of them" in refusal([*two, ("c", c)])


def test_folders_without_a_score_are_listed_together_with_remedies(tmp_path, two):
    (tmp_path / "run").mkdir()
    shutil.copytree(two[0][1], tmp_path / "run" / "score")
    (tmp_path / "official").mkdir()
    (tmp_path / "official" / "measure.csv").write_text(",LPIPS_mean\n0,0.1\n")
    (tmp_path / "started" / "records").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "score.json").write_text('{"lpips": 0.1}')
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "score.json").write_text('{"summary": ')
    names = ["run", "official", "started", "empty", "foreign", "torn", "nowhere"]
    said = refusal([*two, *((name, tmp_path / name) for name in names)])
    assert "7 problems" in said
    for name, words in (
        ("run", f"is a run folder, not that of a score; give {tmp_path / 'run' / 'score'}"),
        ("official", "as the official script writes it, but no score.json"),
        ("started", "holds a scoring that was not finished"),
        ("empty", "holds no score.json"),
        ("foreign", "is not a score of ntire-sr"),
        ("torn", "is not valid JSON"),
        ("nowhere", "does not exist"),
    ):
        line = next(line for line in said.split("\n") if line.startswith(f"  - {name}: "))
        assert words in line


def test_repeated_names_or_folders_and_a_single_score_are_refused(two):
    said = refusal([two[0], ("a", two[1][1]), ("again", two[0][1])])
    assert "the name a is given to 2 scores" in said and "a and again are the same folder" in said
    assert "takes two scores or more" in refusal(two[:1])


def test_score_of_earlier_version_is_refused_with_a_remedy(two):
    path = two[1][1] / "score.json"
    content = json.loads(path.read_text())
    del content["records_version"]
    path.write_text(json.dumps(content))
    said = refusal(two)
    assert "b: " in said and "of an earlier version" in said and "what was measured is kept" in said


def test_score_of_version_that_measures_differently_is_refused(two):
    edit_score(two[1][1], version="9.0", records_version=2)
    said = refusal(two)
    assert "written by ntire-sr 9.0, which measures differently (records of version 2, here 1)" in said


def test_missing_or_damaged_records_are_named(two):
    folder = two[0][1]
    (folder / "records" / "000001.safetensors").unlink()
    assert f"a: the records of 0802.png in {folder / 'records'} are gone or damaged" in refusal(two)
    record = two[1][1] / "records" / "000000.json"
    for wrong in ({"lpips": ["x", 0.1]}, {"mse": [1.0]}, {"numbers": []}):
        before = record.read_text()
        record.write_text(json.dumps(json.loads(before) | wrong))
        assert "b: " in refusal(two)
        record.write_text(before)


@pytest.mark.parametrize(
    "wrong",
    [{"images": []}, {"images": 3}, {"images": [{}]}, {"summary": []}, {"measured_with": {}}, {"hr": 5}, {"version": None, "summary": {"scale": 3, "samples": 2}}],
)  # fmt: skip
def test_damaged_score_is_one_error(two, wrong):
    edit_score(two[1][1], **wrong)
    assert "is damaged" in refusal(two)


# ---- pictures


def test_pictures_show_the_images_that_differ_most(two):
    comparison = compare(read_methods(two))
    assert most_different(comparison) == [0, 1, 2]  # .2, .1, 0 apart
    gallery = picture_comparison(comparison, 2)
    assert (gallery.images, gallery.notes, len(gallery.entries)) == ([0, 1], [], 2)
    pictures = gallery.entries[0]["pictures"]
    assert [picture["key"] for picture in pictures] == ["hr", "1", "2", "lr"]
    assert [picture["label"] for picture in pictures[1:3]] == ["1 a", "2 b"]
    assert [sample["label"] for sample in pictures[1]["samples"]] == ["sample 0", "sample 1"]
    assert pictures[1]["figures"] == "LPIPS 0.3000 · S_2 50.00"
    assert pictures[1]["samples"][1]["caption"] == "a, sample 1: 000000_sample00001.png, 64 x 48 pixels"
    assert picture_comparison(comparison, 0).entries == []


def test_equal_samples_are_shown_once(tmp_path, hr):
    a = write_method(tmp_path / "a", hr, {"0801.png": [0.3] * 4}, equal_samples=True)
    b = write_method(tmp_path / "b", hr, {"0801.png": [0.2] * 4})
    entry = picture_comparison(compare(read_methods([("a", a), ("b", b)]))).entries[0]
    assert [len(picture["samples"]) for picture in entry["pictures"][1:3]] == [1, 4]


def test_changed_or_moved_samples_are_left_out_with_a_note(tmp_path, two):
    comparison = compare(read_methods(two))
    (tmp_path / "b_samples").rename(tmp_path / "moved")
    gallery = picture_comparison(comparison)
    assert [picture["key"] for picture in gallery.entries[0]["pictures"]] == ["hr", "1", "lr"]
    assert "No pictures of b: " in gallery.notes[0] and "give --sr b=FOLDER" in gallery.notes[0]
    gallery = picture_comparison(comparison, sr={"b": tmp_path / "moved"})
    assert [picture["key"] for picture in gallery.entries[0]["pictures"]] == ["hr", "1", "2", "lr"]
    write_png(tmp_path / "a_samples" / "000000_sample00000.png", np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "a_samples" / "000001_sample00000.png").unlink()
    note = picture_comparison(comparison, sr={"b": tmp_path / "moved"}).notes[0]
    assert (
        "lacks 000001_sample00000.png and holds other samples than were scored: 000000_sample00000.png" in note
    )


def test_given_folders_with_other_files_are_refused_together(tmp_path, two):
    comparison = compare(read_methods(two))
    with pytest.raises(ValidationErrors) as refused:
        picture_comparison(
            comparison, sr={"a": tmp_path / "b_samples", "b": tmp_path / "no"}, hr=tmp_path / "no"
        )
    said = str(refused.value)
    assert "3 problems" in said and "holds other samples than were scored" in said and "does not exist" in said
    assert "the HR image 0801.png that was scored is not in" in said
    with pytest.raises(UsageError, match="no such method"):
        picture_comparison(comparison, sr={"x": tmp_path})


def test_missing_hr_images_give_a_note_and_no_pictures(tmp_path, two):
    comparison = compare(read_methods(two))
    (tmp_path / "HR").rename(tmp_path / "HR_moved")
    gallery = picture_comparison(comparison)
    assert gallery.entries == [] and "give --hr FOLDER" in gallery.notes[0]
    assert len(picture_comparison(comparison, hr=tmp_path / "HR_moved").entries) == 3


def test_damaged_picture_is_named(tmp_path, two):
    path = tmp_path / "a_samples" / "000000_sample00000.png"
    path.write_bytes(b"no image")
    # the digest is made to agree, so that only decoding can notice
    content = json.loads((two[0][1] / "score.json").read_text())
    content["images"][0]["samples_sha256"][0] = sha256_file(path)
    edit_score(two[0][1], images=content["images"])
    with pytest.raises(NtireSrError, match="000000_sample00000"):
        picture_comparison(compare(read_methods(two)))


def test_odd_values_in_scores_and_records_cause_no_crash(two):
    refused = 0
    for path in (two[0][1] / "score.json", two[0][1] / "records" / "000001.json"):
        content = path.read_text()
        for seed in range(20):
            path.write_text(with_odd_leaf(content, seed))
            try:
                comparison = compare(read_methods(two))
                render(comparison_page(comparison, picture_comparison(comparison)))
            except NtireSrError:
                refused += 1
            except BaseException as error:
                raise AssertionError(f"{path.name}, seed {seed}: {type(error).__name__}: {error}") from error
        path.write_text(content)
    assert refused >= 10
