"""The page in headless Chromium: a study is rated by mouse, by touch and by keyboard, and the results show it."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from studying import SIZE, Inputs, serving

from ntire_sr.samples.image_files import read_png, write_png
from ntire_sr.study import page as page_module
from ntire_sr.study.answers import Answer, read_answers
from ntire_sr.study.folder import HR, Study, StudyFolder, load_study
from ntire_sr.study.make import make_study
from ntire_sr.study.results import study_results
from ntire_sr.study.statistics import mid_ranks

ORDER = [HR, "sharp", "between", "soft", "bicubic", "softest"]  # the preferences of those who rate here
PLACES, CHECKS = 2, 1
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def shortest_study(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shortest") / "study"
    make_study(inputs.hr, inputs.sr, out, places=PLACES, size=SIZE, check=CHECKS, texture=0)
    return out


@pytest.fixture
def study_folder(tmp_path: Path, shortest_study: Path) -> StudyFolder:
    """A study of two methods and HR with few places."""
    return StudyFolder(shutil.copytree(shortest_study, tmp_path / "study"))


@pytest.fixture
def served(study_folder) -> Iterator[tuple[str, Any]]:
    """The address of a server, and its answers."""
    with serving(study_folder) as (server, book):
        yield f"http://127.0.0.1:{server.port}/", book


@pytest.fixture
def context_of(browser) -> Iterator[Callable[..., Any]]:
    """Browsers of raters; afterwards there may have been no error, no message and no request to elsewhere."""
    contexts, complaints = [], []

    def opened(url: str, viewport: dict[str, int] = WIDE, **options: Any) -> Any:
        context = browser.new_context(
            viewport=viewport, reduced_motion="reduce", **{"locale": "en-US", **options}
        )
        context.set_default_timeout(120_000)
        contexts.append(context)
        context.on("console", lambda message: complaints.append(message.text))
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        context.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        context.on("request", lambda asked: asked.url.startswith(url) or complaints.append(asked.url))
        return context

    opened.complaints = complaints
    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def begin(page: Any, url: str, name: str, mode: str = "full") -> None:
    page.goto(url)
    page.fill("#name", name)
    page.check(f"[value={mode}]")
    page.click("#begin button")
    page.locator("#tiles[aria-busy=false] .tile").first.wait_for()


def shown(page: Any, study: Any) -> list[str]:
    """Whose pictures are on the screen, in their order."""
    of = {digest: name for place in study.places for name, digest in place.candidates.items()}
    page.locator("#tiles[aria-busy=false]").wait_for()
    return [
        of[digest]
        for digest in page.locator("#tiles img").evaluate_all("all => all.map(one => one.dataset.digest)")
    ]


def next_trial(page: Any) -> None:
    """Go on, and wait until the next pictures, or the end, are there."""
    before = page.locator("#tiles img").first.get_attribute("src")
    page.click("#next")
    page.locator(f"#tiles .tile:first-child img[src='{before}']").wait_for(state="hidden")
    if page.locator("#trial").is_visible():
        page.locator("#tiles[aria-busy=false]").wait_for()


def in_order(names: list[str]) -> list[int]:
    return sorted(range(len(names)), key=lambda index: ORDER.index(names[index]))


def by_keys(page: Any, names: list[str]) -> None:
    for index in in_order(names):
        page.keyboard.press("ABCDEFGHI"[index])


def by_clicks(page: Any, names: list[str]) -> None:
    for index in in_order(names)[: 1 if len(names) == 2 else None]:
        page.locator("#tiles .tile > button").nth(index).click()


def by_drags(page: Any, names: list[str]) -> None:
    """From the least real on, each dropped in front of the others."""
    for turn, index in enumerate(reversed(in_order(names))):
        if len(names) == 2 and turn == 0:
            continue  # the other one is placed by itself
        start = page.locator("#tiles .tile figcaption b").nth(index).bounding_box()
        box = page.locator("#ranking").bounding_box()
        page.mouse.move(start["x"] + 4, start["y"] + 4)
        page.mouse.down()
        page.mouse.move(box["x"] + 60, box["y"] + box["height"] / 2, steps=3)
        page.mouse.move(box["x"] + 2, box["y"] + box["height"] / 2, steps=3)
        page.mouse.up()


def rankings(folder: StudyFolder, name: str) -> list[dict[str, float]]:
    """Ranks by candidate of a rater's answers."""
    study, digest = load_study(folder)
    raters, answers = read_answers(folder.answers, digest)
    rater = next(candidate_rater.id for candidate_rater in raters if candidate_rater.name == name)
    places = {place.id: place.method_of for place in study.places}

    def ranks(answer: Answer) -> dict[str, float]:
        return mid_ranks([[places[answer.trial][digest] for digest in tier] for tier in answer.ranking])

    return [ranks(answer) for answer in answers if answer.rater == rater]


