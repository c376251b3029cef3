"""The part of the page with training curves, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.browser import watch_pages

from neuronspec.report.curves_part import show_curves
from neuronspec.report.page import write_report
from neuronspec.training.curves import TrainingCurve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TASKS = [f"l{i}-en" for i in range(200)]
SYSTEMS = ("Fine-tuning", "<b>Ours</b>")


def make_curve(start: float, tasks: list[str], updates: int = 100) -> TrainingCurve:
    halves = [updates // 2, updates]
    return TrainingCurve(
        updates=[*range(1, updates + 1)],
        losses=[start - 0.01 * i for i in range(updates)],
        learning_rates=[1e-4 * i for i in range(updates)],
        validations=halves,
        valid_losses={task: [start + 0.01 * i, start - 1 + 0.01 * i] for i, task in enumerate(tasks)},
        valid_loss=[start, start - 1],
        speeds=[1000.0, 1234.5],
    )


TRAININGS = {
    "pretraining": {"Pretrained": make_curve(7, TASKS, 10)},
    "continued training": {system: make_curve(4 + i, TASKS) for i, system in enumerate(SYSTEMS)},
}


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Open a page with curves, and watch it."""
    with watch_pages(browser) as open_page:

        def show_page(curves: Any, **options: Any) -> Page:
            payload = {"title": "t", "summary": [], "panels": {}, "layers": [], "curves": curves}
            return open_page(write_report(payload, tmp_path / "report.html"), **options)

        yield show_page


def choose(page: Page, control: str, value: str) -> None:
    page.locator(f"#curves [data-control='{control}']").select_option(value)


def count_lines(page: Page) -> int:
    return page.locator("#curves-plot [data-curve]").count()


def read_labels(page: Page) -> list[str]:
    return page.locator("#curves-plot text").all_text_contents()


def test_every_control_changes_the_chart(show: Callable[..., Page]) -> None:
    page = show(show_curves(TRAININGS))
    assert count_lines(page) == 2
    assert "validation loss (nats per token)" in read_labels(page)

    # One direction, then all 200 of both systems
    choose(page, "directions", "l7-en")
    assert count_lines(page) == 2
    choose(page, "directions", "each direction")
    assert count_lines(page) == 400

    # A system can be left out, and comes back
    page.get_by_role("button", name="<b>Ours</b>").click()
    assert count_lines(page) == 200
    page.get_by_role("button", name="Fine-tuning").click()
    assert "choose a system" in (page.locator("#curves-plot").text_content() or "")
    page.get_by_role("button", name="<b>Ours</b>").press("Enter")
    assert count_lines(page) == 200

    choose(page, "curve", "speed")
    assert page.locator("#curves [data-control=directions]").is_disabled()
    assert "speed (target tokens per second)" in read_labels(page)
    choose(page, "training", "pretraining")
    choose(page, "curve", "learning rate")
    page.get_by_label("log scale").check()
    assert "learning rate" in read_labels(page)
    assert not any("NaN" in str(path.get_attribute("d")) for path in page.locator("#curves-plot path").all())


def test_values_are_read_by_keys_and_by_the_pointer(show: Callable[..., Page]) -> None:
    page = show(show_curves(TRAININGS), color_scheme="dark")
    page.locator("#curves-plot svg").press("ArrowRight")
    reading = page.locator("#curves-reading")
    assert reading.text_content() == "Update 50 · Fine-tuning 4 · <b>Ours</b> 5"
    page.locator("#curves-plot svg").press("ArrowRight")
    assert reading.text_content() == "Update 100 · Fine-tuning 3 · <b>Ours</b> 4"

    # Of many lines, the one next to the pointer is read and stands out
    choose(page, "directions", "each direction")
    page.locator("#curves-plot svg").hover(position={"x": 300, "y": 60})
    assert page.locator("#curves-plot .near").count() == 1
    assert "<b>Ours</b>, l" in (reading.text_content() or "")


def test_smoothing_weighs_older_values_less(show: Callable[..., Page]) -> None:
    curve = make_curve(4, ["de-en"], 4)
    page = show(show_curves({"continued training": {"Ours": curve}}))
    assert page.locator("#curves [data-control=training]").count() == 0
    choose(page, "curve", "training loss")
    page.locator("#curves [data-control=smoothing]").fill("50")
    page.locator("#curves-table button").click()
    shown = page.locator("#curves-table td").all_text_contents()
    first, second = curve.losses[:2]
    assert [float(text) for text in shown[:2]] == pytest.approx([first, (0.5 * first + second) / 1.5], abs=1e-3)


def test_many_directions_stay_small() -> None:
    many = {"continued training": {f"system {i}": make_curve(4, TASKS, 200) for i in range(3)}}
    assert len(json.dumps(show_curves(many))) < 60_000
    assert show_curves({"pretraining": {}}) is None
