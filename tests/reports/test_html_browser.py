"""The report in a real browser: headless Chromium, driven by Playwright, on pages opened from disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reports.report_pages import FIRST, LINE_ENDS, SECOND, large_report, picture, sides
from reports.synthetic import HOSTILE, Sheet, write_run
from reports.viewer import Viewer, start

from lladav_eval.reports.html import Side, write_html
from lladav_eval.reports.load import load_run

SEEN_HOSTILE = "".join(
    f"U+{ord(char):04X}" if char in "\x1b\x07\r\x00\u202e" else char for char in HOSTILE
)  # what the page shows of it


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        started = start(playwright)
        if started is None:
            pytest.skip("no chromium on this machine: apt-get install chromium")
        yield started
        started.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reports of one run and of two."""
    path = tmp_path_factory.mktemp("reports")
    runs = sides(path)
    write_html(path / "one", runs[:1], picture)
    write_html(path / "two", runs, picture)
    return path


@pytest.fixture
def viewer(browser: Any) -> Iterator[Viewer]:
    """A page; whatever a test does, nothing may go wrong in it and nothing but files may be asked for."""
    found = Viewer(browser)
    yield found
    found.context.close()
    assert not found.errors
    assert found.asked
    assert all(url.startswith("file:///") for url in found.asked)


def test_the_filters_narrow_the_list(viewer: Viewer, folder: Path) -> None:
    page = viewer.open(folder / "one", "#samples")
    viewer.count("18 samples")
    assert viewer.docs() == [f"charts:{n}" for n in range(12)] + [f"digits:{n}" for n in range(6)]
    page.select_option("#f-status", "failed")
    viewer.count("1 of 18 samples")
    assert viewer.docs() == ["charts:3"]
    page.select_option("#f-status", "")
    page.select_option("#f-outcome", "right")
    viewer.count(f"{int(sum(FIRST)) + 5} of 18 samples")
    page.select_option("#f-task", label="charts")
    viewer.count(f"{int(sum(FIRST))} of 18 samples")
    page.select_option("#f-category", label="shapes")
    viewer.count("3 of 18 samples")
    assert viewer.docs() == ["charts:0", "charts:6", "charts:9"]
    page.fill("#f-text", "QUICK needle")
    viewer.count("1 of 18 samples")
    assert viewer.docs() == ["charts:6"]
    page.click("#f-reset")
    viewer.count("18 samples")
    page.fill("#f-text", "no such text anywhere")
    viewer.count("0 of 18 samples")
    assert "No sample passes the filters." in page.inner_text("#rows")


def test_a_task_and_a_category_have_pages_with_their_figures(viewer: Viewer, folder: Path) -> None:
    page = viewer.open(folder / "two", "#tasks")
    page.click("#tasks-0 >> text=shapes")
    viewer.count("4 of 18 samples")
    about = page.inner_text("#about")
    assert about.startswith("charts / shapes accuracy")
    # of samples 0, 3, 6 and 9 the first run has three right, the second two
    assert "A 75.0 (95 %: 30.1 to 95.4), n = 4 protocol strict, commit 0123456789, 20" in about
    assert "B 50.0 (95 %: 15.0 to 85.0), n = 4 protocol strict, commit 0123456789, 20" in about
    page.select_option("#f-category", "")
    page.wait_for_function("() => document.querySelector('#about h3').textContent === 'charts accuracy'")
    assert "n = 12" in page.inner_text("#about")
    page.select_option("#f-task", "")
    page.wait_for_selector("#about", state="hidden")


def test_the_address_holds_the_view(viewer: Viewer, folder: Path) -> None:
    page = viewer.open(folder / "one", "#samples")
    page.select_option("#f-task", label="digits")
    viewer.count("6 of 18 samples")
    page.click("#rows a >> nth=2")
    viewer.opened("digits 2")
    address = page.evaluate("location.hash")
    viewer.open(folder / "two", address)
    viewer.count("6 of 18 samples")
    viewer.opened("digits 2")
    page.go_back()
    viewer.open(folder / "one", "#samples?status=unparsed")
    viewer.count("1 of 18 samples")


def test_a_sample_shows_all_there_is_to_know(viewer: Viewer, folder: Path) -> None:
    page = viewer.open(folder / "one", "#samples?open=charts:3")
    viewer.opened("charts 3")
    text = page.inner_text("#detail")
    for part in ("question 3", "no picture", "forward passes", "failed"):
        assert part in text
    assert page.evaluate("[...document.querySelectorAll('.media img')].map(i => i.alt)") == ["Picture 1 of 1"]
    page.wait_for_function("() => document.querySelector('.media img').naturalWidth === 40")
    page.click("text='›'")
    viewer.opened("charts 4")
    page.click("text='›'")
    viewer.opened("charts 5")
    assert page.locator(".media.video img").count() == 8