def test_study_rated_by_mouse_keyboard_and_drag_gives_results(context_of, inputs, tmp_path):
    for name in ("000000_sample00000.png", "000001_sample00000.png"):
        write_png(tmp_path / "softest" / name, cv2.GaussianBlur(read_png(inputs.sr[1][1] / name), (0, 0), 4))
    study_folder = StudyFolder(tmp_path / "study")
    methods = [*inputs.sr, ("softest", tmp_path / "softest")]
    study = make_study(
        inputs.hr, methods, study_folder.path, places=PLACES, size=SIZE, check=CHECKS, texture=0
    ).study
    with serving(study_folder) as (server, _):
        rate_by_all_ways(f"http://127.0.0.1:{server.port}/", context_of, study, study_folder)
    results = study_results(study_folder.path, study_folder.path)
    assert {standing.name: standing.mor.value for standing in results.standings} == {
        HR: 1.0, "sharp": 2.0, "soft": 3.0, "softest": 4.0,
    }  # fmt: skip
    assert results.kept == 2 and results.answers == 2 * PLACES
    page = context_of("file:").new_page()
    page.goto(results.page.as_uri())
    assert page.inner_text("tbody tr:first-child th >> nth=0") == HR
    assert f"3 methods and HR, 2 raters, {2 * PLACES} rankings" in page.inner_text("h1")


def rate_by_all_ways(url: str, context_of: Callable[..., Any], study: Study, study_folder: StudyFolder) -> None:
    """Two raters with the same preferences: on a wide screen by clicks and drags, on a narrow one by keys."""
    total = PLACES + CHECKS
    for name, viewport, ways in (("Ada", WIDE, (by_clicks, by_drags)), ("Bob", NARROW, (by_keys,))):
        page = context_of(url, viewport).new_page()
        begin(page, url, name)
        for number in range(total + 2):
            if number == 2:
                assert page.inner_text("#where") == f"0 of {total} rankings done"
            ways[number % len(ways)](page, shown(page, study))
            next_trial(page)
        assert page.inner_text("#rest-title") == "Thank you!"
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        saved = rankings(study_folder, name)
        assert len(saved) == total + 2
        for ranks in saved:
            assert sorted(ranks, key=ranks.get) == [method for method in ORDER if method in ranks]
            assert sorted(ranks.values()) == [*range(1, len(ranks) + 1)]


def test_ties_undo_zoom_and_previous_work_by_keyboard(served, context_of, study, study_folder):
    url, _ = served
    page = context_of(url).new_page()
    page.goto(url)
    page.keyboard.press("Tab")  # language, then the name
    page.keyboard.press("Tab")
    page.keyboard.type("Keys")
    page.keyboard.press("Enter")
    for count in (2, 3):  # practice
        page.locator("#tiles[aria-busy=false] .tile").nth(count - 1).wait_for()
        first = page.locator("#tiles img").first.get_attribute("src")
        for letter in "AB" if count == 2 else "CBA":
            page.keyboard.press(letter)
        page.keyboard.press("Enter")
        page.locator(f"#tiles img[src='{first}']").wait_for(state="detached")
    assert "the photograph itself was" in page.inner_text("#note")
    page.locator("#tiles[aria-busy=false]").wait_for()
    chips = page.locator("#ranking")
    page.keyboard.press("b")
    page.keyboard.press("a")
    page.keyboard.press("=")
    assert chips.inner_text().split() == ["B", "=", "A"]
    page.keyboard.press("Backspace")
    assert chips.inner_text().split() == ["B", ">", "A"]
    page.keyboard.press("b")  # taken back
    assert chips.inner_text().split() == ["A"] and page.locator("#next").is_disabled()
    page.keyboard.press("c")
    page.keyboard.press("b")
    page.keyboard.press("=")
    assert page.locator(".tile .rank").all_inner_texts() == ["Rank 1", "Rank 2", "Rank 2"]
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    transforms = page.locator("#tiles img").evaluate_all(
        "all => all.map(one => getComputedStyle(one).transform)"
    )
    assert (
        len(set(transforms)) == 1
        and transforms[0].startswith("matrix(2, 0, 0, 2, ")
        and not transforms[0].endswith("0, 0)")
    )
    names = shown(page, study)
    first = page.locator("#tiles img").first.get_attribute("src")
    page.keyboard.press("Enter")
    page.locator(f"#tiles img[src='{first}']").wait_for(state="detached")
    assert rankings(study_folder, "Keys")[-1] == {names[0]: 1.0, names[1]: 2.5, names[2]: 2.5}
    page.click("#back")
    page.locator(f"#tiles[aria-busy=false] img[src='{first}']").wait_for()
    assert chips.inner_text().split() == ["A", ">", "C", "=", "B"]
    page.locator(".between").nth(1).focus()
    page.keyboard.press("Enter")  # C before B
    page.click("#next")
    page.locator(f"#tiles img[src='{first}']").wait_for(state="detached")
    saved = rankings(study_folder, "Keys")
    assert len(saved) == 3 and saved[-1] == {names[0]: 1.0, names[2]: 2.0, names[1]: 3.0}


