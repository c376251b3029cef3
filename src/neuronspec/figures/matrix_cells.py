"""Cells of a matrix: labels of rows and columns, lines between them, values in them, and the scale of colors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection

from neuronspec.figures.canvas import add_axes, font_size

MAX_ANNOTATED = 12  # larger matrices show no values


def label_rows(axis: Any, labels: Sequence[str], row: float, pad: float, rotation: float = 0) -> None:
    """Label the rows (or columns) of a matrix, each `row` inches wide."""
    # 72 points to an inch, of which letters take 85 %
    axis.set_ticks(range(len(labels)), labels)
    axis.set_tick_params(length=0, pad=pad, labelsize=min(10.0, row * 72 * 0.85), labelrotation=rotation)


def turn_labels(labels: Sequence[str], column: float) -> float:
    """Return by how many degrees to turn the labels of columns that are `column` inches wide."""
    # A character takes about 0.1 inches
    longest = max(map(len, labels)) * 0.1  # inches
    return 0 if longest < column else 90


def draw_grid(axes: Any, rows: int, columns: int) -> None:
    """Separate the cells of a matrix by white lines."""
    left, right = -0.5, columns - 0.5
    top, bottom = -0.5, rows - 0.5

    # Cells reach half a unit to either side of their whole numbers
    vertical = [((at, top), (at, bottom)) for at in np.arange(columns + 1) - 0.5]
    horizontal = [((left, at), (right, at)) for at in np.arange(rows + 1) - 0.5]

    # Thinner in large matrices, whose cells the lines would fill
    width = min(1.0, 30 / max(rows, columns))
    axes.add_collection(LineCollection([*vertical, *horizontal], colors="white", linewidths=width))
    axes.spines[:].set_visible(False)


def annotate_cells(axes: Any, shades: Any, template: str) -> None:
    """Print the values into the cells of a matrix drawn by `imshow`, if it is small enough."""
    matrix = np.asarray(shades.get_array())
    if max(matrix.shape) > MAX_ANNOTATED:
        return

    for (row, column), value in np.ndenumerate(matrix):
        # White on dark cells; the weights are how bright the eye sees red, green and blue
        brightness = float(np.dot(shades.to_rgba(value)[:3], (0.299, 0.587, 0.114)))
        ink = "white" if brightness < 0.5 else "black"
        is_zero = not float(template.format(value))
        text = template.format(0.0 if is_zero else value)  # no "-0.00"
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=9)


def draw_colorbar(figure: Any, shades: Any, label: str) -> None:
    """Draw the scale of colors to the right of a figure's first axes."""
    width, height = figure.get_size_inches()
    length, size = min(height, 6), font_size(width)

    # Arrows at the ends where values lie beyond the limits
    low, high = shades.get_clim()
    matrix = np.asarray(shades.get_array())
    beyond = matrix.min() < low, matrix.max() > high
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get(beyond, "neither")

    # In axes of its own, aligned with the top of the matrix
    bar = add_axes(figure, width + 0.25, height - length, width=0.2, height=length)
    figure.colorbar(shades, cax=bar, extend=extend)
    bar.set_ylabel(label, fontsize=size)
    bar.tick_params(labelsize=size)
