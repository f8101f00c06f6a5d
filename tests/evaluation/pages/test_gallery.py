"""Pictures of an image: their colours, sizes, positions and captions."""

import base64
import io
import itertools
import json

import numpy as np
import pytest
from PIL import Image

from ntire_sr.challenge.downscale import downscale_8bit
from ntire_sr.challenge.names import SampleName, parse_sample_name
from ntire_sr.challenge.pixels import to_array, to_tensor
from ntire_sr.core.errors import NtireSrError
from ntire_sr.evaluation.pages import gallery, pictures
from ntire_sr.evaluation.pages.gallery import MethodSamples, picture_image
from ntire_sr.evaluation.pages.image_table import ImageFigure, image_table
from ntire_sr.evaluation.pages.maps import LEVELS, PALETTE, Maps, colour_levels
from ntire_sr.evaluation.pages.page import Page, render
from ntire_sr.samples.image_files import write_png

PLENTY = 2_000_000
NO_MAPS = Maps(None, None, None)


def noisy(height: int, width: int, seed: int, strength: float = 3.0) -> np.ndarray:
    """Something like a photograph, (height, width, 3) uint8: smooth shapes, edges and noise."""
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(40, 215, (6, 9, 3)).astype(np.float32)
    smooth = np.stack(
        [np.array(Image.fromarray(coarse[..., c]).resize((width, height), 3)) for c in range(3)], -1
    )
    edges = 30 * np.sign(np.sin(np.arange(width) / 7))[None, :, None]
    image = smooth + edges + generator.normal(0, strength, (height, width, 3))
    return np.clip(image, 0, 255).round().astype(np.uint8)


def decoded(url: str) -> Image.Image:
    head, _, content = url.partition(";base64,")
    image = Image.open(io.BytesIO(base64.b64decode(content, validate=True)))
    assert head == f"data:image/{image.format.lower()}"
    return image


def pixels(url: str) -> np.ndarray:
    return np.asarray(decoded(url).convert("RGB"))


@pytest.fixture
def files(tmp_path):
    """An HR image of 301 x 410 pixels and twelve samples of it."""
    hr = tmp_path / "0801.png"
    write_png(hr, noisy(301, 410, 0))
    samples = [tmp_path / str(SampleName(0, k)) for k in range(12)]
    for k, path in enumerate(samples):
        write_png(path, noisy(304, 412, 1 + k))
    return hr, samples


def samples_of(paths) -> MethodSamples:
    return MethodSamples([(parse_sample_name(path.name).sample, path) for path in paths])


def gallery_of(files, maps: Maps = NO_MAPS, samples: int = 3, budget: int = PLENTY) -> dict:
    hr, paths = files
    entry = picture_image(hr, "0801.png", 4, [samples_of(paths[:samples])], budget, maps)
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    return entry


def by_key(entry: dict) -> dict[str, dict]:
    return {picture["key"]: picture for picture in entry["pictures"]}