def test_costs_that_a_model_does_not_tell_are_dashes(viewer: Viewer, tmp_path: Path) -> None:
    untold = Sheet([1.0], forward_passes=0, seconds=0.0, cost={"output_tokens": 7})
    write_html(tmp_path / "page", [Side(load_run(write_run(tmp_path / "run", {"a": untold})))])
    page = viewer.open(tmp_path / "page", "#samples?open=a:0")
    viewer.opened("a 0")
    facts = page.inner_text("#detail dl.facts").split("\n")
    assert [facts[facts.index(name) + 1] for name in ("forward passes", "seconds", "tokens")] == ["-", "-", "7"]


def test_hostile_text_stays_text(viewer: Viewer, folder: Path) -> None:
    page = viewer.open(folder / "two", "#samples?open=charts:1")
    viewer.opened("charts 1")
    answer = page.locator("#detail .run >> nth=0").locator("pre >> nth=0")
    assert answer.text_content() == SEEN_HOSTILE
    assert "can't be read" in page.inner_text(".note")
    page.click("text='›'")
    viewer.opened("charts 2")
    pres = page.evaluate("[...document.querySelectorAll('#detail pre')].map(pre => pre.textContent)")
    assert SEEN_HOSTILE in pres
    assert LINE_ENDS.replace("\u2028", "U+2028").replace("\u2029", "U+2029") in pres
    for view in ("#overview", "#tasks", "#samples?task=0&category=2"):
        viewer.open(folder / "two", view)
    page.select_option("#f-category", index=1)
    assert page.evaluate("window.hacked === undefined")
    assert page.evaluate("document.scripts.length") == 2
    assert (
        page.evaluate("document.querySelectorAll('main script, main iframe, main object, [onerror], [onload]').length")
        == 0
    )
    hosts = page.evaluate("[...document.querySelectorAll('a')].map(a => a.protocol)")
    assert set(hosts) == {"file:"}


def test_the_player_fills_the_answer_in(viewer: Viewer, folder: Path) -> None:
    page = viewer.open(folder / "one", "#samples?open=charts:0")
    page.wait_for_selector(".board")

    def board() -> list[str]:
        return list(page.evaluate("[...document.querySelectorAll('.board .token')].map(cell => cell.textContent)"))

    assert board() == ["␣is", "The", "␣bar", "␣42", SEEN_HOSTILE.replace("\n", "⏎").replace(" ", "␣")]
    assert page.inner_text(".says") == "Step 4 of 4, block 2: 5 of 5 positions filled"
    assert page.evaluate("[...document.querySelectorAll('.block-name')].map(name => name.textContent)") == [
        "in the prompt", "block 1", "block 2",
    ]  # fmt: skip
    page.locator("input[type=range]").fill("0")
    assert board() == ["▒"] * 5
    page.keyboard.press(".")
    assert board() == ["␣is", "▒", "␣bar", "▒", "▒"]
    assert page.inner_text(".says") == "Step 1 of 4, block 1: 2 of 5 positions filled"
    cell = page.locator(".board .cell >> nth=2")
    assert cell.locator("small").text_content() == "0.95"
    assert "confidence 0.9500" in (cell.get_attribute("title") or "")
    assert cell.evaluate("cell => cell.className") == "cell sure-4 new"
    page.keyboard.press(".")
    assert board() == ["␣is", "The", "␣bar", "▒", "▒"]
    assert page.locator(".board .new").count() == 1
    page.keyboard.press(",")
    assert board()[1] == "▒"
    page.select_option(".player select", "8")
    page.click(".player >> text=Play")
    page.wait_for_function("() => document.querySelector('.says').textContent.startsWith('Step 4 of 4')")
    assert page.inner_text(".player button >> nth=0") == "Play"
    page.locator(".board .cell >> nth=4").hover()
    assert "no confidence" in (page.locator(".board .cell >> nth=4").get_attribute("title") or "")
    page.click("text='›'")
    viewer.opened("charts 1")
    assert page.locator(".board").count() == 0


def test_without_a_tokenizer_the_player_shows_ids(viewer: Viewer, folder: Path) -> None:
    page = viewer.open(folder / "two", "#samples?open=digits:0")
    page.wait_for_function("() => document.querySelectorAll('.board').length === 2")
    second = page.locator(".run >> nth=1")
    assert second.locator(".token").all_text_contents() == ["2", "0", "1", "3", "5"]
    assert "Token ids are shown: the tokenizer changed [red]x[/red]" in second.inner_text()


