"""Canvas of all figures: sizes that fit a paper, fonts, colors, and parts that figures share."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib import cbook, colors, font_manager, style
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike, NDArray

from neuronspec.errors import NeuronspecError
from neuronspec.figures.family_colors import PALETTE
from neuronspec.layer_names import Stack, place_of

# Widths in inches of a column and of a page of the ACL style
COLUMN: Final = 3.03
PAGE: Final = 6.3

# Sizes of text in points: labels of axes; ticks and legends; and the smallest that is still read on paper
LABEL: Final = 8.0
SMALL: Final = 7.0
TINY: Final = 5.5

MARKERS = "osD^v<>"
STACK_COLORS: dict[Stack, str] = {"encoder": "#0072B2", "decoder": "#D55E00"}

# Lines and text that belong to no group
GRAY = "#555555"

# A legend without a frame, close to what it explains
FRAMELESS: Final[dict[str, Any]] = {
    "frameon": False,
    "borderpad": 0,
    "borderaxespad": 0.3,
    "columnspacing": 1.2,
    "handlelength": 1.6,
    "handletextpad": 0.5,
}

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


_LOOK: Final[dict[str, Any]] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "neuronspec",
    "pdf.fonttype": 42,  # TrueType, as publishers ask
    "text.parse_math": False,  # a label may hold a dollar sign
    "font.size": LABEL,
    "axes.titlesize": LABEL,
    "axes.labelsize": LABEL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "axes.linewidth": 0.6,
    "axes.labelpad": 3,
    "axes.titlepad": 4,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.pad": 2.5,
    "ytick.major.pad": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.7,
}


@contextlib.contextmanager
def open_figure(width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """Yield a figure whose axes are `width` by `height` inches; labels stick out and widen the page."""
    # By name: matplotlib does not look beyond the first font of a generic family such as sans-serif
    look = {"font.family": list_fonts(), **_LOOK}

    # The user's own matplotlibrc does not matter.
    with style.context(["default", look]):
        figure = Figure(figsize=(width, height))
        yield figure, figure.add_axes((0, 0, 1, 1))


def add_axes(figure: Any, left: float, bottom: float, width: float, height: float, **options: Any) -> Any:
    """Add axes to a figure, measured in inches from the lower left corner of its first axes."""
    # matplotlib measures in shares of the page
    page = figure.get_size_inches()
    return figure.add_axes((left / page[0], bottom / page[1], width / page[0], height / page[1]), **options)


def add_side_axes(figure: Any, gap: float, width: float, length: float) -> Any:
    """Add axes to the right of a figure's first axes, aligned with their top; they keep their size in inches.

    Args:
        figure: Figure with its first axes.
        gap: Distance from the first axes in inches.
        width: Width in inches.
        length: Largest height in inches; lower where the first axes are.
    """
    first, side = figure.axes[0], figure.add_axes((0, 0, 1, 1))

    def locate(axes: Any, renderer: Any) -> Bbox:
        # Where the first axes really are: a square matrix does not fill its place
        page = figure.get_size_inches()
        first.apply_aspect()
        box = first.get_position()
        height = min(box.height, length / page[1])
        return Bbox.from_bounds(box.x1 + gap / page[0], box.y1 - height, width / page[0], height)

    side.set_axes_locator(locate)
    return side


def choose_style(index: int) -> dict[str, Any]:
    """Return the color and the marker of the line with this number."""
    return {"color": PALETTE[index % len(PALETTE)], "marker": MARKERS[index % len(MARKERS)]}


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


def draw_legend(axes: Any, *, width: float, top: float = 0.0, middle: float = 0.5, **options: Any) -> None:
    """Put the legend above the axes, where it hides nothing, in as many columns as fit.

    Args:
        axes: Axes that the legend explains.
        width: Width in inches that the legend may take.
        top: Distance from the axes in inches.
        middle: Middle of the legend, in widths of the axes.
        **options: Options of matplotlib's legend.
    """
    handles = options.pop("handles", None)
    if handles is None:
        handles = axes.get_legend_handles_labels()[0]
    if not handles:
        return

    # Above the axes, measured in their heights
    height = axes.get_position().height * axes.figure.get_size_inches()[1]
    labels = [handle.get_label() for handle in handles]
    axes.legend(
        handles=handles,
        ncols=count_columns(labels, width),
        loc="lower center",
        bbox_to_anchor=(middle, 1 + top / height),
        **{**FRAMELESS, **options},
    )


def count_columns(labels: Sequence[str], width: float) -> int:
    """Return in how many columns the entries of a legend stand, so that it is not wider than `width` inches."""
    # A letter is about 0.55 times as wide as high; the sign in front of it and the gap after it take 4 heights.
    column = SMALL / 72 * (0.55 * max(map(len, labels)) + 4)  # inches
    lines = math.ceil(len(labels) / max(1, width // column))
    return math.ceil(len(labels) / lines)


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


def list_fonts() -> list[str]:
    """Return the fonts that are installed, in the order in which they are tried."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [font for font in FONTS if font in installed]
