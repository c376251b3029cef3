"""Translations on a page: its sentences are those of the files, its counts are of all, and a browser shows them."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.browser import watch_pages
from tests.report.sentence_study import ARABIC, BASELINE, REFERENCES, SOURCES, SYSTEM, build_study

from neuronspec.comparison.side_by_side import SideBySide, SystemSentences, lay_side_by_side
from neuronspec.evaluation.quality import BROKEN_KINDS
from neuronspec.report.comparison_page import write_comparison
from neuronspec.report.page import is_report
from neuronspec.report.sentence_choice import choose_sentences, share_out
from neuronspec.report.translations import NO_TRANSLATIONS, WordCounts, show_translations

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    Opener = Callable[..., Page]

LINES = [
    (task, number, *texts)
    for task in REFERENCES
    for number, texts in enumerate(
        zip(SOURCES[task], REFERENCES[task], BASELINE[task], SYSTEM[task], strict=True), start=1
    )
]


def unpack(part: dict[str, Any]) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(part["packed"])))


@pytest.fixture
def part(tmp_path: Path) -> dict[str, Any]:
    found = show_translations(build_study(), tmp_path / "all.jsonl")
    assert found is not None
    return found


def test_the_page_and_the_file_next_to_it_hold_every_sentence_as_it_is(part: dict[str, Any], tmp_path: Path) -> None:
    tasks = [direction["name"] for direction in part["directions"]]
    rows = unpack(part)["rows"]
    assert [(tasks[row[0]], row[1], row[2], row[3], *row[6]) for row in rows] == LINES

    lines = (tmp_path / "all.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert lines == (tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()  # no text breaks a line
    found = [json.loads(line) for line in lines]
    read = [
        (row["direction"], row["sentence"], row["source"], row["reference"], *row["translations"].values())
        for row in found
    ]
    assert read == LINES
    for row, line in zip(rows, found, strict=True):
        assert row[7] == list(line["chrF++"].values())
        assert [[kind for bit, kind in enumerate(BROKEN_KINDS) if bits & (1 << bit)] for bits in row[8]] == list(
            line["broken"].values()
        )


@pytest.mark.parametrize("limit", [1, 6, 100])
def test_counts_are_of_all_sentences_however_many_are_shown(limit: int, tmp_path: Path) -> None:
    study = build_study()
    whole, found = (show_translations(study, tmp_path / "all.jsonl", limit=most) for most in (1000, limit))
    assert whole is not None
    assert found is not None
    assert found["broken"] == whole["broken"]
    assert unpack(found)["ngrams"] == unpack(whole)["ngrams"]
    assert [direction["sentences"] for direction in found["directions"]] == [
        len(lines) for lines in REFERENCES.values()
    ]
    assert [direction["shown"] for direction in found["directions"]] == {1: [1, 1], 6: [3, 3], 100: [8, 3]}[limit]
    assert bool(found["choice"]) == (limit < 11)
    assert len((tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()) == len(LINES)


def test_a_study_without_translations_has_tables_and_says_what_is_missing(tmp_path: Path) -> None:
    study = build_study()
    bare = replace(study, results=replace(study.results, outputs={}))
    assert show_translations(bare, tmp_path / "all.jsonl") is None
    page = write_comparison(bare, tmp_path / "page.html")
    assert NO_TRANSLATIONS in json.loads(read_payload(page))["missing"]["translations"]
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def read_payload(page: Path) -> str:
    found = re.search(r'id="payload">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


def test_the_words_of_the_training_text_decide_what_is_rare(tmp_path: Path) -> None:
    words = WordCounts(count={"en": {"old": 7}}.get, text="the training text")
    found = show_translations(build_study(), tmp_path / "all.jsonl", words=words)
    assert found is not None
    assert found["words"] == "the training text or, where it is not known, in the references of the direction"
    rarest = [row[5] for row in unpack(found)["rows"]]
    assert rarest[:4] == [0, 0, 0, 0]
    assert rarest[-3:] == [2, 1, 1]  # every word of the first is in the third as well


def test_pages_of_ours_are_recognized(page_file: Path, tmp_path: Path) -> None:
    assert is_report(page_file)
    (tmp_path / "other.html").write_text("<!doctype html><title>neuronspec</title>", encoding="utf-8")
    assert not is_report(tmp_path / "other.html")


# The choice of sentences


def test_what_small_directions_leave_goes_to_the_others() -> None:
    assert share_out({"a": 10, "b": 500, "c": 500}, limit=100) == {"a": 10, "b": 45, "c": 45}
    assert share_out({"a": 10, "b": 20}, limit=100) == {"a": 10, "b": 20}
    assert sum(share_out({str(n): n for n in range(1, 200)}, limit=1000).values()) <= 1000
    assert set(share_out(dict.fromkeys("abc", 5), limit=1).values()) == {1}


def make_large(sentences: int = 400) -> SideBySide:
    side = lay_side_by_side(build_study().results, "de-en")
    assert side is not None
    draw = np.random.default_rng(0)
    broken = {"empty": draw.random(sentences) < 0.1}
    scores = {name: draw.uniform(0, 100, sentences) for name in ("base", "ours")}
    texts = [str(number) for number in range(sentences)]
    systems = {name: SystemSentences(translations=texts, scores=found, broken=broken) for name, found in scores.items()}
    return replace(side, references=texts, sources=None, systems=systems)


def test_the_choice_holds_the_broken_the_extreme_and_the_examples() -> None:
    side, pairs = make_large(), [("base", "ours")]
    chosen = choose_sentences(side, 100, pairs, examples=[7, 8])
    gains = side.gains("base", "ours")
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 100
    assert set(np.flatnonzero(side.systems["base"].broken["empty"])) <= set(chosen)
    assert {int(gains.argmax()), int(gains.argmin()), 7, 8} <= set(chosen)
    assert chosen == choose_sentences(side, 100, pairs, examples=[7, 8])
    assert choose_sentences(side, 400, pairs) == list(range(400))
    assert len(choose_sentences(side, 2, pairs)) == 2


# In a browser


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the study, written once: its figures take most of the time."""
    return write_comparison(build_study(), tmp_path_factory.mktemp("page") / "ours.html")


