"""Heat map of the overlaps of a layer (paper Figures 1, 8, 9, 10)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronspec.analysis.overlap import check_iou
from neuronspec.errors import NeuronspecError
from neuronspec.figures.canvas import open_figure
from neuronspec.figures.family_strips import draw_family_legend, draw_family_strips, strip_width
from neuronspec.figures.figure_files import save_figure
from neuronspec.figures.matrix_cells import (
    annotate_cells,
    choose_page,
    draw_colorbar,
    draw_grid,
    label_rows,
    turn_labels,
)

# What the pictures of the released code show, and the ends of their scale of colors
RELEASED_FORMULA = "IoU^1.25 × 100"
RELEASED_LIMITS = (40, 80)


def draw_heatmap(
    iou: ArrayLike,
    labels: Sequence[str],
    groups: Sequence[str],
    path_stem: Path,
    title: str,
    *,
    limits: tuple[float, float] | None = None,
    released: bool = False,
) -> list[Path]:
    """Draw the IoU of every pair of tasks, in the order given, next to their families (paper Figures 1, 8, 9, 10).

    The colors show the raw IoU; their limits are printed at the color bar. Give `limits` to compare figures.

    Args:
        iou: (tasks, tasks) IoU.
        labels: Label of each row.
        groups: Group (family) of each row; `""` is no group. Put rows of one group side by side.
        path_stem: Path of the files to write, without the suffix.
        title: Title of the figure, for the metadata of its files: a paper has it in the caption.
        limits: IoU of the lightest and of the darkest color; by default the smallest and the largest IoU off the
            diagonal, rounded outwards to two decimals.
        released: Draw (and write into the CSV) what the released code's pictures show instead of the IoU: 100 *
            IoU ** 1.25 of the IoU cut to whole percents, with colors from 40 to 80. The title says so as well.

    Returns:
        The paths of the written files: SVG, PNG, CSV, PDF.

    Raises:
        NeuronspecError: If this is no IoU matrix, there is not one label and one group for each row, the limits are
            outside 0..1, or limits are given for the released code's picture, which has its own.
    """
    # There must be a label and a group for each row
    matrix = check_iou(iou, labels)
    check_iou(matrix, groups)
    low, high = _choose_limits(matrix, limits, released)
    if released:
        matrix = _compute_released(matrix)
        title = "; ".join(filter(None, [title, f"{RELEASED_FORMULA}, as the released code draws it"]))

    # As wide as a column or a page of a paper; more only if cells would be narrower than 0.09 inches
    size = len(matrix)
    page = choose_page(size)
    side = size * 0.09 if page is None else page - 0.9  # inches
    cell = side / size
    strip = strip_width(side, groups)

    with open_figure(side, side) as (figure, axes):
        # The matrix, and strips of family colors at its left and its top
        shades = axes.imshow(matrix, cmap="Blues", vmin=low, vmax=high, interpolation="none")
        draw_grid(axes, size, size)
        draw_family_strips(axes, groups, {"left": strip / side, "top": strip / side})

        # Labels of the rows stand outside the strip
        label_rows(axes.yaxis, labels, cell, pad=strip * 72 + 3)
        label_rows(axes.xaxis, labels, cell, pad=3, rotation=turn_labels(labels, cell))
        annotate_cells(axes, shades, "{:.0f}" if released else "{:.2f}", cell)
        shown = RELEASED_FORMULA if released else "IoU"
        draw_colorbar(figure, shades, f"{shown} (color limits {low:g} to {high:g})")
        draw_family_legend(axes, groups, width=page or side, bottom=1 + (strip + 0.03) / side)

        rows = ([label, group, *row] for label, group, row in zip(labels, groups, matrix.tolist(), strict=True))
        header = ["label", "group", *labels]
        return save_figure(figure, path_stem, title=title, header=header, rows=rows, width=page, square=True)


def _compute_released(iou: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the released code's pictures show: a power of the IoU in whole percents."""
    percents = np.floor(100 * iou + 1e-9)  # 0.29 * 100 is a little below 29
    return np.asarray(100 * (percents / 100) ** 1.25)


def _choose_limits(
    matrix: NDArray[np.float64], limits: tuple[float, float] | None, released: bool
) -> tuple[float, float]:
    """Return the values of the lightest and of the darkest color."""
    if released:
        if limits is not None:
            raise NeuronspecError(
                f"found the color limits {limits} for a picture as the released code draws it, whose limits are 40 "
                "and 80; leave one of them out"
            )
        return RELEASED_LIMITS

    if limits is not None:
        if not 0 <= limits[0] < limits[1] <= 1:
            raise NeuronspecError(f"found the color limits {limits}, expected two rising values in 0..1")
        return limits

    # By default the range of the pairs in whole percents, so that the diagonal does not take up the scale
    pairs = matrix[~np.eye(len(matrix), dtype=bool)]
    if not pairs.size:
        return 0.0, 1.0
    low, high = math.floor(pairs.min() * 100) / 100, math.ceil(pairs.max() * 100) / 100

    # The scale needs two ends, also where all overlaps are alike
    if low < high:
        return low, high
    return max(0.0, low - 0.01), min(1.0, high + 0.01)
