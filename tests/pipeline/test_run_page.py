"""The page of a run in a real browser: it shows the run's numbers, and whatever its corpus holds as text alone."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.browser import watch_pages
from tests.pipeline.running import run

from neuronspec.config.loading import load_config
from neuronspec.config.schema import Config
from neuronspec.methods import method_options
from neuronspec.pipeline.layout import Layout
from neuronspec.training.journal import read_log

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    Opener = Callable[[Path], Page]

ATTACKS = (
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "<svg onload=window.hacked=1>",
    "{{script}} ${window.hacked=1}",
)
RECIPE = """
name: "hostile <script>window.hacked=1</script>"
out: run
threads: 1
device: cpu
languages: [de, sv]
data:
  train: [{path: "corpus.{lang}.tsv"}]
  hold_out: {valid: 0.2, test: 0.2}
prepare: {vocabulary: {size: 100}}
model: {preset: tiny}
train: {updates: 0}
analyze: {permutations: 99, shares: [0.9]}
translate: {beams: 1, max_tokens: 4}
score: {trials: 100}
"""


def write_hostile(folder: Path) -> None:
    """Write a corpus in which every sentence is an attack among words, and a recipe with another one as its name."""
    draw, attacks = random.Random(0), " ".join(ATTACKS)
    for language in ("de", "sv"):
        words = ["".join(draw.choices("aeioklmnprst", k=5)) for _ in range(120)]  # numbers alone make no new sentence
        rows = (f"{one} {attacks}\t{other} {attacks}" for one, other in zip(words[:60], words[60:], strict=True))
        (folder / f"corpus.{language}.tsv").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    (folder / "hostile.yaml").write_text(RECIPE, encoding="utf-8")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A whole run on a hostile corpus. Read only."""
    folder = tmp_path_factory.mktemp("hostile")
    write_hostile(folder)
    return run(load_config(folder / "hostile.yaml", [f"out={folder / 'run'}"], method_options()))


@pytest.fixture
def show(browser: Browser) -> Iterator[Opener]:
    """Open a page, and watch it."""
    with watch_pages(browser) as open_page:
        yield open_page


def read_found(layout: Layout) -> dict[str, Any]:
    return dict(json.loads((layout.analysis / "analysis.json").read_text(encoding="utf-8")))


def read_cells(page: Page, caption: str) -> list[list[str]]:
    """Return the rows of a table of the page."""
    table = page.locator("table", has=page.locator("caption", has_text=caption)).first
    return [row.locator("td").all_text_contents() for row in table.locator("tbody tr").all()]


def test_the_page_of_a_run_shows_its_scores_and_its_neurons(finished: Config, show: Opener) -> None:
    layout = Layout(finished.out)
    page, found = show(layout.report / "report.html"), read_found(layout)
    assert page.locator("h1").text_content() == "toy"
    assert "trained for 16 updates" in (page.locator("header").first.text_content() or "")
    told = page.locator("#findings li").all_text_contents() + page.locator("#caveats li").all_text_contents()
    assert {line["text"] for line in found["summary"]} < set(told)
    summary = (layout.report / "summary.md").read_text(encoding="utf-8")
    assert all(f"- {line}" in summary for line in told)
    averages = json.loads((layout.report / "tables" / "averages.json").read_text(encoding="utf-8"))
    shown = read_cells(page, "Averages over directions")
    assert [row[0] for row in shown] == [row["system"] for row in averages]
    for row, numbers in zip(shown, averages, strict=True):
        assert f"{numbers['BLEU from en']:.1f}" in row[1]
    assert page.locator("#figures img").count() == 3
    widths = "images => Promise.all(images.map(one => one.decode().then(() => one.naturalWidth)))"
    assert all(width > 100 for width in page.locator("#figures img").evaluate_all(widths))
    page.locator("#heatmap").focus()
    page.locator("#heatmap").press("ArrowRight")
    assert "IoU" in (page.locator("#overlap-reading").text_content() or "")


def test_the_page_shows_the_curves_of_the_logs(finished: Config, show: Opener) -> None:
    layout = Layout(finished.out)
    page = show(layout.report / "report.html")
    entries = {one: read_log(layout.training(one) / "log.jsonl") for one in ("pretrained", *finished.methods)}
    with (layout.report / "figures" / "training.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    # The figure holds every validation loss of every training, direction by direction
    losses = [loss for log in entries.values() for entry in log for loss in entry["valid"]["loss"].values()]
    assert sorted(float(row["value"]) for row in rows if row["curve"] == "validation loss") == sorted(losses)
    points = [point[1] for log in entries.values() for entry in log for point in entry["train"]["points"]]
    assert sorted(float(row["value"]) for row in rows if row["curve"] == "training loss") == sorted(points)

    page.locator("#curves [data-control=training]").select_option("pretraining")
    page.locator("#curves-table button").click()
    shown = [row.locator("td").all_text_contents() for row in page.locator("#curves-table tbody tr").all()]
    assert [float(value) for (value,) in shown] == [
        pytest.approx(entry["valid"]["loss"]["all"], rel=1e-3) for entry in entries["pretrained"]
    ]


def test_the_page_of_the_neurons_alone_opens_too(finished: Config, show: Opener) -> None:
    layout = Layout(finished.out)
    page, found = show(layout.analysis / "report.html"), read_found(layout)
    assert page.locator("h1").text_content() == "toy"
    lines = page.locator("#findings li").all_text_contents() + page.locator("#caveats li").all_text_contents()
    assert sorted(lines) == sorted(line["text"] for line in found["summary"])
    for card in found["cards"]["languages"][:1]:
        name = card["neurons"][0]["id"]
        page.locator(f"[data-neuron='{name}']").first.click()
        owners = found["cards"]["neurons"][name]["owners"]
        assert all(owner in (page.locator("#neuron").text_content() or "") for owner in owners)


@pytest.mark.parametrize("place", ["analyze", "report"])
def test_a_hostile_corpus_is_shown_and_does_not_run(hostile: Layout, show: Opener, place: str) -> None:
    found = read_found(hostile)
    page = show(hostile.out / place / "report.html")
    assert page.locator("h1").text_content() == "hostile <script>window.hacked=1</script>"
    shown = ""
    for name, neuron in found["cards"]["neurons"].items():
        if neuron["examples"] and page.locator(f"[data-neuron='{name}']").count():
            page.locator(f"[data-neuron='{name}']").first.click()
            shown += "\n".join(page.locator("#neuron .example-text").all_text_contents())
    assert all("".join(attack.split()) in "".join(shown.split()) for attack in ATTACKS)
    page.locator("#search").fill("<img src=x onerror=window.hacked=1>")
    for button in page.locator(".as-table > button").all():
        button.click()
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.hacked === undefined")


def test_the_corpus_cannot_end_the_script_of_the_page(hostile: Layout) -> None:
    """Also where there is no browser to see it."""
    for place in (hostile.analysis, hostile.report):
        text = (place / "report.html").read_text(encoding="utf-8")
        assert text.count("<script") == text.count("</script") == 2
        assert "<img src=x" not in text
        assert "<title>hostile &lt;script&gt;window.hacked=1" in text
    assert "script" in "".join(read_found(hostile)["cards"]["sentences"][0]["text"])
