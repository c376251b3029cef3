"""Canvas of all figures: size, fonts, colors, shared parts, and writing SVG, PNG and CSV.

The same input gives the same bytes on one machine (another machine may have other fonts). matplotlib 3.11 and later
shapes Arabic, Hebrew, Devanagari and similar scripts in the PNG; older versions draw their letters one by one, in
reading order from the left. The SVG keeps text as text, which the browser shapes.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import cbook, colors, font_manager, style
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from neuronspec.errors import NeuronspecError, NeuronspecWarning
from neuronspec.files import format_csv, publish, write_text
from neuronspec.layer_names import Stack, place_of

# Okabe and Ito's color-blind-safe palette without black; past its end the same colors return hatched.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
HATCHES = ("", "////", "xxxx", "----", "||||", "++++")
MARKERS = "osD^v<>"
STACK_COLORS: dict[Stack, str] = {"encoder": "#0072B2", "decoder": "#D55E00"}

# Lines and text that belong to no group
GRAY = "#555555"

# Our name of each number of a box -> matplotlib's
BOX_STATISTICS = {"mean": "mean", "median": "med", "q1": "q1", "q3": "q3", "low": "whislo", "high": "whishi"}

# Fonts are tried in this order, character by character, where they are installed.
# fmt: off
FONTS = ["DejaVu Sans", "Noto Sans", *(f"Noto Sans {script}" for script in (
    "Arabic", "Hebrew", "Armenian", "Georgian", "Devanagari", "Bengali", "Gujarati", "Gurmukhi", "Oriya", "Tamil",
    "Telugu", "Kannada", "Malayalam", "Sinhala", "Ol Chiki", "Meetei Mayek", "Thai", "Lao", "Khmer", "Myanmar",
    "Ethiopic", "Tifinagh", "CJK SC", "CJK JP", "CJK KR",
)), "Noto Serif Tibetan", "Arial Unicode MS", "Nirmala UI", "Ebrima", "Microsoft YaHei", "Malgun Gothic", "Unifont"]
# fmt: on


@contextlib.contextmanager
def open_figure(width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """Yield a figure whose axes are `width` by `height` inches; labels stick out and widen the page."""
    look = {
        # By name: matplotlib does not look beyond the first font of a generic family such as sans-serif
        "font.family": _list_fonts(),
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "neuronspec",
        "text.parse_math": False,  # a label may hold a dollar sign
    }

    # The user's own matplotlibrc does not matter.
    with style.context(["default", look]):
        figure = Figure(figsize=(width, height))
        yield figure, figure.add_axes((0, 0, 1, 1))


def add_axes(figure: Any, left: float, bottom: float, width: float, height: float, **options: Any) -> Any:
    """Add axes to a figure, measured in inches from the lower left corner of its first axes."""
    # matplotlib measures in shares of the page
    page = figure.get_size_inches()
    return figure.add_axes((left / page[0], bottom / page[1], width / page[0], height / page[1]), **options)


def save_figure(figure: Any, stem: Path, *, header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[Path]:
    """Write a figure as SVG and PNG, and the numbers behind it as CSV.

    Args:
        figure: Figure to write.
        stem: Path of the files, without the suffix.
        header: Titles of the columns of the CSV.
        rows: Rows of the CSV.

    Returns:
        The paths of the written files: SVG, PNG, CSV.
    """
    # Not with_suffix: a stem such as `decoder.0` has a dot of its own.
    svg, png, table = (stem.with_name(f"{stem.name}.{suffix}") for suffix in ("svg", "png", "csv"))

    # At most 8000 pixels for the longer side of the axes, however many tasks there are
    dpi = min(200, 8000 / max(figure.get_size_inches()))
    drawing = io.StringIO()

    # Every character without a font has a warning of its own; they are collected and reported as one
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        page = {"bbox_inches": figure.get_tightbbox().padded(0.1)}  # laid out once for both
        figure.savefig(drawing, format="svg", metadata={"Date": None}, **page)
        with publish(png) as temporary:
            figure.savefig(temporary, format="png", dpi=dpi, **page)

    # A viewer of SVG finds fonts by itself: dozens of names at every label would only make the file large.
    all_fonts = ", ".join(map(repr, _list_fonts()))
    write_text(svg, drawing.getvalue().replace(all_fonts, "'DejaVu Sans', sans-serif"))
    write_text(table, format_csv([header, *rows]))
    _repeat_warnings(caught, png)
    return [svg, png, table]


def choose_style(index: int) -> dict[str, Any]:
    """Return the color and the marker of the line with this number."""
    return {"color": PALETTE[index % len(PALETTE)], "marker": MARKERS[index % len(MARKERS)]}


def paint_groups(groups: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return how to fill the area of each group, in the order of their first appearance; `""` is no group."""
    # All colors plain, then all of them hatched: more groups than colors stay different
    fills = {}
    for index, group in enumerate(dict.fromkeys(filter(None, groups))):
        fills[group] = {
            "facecolor": PALETTE[index % len(PALETTE)],
            "hatch": HATCHES[index // len(PALETTE) % len(HATCHES)],
            "edgecolor": "white",
            "linewidth": 0,
        }
    return fills


def draw_boxes(
    axes: Any, boxes: Sequence[Mapping[str, Any]], places: Sequence[float], *, color: str, width: float
) -> None:
    """Draw boxes from `summarize_box`: the middle half, the median, and whiskers."""
    line = {"color": color}
    axes.bxp(
        boxes,
        positions=places,
        widths=width,
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": colors.to_rgba(color, 0.25), "edgecolor": color},
        medianprops=line,
        whiskerprops=line,
        capprops=line,
    )


def summarize_box(values: NDArray[np.float64]) -> Any:
    """Return mean, median, quartiles and the ends of the whiskers, under matplotlib's names (see `BOX_STATISTICS`)."""
    return cbook.boxplot_stats(values)[0]


def list_box(box: Mapping[str, Any]) -> list[float]:
    """Return the numbers of a box in the order of `BOX_STATISTICS`."""
    return [float(box[name]) for name in BOX_STATISTICS.values()]


def draw_legend(axes: Any, **options: Any) -> None:
    """Put the legend to the right of the axes, where it hides nothing."""
    axes.legend(**{"loc": "upper left", "bbox_to_anchor": (1.01, 1), "frameon": False, **options})


def font_size(width: float) -> float:
    """Return the size in points of titles and legends on a figure of `width` inches."""
    return float(np.clip(width * 1.1, 9, 16))


def sort_layers(layers: Iterable[str]) -> list[str]:
    """Return layers in the order of the data: the encoder before the decoder, then by number."""
    names = sorted(layers, key=place_of)
    if not names:
        raise NeuronspecError("found no layers to draw, expected one or more")
    return names


def check_values(what: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return values as float64 after checking that there are some and all are finite; errors call them `what`."""
    # matplotlib would leave out what is not finite without a word
    numbers = np.asarray(values, dtype=np.float64)
    if not numbers.size or not np.isfinite(numbers).all():
        raise NeuronspecError(f"found no values for {what}, or some that are not finite; expected finite numbers")
    return numbers


def _list_fonts() -> list[str]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [font for font in FONTS if font in installed]


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
