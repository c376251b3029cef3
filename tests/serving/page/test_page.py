"""The page of the service, in a real browser that asks a real server."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.browser import watch_addresses
from tests.report.report_payload import HOSTILE
from tests.serving.engines import ReversingEngine
from tests.serving.running import answering

from neuronspec.serving.app import make_app
from neuronspec.serving.engine import Sentence
from neuronspec.serving.firing import FiredLayer, FiredNeuron
from neuronspec.serving.options import ServingOptions
from neuronspec.serving.page.assets import join_scripts, join_styles, read_markup

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    Opener = Callable[..., Page]


class TwoSidedEngine(ReversingEngine):
    """Translates some texts with masks otherwise than without, and says which neurons fired."""

    @property
    def base_tasks(self) -> tuple[str, ...]:
        return self.tasks[:1]

    def find_fired(self, row: Sentence, translation: str) -> list[FiredLayer]:
        strongest = [FiredNeuron(neuron=17, strength=3.25, tokens=4, directions=1)]
        counts = {"width": 100, "selected": 60, "directions": 3, "fired": 40, "own": 5, "common": 20}
        return [FiredLayer(layer=layer, strongest=strongest, **counts) for layer in ("encoder.0", "decoder.0")]

    def translate(self, rows: Any) -> list[str]:
        given = {("differ", True): "ein rotes Haus", ("differ", False): "das rote Haus", ("markup", True): HOSTILE}
        return [given.get((row.text, row.masked), row.text) for row in rows]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with answering(make_app(TwoSidedEngine(["en-de", "de-en", HOSTILE]))) as found:
        yield found


@pytest.fixture
def show(browser: Browser, address: str) -> Iterator[Opener]:
    """Open the page, and watch that it asks nobody but its service."""
    with watch_addresses(browser) as (open_address, asked):

        def show_page(**options: Any) -> Page:
            page = open_address(address, **options)
            page.locator("#task option").first.wait_for(state="attached")
            return page

        yield show_page
    assert all(url.startswith((address, "data:")) for url in asked)


def send(page: Page, text: str) -> None:
    page.locator("#text").fill(text)
    page.locator("#submit").click()
    page.locator("#translations").wait_for()


def test_the_files_of_the_page_are_served_with_a_strict_policy(address: str) -> None:
    files = {"/": read_markup(), "/page/style.css": join_styles(), "/page/script.js": join_scripts()}
    for path, text in files.items():
        with urllib.request.urlopen(address + path) as answer:
            assert answer.read().decode() == text
            policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
            assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
            assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_nothing_is_inline_and_texts_never_become_markup() -> None:
    markup, script = read_markup(), join_scripts()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=)", markup)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script)
    assert not re.search(r"localStorage|sessionStorage|document\.cookie", script)  # the key stays in memory
    outside = re.findall(r"""(?:src|href)=["'](\w+:[^"']+)""", markup)
    assert {url.partition(":")[0] for url in outside} == {"https", "data"}
    assert not re.search(r"""src=["']\w+:""", markup)


def test_base_and_specialized_stand_side_by_side_with_the_words_that_differ(show: Opener) -> None:
    page = show()
    assert page.locator(".bar a:visible").all_text_contents() == ["Text", "API"]
    assert page.locator("#task option").all_text_contents()[:2] == ["en-de", "de-en"]
    send(page, "differ")
    assert page.locator("#sides .translation").all_text_contents() == ["das rote Haus", "ein rotes Haus"]
    assert page.locator("#sides .against mark").all_text_contents() == ["das", "rote"]
    assert page.locator("#sides .own mark").all_text_contents() == ["ein", "rotes"]

    send(page, "same")
    page.get_by_text("Both translations are the same.").wait_for()
    assert page.locator("#sides mark").count() == 0


def test_translations_and_directions_are_text_not_markup(show: Opener) -> None:
    page = show()
    page.locator("#task").select_option(index=2)
    send(page, "markup")
    one_line = " ".join(HOSTILE.splitlines())  # as the text has one
    assert page.locator("#sides .own .translation").text_content() == one_line
    assert page.evaluate("window.hacked") is None
    assert page.locator("#sides img, #sides script, #task img").count() == 0


def test_the_keyboard_is_enough(show: Opener) -> None:
    page = show()
    page.locator("#task").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.type("hello")
    page.keyboard.press("Control+Enter")
    page.locator("#translations").wait_for()
    assert page.locator("#sides h3").all_text_contents() == ["Neurons of de-en"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_narrow_screen_in_light_and_dark(show: Opener, scheme: str) -> None:
    page = show(viewport={"width": 400, "height": 800}, color_scheme=scheme)
    send(page, "differ " * 40 + "x" * 300)
    assert page.locator("html").get_attribute("data-theme") == scheme
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.locator("#theme").click()
    assert page.locator("html").get_attribute("data-theme") != scheme


def test_neurons_that_fired_are_shown_layer_by_layer(show: Opener) -> None:
    page = show()
    send(page, "same")
    page.locator("#neurons").wait_for()
    assert page.locator(".bar a:visible").all_text_contents() == ["Text", "Translations", "Neurons", "API"]
    assert page.locator(".layer code").all_text_contents() == ["encoder.0", "decoder.0"]
    layer = page.locator(".layer").first
    assert layer.locator("small").text_content() == "40 of 100 neurons fired"
    assert layer.locator(".legend span").all_text_contents() == [
        "5 this direction’s alone",
        "15 shared with some directions",
        "20 shared by all directions",
        "20 in the mask, silent",
        "40 switched off by the mask",
    ]
    widths = layer.locator(".firing i").evaluate_all("found => found.map(one => one.getBoundingClientRect().width)")
    assert widths[4] == pytest.approx(2 * widths[3], abs=1)

    layer.locator("summary").press("Enter")
    assert layer.locator("tbody").inner_text().split() == ["17", "3.25", "4", "1", "of", "3"]


def test_a_direction_without_a_base_says_so(show: Opener) -> None:
    page = show()
    page.locator("#task").select_option("de-en")
    send(page, "differ")
    assert "no model with all neurons" in (page.locator("#difference").text_content() or "")
    assert page.locator("#sides .translation").all_text_contents() == ["ein rotes Haus"]


def test_what_a_proxy_answers_is_shown_as_a_sentence(browser: Browser, address: str) -> None:
    with watch_addresses(browser, lambda problem: "502" in problem) as (open_address, _):
        page = open_address(address)
        page.locator("#task option").first.wait_for(state="attached")
        page.route("**/v1/translate", lambda route: route.fulfill(status=502, body="<b>Bad gateway</b>"))
        page.locator("#text").fill("same")
        page.locator("#submit").click()
        page.get_by_text("The service behind the proxy does not answer.").wait_for()
        assert page.locator("#error b").count() == 0


def test_the_key_is_asked_for_and_forgotten(browser: Browser) -> None:
    app = make_app(TwoSidedEngine(), options=ServingOptions(token="the right key"))
    with answering(app) as address, watch_addresses(browser, lambda problem: "401" in problem) as (open_address, _):
        page = open_address(address)
        page.locator("#key").wait_for()
        page.locator("#text").fill("same")
        page.locator("#key").fill("a wrong key")
        page.locator("#submit").click()
        page.get_by_text("This needs the token of the service").wait_for()
        assert page.evaluate("document.activeElement.id") == "key"

        page.locator("#key").fill("the right key")
        page.keyboard.press("Enter")
        page.locator("#translations").wait_for()
        assert not page.locator("#error").is_visible()
        page.reload()
        page.locator("#key").wait_for()
        assert page.locator("#key").input_value() == ""
        assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]


def test_a_service_without_an_answer_is_told(browser: Browser) -> None:
    is_refused = "ERR_CONNECTION_REFUSED"
    with watch_addresses(browser, lambda problem: is_refused in problem) as (open_address, _):
        with answering(make_app(TwoSidedEngine())) as address:
            page = open_address(address)
            page.locator("#task option").first.wait_for(state="attached")
        page.locator("#text").fill("same")
        page.locator("#submit").click()
        page.get_by_text("The service does not answer").wait_for()
