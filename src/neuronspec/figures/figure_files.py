"""Files of a figure: SVG, PNG and PDF of the picture, and CSV of the numbers behind it.

The same input gives the same bytes on one machine (another machine may have other fonts). matplotlib 3.11 and later
shapes Arabic, Hebrew, Devanagari and similar scripts in PNG and PDF; older versions draw their letters one by one, in
reading order from the left. The SVG keeps text as text, which the browser shapes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.transforms import Bbox

from neuronspec.errors import NeuronspecWarning
from neuronspec.figures.canvas import list_fonts
from neuronspec.files import format_csv, publish, write_text

SUFFIXES: Final = ("svg", "png", "csv", "pdf")
"""Suffixes of the files of a figure, in the order in which they are returned."""

DPI = 300
MAX_PIXELS = 4_800  # of the longer side, however many tasks there are
MARGIN = 0.03  # inches around the picture
TOLERANCE = 0.02  # inches between the width that was asked for and what labels take


def save_figure(
    figure: Any,
    stem: Path,
    *,
    title: str,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    width: float | None = None,
    square: bool = False,
) -> list[Path]:
    """Write a figure as SVG, PNG and PDF, and the numbers behind it as CSV.

    Args:
        figure: Figure to write.
        stem: Path of the files, without the suffix.
        title: Title of the figure. It stands in the files' metadata only, because a paper has it in the caption.
        header: Titles of the columns of the CSV.
        rows: Rows of the CSV.
        width: Width of the picture in inches, to which the axes are stretched; None leaves them as they are.
        square: Whether the height follows the width.

    Returns:
        The paths of the written files: SVG, PNG, CSV, PDF.
    """
    # Not with_suffix: a stem such as `decoder.0` has a dot of its own.
    svg, png, table, pdf = (stem.with_name(f"{stem.name}.{suffix}") for suffix in SUFFIXES)
    drawing = io.StringIO()

    # Every character without a font has a warning of its own; they are collected and reported as one
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        box = _fit_width(figure, width, square)
        dpi = min(DPI, MAX_PIXELS / max(box.width, box.height))

        page = {"bbox_inches": box}  # laid out once for all
        figure.savefig(drawing, format="svg", metadata={"Date": None, "Title": title}, **page)
        with publish(png) as temporary:
            figure.savefig(temporary, format="png", dpi=dpi, metadata={"Title": title}, **page)
        with publish(pdf) as temporary:
            figure.savefig(temporary, format="pdf", metadata={"CreationDate": None, "Title": title}, **page)

    # A viewer of SVG finds fonts by itself: dozens of names at every label would only make the file large.
    all_fonts = ", ".join(map(repr, list_fonts()))
    write_text(svg, drawing.getvalue().replace(all_fonts, "'DejaVu Sans', sans-serif"))
    write_text(table, format_csv([header, *map(_clear_signs, rows)]))
    _repeat_warnings(caught, png)
    return [svg, png, table, pdf]


def _fit_width(figure: Any, width: float | None, square: bool) -> Bbox:
    """Stretch the axes until the picture has a width, and return the box of the picture, in inches."""
    box: Bbox = figure.get_tightbbox().padded(MARGIN)
    if width is None:
        return box

    # Labels keep their size, so that one step is nearly always enough
    for _ in range(2):
        excess = box.width - width
        if abs(excess) < TOLERANCE:
            break

        # What does not stretch: axes with a locator keep their size
        edges = [axes.get_position() for axes in figure.axes if axes.get_axes_locator() is None]
        page = figure.get_size_inches()
        content = (max(edge.x1 for edge in edges) - min(edge.x0 for edge in edges)) * page[0]
        factor = max(0.5, 1 - excess / content)
        figure.set_size_inches(page[0] * factor, page[1] * (factor if square else 1))
        box = figure.get_tightbbox().padded(MARGIN)

    # Exactly this width, unless something would be cut off
    missing = max(0.0, width - box.width) / 2
    return Bbox.from_extents(box.x0 - missing, box.y0, box.x1 + missing, box.y1)


def _clear_signs(row: Sequence[object]) -> list[object]:
    """Return a row without negative zeros."""
    return [value + 0.0 if isinstance(value, float) else value for value in row]


def _repeat_warnings(caught: Iterable[warnings.WarningMessage], png: Path) -> None:
    """Pass warnings on, those about single characters without a font as one."""
    missing = False
    for warning in caught:
        # matplotlib's words for a character that no font has
        if "missing from" in str(warning.message):
            missing = True
        else:
            warnings.warn_explicit(warning.message, warning.category, filename=warning.filename, lineno=warning.lineno)
    if missing:
        warnings.warn(
            f"no installed font has all characters of the labels in {png}; the SVG keeps them as text. "
            "Install the Noto Sans fonts or use Latin labels; matplotlib finds new fonts once "
            f"{matplotlib.get_cachedir()}/fontlist-*.json is deleted",
            NeuronspecWarning,
            stacklevel=4,
        )