def test_rater_continues_in_same_browser_and_ranks_pairs_by_one_key(served, context_of, study, study_folder):
    url, _ = served
    context = context_of(url, NARROW, has_touch=True)
    page = context.new_page()
    begin(page, url, "Pia", "pairs")
    for turn in range(4):
        assert page.locator("#tiles .tile").count() == 2
        if turn == 3:
            page.click("#tie")  # equally real
        else:
            page.locator("#tiles .tile > button").first.tap()
        next_trial(page)
    page.click("#pause")
    assert "Open this page again" in page.inner_text("#rest-text")
    page.close()
    again = context.new_page()
    again.goto(url)
    again.locator("#tiles .tile").first.wait_for()
    assert again.inner_text("#where") == f"2 of {PLACES + CHECKS} rankings done"
    ranks = [list(ranking.values()) for ranking in rankings(study_folder, "Pia")]
    assert ranks == [[1.0, 2.0]] * 3 + [[1.5, 1.5]]


def test_drag_between_groups_and_out_of_the_row(served, context_of):
    url, _ = served
    page = context_of(url).new_page()
    begin(page, url, "Dora")
    page.keyboard.press("A")
    page.click("#next")
    page.locator("#tiles[aria-busy=false] .tile").nth(2).wait_for()
    for letter in "ABC":
        page.keyboard.press(letter)

    def drag(letter: str, onto: str | None, share: float = 0.5) -> list[str]:
        start = page.locator(".chip", has_text=letter).bounding_box()
        page.mouse.move(start["x"] + 10, start["y"] + 10)
        page.mouse.down()
        box = (
            page.locator(".chip", has_text=onto).bounding_box()
            if onto
            else {"x": 200, "y": 100, "width": 1, "height": 1}
        )
        page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2, steps=4)
        page.mouse.up()
        return page.locator("#ranking").inner_text().split()

    assert drag("C", "A") == ["A", "=", "C", ">", "B"]
    assert drag("B", "A", 0.1) == ["B", ">", "A", "=", "C"]
    assert drag("A", "B", 0.1) == ["A", ">", "B", ">", "C"]
    assert drag("B", None) == ["A", ">", "C"]
    page.click("#undo")
    assert page.locator("#ranking").inner_text().split() == ["A", ">", "B", ">", "C"]


def test_answer_refused_by_full_disk_is_shown_and_sent_again(served, context_of, study_folder):
    url, book = served
    context = context_of(url)
    page = context.new_page()
    begin(page, url, "Full")
    book.connection.execute("PRAGMA query_only=1")
    page.keyboard.press("A")
    page.click("#next")
    page.locator("#alert").wait_for()
    assert "is not stored: the server may not write" in page.inner_text("#alert")
    assert rankings(study_folder, "Full") == [] and page.locator("#tiles .tile").count() == 2
    page.close()  # the browser keeps it
    book.connection.execute("PRAGMA query_only=0")
    again = context.new_page()
    again.goto(url)
    again.locator("#tiles .tile").nth(2).wait_for()  # the second practice
    assert len(rankings(study_folder, "Full")) == 1
    # Chromium itself notes each 503 on the console
    noted = [text for text in context_of.complaints if "503" in text]
    assert noted and len(noted) == len(context_of.complaints)
    context_of.complaints.clear()


