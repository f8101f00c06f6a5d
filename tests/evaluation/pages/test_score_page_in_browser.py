"""The page of a score in headless Chromium: opened from disk, driven by mouse and keyboard."""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ntire_sr.challenge.names import SampleName
from ntire_sr.evaluation.pages.charts import curve_chart
from ntire_sr.evaluation.pages.gallery import MethodSamples, picture_image
from ntire_sr.evaluation.pages.image_table import ImageFigure, ImageTable, image_table
from ntire_sr.evaluation.pages.maps import Maps
from ntire_sr.evaluation.pages.page import Page, render
from ntire_sr.samples.image_files import write_png

RED, BLUE, GREEN = (200, 30, 30), (30, 30, 200), (30, 200, 30)
NASTY = [
    "<img src=x onerror=alert(1)>.png",
    "</script><script>alert(2)</script>.png",
    "{{ 7 * 7 }}\"'&amp;.png",
]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Two images, one in landscape and one in portrait format: HR red, sample 0 blue, further samples green."""
    folder = tmp_path_factory.mktemp("pictures")
    entries = []
    for index, (height, width, samples) in enumerate([(424, 640, 3), (640, 424, 2)]):
        colours = [RED, BLUE, GREEN, GREEN][: samples + 1]
        paths = [folder / f"{index}.png", *(folder / str(SampleName(index, k)) for k in range(samples))]
        for path, colour in zip(paths, colours, strict=True):
            write_png(path, np.full((height, width, 3), colour, np.uint8))
        ramp = np.linspace(0, 4, height * width, dtype=np.float32).reshape(height, width)
        maps = Maps(ramp, (ramp * samples / 4.01).astype(np.uint8), ramp / 10)
        method = MethodSamples(list(enumerate(paths[1:])))
        entries.append(picture_image(paths[0], f"080{index}.png", 4, [method], 1_000_000, maps))
    return entries


INFINITE, UNDEFINED = float("inf"), float("nan")
NAMES = ["0801.png", "0802.png", "0803.png", "0804.png"]
LPIPS, DB = [0.30, 0.45, UNDEFINED, 0.20], [61.5, 44.2, INFINITE, 50.0]


def table_of(names: list[str], lpips: list[float], db: list[float], pictured: Sequence[int] = ()) -> ImageTable:
    """A table of images with LPIPS and the worst LR-PSNR."""
    figures = [
        ImageFigure("lpips", "LPIPS mean", "", True, 4, [lpips]),
        ImageFigure("db", "LR-PSNR worst", "dB", False, 2, [db], required=45.0),
    ]
    return image_table(figures, ["this score"], names, pictured)


def page_of(gallery: list[dict], **changes: Any) -> Page:
    """A small page of four images, two of them pictured; `changes` replaces parts."""
    page = {
        "command": "score",
        "title": "4 images x 3 samples, scale 4",
        "methods": ["this score"],
        "drawn_by": "a test",
        "passes": False,
        "verdict": "FAIL: 1 sample is under 45 dB",
        "notes": ["1 of 12 samples is missing"],
        "summary": [("LPIPS, mean", "0.3167", "lower is better")],
        "curves": [curve_chart("S_n", [[0.0, 5.1, None, 9.25]])],
        "calibration": [("r (LPIPS)", "0.93", "1 is calibrated")],
        "published": {
            "caveat": "Other images.",
            "columns": ["", "team", "LPIPS", "LR-PSNR"],
            "rows": [{"cells": ["1", "a team", "0.2", "27.5"], "ours": False, "under": True}],
        },
        "images": table_of(NAMES, LPIPS, DB, [1, 0][: len(gallery)]),
        "gallery": gallery,
        "result_files": ["score.json"],
    }
    return Page(**{**page, **changes})


@pytest.fixture
def show(open_html, gallery) -> Callable[..., Any]:
    """Opens a page from disk; keywords that are not of the window replace parts of the page."""

    def opened(width: int = 1200, height: int = 900, fragment: str = "", **changes: Any) -> Any:
        return open_html(render(page_of(**{"gallery": gallery, **changes})), width, height, fragment)

    return opened


def names(page) -> list[str]:
    return page.locator("#table tbody th").all_inner_texts()


def sheets(page) -> list[str]:
    """The transforms of all pictures: of the stage and of the strip."""
    return page.locator(".sheet").evaluate_all("sheets => sheets.map(sheet => sheet.style.transform)")


def colour_at(page, x: float, y: float = 0.5) -> tuple[int, ...]:
    """The colour at a position of the stage, as the screen shows it."""
    shot = Image.open(io.BytesIO(page.locator("#stage").screenshot())).convert("RGB")
    return shot.getpixel((int(x * shot.width), int(y * shot.height)))


def near(colour: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return max(abs(a - b) for a, b in zip(colour, expected, strict=True)) < 25


def test_page_shows_verdict_warnings_summary_and_published_rows(show):
    text = show().inner_text("body")
    for words in ("FAIL: 1 sample is under 45 dB", "1 of 12 samples is missing", "0.3167", "a team †", "0.93"):
        assert words in text


def test_worst_image_is_first_and_undefined_last(show):
    page = show()
    assert names(page) == ["0802.png", "0801.png", "0804.png", "0803.png"]
    assert page.locator("th[aria-sort=descending]").inner_text() == "LPIPS mean"
    assert page.locator("td.under").all_inner_texts() == ["44.20"]
    assert page.locator("td", has_text="∞").count() == 1


def test_first_measured_column_sorts_without_lpips(show):
    page = show(images=table_of(NAMES, [UNDEFINED] * 4, DB))
    assert names(page) == ["0802.png", "0804.png", "0801.png", "0803.png"]
    assert page.locator("th[aria-sort=ascending]").inner_text() == "LR-PSNR worst, dB"


def test_click_on_heading_sorts_and_second_click_reverses(show):
    page = show()
    page.get_by_role("button", name="LR-PSNR worst").click()
    assert names(page) == ["0802.png", "0804.png", "0801.png", "0803.png"]
    page.get_by_role("button", name="LR-PSNR worst").click()
    assert names(page) == ["0803.png", "0801.png", "0804.png", "0802.png"]
    page.get_by_role("button", name="LPIPS mean").click()
    page.get_by_role("button", name="LPIPS mean").click()
    assert names(page) == ["0804.png", "0801.png", "0802.png", "0803.png"]  # undefined is last again
    page.locator("th button", has_text="image").first.click()
    assert names(page) == ["0801.png", "0802.png", "0803.png", "0804.png"]


def test_enter_on_a_heading_sorts(show):
    page = show()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.key") == "db":
            break
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=ascending]").inner_text() == "LR-PSNR worst, dB"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_link_and_address_show_the_image_in_the_viewer(show):
    page = show()
    assert page.locator("#table a").all_inner_texts() == ["0802.png", "0801.png"]
    page.get_by_role("link", name="0801.png").press("Enter")
    assert page.inner_text("#name") == "0801.png"
    assert page.inner_text("#measured") == "LPIPS mean 0.3000 · LR-PSNR worst 61.50 dB"
    assert page.evaluate("document.activeElement.id") == "stage"
    assert show(fragment="#picture-1").inner_text("#name") == "0801.png"


def test_n_and_p_show_next_and_previous_image(show):
    page = show()
    seen = []
    for key in ("n", "n", "p"):
        page.keyboard.press(key)
        page.wait_for_function(
            "name => document.getElementById('name').textContent !== name", arg=seen[-1:] or "0800.png"
        )
        seen.append(page.inner_text("#name"))
    assert seen == ["0801.png", "0800.png", "0801.png"]
    page.go_back()
    page.wait_for_function("document.getElementById('name').textContent === '0800.png'")


def test_wipe_moves_by_arrows_and_mouse(show):
    page = show()
    assert near(colour_at(page, 0.45), RED) and near(colour_at(page, 0.55), BLUE)
    page.focus("#handle")
    for _ in range(2):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.get_attribute("#handle", "aria-valuenow") == "68"
    assert page.get_attribute("#handle", "aria-valuetext") == "68 % HR, then sample 0"
    assert near(colour_at(page, 0.63), RED) and near(colour_at(page, 0.75), BLUE)
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 0.68 * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 30)
    page.mouse.up()
    assert near(colour_at(page, 0.1), RED) and near(colour_at(page, 0.3), BLUE)
    page.focus("#handle")
    page.keyboard.press("End")
    assert near(colour_at(page, 0.9), RED)


def test_all_pictures_share_zoom_and_position(show):
    page = show(fragment="#picture-0")
    assert len(sheets(page)) == 2 + 8
    assert set(sheets(page)) == {"translate(0%, 0%) scale(1)"}
    seen = {sheets(page)[0]}

    def moved() -> None:
        """All pictures moved together, to a new position."""
        now = set(sheets(page))
        assert len(now) == 1 and not now & seen, now
        seen.update(now)

    page.keyboard.press("+")
    moved()
    page.keyboard.press("ArrowRight")
    moved()
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.wheel(0, -300)
    page.wait_for_function("document.querySelector('.sheet').style.transform.endsWith('scale(2.82843)')")
    moved()
    page.mouse.down()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.up()
    moved()
    page.keyboard.press("g")  # the same in the grid
    assert set(sheets(page)) <= seen
    page.locator(".pane[data-key='1']").focus()
    page.keyboard.press("ArrowLeft")
    moved()
    page.keyboard.press("r")
    assert set(sheets(page)) == {"translate(0%, 0%) scale(1)"}


def test_wheel_scrolls_the_page_until_the_viewer_has_focus(show):
    page = show()
    page.locator("#stage").scroll_into_view_if_needed()
    page.locator("#stage").hover()
    page.evaluate("scrollTo(0, scrollY - 100)")
    before = page.evaluate("scrollY")
    page.mouse.wheel(0, 60)
    page.wait_for_function("before => scrollY > before", arg=before)
    assert sheets(page)[0].endswith("scale(1)")


def test_keys_menus_and_clicks_choose_left_and_right_picture(show):
    page = show()

    def sides() -> list[str]:
        return [page.input_value("#left"), page.input_value("#right")]

    assert sides() == ["hr", "0"]
    page.keyboard.press("2")
    page.keyboard.press("Shift+L")
    assert sides() == ["lr", "2"]
    page.keyboard.press("x")
    assert sides() == ["2", "lr"]
    page.select_option("#right", label="sample 1")
    page.locator(".pane[data-key='0']").click(modifiers=["Shift"])
    assert sides() == ["0", "1"]
    page.keyboard.press("9")  # there is none
    assert sides() == ["0", "1"]


def test_maps_have_captions_and_legends(show):
    page = show()
    assert page.locator("#strip figcaption").all_inner_texts()[-3:] == ["deviation", "best sample", "LPIPS"]
    assert page.locator("#strip .legend").count() == 3
    page.keyboard.press("d")
    page.keyboard.press("Shift+B")
    right, left = page.inner_text("#caption-right"), page.inner_text("#caption-left")
    assert "Standard deviation over 3 samples" in right and "≥ 4 grey levels" in right
    assert [part in left for part in ("lowest LPIPS", "0: 33", "1: 33", "2: 33")] == [True] * 4
    assert near(colour_at(page, 0.25, 0.1), tuple(bytes.fromhex("332288")))  # sample 0 is best at the top
    bar = page.locator("#caption-right .bar").evaluate("bar => getComputedStyle(bar).backgroundImage")
    assert bar.startswith("linear-gradient")


def test_detail_is_shown_unscaled(show):
    page = show()
    assert page.inner_text("#zoom") == "100 %"  # 640 pixels need no reduction
    page.keyboard.press("z")
    image = page.locator("#layer-left img")
    assert image.evaluate("img => [img.naturalWidth, img.width, img.height]") == [256, 256, 256]
    assert page.locator("[data-do=detail]").get_attribute("aria-pressed") == "true"
    page.keyboard.press("g")
    assert page.locator(".pane[data-key=hr] img").evaluate("img => [img.width, img.height]") == [256, 256]


def test_downscaled_pictures_use_the_width_of_the_window(show, gallery):
    large = {**gallery[0], "width": 1280, "height": 848}  # the HR image has twice the pixels of its picture
    page = show(width=1400, gallery=[large])
    assert page.locator("#viewer").bounding_box()["width"] > 1280
    image = page.locator("#layer-left img")
    assert image.evaluate("img => img.naturalWidth") == 640
    assert 820 < image.bounding_box()["width"] < 640 * 1.5
    page = show(width=1400)  # pictures of the size of the HR image are not enlarged
    assert page.locator("#layer-left img").bounding_box()["width"] == 640


def test_viewer_fills_the_window_until_escape(show):
    page = show()
    page.keyboard.press("f")
    assert page.locator("#viewer").bounding_box() == {"x": 0, "y": 0, "width": 1200, "height": 900}
    page.keyboard.press("Escape")
    assert page.locator("#viewer").bounding_box()["width"] < 1200


def test_question_mark_opens_the_help_and_escape_closes_it(show):
    page = show()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()


def test_curves_show_values_to_keyboard_and_mouse(show):
    page = show()
    assert page.inner_text(".readout") == "n = 4: 9.25 %"
    page.focus(".chart svg")
    page.keyboard.press("ArrowLeft")  # n = 3 is undefined
    assert page.inner_text(".readout") == "n = 2: 5.1 %"
    page.locator("circle").first.hover()
    assert page.inner_text(".readout") == "n = 1: 0 %"
    assert "n = 2: 5.1 %" in page.get_attribute(".chart svg", "aria-label")


def test_markup_in_names_is_shown_as_text(show, gallery):
    images = table_of(NASTY, [0.1] * 3, [50.0] * 3, [0])
    entry = {**gallery[0], "name": NASTY[1], "notes": [NASTY[0]]}
    entry["pictures"] = [{**picture, "caption": NASTY[0], "label": NASTY[1]} for picture in entry["pictures"]]
    page = show(
        images=images, gallery=[entry], title=NASTY[1], drawn_by=NASTY[0], notes=NASTY, verdict=NASTY[1]
    )
    assert sorted(names(page)) == sorted(NASTY)
    assert page.inner_text("#name") == NASTY[1]
    assert page.inner_text("h1") == NASTY[1]
    assert page.locator("script").count() == 2
    assert page.locator("img[src=x]").count() == 0


def test_page_fits_the_width_of_a_phone(show):
    page = show(width=400, height=800)
    for key in ("w", "g", "z", "w", "f"):
        page.keyboard.press(key)
        assert page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth]") <= [400, 400]


def test_page_works_with_only_the_image_table(show, gallery):
    page = show(gallery=[], curves=[], calibration=[], published=None, notes=[], drawn_by="")
    assert names(page)[0] == "0802.png"
    assert page.locator("#viewer, .chart, .notes, .published").count() == 0


def test_table_of_a_hundred_images_scrolls_inside(show):
    hundred = range(100)
    images = table_of([f"{at:04d}.png" for at in hundred], [at / 100 for at in hundred], [UNDEFINED] * 100)
    page = show(images=images)
    assert names(page)[0] == "0099.png"
    assert page.locator(".tall").bounding_box()["height"] < 500


def test_page_refers_to_no_other_file(gallery):
    html = render(page_of(gallery))
    assert not re.search(r"https?://|@import|url\(", html)


def test_names_stay_visible_while_the_image_table_scrolls(show):
    page = show(width=400, height=800, images=table_of(["a rather long name.png"], [0.1], [50.0]))
    scroll = page.locator(".scroll", has=page.locator("#table"))
    assert scroll.evaluate("box => { box.scrollLeft = 60; return box.scrollLeft; }") > 0
    left = scroll.bounding_box()["x"]
    for selector in ("#table tbody th", "#table thead th:first-child"):
        assert page.locator(selector).first.bounding_box()["x"] == pytest.approx(left + 1, abs=1)
