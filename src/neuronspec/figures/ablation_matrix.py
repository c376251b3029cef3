"""Matrices of ablations: how the text of each task changes without the neurons of each task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from neuronspec.errors import NeuronspecError
from neuronspec.figures.canvas import check_values, open_figure
from neuronspec.figures.figure_files import save_figure
from neuronspec.figures.matrix_cells import (
    annotate_cells,
    choose_page,
    draw_colorbar,
    draw_grid,
    label_rows,
    turn_labels,
)
from neuronspec.statistics.numbers import FloatArray


def draw_ablation(
    changes: ArrayLike, texts: Sequence[str], switched: Sequence[str], path_stem: Path, *, metric: str, title: str = ""
) -> list[Path]:
    """Draw how much worse the text of each task gets when the neurons of each task are switched off.

    White is no change. Where neurons are language-specific, the outlined cells (a text without its own neurons) are
    the darkest of their rows.

    Args:
        changes: (texts, switched) change of each text; positive changes are red.
        texts: Name of each row.
        switched: Name of each column, the task whose neurons are switched off; the last columns may be random neurons.
        path_stem: Path of the files to write, without the suffix.
        metric: Name of the metric that changes, for the scale of colors (`validation loss`).
        title: Title of the figure, for the metadata of its files: a paper has it in the caption.

    Returns:
        The paths of the written files: SVG, PNG, CSV, PDF.

    Raises:
        NeuronspecError: If the matrix does not fit the names, or a change is not finite.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     stem = Path(folder) / "ablation"
        ...     len(draw_ablation([[0.5, 0.1]], ["de"], ["de", "random"], stem, metric="loss"))
        4
    """
    matrix = check_values("the ablation", changes)
    if matrix.shape != (len(texts), len(switched)):
        raise NeuronspecError(
            f"found changes of shape {matrix.shape} for {len(texts)} texts and {len(switched)} sets of neurons that "
            "are switched off, expected (texts, sets)"
        )

    axis_names = ("text", "neurons switched off")
    return _draw_changes(matrix, texts, switched, path_stem, axis_names=axis_names, metric=metric, title=title)


def draw_perplexities(
    changes: ArrayLike, switched: Sequence[str], texts: Sequence[str], path_stem: Path, *, title: str = ""
) -> list[Path]:
    """Draw by how many percent the perplexity of each text rises when the neurons of each task are switched off.

    Rows and columns are those of LAPE's figure: a row for each set of neurons, a column for each text.

    Args:
        changes: (switched, texts) percentages; increases are red.
        switched: Name of each row, the task whose neurons are switched off; the last rows may be random neurons.
        texts: Name of each column.
        path_stem: Path of the files to write, without the suffix.
        title: Title of the figure, for the metadata of its files.

    Returns:
        The paths of the written files: SVG, PNG, CSV, PDF.

    Raises:
        NeuronspecError: If the matrix does not fit the names, or a change is not finite.
    """
    matrix = check_values("the perplexities", changes)
    if matrix.shape != (len(switched), len(texts)):
        raise NeuronspecError(
            f"found changes of shape {matrix.shape} for {len(switched)} sets of neurons that are switched off and "
            f"{len(texts)} texts, expected (sets, texts)"
        )

    axis_names = ("neurons switched off", "text")
    metric = "perplexity (%)"
    return _draw_changes(matrix, switched, texts, path_stem, axis_names=axis_names, metric=metric, title=title)


def _draw_changes(
    matrix: FloatArray,
    row_names: Sequence[str],
    column_names: Sequence[str],
    path_stem: Path,
    *,
    axis_names: tuple[str, str],
    metric: str,
    title: str,
) -> list[Path]:
    """Draw a (rows, columns) matrix of changes, with outlined cells where row and column have the same name."""
    # As wide as a column or a page of a paper; more only if cells would be narrower than 0.09 inches
    page = choose_page(max(matrix.shape))
    cell = 0.09 if page is None else (page - 1.0) / len(column_names)  # inches
    row = min(cell, 0.4)
    width, height = cell * len(column_names), row * len(row_names)

    # Colors reach equally far both ways, so that white is no change; two significant digits of the largest change
    largest = float(np.abs(matrix).max()) or 1.0
    digits = int(np.clip(1 - np.floor(np.log10(largest)), 0, 4))

    with open_figure(width, height) as (figure, axes):
        # The matrix and its labels
        shades = axes.imshow(matrix, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="none", aspect="auto")
        draw_grid(axes, len(row_names), len(column_names))
        label_rows(axes.yaxis, row_names, row, pad=3)
        label_rows(axes.xaxis, column_names, cell, pad=3, rotation=turn_labels(column_names, cell))
        _outline_own(axes, row_names, column_names, cell=cell)
        annotate_cells(axes, shades, f"{{:+.{digits}f}}", cell)
        draw_colorbar(figure, shades, f"change of {metric}")

        # What the axes are, and the numbers behind the colors
        axes.set_xlabel(axis_names[1])
        axes.set_ylabel(axis_names[0])

        rows = ([name, *numbers] for name, numbers in zip(row_names, matrix.tolist(), strict=True))
        header = [axis_names[0], *column_names]
        return save_figure(figure, path_stem, title=title, header=header, rows=rows, width=page, square=True)


def _outline_own(axes: Any, rows: Sequence[str], columns: Sequence[str], *, cell: float) -> None:
    """Outline the cells of texts without their own neurons; cells are `cell` inches wide."""
    for row, name in enumerate(rows):
        for column, other in enumerate(columns):
            # Random neurons have no text of their name and no outline
            if name == other:
                box = Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, linewidth=min(1.5, cell * 8))

                # Above the white grid, and whole at the edge of the axes
                box.set(edgecolor="black", clip_on=False, zorder=3)
                axes.add_patch(box)
