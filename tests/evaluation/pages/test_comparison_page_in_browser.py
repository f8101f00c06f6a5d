"""The page of a comparison in headless Chromium: opened from disk, driven by mouse and keyboard."""

import io
import re

import pytest
from PIL import Image
from scores import write_images, write_method

from ntire_sr.evaluation.metrics.declarations import Figure, Values
from ntire_sr.evaluation.pages.comparison_page import comparison_page
from ntire_sr.evaluation.pages.gallery import Gallery, picture_comparison
from ntire_sr.evaluation.pages.page import render
from ntire_sr.evaluation.scoring.columns import MethodColumn
from ntire_sr.evaluation.scoring.comparison import compare
from ntire_sr.evaluation.scoring.load_scores import read_methods

NAMES = ["0801.png", "0802.png", "<img src=x onerror=alert(1)>.png"]
NASTY = "</script><script>alert(2)</script>{{ 7 * 7 }}"
BLUE, RED, GREEN = (30, 30, 200), (200, 30, 30), (30, 160, 30)
MOR = Figure(name="MOR", label="mean opinion rank", direction="lower", digits=2, values=Values)
COLUMN = MethodColumn(MOR, {"ours": 1.25, NASTY: 2.5})


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three methods with ten, ten and one samples of three images."""
    home = tmp_path_factory.mktemp("methods")
    hr = write_images(home / "HR", NAMES, (96, 144))
    made = []
    for name, base, colour, count in (("ours", 0.1, BLUE, 10), (NASTY, 0.2, RED, 10), ("plain", 0.3, GREEN, 1)):
        step = 0.04 if name == "plain" else 0.05  # the methods differ most in the first image
        lpips = {image: [base + step * at] * count for at, image in enumerate(NAMES)}
        made.append(
            (name, write_method(home / f"m{len(made)}", hr, lpips, colour=colour, lr_error=1 + len(made)))
        )
    return compare(read_methods(made))


@pytest.fixture(scope="module")
def gallery(three) -> Gallery:
    return picture_comparison(three)


@pytest.fixture
def show(three, gallery, open_html):
    """Opens the page of all three."""

    def opened(published: bool = True, gallery: Gallery = gallery, **window):
        return open_html(render(comparison_page(three.with_columns([COLUMN]), gallery, published)), **window)

    return opened


def cells(page, selector: str) -> list[list[str]]:
    """Words of the cells of a table's rows."""
    rows = page.locator(f"{selector} tbody tr").all()
    return [[" ".join(cell.split()) for cell in row.locator("th, td").all_inner_texts()] for row in rows]


def names(page) -> list[str]:
    return page.locator("#table tbody th").all_inner_texts()


def labels(page) -> list[str]:
    return [" ".join(text.split()) for text in page.locator("#strip figcaption").all_inner_texts()]


