"""The report: what is written, and what a real browser makes of it."""

from __future__ import annotations

import base64
import copy
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps
from tests.browser import watch_pages
from tests.report.report_payload import HOSTILE, build_payload, poison

from neuronspec.errors import NeuronspecError
from neuronspec.report.page import build_page, write_report
from neuronspec.report.page_assets import SECTIONS, list_parts
from neuronspec.report.page_parts import PARTS
from neuronspec.report.page_values import escape_json, pack_floats, pack_fractions, unpack_fractions

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    Opener = Callable[..., Page]

ENCODER = "#layer=encoder.0"
SMALLEST: dict[str, Any] = {"title": "t", "summary": [], "panels": {}, "layers": []}


def read_payload(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="payload">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_equal_payloads_give_equal_bytes(tmp_path: Path) -> None:
    first = write_report(build_payload(), tmp_path / "first.html")
    second = write_report(build_payload(), tmp_path / "second.html")
    assert first.read_bytes() == second.read_bytes()


@given(st.recursive(st.text() | st.booleans(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_no_text_ends_the_script_element(value: Any) -> None:
    text = escape_json(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert not set(text) & set("<>&")


def test_the_page_holds_the_payload_and_nothing_is_filled_in_twice() -> None:
    payload = {**SMALLEST, "title": "{{script}} {{policy}}", "subtitle": HOSTILE}
    page = build_page(payload)
    assert read_payload(page) == payload
    assert page.count("<script") == 2
    assert "<title>{{script}} {{policy}}</title>" in page


@pytest.mark.parametrize("title", ["\ud800", "a\x00b", "</title><script>"])
def test_any_title_can_be_written(title: str, tmp_path: Path) -> None:
    page = write_report({**SMALLEST, "title": title}, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "\x00" not in page
    assert page.count("<script") == 2
    assert read_payload(page)["title"] == title


def test_the_policy_allows_our_script_and_style_and_no_other() -> None:
    page = build_page(build_payload())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    allowed = dict(part.split(" ", 1) for part in policy[1].split("; "))
    for kind, pattern in (("script-src", "<script>(.*?)</script>"), ("style-src", "<style>(.*?)</style>")):
        found = re.findall(pattern, page, re.DOTALL)
        assert len(found) == 1
        digest = base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()
        assert allowed[kind] == f"'sha256-{digest}'"
    assert allowed["default-src"] == "'none'"
    assert allowed["img-src"] == "data:"


def test_the_page_refers_to_nothing_outside() -> None:
    page = build_page(SMALLEST)
    assert not re.search(r"""(?:src|href)=["'](?!#)|@import|url\(|fetch\(|XMLHttpRequest|WebSocket|import\(""", page)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", page)


@given(st.lists(st.floats(0, 1)))
def test_packed_values_come_back_to_within_half_a_step(values: list[float]) -> None:
    assert np.abs(unpack_fractions(pack_fractions(values)) - values).max(initial=0) <= 0.5 / 65535 + 1e-12


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan")])
def test_what_is_no_share_is_not_packed(value: float) -> None:
    with pytest.raises(NeuronspecError, match=r"expected 0\.\.1"):
        pack_fractions([0.5, value])


def test_floats_are_little_endian_and_may_be_unknown() -> None:
    found = np.frombuffer(base64.b64decode(pack_floats([1.5, np.nan])), dtype="<f4")
    assert found[0] == 1.5
    assert np.isnan(found[1])


def test_numbers_that_json_lacks_are_null() -> None:
    payload = {**SMALLEST, "a": float("nan"), "b": np.array([1.0, np.inf]), "c": np.int64(3), "d": (1, 2)}
    assert read_payload(build_page(payload)) == {**SMALLEST, "a": None, "b": [1.0, None], "c": 3, "d": [1, 2]}


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match="cannot be written as JSON"):
        write_report({**SMALLEST, "figures": object()}, tmp_path / "report.html")
    with pytest.raises(NeuronspecError, match="without summary, layers"):
        write_report({"title": "t", "panels": {}}, tmp_path / "report.html")
    with pytest.raises(NeuronspecError, match="found the part 'figure' in a report; expected some of title, "):
        write_report({**SMALLEST, "figure": []}, tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


def test_every_section_shows_a_part_that_is_described() -> None:
    parts = list_parts()
    assert tuple(parts) == SECTIONS
    assert set(parts.values()) <= set(PARTS)


# In a browser


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Opener]:
    """Open a payload as a page, and watch it."""
    numbers = itertools.count()
    with watch_pages(browser) as open_page:

        def show_page(payload: Any, address: str = "", width: int = 1200, **options: Any) -> Page:
            path = write_report(payload, tmp_path / f"report-{next(numbers)}.html")
            return open_page(path, address, viewport={"width": width, "height": 900}, **options)

        yield show_page


@pytest.fixture(scope="module")
def payload() -> dict[str, Any]:
    return build_payload()


def read_iou(payload: dict[str, Any], layer: str, row: int, column: int, k: str = "0.95") -> float:
    n = len(payload["panels"][layer.split(".")[0]]["tasks"])
    matrix = np.zeros((n, n))
    matrix[np.triu_indices(n, k=1)] = unpack_fractions(payload["iou"][layer][k])
    return float(matrix[min(row, column), max(row, column)])


def control(page: Page, section: str, key: str, value: str) -> Any:
    return page.locator(f"#{section} [data-control={key}] label", has_text=re.compile(f"^{value}$"))


def test_every_section_is_there_and_in_the_contents(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload)
    assert tuple(page.eval_on_selector_all("section", "found => found.map(one => one.id)")) == SECTIONS
    assert page.locator("#contents a").count() == len(SECTIONS)
    assert page.locator("#findings li").all_text_contents() == [line["text"] for line in payload["summary"][:2]]
    assert not page.locator("#findings").is_visible()  # folded under what was found
    assert page.locator("#highlights li").all_text_contents() == ["One seed: seed=[1,2,3] says more."]  # no backticks
    assert page.locator("#numbers .value").all_text_contents() == ["24.3", "+0.4", "38 %", "+0.43"]
    assert page.locator("#caveats li").all_text_contents() == [payload["summary"][2]["text"]]
    assert page.locator("#figures img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 300
    assert page.locator("#signature dd").all_text_contents() == ["demo", "0.95", "sentence", '{"encoder":3}']


def test_a_section_without_data_says_why_or_is_not_there(show: Opener) -> None:
    page = show({**SMALLEST, "iou": None, "missing": {"ablation": "No ablation was run.", "iou": "No masks."}})
    assert page.eval_on_selector_all("section", "found => found.map(one => one.id)") == ["ablation", "overlap"]
    assert page.locator("#ablation .why").text_content() == "No ablation was run."
    assert page.locator("canvas").count() == 0


def test_what_could_not_be_measured_is_said_below_the_map(show: Opener, payload: dict[str, Any]) -> None:
    page = show({**payload, "low": None, "high": None, "missing": {"intervals": "The counts hold no states."}})
    assert page.locator("#overlap-notes").text_content() == "The counts hold no states."


@pytest.mark.parametrize("absent", ["low trees cards", "z_chance ks tables sparsity", "k citation methods ablation"])
def test_any_part_may_be_missing(show: Opener, payload: dict[str, Any], absent: str) -> None:
    page = show({**payload, **dict.fromkeys(absent.split())})
    page.locator("#heatmap").focus()
    assert "IoU" in (page.locator("#overlap-reading").text_content() or "")


def test_the_keyboard_reads_the_values_of_cells(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload, ENCODER)
    canvas = page.locator("#heatmap")
    canvas.focus()
    # Every language is a family of its own, and families stand in the order of the payload
    for keys, first, second in ((["ArrowRight"], 0, 2), (["ArrowDown"], 1, 2), (["End", "ArrowUp"], 0, 5)):
        for key in keys:
            canvas.press(key)
        reading = page.locator("#overlap-reading").text_content() or ""
        iou = read_iou(payload, "encoder.0", first, second)
        assert f"{iou:.3f}IoU" in reading
        assert f"interval {iou - 0.02:.3f}" in reading
        assert f"z = {iou * 100:.1f} compared with random sets" in reading
        for language in (first, second):
            assert payload["panels"]["encoder"]["names"][language] in reading
    assert page.locator("#nearest .name").count() == 5


def test_the_pointer_reads_cells_and_a_click_keeps_one_in_the_address(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload)
    page.locator("#heatmap").scroll_into_view_if_needed()
    box = page.locator("#heatmap").bounding_box()
    assert box
    last = payload["panels"]["decoder"]["names"][-1]
    corner = (box["x"] + box["width"] - 8, box["y"] + box["height"] - 8)
    page.mouse.move(*corner)
    assert page.locator("#overlap-reading strong").all_text_contents() == [last, last]
    assert page.evaluate("location.hash") == ""
    page.mouse.click(corner[0] - 70, corner[1])
    assert "row=" in page.evaluate("location.hash")
    assert page.locator("#overlap-reading strong").all_text_contents()[0] == last


def test_controls_change_what_is_shown(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload, f"{ENCODER}&row=l0&column=l1")
    big = page.locator("#overlap-reading .big")
    assert big.text_content() == f"{read_iou(payload, 'encoder.0', 0, 1):.3f}"
    slider = page.locator("#overlap input[data-control=layer]")
    slider.press("ArrowRight")
    assert big.text_content() == f"{read_iou(payload, 'encoder.1', 0, 1):.3f}"
    assert "encoder.1" in (page.locator("#tree-caption").text_content() or "")
    page.locator("#overlap input[data-control=k]").press("Home")
    assert big.text_content() == f"{read_iou(payload, 'encoder.1', 0, 1, '0.5'):.3f}"
    assert "interval" not in (page.locator("#overlap-reading").text_content() or "")  # known for one k only
    control(page, "overlap", "stack", "decoder").click()
    assert big.text_content() == f"{read_iou(payload, 'decoder.1', 0, 1, '0.5'):.3f}"
    assert page.locator("#tree [data-control=layer]").get_attribute("aria-valuetext") == "decoder.1"
    page.locator("#tree input[data-control=layer]").press("End")
    assert big.text_content() == f"{read_iou(payload, 'decoder.2', 0, 1, '0.5'):.3f}"


def test_rows_follow_the_order_that_is_chosen(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload, ENCODER)
    panel = payload["panels"]["encoder"]
    page.locator("#overlap-table button").click()
    rows = page.locator("#overlap-table tbody th")
    assert rows.all_text_contents() == panel["names"]  # that of the static figures: family by family
    control(page, "overlap", "order", "tree").click()
    assert rows.all_text_contents() == [panel["names"][i] for i in payload["trees"]["encoder.0"]["order"]]
    control(page, "overlap", "order", "name").click()
    assert rows.all_text_contents() == sorted(panel["names"])
    numbers = page.locator("#overlap-table tbody tr").first.locator("td").all_text_contents()
    first, second = (panel["names"].index(name) for name in sorted(panel["names"])[:2])
    assert numbers[:2] == ["1", f"{read_iou(payload, 'encoder.0', first, second):.3f}"]
    page.locator("#overlap-table button").first.click()
    assert not page.locator("#overlap-table table").is_visible()


def test_colour_limits_are_those_of_the_layer_or_of_all(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload, ENCODER)
    values = {layer: unpack_fractions(packed["0.95"]) for layer, packed in payload["iou"].items() if layer[0] == "e"}
    one, every = values["encoder.0"], np.concatenate(list(values.values()))
    scale = page.locator("#overlap-scale")

    def limits(values: Any) -> str:
        return f"{np.floor(100 * values.min()) / 100:.2f}{np.ceil(100 * values.max()) / 100:.2f}"

    assert scale.text_content() == f"IoU {limits(one)}(this layer)"
    control(page, "overlap", "scale", "all layers").click()
    assert scale.text_content() == f"IoU {limits(every)}(all layers)"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_are_those_of_the_static_figures_in_both_themes(show: Opener, theme: str) -> None:
    page = show(SMALLEST, color_scheme=theme)
    shares = np.linspace(0, 1, 101)
    for name, colormap in (("SHARED", "Blues"), ("HARM", "RdBu_r")):
        colours = page.evaluate(f"Array.from({{length: 101}}, (_, i) => interpolate({name})(i / 100))")
        drawn = colormaps[colormap](shares)[:, :3] * 255
        assert np.abs(np.array(colours) - drawn).max() < 3  # matplotlib has 256 steps
        light = np.array(colours) @ [0.2126, 0.7152, 0.0722]
        assert name == "HARM" or np.diff(light).max() < 0  # what stands out is darker


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(show: Opener, theme: str) -> None:
    page = show(SMALLEST, color_scheme=theme)

    def read(name: str) -> float:
        text = page.evaluate(f"style('--{name}')").lstrip("#")
        channels = np.array([int(text[at : at + 2], 16) for at in (0, 2, 4)]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    pairs = [(ink, paper) for ink in ("ink", "muted", "accent") for paper in ("page", "surface", "faint")]
    for ink, paper in [*pairs, ("on-accent", "accent"), ("on-mark", "mark"), ("ink", "caveat-wash")]:
        low, high = sorted((read(ink), read(paper)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, paper)


def test_an_address_brings_back_a_view(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload, ENCODER)
    control(page, "overlap", "order", "tree").click()
    page.locator("#overlap input[data-control=layer]").press("End")
    page.locator("#heatmap").focus()
    page.locator("#heatmap").press("Enter")
    page.locator("[data-neuron='encoder.0:1']").first.click()
    shared = page.evaluate("location.hash")
    other = show(payload, shared)
    assert other.locator("#overlap-reading").text_content() == page.locator("#overlap-reading").text_content()
    assert other.locator("#overlap-caption strong").text_content() == "encoder.2"
    assert other.locator("#neuron h3 bdi").text_content() == "Neuron encoder.0:1"
    assert other.locator("#overlap [data-control=order] input:checked").get_attribute("value") == "tree"


@pytest.mark.parametrize("address", ["#layer=none&order=%00&k=9&neuron=__proto__", "#%E0%A4%A", "#</script>"])
def test_any_address_is_harmless(show: Opener, payload: dict[str, Any], address: str) -> None:
    page = show(payload, address)
    assert page.locator("#overlap-caption strong").text_content() == "decoder.2"
    assert not page.locator("#neuron").is_visible()


def test_the_tree_has_every_leaf_and_merge(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload, ENCODER, permissions=["clipboard-read", "clipboard-write"])
    names = payload["panels"]["encoder"]["names"]
    leaves = page.locator("#tree-plot g text").all_text_contents()
    assert leaves == [names[i] for i in payload["trees"]["encoder.0"]["order"]]
    assert page.locator("#tree-plot .branch").count() == 5
    page.get_by_role("button", name="Copy as Newick").click()
    page.get_by_role("button", name="Copied", exact=True).wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == payload["trees"]["encoder.0"]["newick"]


def test_a_box_leads_to_its_layer(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload)
    boxes = page.locator("#progression-plot .box")
    assert boxes.count() == 6
    found = payload["progression"]["decoder.1"]
    assert f"decoder.1: mean {found['mean']:.3f}, median {found['median']:.3f}" in (
        boxes.nth(4).get_attribute("aria-label") or ""
    )
    boxes.nth(4).focus()
    page.keyboard.press("Enter")
    assert page.locator("#overlap-caption strong").text_content() == "decoder.1"
    boxes.nth(1).click()
    assert page.locator("#overlap-caption strong").text_content() == "encoder.1"


def test_charts_have_their_numbers_as_tables(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload)
    page.locator("#progression-table button").click()
    cells = page.locator("#progression-table tbody tr").nth(0).locator("th, td").all_text_contents()
    found = payload["progression"]["encoder.0"]
    assert cells == ["encoder.0", *(f"{found[key]:.3f}" for key in ("mean", "low", "q1", "median", "q3", "high"))]
    page.locator("#sparsity-table button").click()
    sparsity = page.locator("#sparsity-table tbody tr").nth(1).locator("td").all_text_contents()
    assert sparsity[0] == f"{payload['sparsity']['encoder.0']['values'][1]:.3f}"
    assert page.locator("#sparsity-plot .chosen").count() == 0
    page.locator("#sparsity-task").select_option("l1-en")
    assert page.locator("#sparsity-plot .chosen").first.get_attribute("d")


def test_the_ablation_can_be_read(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload)
    canvas = page.locator("#ablation canvas[role=application]").first
    assert not canvas.is_visible()  # the decoder comes first
    control(page, "ablation", "stack", "encoder").click()
    canvas.focus()
    canvas.press("ArrowDown")
    value = payload["ablation"]["encoder"]["changes"][1, 1]
    reading = page.locator("#ablation [role=status]").first.text_content() or ""
    assert reading.startswith("Text l1-en without the neurons of l1-en: ")
    assert float(reading.split(": ")[1]) == pytest.approx(value, rel=1e-3)
    control(page, "ablation", "stack", "decoder").click()
    assert not canvas.is_visible()


def test_scores_of_every_direction_have_intervals(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload)
    rows = payload["scores"]["rows"]
    names = page.locator("#scores-plot .dumbbell text:first-of-type")
    assert names.all_text_contents() == [row["label"] for row in rows]
    assert page.locator("#scores-plot circle").count() == 3 * len(rows) - 1  # a system lacks a direction

    # By gain: means stay first, and for error rates the largest fall is the best
    control(page, "scores", "order", "by gain").click()
    control(page, "scores", "metric", "TER").click()
    gains = {row["label"]: row["scores"]["TER"][0][0] - row["scores"]["TER"][-1][0] for row in rows}
    assert names.all_text_contents() == [
        "mean to en",
        *sorted(list(gains)[1:], key=lambda name: -round(gains[name], 9)),
    ]
    page.locator("#scores-table button").click()
    score, low, high = rows[1]["scores"]["TER"][0]
    assert page.locator("#scores-table td").nth(3).text_content() == f"{score:.2f} ({low:.2f} to {high:.2f})"


def test_downloads_stay_below_the_page(show: Opener, payload: dict[str, Any]) -> None:
    listed = {"title": "More", "files": {"PDF": "figures/more.pdf", "CSV": "javascript:window.hacked=1"}}
    page = show({**payload, "figures": [*payload["figures"], listed]})
    links = page.locator("#figures .downloads a")
    found = [link.get_attribute("href") for link in links.all()]
    assert found[:2] == ["./figures/progression.svg", "./../analyze/figures/a%20b%3Ac.csv"]
    assert found[2:] == ["./figures/more.pdf", "./javascript%3Awindow.hacked%3D1"]
    assert page.locator("#figures-list li").count() == 1


def test_what_rounds_to_zero_has_no_sign(show: Opener) -> None:
    page = show(SMALLEST)
    found = page.evaluate("[formatScore(-0.04), formatDifference(0.04), formatDifference(-1.06), formatNumber(-0)]")
    assert found == ["0.0", "0.0", "−1.1", "0"]


def test_numbers_stand_in_the_cells_of_small_matrices(show: Opener) -> None:
    """As in the static figures: up to twelve rows."""
    for languages, shown in ((12, True), (13, False)):
        page = show(build_payload(languages, 1, stacks=("decoder",)))
        note = "CanvasRenderingContext2D.prototype.fillText = function (text) { (window.wrote ??= []).push(text) }"
        page.evaluate(note)
        page.locator("#heatmap").focus()  # draws again
        assert ("1.00" in page.evaluate("window.wrote")) is shown


def test_words_are_explained_where_they_are_used(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload)
    assert page.locator("#ablation .glossary dt").all_text_contents() == ["own", "others’", "random", "harm"]
    assert page.locator(".glossary dd").filter(has_text="undefined").count() == 0


def test_tables_are_sorted_by_their_titles(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload)
    scores = page.locator("#tables table").first
    assert scores.locator("tbody tr").first.locator("td").all_text_contents() == ["To English", "Germanic-0", "0.125"]
    assert scores.locator("tbody tr").nth(1).locator("td").nth(2).text_content() == "1.125↑"
    button = scores.get_by_role("button", name="BLEU avg")
    column = scores.locator("tbody td:last-child")
    button.click()
    assert column.all_text_contents() == ["0.125", "0.125", "1.125↑", "1.125↑", "2.125", "3.125↑"]
    button.press("Enter")
    assert column.first.text_content() == "3.125↑"
    assert scores.locator("th").nth(2).get_attribute("aria-sort") == "descending"
    assert page.locator("#tables code").text_content() == "↑"
    plain = page.locator("#tables table").nth(1)
    plain.get_by_role("button", name="p", exact=True).click()
    assert plain.locator("td:last-child").all_text_contents() == ["0.01", "–"]  # what is unknown comes last
    assert plain.locator("td:nth-child(2)").first.text_content() == "−0.25"


def test_languages_and_neurons_are_found(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload)
    page.locator("#search").fill("uralic")
    assert page.locator("#cards h3 bdi").all_text_contents() == ["Uralic-3", "Uralic-3"]
    page.locator("#search").fill("decoder.2:1004")
    page.locator("#neuron-matches button").click()
    card = page.locator("#neuron")
    assert "Selected for en-l4" in (card.text_content() or "")
    assert card.locator(".bars .name").first.text_content() == "en-l4"
    assert card.locator(".bars b").first.text_content() == "0.900"
    assert card.locator("mark").all_text_contents() == ["Morgen", "الخير", "上"]
    assert card.locator(".example-text").first.text_content() == "Guten Morgen, Welt"
    card.get_by_role("button", name="Close").click()
    assert not card.is_visible()
    page.locator("#search").fill("no such")
    assert page.locator("#search-status").text_content() == "0 of 12 languages, 0 neurons"


def test_sentences_can_be_searched_and_chips_preview_words(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload)
    chips = page.locator("#neuron-matches button")
    page.locator("#search").fill("WELT")
    assert chips.count() == 24  # every neuron has this sentence
    assert chips.first.locator("span").text_content() == "Morgen, الخير, 上"
    page.locator("#search").fill("上好")
    assert chips.count() == 24
    page.locator("#search").fill("decoder.2:1001 morgen")  # the name and a word
    assert chips.locator("code").all_text_contents() == ["decoder.2:1001"]


def test_neurons_that_read_tags_stand_apart(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload)
    card = page.locator("#cards article").first
    groups = card.locator(".chips")
    assert groups.nth(0).locator("code").all_text_contents() == ["encoder.0:0"]
    assert groups.nth(1).locator("button").all_text_contents() == ["encoder.2:1000reads the language tag"]
    groups.nth(1).locator("button").click()
    neuron = page.locator("#neuron")
    assert "This neuron reads the language tag." in (neuron.text_content() or "")
    assert neuron.locator("mark").all_text_contents() == ["__de__", "__ar__", "</s>"]
    shown = neuron.locator(".example-text").all_text_contents()
    assert shown == ["__de__ Guten Morgen, Welt", "__ar__ صباح الخير يا عالم", "😀 早上好 </s>"]


def test_more_cards_are_shown_when_asked_for(show: Opener) -> None:
    page = show(build_payload(9, 1))
    assert page.locator("#cards article").count() == 12
    page.get_by_role("button", name="Show more").click()
    assert page.locator("#cards article").count() == 18
    assert not page.locator("#more").is_visible()


def test_the_theme_can_be_changed(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload, color_scheme="dark")
    button = page.locator("#theme")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    before = page.locator("#heatmap").evaluate("canvas => canvas.toDataURL()")
    button.press("Enter")
    assert page.locator("html").get_attribute("data-theme") == "light"
    assert button.get_attribute("aria-pressed") == "false"
    assert page.locator("#heatmap").evaluate("canvas => canvas.toDataURL()") != before


def test_the_citation_can_be_copied(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload, permissions=["clipboard-read", "clipboard-write"])
    page.locator("#copy").click()
    page.get_by_role("button", name="Copied", exact=True).wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == payload["citation"]


def test_hostile_texts_are_shown_and_do_not_run(show: Opener, payload: dict[str, Any]) -> None:
    hostile = poison(copy.deepcopy(payload))
    hostile["signature"] = {HOSTILE: HOSTILE}
    hostile["tables"][HOSTILE] = [[{HOSTILE: HOSTILE, "n" * 5000: 1.0}]]
    hostile["missing"] = {"low": HOSTILE}
    hostile["figures"][0]["svg"] = (
        '<svg xmlns="http://www.w3.org/2000/svg" onload="parent.hacked=1"><script>hacked=1</script></svg>'
    )
    hostile["panels"]["encoder"]["names"][0] = "W" * 20000
    page = show(hostile, width=380)
    assert page.locator("h1").text_content() == hostile["title"]
    assert page.locator("#findings li").first.text_content() == hostile["summary"][0]["text"]
    assert page.locator("#signature dt").text_content() == HOSTILE
    assert page.locator("#citation-text").text_content() == hostile["citation"]
    for button in page.locator(".as-table > button:visible").all():
        button.click()
    page.locator("#heatmap").focus()
    page.locator("#heatmap").press("ArrowDown")
    page.locator("#search").fill("<img src=x")
    page.locator("[data-neuron]").first.click()
    assert hostile["cards"]["sentences"][0]["task"] in (page.locator("#neuron").text_content() or "")
    control(page, "overlap", "stack", "decoder").click()
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.hacked === undefined")
    assert page.evaluate("document.documentElement.scrollWidth") <= 380


@pytest.mark.parametrize("languages", [2, 12])
def test_a_phone_scrolls_one_way_only(show: Opener, languages: int) -> None:
    page = show(build_payload(languages, 2), "#neuron=encoder.0:1&row=l0&column=l1", width=380, device_scale_factor=3)
    for button in page.locator(".as-table > button:visible").all():
        button.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 380


def test_it_prints_light_and_whole(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload, color_scheme="dark")
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert page.locator("html").get_attribute("data-theme") == "dark"  # as before
    page.emulate_media(media="print")
    page.wait_for_function("document.documentElement.dataset.theme === 'light'")
    assert not page.locator("#overlap-controls").is_visible()
    assert not page.locator("#theme").is_visible()
    assert page.locator("details:not([open])").count() == 0
    clipped = "found => found.filter(one => one.scrollWidth > one.clientWidth + 1).length"
    assert page.eval_on_selector_all(".scroll, .canvas", clipped) == 0


def test_two_hundred_languages_in_many_layers(show: Opener) -> None:
    large = build_payload(200, 24)
    page = show(large, f"{ENCODER}&row=l3&column=l150")
    page.locator("#overlap input[data-control=layer]").press("End")
    control(page, "overlap", "order", "tree").click()
    control(page, "overlap", "scale", "all layers").click()
    iou = read_iou(large, "encoder.23", 3, 150)
    assert page.locator("#overlap-reading .big").text_content() == f"{iou:.3f}"
    assert page.locator("#tree-plot g text").count() == 200


def test_a_model_with_a_decoder_only(show: Opener) -> None:
    page = show(build_payload(stacks=("decoder",)))
    assert page.locator("#overlap [data-control=stack]").count() == 0
    assert page.locator("#overlap-caption strong").text_content() == "decoder.2"
    assert page.locator("#progression-plot .box").count() == 3


def test_tasks_without_families(show: Opener) -> None:
    payload = build_payload()
    for panel in payload["panels"].values():
        panel["families"] = []
    page = show(payload)
    assert page.locator("#families span").count() == 0
    chosen = page.locator("#overlap [data-control=order] input:checked")
    assert chosen.get_attribute("value") == "name"
    assert page.locator("#overlap [data-control=order] input[value=family]").is_disabled()


def test_one_language_has_no_pairs(show: Opener) -> None:
    payload = build_payload(2, 1)
    for part in ("iou", "low", "high", "z_chance", "z_shuffled"):
        payload[part] = {layer: {"0.95": ""} if part == "iou" else "" for layer in payload[part]}
    for panel in payload["panels"].values():
        panel.update({key: value[:1] for key, value in panel.items() if key != "title"})
    page = show({**payload, "trees": None, "progression": None})
    page.locator("#heatmap").focus()
    assert "The same language" in (page.locator("#overlap-reading").text_content() or "")


def test_the_keyboard_reaches_the_content_at_once(show: Opener, payload: dict[str, Any]) -> None:
    page = show(payload)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    unnamed = "found => found.filter(one => !(one.ariaLabel || one.textContent || one.labels?.length)).length"
    assert page.eval_on_selector_all("button, input, select, canvas[tabindex], [role=group]", unnamed) == 0
