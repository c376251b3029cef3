"""The files that the page is made of: its frame, style, scripts, and a section in each place."""

from __future__ import annotations

import re
from importlib import resources

SECTIONS = (
    # The first screen: what was found
    "summary",
    "scores",
    "ablation",
    # What was translated
    "translations",
    # What the neurons share
    "overlap",
    "tree",
    "progression",
    "sparsity",
    # How it was trained
    "curves",
    # To look up
    "neurons",
    "tables",
    "figures",
    # How it was done
    "methods",
    "signature",
    "citation",
)
"""Sections in the order of the page. Each is `sections/NAME.html`, with `NAME.js` that fills it and, where it needs
one, a style of its own, `NAME.css`. `data-part` in the HTML names the part of the payload that it shows."""

FIRST_SCRIPTS = (
    # What is shown: the payload, the elements, numbers and colors of the page, and its state
    *("payload", "numbers", "colors", "elements", "packed_pairs", "families", "state", "theme", "controls"),
    *("texts", "glossary"),
    # What several sections draw with
    *("grids", "sortable_table", "bars", "matrix", "matrix_drawing", "axes", "layer_chart"),
    *("language_card", "neuron_card"),
    *("word_difference", "sentences", "sentence_item", "sentence_counts", "gain_bars"),
    "curve_chart",
    # Sections register themselves here
    "page_sections",
)
LAST_SCRIPTS = ("start",)

FIRST_STYLES = ("page", "controls", "charts", "tables", "cards", "marks")
LAST_STYLES = ("narrow", "print")


def read_frame() -> str:
    """Return the HTML around the sections, with `{{name}}` where something is filled in."""
    return _read("assets", "page.html")


def join_sections() -> str:
    """Return the HTML of all sections in the order of the page.

    Example:
        >>> join_sections().count("<section") == len(SECTIONS)
        True
    """
    return "\n".join(_read("sections", f"{name}.html") for name in SECTIONS)


def join_scripts() -> str:
    """Return all scripts as one: what sections use, the sections, and the start."""
    return "\n".join(
        [
            *(_read("assets", f"{name}.js") for name in FIRST_SCRIPTS),
            *(_read("sections", f"{name}.js") for name in SECTIONS),
            *(_read("assets", f"{name}.js") for name in LAST_SCRIPTS),
        ]
    )


def join_styles() -> str:
    """Return all styles as one: the page, the sections, and last what narrow screens and paper change."""
    own = [f"{name}.css" for name in SECTIONS]
    return "\n".join(
        [
            *(_read("assets", f"{name}.css") for name in FIRST_STYLES),
            *(_read("sections", name) for name in own if _folder("sections").joinpath(name).is_file()),
            *(_read("assets", f"{name}.css") for name in LAST_STYLES),
        ]
    )


def read_asset(name: str) -> str:
    """Return the text of a style or script that other pages share with the report.

    Example:
        >>> "--accent" in read_asset("page.css")
        True
    """
    return _read("assets", name)


def list_parts() -> dict[str, str]:
    """Return the section -> the part of the payload that it shows.

    Example:
        >>> list_parts()["overlap"]
        'iou'
    """
    parts = re.findall(r'<section id="(\w+)" data-part="(\w+)"', join_sections())
    return dict(parts)


def _read(folder: str, name: str) -> str:
    return _folder(folder).joinpath(name).read_text(encoding="utf-8")


def _folder(name: str) -> resources.abc.Traversable:
    return resources.files("neuronspec.report") / name
