"""Cells of a matrix: labels of rows and columns, lines between them, values in them, and the scale of colors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection

from neuronspec.figures.canvas import COLUMN, LABEL, PAGE, SMALL, add_side_axes

MAX_ANNOTATED = 12  # larger matrices show no values


def label_rows(axis: Any, labels: Sequence[str], row: float, pad: float, rotation: float = 0) -> None:
    """Label the rows (or columns) of a matrix, each `row` inches wide."""
    # 72 points to an inch, of which letters take 85 %
    axis.set_ticks(range(len(labels)), labels)
    axis.set_tick_params(length=0, pad=pad, labelsize=_size_labels(row), labelrotation=rotation)


def _size_labels(row: float) -> float:
    return min(SMALL, row * 72 * 0.85)


def turn_labels(labels: Sequence[str], column: float) -> float:
    """Return by how many degrees to turn the labels of columns that are `column` inches wide."""
    # A letter is about 0.65 times as wide as high
    longest = max(map(len, labels)) * 0.65 * _size_labels(column) / 72  # inches
    return 0 if longest < column else 90


def choose_page(rows: int) -> float | None:
    """Return the width in inches of a figure of a matrix: that of a column or of a page; None if it needs more."""
    # In a column, cells have room for values; on a page, labels are still read
    if rows <= 8:
        return COLUMN
    return PAGE if rows <= 56 else None


def draw_grid(axes: Any, rows: int, columns: int) -> None:
    """Separate the cells of a matrix by white lines."""
    left, right = -0.5, columns - 0.5
    top, bottom = -0.5, rows - 0.5

    # Cells reach half a unit to either side of their whole numbers
    vertical = [((at, top), (at, bottom)) for at in np.arange(columns + 1) - 0.5]
    horizontal = [((left, at), (right, at)) for at in np.arange(rows + 1) - 0.5]

    # Thinner in large matrices, whose cells the lines would fill
    width = min(0.8, 20 / max(rows, columns))
    axes.add_collection(LineCollection([*vertical, *horizontal], colors="white", linewidths=width))
    axes.spines[:].set_visible(False)


def annotate_cells(axes: Any, shades: Any, template: str, cell: float) -> None:
    """Print the values into the cells, `cell` inches wide, of a matrix drawn by `imshow`, if it is small enough."""
    matrix = np.asarray(shades.get_array())
    if max(matrix.shape) > MAX_ANNOTATED:
        return

    # As large as the longest value allows, whose digits are 0.64 times as wide as high
    longest = max(len(template.format(value)) for value in matrix.flat)
    size = min(SMALL, cell * 72 * 0.94 / (0.64 * longest))

    for (row, column), value in np.ndenumerate(matrix):
        # White on dark cells; the weights are how bright the eye sees red, green and blue
        brightness = float(np.dot(shades.to_rgba(value)[:3], (0.299, 0.587, 0.114)))
        ink = "white" if brightness < 0.5 else "black"
        is_zero = not float(template.format(value))
        text = template.format(0.0 if is_zero else value)  # no "-0.00"
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=size)


def draw_colorbar(figure: Any, shades: Any, label: str) -> None:
    """Draw the scale of colors to the right of a figure's first axes."""
    # Arrows at the ends where values lie beyond the limits
    low, high = shades.get_clim()
    matrix = np.asarray(shades.get_array())
    beyond = matrix.min() < low, matrix.max() > high
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get(beyond, "neither")

    # In axes of its own, aligned with the top of the matrix
    bar = add_side_axes(figure, gap=0.08, width=0.09, length=3.0)
    figure.colorbar(shades, cax=bar, extend=extend)
    bar.set_ylabel(label, fontsize=LABEL)
    bar.tick_params(labelsize=SMALL)
