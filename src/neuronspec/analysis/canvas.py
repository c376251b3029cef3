"""The canvas of all figures: size, fonts and colours, and writing SVG, PNG and CSV with equal bytes for equal input."""

from __future__ import annotations

import contextlib
import csv
import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib import font_manager, style
from matplotlib.figure import Figure

from neuronspec.errors import NeuronspecWarning
from neuronspec.files import publish, write_text

# Okabe and Ito's colour-blind-safe palette without black; past its end the same colours return hatched.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
HATCHES = ("", "////", "xxxx", "----", "||||", "++++")
STACKS = {"encoder": "#0072B2", "decoder": "#D55E00"}
GREY = "#555555"
# Tried in this order, character by character, where installed.
# fmt: off
FONTS = ["DejaVu Sans", "Noto Sans", *(f"Noto Sans {script}" for script in (
    "Devanagari", "Bengali", "Gujarati", "Gurmukhi", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala",
    "Thai", "Khmer", "Myanmar", "Tibetan", "Ethiopic", "CJK SC", "CJK JP", "CJK KR",
)), "Arial Unicode MS", "Unifont"]
# fmt: on


@contextlib.contextmanager
def open_figure(width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """Yield a figure whose axes measure `width` by `height` inches; labels stick out and widen the page."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    look = {
        "font.family": "sans-serif",
        "font.sans-serif": [font for font in FONTS if font in installed],
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "neuronspec",
        "text.parse_math": False,  # a label may hold a dollar sign
    }
    with style.context(["default", look]):  # whatever the user's own matplotlibrc says
        figure = Figure(figsize=(width, height))
        yield figure, figure.add_axes((0, 0, 1, 1))


def save_figure(figure: Any, stem: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[Path]:
    """Write a figure as SVG and PNG, and the numbers behind it as CSV; return the three paths."""
    # not with_suffix: a stem such as `decoder.0` has a dot of its own
    svg, png, table = (stem.with_name(f"{stem.name}.{suffix}") for suffix in ("svg", "png", "csv"))
    page = {"bbox_inches": "tight", "pad_inches": 0.1}
    dpi = min(200, 8000 / max(figure.get_size_inches()))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with publish(svg) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None}, **page)
        with publish(png) as temporary:
            figure.savefig(temporary, format="png", dpi=dpi, **page)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(table, text.getvalue())
    _repeat_warnings(caught, png)
    return [svg, png, table]


def _repeat_warnings(caught: Iterable[warnings.WarningMessage], png: Path) -> None:
    """Pass warnings on, those about single characters without a font as one."""
    missing = False
    for warning in caught:
        if "missing from" in str(warning.message):
            missing = True
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if missing:
        warnings.warn(
            f"no installed font has all characters of the labels in {png}; the SVG keeps them as text. "
            "Install the Noto Sans fonts or use Latin labels",
            NeuronspecWarning,
            stacklevel=4,
        )