def full_maps(height: int = 296, width: int = 408, samples: int = 3) -> Maps:
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return Maps(
        deviation=columns / width * 8,
        best=(columns * samples // width).astype(np.uint8),
        lpips=rows / height * 0.4,
    )


def test_pictures_show_crop_to_multiples_of_8(files):
    entry = gallery_of(files)
    assert (entry["width"], entry["height"], entry["shown"]) == (408, 296, [408, 296])
    pictures = by_key(entry)
    assert list(pictures) == ["hr", "0", "1", "2", "lr"]
    assert {key: decoded(picture["whole"]).size for key, picture in pictures.items()} == {
        "lr": (102, 74),
        **dict.fromkeys(("hr", "0", "1", "2"), (408, 296)),
    }
    target = noisy(301, 410, 0)[:296, :408]
    lr = to_array(downscale_8bit(to_tensor(target), 4))
    for key, expected in (("lr", lr), ("hr", target), ("1", noisy(304, 412, 2)[:296, :408])):
        assert np.abs(pixels(pictures[key]["whole"]) - expected.astype(float)).mean() < 4
    assert [key for key, picture in pictures.items() if picture["pixelated"]] == ["lr"]


def test_photographs_are_jpegs_without_chroma_subsampling(files):
    hr = decoded(by_key(gallery_of(files))["hr"]["whole"])
    assert hr.format == "JPEG"
    assert {(horizontal, vertical) for _, horizontal, vertical, _ in hr.layer} == {(1, 1)}


def test_large_images_are_averaged_and_small_ones_stay():
    stripes = np.zeros((64, 1280, 3), np.uint8)
    stripes[:, ::2] = 200
    downscaled = pictures.downscale(stripes, 640)
    assert downscaled.shape == (32, 640, 3)
    assert (downscaled == 100).all()
    assert pictures.downscale(stripes[:, :600], 640).shape == (64, 600, 3)


def test_each_file_is_read_once(files, monkeypatch):
    seen = []
    for module, name in ((gallery, "read_png"), (gallery, "read_image")):
        read = getattr(module, name)
        monkeypatch.setattr(module, name, lambda path, read=read: seen.append(path) or read(path))
    hr, samples = files
    gallery_of(files, full_maps(), budget=200_000)  # little, so that pictures are encoded several times
    assert sorted(seen) == sorted([hr, *samples[:3]])
    seen.clear()
    methods = [
        MethodSamples([(0, path)], name, number)
        for number, (path, name) in enumerate(zip(samples[:2], "ab", strict=True), 1)
    ]
    picture_image(hr, "0801.png", 4, methods, PLENTY)
    assert sorted(seen) == sorted([hr, *samples[:2]])


@pytest.mark.parametrize("budget", [150_000, 40_000])
def test_skipping_sizes_that_cannot_fit_gives_the_same_pictures(files, monkeypatch, budget):
    skipping = gallery_of(files, full_maps(), samples=1, budget=budget)
    monkeypatch.setattr(pictures, "_least_bytes", lambda *_: 0.0)  # tries every size
    assert gallery_of(files, full_maps(), samples=1, budget=budget) == skipping


def test_unreadable_sample_is_named_in_error(files):
    files[1][1].write_bytes(b"no image")
    with pytest.raises(NtireSrError, match="000000_sample00001"):
        gallery_of(files)


@pytest.mark.parametrize("reduction", [1, 3])
def test_detail_shows_unscaled_area_of_largest_deviation(files, reduction):
    deviation = np.zeros((297 // reduction, 408 // reduction), np.float32)
    deviation[150 // reduction : 290 // reduction, 260 // reduction : 400 // reduction] = 5
    entry = gallery_of(files, Maps(deviation, None, None))
    place = entry["detail"]
    assert (place["width"], place["height"]) == (256, 256)
    assert place["left"] % 4 == 0 and place["top"] % 4 == 0
    near = 4 + 2 * reduction  # the grid of LR pixels and that of the map
    assert place["left"] + 256 >= 400 - near and place["top"] + 256 >= 290 - near
    rows, columns = (slice(place[side], place[side] + 256) for side in ("top", "left"))
    assert (
        np.abs(pixels(by_key(entry)["hr"]["detail"]) - noisy(301, 410, 0)[rows, columns].astype(float)).mean()
        < 4
    )
    assert decoded(by_key(entry)["lr"]["detail"]).size == (64, 64)


def test_detail_is_centre_without_deviation(files):
    entry = gallery_of(files, samples=1)
    assert entry["detail"] == {"left": 76, "top": 20, "width": 256, "height": 256}
    assert any("no deviation" in note for note in entry["notes"])


@pytest.mark.parametrize("size", [(8, 8), (16, 700), (72, 64)])
def test_detail_of_small_image_is_whole_image(tmp_path, size):
    write_png(tmp_path / "a.png", noisy(*size, 0))
    maps = Maps(np.ones((max(1, size[0] // 2), min(size[1] // 2, 640)), np.float32), None, None)
    entry = picture_image(
        tmp_path / "a.png",
        "a.png",
        8,
        [MethodSamples([(k, tmp_path / "a.png") for k in range(2)])],
        PLENTY,
        maps,
    )
    assert (entry["detail"]["width"], entry["detail"]["height"]) == (min(256, size[1]), min(256, size[0]))
    assert max(entry["shown"]) <= 640


def test_sequential_maps_use_all_colours_of_the_legend(files):
    pictures = by_key(gallery_of(files, full_maps()))
    for key, high, across in (("deviation", "≥ 8 grey levels", True), ("lpips", "≥ 0.4", False)):
        legend = pictures[key]["legend"]
        assert (legend["low"], legend["high"]) == ("0", high)
        image = pixels(pictures[key]["whole"])
        line = image[0] if across else image[:, 0]
        ends = ["#" + bytes(line[at]).hex() for at in (0, -1)]
        assert ends == [legend["colours"][0], legend["colours"][-1]]
        brightness = [sum(bytes.fromhex(colour[1:])) for colour in legend["colours"]]
        assert brightness == sorted(brightness)
        assert len({bytes(colour) for colour in line}) == LEVELS


def test_values_outside_the_range_get_first_and_last_colour():
    assert colour_levels(np.array([-1.0, 0.0, 1.0, 2.0]), 1.0).tolist() == [0, 0, LEVELS - 1, LEVELS - 1]


@pytest.mark.parametrize(("highest", "stated"), [(0.0, "1"), (0.9, "1"), (5.0, "8"), (300.0, "128")])
def test_range_of_deviation_is_rounded_up_to_a_fixed_limit(files, highest, stated):
    maps = Maps(np.full((37, 51), highest, np.float32), None, None)
    assert by_key(gallery_of(files, maps))["deviation"]["legend"]["high"] == f"≥ {stated} grey levels"


def test_map_of_best_sample_matches_colours_and_shares_of_legend(files):
    picture = by_key(gallery_of(files, full_maps()))["best"]
    rows = picture["legend"]["samples"]
    assert [(row["label"], row["share"]) for row in rows] == [(str(k), "33.3 %") for k in range(3)]
    line = pixels(picture["whole"])[0]
    assert ["#" + bytes(line[at]).hex() for at in (10, 200, 400)] == [row["colour"] for row in rows]
    assert picture["pixelated"]


def test_colours_of_samples_are_easy_to_tell_apart():
    colours = [np.array(list(bytes.fromhex(colour[1:])), float) for colour in PALETTE]
    assert len(colours) == 11
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(colours, 2)) > 50


def test_samples_after_the_tenth_are_not_pictured_and_share_a_colour(files):
    entry = gallery_of(files, full_maps(samples=12), samples=12)
    assert sum(key.isdigit() for key in by_key(entry)) == 10
    assert entry["notes"][0].startswith("The first 10 of 12 samples are pictured; the maps are over all 12")
    last = by_key(entry)["best"]["legend"]["samples"][-1]
    assert last == {"label": "10 to 11", "colour": PALETTE[10], "share": "16.7 %"}


def test_samples_are_labelled_with_their_numbers(files):
    hr, samples = files
    entry = picture_image(
        hr, "0801.png", 4, [samples_of([samples[2], samples[7]])], PLENTY, full_maps(samples=2)
    )
    pictures = by_key(entry)
    assert [key for key in pictures if key.isdigit()] == ["2", "7"]
    assert pictures["7"]["caption"].startswith("Sample 7: 000000_sample00007.png")
    assert [row["label"] for row in pictures["best"]["legend"]["samples"]] == ["2", "7"]


def test_maps_of_lpips_are_missing_with_a_note_if_not_measured(files):
    entry = gallery_of(files, Maps(full_maps().deviation, None, None))
    assert by_key(entry).keys() == {"lr", "hr", "0", "1", "2", "deviation"}
    assert entry["notes"] == ["LPIPS was not measured: its map and the map of the best sample are missing."]


def test_captions_state_unit_or_direction(files):
    captions = {key: picture["caption"] for key, picture in by_key(gallery_of(files, full_maps())).items()}
    assert captions == {
        "lr": "LR: the official downscale by 4, 102 x 74 pixels, shown without interpolation",
        "hr": "HR: the photograph, 408 x 296 pixels after the crop to multiples of 8",
        **{str(k): f"Sample {k}: 000000_sample{k:05d}.png, 408 x 296 pixels" for k in range(3)},
        "deviation": "Standard deviation over 3 samples, mean over RGB, in grey levels of 255",
        "best": "Which of 3 samples has the lowest LPIPS at each place; share of the area per sample",
        "lpips": "LPIPS at each place, mean over 3 samples; lower is better",
    }


@pytest.mark.parametrize("budget", [600_000, 250_000, 60_000])
def test_pictures_shrink_to_fit_the_budget(files, budget):
    entry = gallery_of(files, full_maps(), budget=budget)
    sizes = [len(picture[view]) for picture in entry["pictures"] for view in ("whole", "detail")]
    assert sum(sizes) <= budget
    for key, picture in by_key(entry).items():
        whole, detail = (decoded(picture[view]).size for view in ("whole", "detail"))
        assert max(whole) <= max(entry["shown"])
        if key in ("hr", "0"):
            assert list(whole) == entry["shown"]
            assert detail == (entry["detail"]["width"], entry["detail"]["height"])
    place = entry["detail"]
    assert not [side for side, value in place.items() if value % 4]
    rows = slice(place["top"], place["top"] + place["height"])
    columns = slice(place["left"], place["left"] + place["width"])
    detail = pixels(by_key(entry)["hr"]["detail"])
    assert np.abs(detail - noisy(301, 410, 0)[rows, columns].astype(float)).mean() < 4


def test_too_small_budget_is_an_error(files):
    with pytest.raises(ValueError, match="do not fit into 100 bytes"):
        gallery_of(files, budget=100)


def test_page_of_ten_images_stays_under_20_megabytes(tmp_path):
    hr = tmp_path / "0801.png"
    write_png(hr, noisy(512, 768, 0, strength=12))
    samples = [tmp_path / str(SampleName(0, k)) for k in range(10)]
    for k, path in enumerate(samples):
        write_png(path, noisy(512, 768, 1 + k, strength=12))
    generator = np.random.default_rng(0)
    maps = Maps(
        generator.uniform(0, 20, (427, 640)).astype(np.float32),
        generator.integers(0, 10, (427, 640), np.uint8),
        generator.uniform(0, 1, (427, 640)).astype(np.float32),
    )
    entry = picture_image(hr, "0801.png", 4, [samples_of(samples)], 1_950_000, maps)
    figure = ImageFigure("lpips", "LPIPS", "", True, 4, [[0.1] * 10])
    page = Page(
        command="score",
        title="10 images",
        methods=["this score"],
        images=image_table([figure], ["this score"], [f"{at}.png" for at in range(10)], range(10)),
        gallery=[entry] * 10,
        result_files=[],
    )
    assert 10_000_000 < len(render(page).encode()) < 20_000_000


def test_pictures_of_noise_are_encoded(tmp_path):
    # Pillow's optimised JPEG failed on them ("Suspension not allowed here")
    generator = np.random.default_rng(0)
    paths = [tmp_path / "0801.png", tmp_path / str(SampleName(0, 0))]
    for path in paths:
        write_png(path, generator.integers(0, 256, (640, 640, 3), dtype=np.uint8))
    entry = picture_image(paths[0], "0801.png", 4, [samples_of(paths[1:])], 4_000_000, NO_MAPS)
    assert entry["shown"] == [640, 640]