def test_two_runs_side_by_side_with_the_flips(viewer: Viewer, folder: Path) -> None:
    page = viewer.open(folder / "two")
    page.click(".pairs tbody tr >> nth=0 >> a >> nth=1")
    viewer.count("2 of 18 samples")
    worse = [f"charts:{n}" for n, (a, b) in enumerate(zip(FIRST, SECOND, strict=True)) if b < a]
    assert viewer.docs() == worse == ["charts:2", "charts:6"]
    page.select_option("#f-change", "better")
    viewer.count("1 of 18 samples")
    page.select_option("#f-task", "")
    viewer.count("2 of 18 samples")
    assert viewer.docs() == ["charts:8", "digits:5"]
    page.select_option("#f-change", "flipped")
    viewer.count("4 of 18 samples")
    page.select_option("#f-change", "one")
    viewer.count("0 of 18 samples")
    page.select_option("#f-change", "worse")
    viewer.count("2 of 18 samples")
    page.click("#rows a >> nth=1")
    viewer.opened("charts 6")
    runs = page.locator("#detail .run")
    assert "A quick needle" in runs.nth(0).inner_text()
    assert "right" in runs.nth(0).locator(".badge").inner_text()
    assert "other" in runs.nth(1).inner_text()
    assert "wrong" in runs.nth(1).locator(".badge").inner_text()


def test_everything_works_from_the_keyboard(viewer: Viewer, folder: Path) -> None:
    page = viewer.open(folder / "one")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("/")
    page.wait_for_function("() => document.activeElement.id === 'f-text'")
    page.keyboard.type("question")
    viewer.count("17 of 18 samples")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    viewer.opened("charts 0")
    page.keyboard.press("j")
    viewer.opened("charts 1")
    page.keyboard.press("k")
    viewer.opened("charts 0")
    assert page.evaluate("document.activeElement.id") == "detail"
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.activeElement.textContent === '0'")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    viewer.opened("charts 1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_readable_in_both_colour_schemes(browser: Any, folder: Path, scheme: str) -> None:
    viewer = Viewer(browser, color_scheme=scheme)
    page = viewer.open(folder / "two", "#samples?open=charts:0")
    page.wait_for_selector(".board")
    dark = scheme == "dark"
    for place in ("body", "#detail pre", "#list .target", "#detail .badge", ".board .cell", ".player .quiet", ".tag.B"):
        contrast, back = viewer.contrast(place)
        assert contrast >= 4.5, place
        if place == "body":
            assert (back < 0.1) is dark
    viewer.context.close()
    assert not viewer.errors


def test_nothing_is_cut_off_on_a_phone(browser: Any, folder: Path) -> None:
    viewer = Viewer(browser, viewport={"width": 360, "height": 740})
    for address in ("#overview", "#tasks", "#samples", "#samples?open=charts:2", "#samples?open=charts:0"):
        page = viewer.open(folder / "two", address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, address
    viewer.opened("charts 0")
    assert not page.is_visible("#list")
    page.click("text=Back to the list")
    page.wait_for_selector("#list", state="visible")
    assert not page.is_visible("#detail")
    viewer.context.close()
    assert not viewer.errors


def test_a_missing_file_is_said(browser: Any, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "one", tmp_path / "cut")
    (tmp_path / "cut" / "data" / "samples-0000.js").unlink()
    viewer = Viewer(browser)
    page = viewer.open(tmp_path / "cut", "#samples?open=charts:0")
    page.wait_for_selector("#problem", state="visible")
    assert page.inner_text("#problem") == "data/samples-0000.js can't be loaded: copy the report's folder as a whole"
    viewer.context.close()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20,000 samples in two runs."""
    folder = tmp_path_factory.mktemp("large")
    return large_report(folder, 20_000)


def test_twenty_thousand_samples_are_paged(viewer: Viewer, large: Path) -> None:
    """How long it takes is measured by benchmarks/report_page.py; here: what is loaded, and when."""
    parts = sorted(path.name for path in (large / "data").glob("samples-*.js"))
    assert len(parts) > 50

    def loaded() -> list[str]:
        return [url.rsplit("/", 1)[1] for url in viewer.asked if "/samples-" in url]

    page = viewer.open(large, "#samples")
    viewer.count("20,000 samples")
    assert page.locator("#rows tr").count() == 50
    assert loaded() == []  # no text of a sample before one is opened or searched
    assert (large / "data" / "index.js").stat().st_size < 4_000_000
    page.click("#next")
    page.wait_for_function("() => document.getElementById('page').textContent === 'page 2 of 400'")
    page.select_option("#f-change", "worse")
    page.wait_for_function("() => /^[45],[0-9]{3} of 20,000/.test(document.getElementById('count').textContent)")
    page.select_option("#f-change", "")
    page.select_option("#f-task", label="many")
    page.select_option("#f-category", label="category 7")
    viewer.count("500 of 20,000 samples")
    assert loaded() == []
    viewer.open(large, "#samples?open=many:19999")
    viewer.opened("many 19999")
    assert loaded() == parts[-1:]
    page.fill("#f-text", "number 19998 is")
    viewer.count("1 of 20,000 samples")
    assert sorted(set(loaded())) == parts  # a search reads everything, once
    assert len(loaded()) == len(parts)
    assert viewer.docs() == ["many:19998"]