@pytest.fixture
def show(browser: Browser, page_file: Path) -> Iterator[Opener]:
    """Open the page of the study, and watch it."""
    with watch_pages(browser) as open_page:

        def show_page(address: str = "", width: int = 1200, path: Path = page_file) -> Page:
            page = open_page(path, address, viewport={"width": width, "height": 900})
            page.locator("#translations").scroll_into_view_if_needed()
            page.locator(".sentence, #translations-status:has-text('None')").first.wait_for()
            return page

        yield show_page


def read_heads(page: Page) -> list[str]:
    return page.locator(".sentence-head a").all_text_contents()


def pick(page: Page, key: str, value: str) -> None:
    page.locator(f"#translations select[data-control={key}]").select_option(value)


def list_texts(page: Page) -> list[list[str]]:
    return [item.locator("dd").all_text_contents() for item in page.locator(".sentence").all()]


def test_the_page_shows_the_texts_of_the_files(show: Opener) -> None:
    page = show("#sort=text")
    texts = list_texts(page)
    page.locator("[aria-label='Next page']").click()
    texts += list_texts(page)
    assert page.locator("[aria-label='Next page']").is_disabled()

    # A line that begins with the system that is compared, then its baseline; a page has no NUL and no half pairs.
    expected = [
        [source, reference, ours or "(empty)", base or "(empty)"] for _, _, source, reference, base, ours in LINES
    ]
    readable = [[re.sub("[\x00\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text) for text in row] for row in expected]
    shown = [[re.sub("[\x00\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text) for text in row] for row in texts]
    assert shown == readable
    assert page.evaluate("window.hacked === undefined")
    assert page.locator("#translations img, #translations script").count() == 0


def test_sentences_are_sorted_by_gain_by_loss_and_by_score(show: Opener) -> None:
    page = show()
    rows = [row for task in REFERENCES for row in list_rows(task)]
    by_gain = sorted(rows, key=lambda row: row["chrF++"]["base"] - row["chrF++"]["ours"])
    assert read_heads(page) == [name_row(row) for row in by_gain][:10]
    pick(page, "sort", "loss")
    by_loss = sorted(rows, key=lambda row: row["chrF++"]["ours"] - row["chrF++"]["base"])
    assert read_heads(page)[0] == name_row(by_loss[0])
    pick(page, "sort", "lowest")
    lowest = sorted(rows, key=lambda row: row["chrF++"]["ours"])
    assert read_heads(page)[0] == name_row(lowest[0])
    gain = by_gain[0]["chrF++"]["ours"] - by_gain[0]["chrF++"]["base"]
    pick(page, "sort", "gain")
    assert page.locator(".gain").first.text_content() == f"▲ +{gain:.1f} chrF++"


def list_rows(task: str) -> list[dict[str, Any]]:
    side = lay_side_by_side(build_study().results, task)
    assert side is not None
    return list(side.rows())


def name_row(row: dict[str, Any]) -> str:
    return f"{row['direction']} · {row['sentence']}"


def test_every_count_links_its_sentences(show: Opener) -> None:
    page = show()
    buttons = page.locator("#translations-broken table").first.locator("button.count")
    for i in range(buttons.count()):
        button = buttons.nth(i)
        count = int(button.text_content() or "")
        button.click()
        assert page.locator(".sentence").count() == count
        assert button.get_attribute("aria-pressed") == "true"
        button.click()
    assert buttons.count() >= 6

    page.locator("#translations-broken summary").click()
    page.locator("#translations-broken details button.count").last.click()
    assert page.locator(".sentence").count() == 1
    assert "direction=" in page.url
    assert "kind=" in page.url


def test_bars_count_gains_and_select_their_sentences(show: Opener) -> None:
    page = show()
    gains = [round(row["chrF++"]["ours"] - row["chrF++"]["base"], 2) for task in REFERENCES for row in list_rows(task)]
    edges = [-20, -10, -5, -1]
    expected = [
        *(sum(low < gain <= high for gain in gains) for low, high in zip([-999, *edges], edges, strict=False)),
        sum(-1 < gain < 1 for gain in gains),
        *(sum(low <= gain < high for gain in gains) for low, high in ((1, 5), (5, 10), (10, 20), (20, 999))),
    ]
    bars = page.locator(".gain-bars button")
    assert [int(text) for text in bars.locator("span").all_text_contents()] == expected
    assert sum(expected) == len(LINES)
    for i, count in enumerate(expected):
        if count:
            bars.nth(i).click()
            assert page.locator(".sentence").count() == count
            bars.nth(i).click()

    # The other way round, gains are losses.
    pick(page, "system", "base")
    pick(page, "against", "ours")
    assert [int(text) for text in bars.locator("span").all_text_contents()] == expected[::-1]


def test_filters_search_and_clearing(show: Opener) -> None:
    page = show()
    pick(page, "direction", "en-ar")
    assert len(read_heads(page)) == 3
    assert page.locator("#translations-broken caption").first.text_content() == "Broken translations, en-ar"
    pick(page, "length", "11")
    assert read_heads(page) == ["en-ar · 1"]
    page.locator("#translations-clear").click()
    assert page.locator("#translations-status").text_content() == "1 to 10 of 11 sentences"
    page.locator("#translations input[type=search]").fill("KATZE")
    page.locator("#translations-status", has_text="without filters").wait_for()
    assert sorted(read_heads(page)) == ["de-en · 2", "de-en · 3", "de-en · 4"]
    page.locator("#translations input[type=search]").fill("no such text")
    page.locator("#translations-status", has_text="None of the 11 sentences").wait_for()


def test_ngrams_lead_to_their_sentences(show: Opener) -> None:
    page = show()
    page.locator(".ngrams button", has_text="sees the old cat").click()
    assert sorted(read_heads(page)) == ["de-en · 3", "de-en · 4"]
    assert page.locator(".sentence").first.locator("dt.own + dd mark.only-own").all_text_contents() == ["old"]
    assert page.locator(".sentence").first.locator("dt.against + dd mark.differs").all_text_contents() == ["new"]
    pick(page, "system", "base")
    pick(page, "against", "ours")
    assert page.locator(".ngrams > div").nth(1).locator("button", has_text="sees the old cat").count() == 1


def test_the_address_says_what_is_shown(show: Opener) -> None:
    page = show("#direction=de-en&sentence=3&system=base&against=ours")
    assert read_heads(page) == ["de-en · 3"]
    assert page.locator(".gain").text_content().startswith("▼ −")  # type: ignore[union-attr]
    assert page.locator("#translations").evaluate("found => found.getBoundingClientRect().top < innerHeight")
    page = show("#direction=nowhere&kind=strange&page=99&system=<img>")
    assert len(read_heads(page)) == 1  # the last page of all sentences


def test_a_single_system_is_shown_without_comparisons(show: Opener, tmp_path: Path) -> None:
    study = build_study()
    alone = replace(study, results=study.results.select("base"))
    page = show(path=write_comparison(alone, tmp_path / "ours.html"))
    lowest = sorted((row for task in REFERENCES for row in list_rows(task)), key=lambda row: row["chrF++"]["base"])
    assert read_heads(page) == [name_row(row) for row in lowest][:10]
    assert page.locator(".gain, .gain-bars, .ngrams, mark.only-own").count() == 0


def test_a_link_to_a_sentence_keeps_the_systems(show: Opener) -> None:
    page = show("#system=base&against=ours")
    page.locator(".sentence-head a").first.click()
    assert len(read_heads(page)) == 1
    assert (page.locator(".sentence dt").nth(2).text_content() or "").startswith("base")
    assert "system=base" in page.url


def test_arabic_runs_from_the_right_and_narrow_pages_are_stacked(show: Opener) -> None:
    page = show("#direction=en-ar", width=400)
    reference = page.locator(".sentence dd").nth(1)
    assert ARABIC in (reference.text_content() or "")
    assert reference.evaluate("found => getComputedStyle(found).direction") == "rtl"
    assert reference.get_attribute("lang") == "ar-Arab"
    label, text = page.locator(".sentence dt").first.bounding_box(), page.locator(".sentence dd").first.bounding_box()
    assert label is not None
    assert text is not None
    assert text["y"] >= label["y"] + label["height"] - 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_link_to_a_section_leads_there_when_sentences_appear_above_it(browser: Browser, page_file: Path) -> None:
    with watch_pages(browser) as open_page:
        page = open_page(page_file, "#tables", viewport={"width": 1200, "height": 300})
        page.locator(".sentence").first.wait_for()
        box = page.locator("#tables").bounding_box()
        assert box is not None
        assert 0 <= box["y"] < 200