def colour_of(page, selector: str) -> tuple[int, ...]:
    """The colour in the middle of an element, as the screen shows it."""
    shot = Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("RGB")
    return shot.getpixel((shot.width // 2, shot.height // 2))


def near(colour, expected) -> bool:
    return max(abs(a - b) for a, b in zip(colour, expected, strict=True)) < 25


def sheets(page) -> set[str]:
    return set(page.locator(".sheet").evaluate_all("sheets => sheets.map(sheet => sheet.style.transform)"))


def test_page_shows_figures_pairs_notes_and_published_rows(show, three):
    page = show()
    assert page.inner_text("h1") == "3 methods, 3 images, scale 4"
    methods = cells(page, ".methods")
    assert methods[0][:2] == ["1 ours", "0.1500 0.1000 to 0.2000"] and methods[0][-1] == "1.25"
    assert methods[1][0] == f"2 {NASTY}" and methods[2][-1] == "-"
    assert page.locator(".methods .best").first.inner_text().startswith("0.1500")
    pairs = cells(page, ".pairs")
    assert pairs[0] == [
        "LPIPS lower is better",
        "1 ours",
        f"2 {NASTY}",
        "-0.1000",
        "-0.1000 to -0.1000",
        "3",
        "0",
        "0",
        "1 ours",
    ]
    assert len(pairs) == 3 * 3
    assert [row[-1] for row in pairs[4:6]] == ["undecided"] * 2  # S_10 of one sample
    published = cells(page, "#published ~ .scroll")
    assert len(published) == 16 and published[0][1] == "ours"
    assert "Without S_10 no place: plain." in page.inner_text("body")
    assert "Samples per image differ" in page.inner_text(".notes")
    assert page.locator("script").count() == 2 and page.locator("img[src=x]").count() == 0


def test_plot_shows_values_to_mouse_and_keyboard(show):
    page = show()
    readout = page.locator("#plot .readout")
    assert readout.inner_text().startswith("ours: LPIPS 0.1500 (0.1000 to 0.2000), S_10 90.00 %")
    assert page.locator("#plot .m0 line").count() == 2
    assert page.locator("#plot .published").count() == 13
    assert "SRFlow (baseline), published: LPIPS 0.122, S_10 25.01 %" in page.get_attribute(
        "#plot svg", "aria-label"
    )
    page.focus("#plot svg")
    page.keyboard.press("ArrowLeft")
    assert readout.inner_text().startswith(f"{NASTY}: LPIPS 0.2500")
    page.keyboard.press("Home")
    assert readout.inner_text().startswith("ESRGAN (baseline), published")
    page.locator("#plot .m0 circle").hover()
    assert readout.inner_text().startswith("ours")


def test_curves_of_all_methods_share_a_chart(show):
    page = show()
    chart = page.locator(".charts .chart").nth(1)
    assert chart.locator("polyline").count() == 3
    assert chart.locator(".readout").inner_text() == f"n = 10: ours 90 % · {NASTY} 90 %"
    chart.locator("svg").focus()
    page.keyboard.press("Home")
    assert chart.locator(".readout").inner_text() == f"n = 1: ours 0 % · {NASTY} 0 % · plain 0 %"


def test_image_table_sorts_by_method_and_by_difference(show):
    page = show()
    assert page.locator("th[aria-sort=descending] button").get_attribute("aria-label") == "LPIPS, difference"
    page.get_by_role("button", name="LPIPS, ours").click()
    assert names(page) == NAMES[::-1]
    page.get_by_role("button", name="LPIPS, ours").click()
    assert names(page) == NAMES
    heading = page.get_by_role("button", name="LR-PSNR, plain", exact=True)
    heading.focus()
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=ascending] button").get_attribute("aria-label") == "LR-PSNR, plain"
    first = page.locator("#table tbody tr").first.locator("td").all_inner_texts()
    assert first[:4] == ["0.1000", "0.2000", "0.3000", "0.2000"]


def test_methods_share_one_zoom_in_grid_and_wipe(show):
    page = show()
    assert page.locator("#viewer.grid").count() == 1
    assert labels(page) == [
        "HR",
        "1 ours sample 0",
        f"2 {NASTY} sample 0",
        "3 plain sample 0",
        "LR",
    ]
    assert "LPIPS 0.1000 · S_10 90.00" in page.locator("#strip figure").nth(1).inner_text()
    assert page.locator("figure.left .pane").get_attribute("data-key") == "1"
    assert page.locator("figure.right .pane").get_attribute("data-key") == "2"
    assert near(colour_of(page, ".pane[data-key='2'] img"), RED)
    page.locator(".pane[data-key='1']").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    assert len(sheets(page)) == 1 and sheets(page).pop().endswith("scale(1.41421)")
    page.keyboard.press("w")
    page.keyboard.press("3")
    page.keyboard.press("Shift+H")
    assert (page.input_value("#left"), page.input_value("#right")) == ("hr", "3")
    assert page.inner_text("#caption-right").startswith("◨ 3 plain")
    page.keyboard.press("r")
    assert sheets(page) == {"translate(0%, 0%) scale(1)"}


def test_keys_and_buttons_change_the_sample_of_all_methods(show):
    page = show()
    assert page.inner_text("#sample") == "sample 1 of 4 shown, 10 drawn"  # 12 pictures for three methods
    page.keyboard.press("s")
    assert labels(page)[1:4] == [
        "1 ours sample 1",
        f"2 {NASTY} sample 1",
        "3 plain sample 0",
    ]
    assert near(colour_of(page, ".pane[data-key='1'] img"), (50, 50, 220))
    page.keyboard.press("Shift+S")
    page.keyboard.press("Shift+S")
    assert page.inner_text("#sample") == "sample 4 of 4 shown, 10 drawn"
    page.get_by_role("button", name="next sample of every method").click()
    assert page.inner_text("#sample") == "sample 1 of 4 shown, 10 drawn"
    page.keyboard.press("n")
    page.wait_for_function("document.getElementById('name').textContent === '0802.png'")


def test_link_in_image_table_shows_the_pictures(show):
    page = show()
    page.get_by_role("link", name="0802.png").press("Enter")
    assert page.inner_text("#name") == "0802.png"


def test_dark_mode_keeps_the_contrast_of_method_numbers(show):
    def contrast(page, selector: str) -> float:
        colours = page.locator(selector).first.evaluate(
            "chip => [getComputedStyle(chip).color, getComputedStyle(chip).backgroundColor]"
        )
        light = []
        for colour in colours:
            parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
            linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
            light.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
        return (max(light) + 0.05) / (min(light) + 0.05)

    papers = []
    for scheme in ("light", "dark"):
        page = show(color_scheme=scheme)
        papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.evaluate(
            "document.querySelector('.head').innerHTML += [...Array(8).keys()].map(at => `<b class='chip m${at}'>1</b>`).join('')"
        )
        for at in range(8):
            assert contrast(page, f".chip.m{at}") >= 4.5, (scheme, at)
    assert papers[0] != papers[1]


def test_page_fits_the_width_of_a_phone(show):
    page = show(width=400, height=800)
    for key in ("w", "g", "z", "s", "f"):
        page.keyboard.press(key)
        assert page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth]") <= [400, 400]


def test_tables_wider_than_the_window_say_that_they_scroll(show):
    def hints(page) -> list[bool]:
        return page.locator(".hint").evaluate_all("hints => hints.map(hint => hint.checkVisibility())")

    assert hints(show(width=390, height=800)) == [True] * 4
    wide = show(published=False, width=1900)
    assert not hints(wide)[0]
    assert "scroll it sideways" in wide.locator(".hint").first.text_content()


def test_page_works_without_pictures_and_lpips(tmp_path, open_html):
    hr = write_images(tmp_path / "HR", NAMES[:1])
    made = [
        (name, write_method(tmp_path / name, hr, {"0801.png": [0.1]}, with_lpips=None)) for name in ("a", "b")
    ]
    page = open_html(render(comparison_page(compare(read_methods(made)), Gallery([], [], ["No pictures."]))))
    assert names(page) == ["0801.png"]
    assert page.locator("#viewer, .chart").count() == 0
    assert "No pictures." in page.inner_text(".notes")


def test_page_refers_to_no_other_file(three, gallery):
    assert not re.search(r"https?://|@import|url\(", render(comparison_page(three, gallery)))