def test_ranking_is_locked_until_every_picture_is_there(served, context_of, study_folder):
    url, _ = served
    page = context_of(url).new_page()
    failures = []

    def fail_twice(route):
        failures.append(route.request.url)
        route.abort() if len(failures) <= 2 else route.continue_()

    page.route("**/images/*.png", fail_twice)
    page.goto(url)
    page.click("#begin button")
    page.locator("#tiles[aria-busy=true]").wait_for()
    page.locator("#alert").wait_for()
    assert "A picture cannot be shown" in page.inner_text("#alert")
    page.keyboard.press("A")
    assert page.locator("#ranking .chip").count() == 0 and page.locator("#next").is_disabled()
    page.locator("#tiles[aria-busy=false]").wait_for()
    assert page.locator("#alert").is_hidden()
    # a held key ranks once
    page.keyboard.down("A")
    page.keyboard.down("A")
    page.keyboard.up("A")
    assert page.locator("#ranking").inner_text().split() == ["A", ">", "B"]
    page.click("#next")
    page.locator("#tiles .tile").nth(2).wait_for()
    _, answers = read_answers(study_folder.answers, load_study(study_folder)[1])
    assert len(answers) == 1
    context_of.complaints.clear()  # Chromium itself notes pictures that fail


def test_answer_that_is_never_taken_does_not_lock_the_rater_out(served, context_of):
    url, _ = served
    page = context_of(url).new_page()
    begin(page, url, "Ann")
    key = page.evaluate("KEY")
    page.evaluate(
        "keep({ pending: { id: 'x', rater: saved.rater, trial: 'none', ranking: [], seconds: -1, replaces: null } })"
    )
    page.reload()
    page.locator("#tiles[aria-busy=false] .tile").first.wait_for()
    assert "could not be stored" in page.inner_text("#alert")
    page.evaluate("localStorage.clear()")  # as under another port; the cookie still names the rater
    page.reload()
    page.locator("#tiles[aria-busy=false] .tile").first.wait_for()
    assert key.startswith("ntire-sr-study-")
    context_of.complaints.clear()  # Chromium itself notes the refusal


@pytest.mark.parametrize(("ratio", "viewport"), [(1, WIDE), (1.25, WIDE), (3, NARROW)])
def test_pixels_of_pictures_are_whole_numbers_of_device_pixels(served, context_of, ratio, viewport):
    url, _ = served
    page = context_of(url, viewport, device_scale_factor=ratio).new_page()
    begin(page, url, "Eve")
    width = page.evaluate(
        "document.querySelector('#tiles img').getBoundingClientRect().width * devicePixelRatio"
    )
    magnification = width / SIZE
    assert magnification == pytest.approx(round(magnification), abs=0.02) and magnification >= 4
    assert page.inner_text("#zoom").rstrip("\u00d7") == str(round(magnification))
    assert page.locator(".head .quiet").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_german_page_has_labels_and_dark_mode(served, context_of):
    url, _ = served
    page = context_of(url, locale="de-AT", color_scheme="dark").new_page()
    begin(page, url, "Änne")
    assert page.locator("html").get_attribute("lang") == "de"
    assert page.inner_text("#prompt") == "Welches sieht echter aus?"
    first = page.locator("#tiles .tile > button").first
    assert first.get_attribute("aria-label") == "Bild A, noch ohne Rang"
    first.click()
    assert first.get_attribute("aria-label") == "Bild A, Rang 1"
    assert page.inner_text("#status") == "Alle Bilder sind geordnet. Mit der Eingabetaste geht es weiter."
    assert page.locator(".between").get_attribute("aria-label").startswith("A ist echter als B.")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", background))) < 60
    page.select_option("#language", "en")
    assert (
        page.inner_text("#prompt") == "Which one looks more real?"
        and page.locator("html").get_attribute("lang") == "en"
    )


def test_every_language_has_every_text_with_its_placeholders():
    texts = page_module.load_texts()
    assert {"en", "de"} <= texts.keys()
    for code, own in texts.items():
        assert own.keys() == texts["en"].keys(), code
        for key, text in own.items():
            assert text.strip() and "<" not in text.replace("< ", "").replace("<.", ""), (code, key)
            assert set(re.findall(r"\{(\w+)\}", text)) == set(re.findall(r"\{(\w+)\}", texts["en"][key])), (
                code,
                key,
            )
    script = (Path(page_module.__file__).parent / "rating.js").read_text(encoding="utf-8")
    assert set(re.findall(r'say\("(\w+)"', script)) <= texts["en"].keys()
