"""A real browser for tests of pages; they are skipped where there is none."""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE_IN_BROWSER = 120_000
"""Milliseconds: a busy machine may be slow, and no test depends on speed."""
NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


def find_chromium() -> str | None:
    """Return the path of the installed Chromium or Chrome, `NEURONSPEC_CHROMIUM` first."""
    return os.environ.get("NEURONSPEC_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start one Chromium for all tests; skip them where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    path = find_chromium()
    if path is None:
        pytest.skip(f"needs a browser: install one of {', '.join(NAMES)}, or set NEURONSPEC_CHROMIUM to its path")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=list(OPTIONS))
        yield chromium
        chromium.close()
        _end_children()


def _end_children() -> None:
    """End the processes that tests have left: a fork holds the driver's pipes open, which would then never end."""
    gc.collect()
    for child in multiprocessing.active_children():
        child.kill()
        child.join()


@contextmanager
def watch_pages(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open files as pages, each in a context of its own with some options.

    Afterwards nothing was logged, and nothing but the files was asked for.
    """
    opened = 0
    with watch_addresses(browser) as (open_address, asked):

        def open_page(path: Path, address: str = "", **options: Any) -> Page:
            nonlocal opened
            opened += 1
            return open_address(path.as_uri() + address, **options)

        yield open_page
    assert len([url for url in asked if not url.startswith("data:")]) == opened
    assert all(url.startswith(("file:", "data:")) for url in asked)


@contextmanager
def watch_addresses(
    browser: Browser, allowed: Callable[[str], bool] = lambda problem: False
) -> Iterator[tuple[Callable[..., Page], list[str]]]:
    """Open addresses as pages, each in a context of its own with some options, and list what is asked for.

    Afterwards nothing was logged but what is allowed.
    """
    problems: list[str] = []
    asked: list[str] = []
    contexts = []

    def open_address(address: str, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}} | options)
        context.set_default_timeout(PATIENCE_IN_BROWSER)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        return page

    yield open_address, asked
    for context in contexts:
        context.close()
    assert [problem for problem in problems if not allowed(problem)] == []
