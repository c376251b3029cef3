"""The three files of the page: markup, style and script, each joined from smaller ones."""

from __future__ import annotations

from importlib import resources

from neuronspec.report.page_assets import read_asset

DOCS = "https://github.com/neuronspec/neuronspec/blob/main/docs"

# From the report, so that both look and mark words in the same way
SHARED_STYLES = ("page", "controls", "charts", "tables", "cards", "marks")
SHARED_SCRIPTS = ("numbers", "colors", "elements", "theme", "word_difference")

SCRIPTS = ("service", "sides", "neurons", "start")


def read_markup() -> str:
    """Return the HTML of the page."""
    return _read("page.html").replace("{{docs}}", DOCS)


def join_styles() -> str:
    """Return the style of the page; what narrow screens change comes last.

    Example:
        >>> "--accent" in join_styles()
        True
    """
    shared = [read_asset(f"{name}.css") for name in SHARED_STYLES]
    return "\n".join([*shared, _read("page.css"), read_asset("narrow.css")])


def join_scripts() -> str:
    """Return the scripts of the page as one: the service, what the page shows, and the start.

    Example:
        >>> join_scripts().startswith('"use strict";')
        True
    """
    first, *others = SCRIPTS
    shared = [read_asset(f"{name}.js") for name in SHARED_SCRIPTS]
    return "\n".join([_read(f"{first}.js"), *shared, *(_read(f"{name}.js") for name in others)])


def _read(name: str) -> str:
    return (resources.files("neuronspec.serving.page") / name).read_text(encoding="utf-8")
