"""Matrix of an ablation: how the text of each task changes without the neurons of each task."""

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

    # As wide as a column or a page of a paper; more only if cells would be narrower than 0.09 inches
    page = choose_page(max(matrix.shape))
    cell = 0.09 if page is None else (page - 1.0) / len(switched)  # inches
    row = min(cell, 0.4)
    width, height = cell * len(switched), row * len(texts)

    # Colors reach equally far both ways, so that white is no change; two significant digits of the largest change
    largest = float(np.abs(matrix).max()) or 1.0
    digits = int(np.clip(1 - np.floor(np.log10(largest)), 0, 4))

    with open_figure(width, height) as (figure, axes):
        # The matrix and its labels
        shades = axes.imshow(matrix, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="none", aspect="auto")
        draw_grid(axes, len(texts), len(switched))
        label_rows(axes.yaxis, texts, row, pad=3)
        label_rows(axes.xaxis, switched, cell, pad=3, rotation=turn_labels(switched, cell))
        _outline_own(axes, texts, switched, cell=cell)
        annotate_cells(axes, shades, f"{{:+.{digits}f}}", cell)
        draw_colorbar(figure, shades, f"change of {metric}")

        # What the axes are, and the numbers behind the colors
        axes.set_xlabel("neurons switched off")
        axes.set_ylabel("text")

        rows = ([text, *numbers] for text, numbers in zip(texts, matrix.tolist(), strict=True))
        header = ["text", *switched]
        return save_figure(figure, path_stem, title=title, header=header, rows=rows, width=page, square=True)


def _outline_own(axes: Any, texts: Sequence[str], switched: Sequence[str], *, cell: float) -> None:
    """Outline the cells of texts without their own neurons; cells are `cell` inches wide."""
    for row, text in enumerate(texts):
        for column, other in enumerate(switched):
            # A column of random neurons has no text of its name and no outline
            if text == other:
                box = Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, linewidth=min(1.5, cell * 8))

                # Above the white grid, and whole at the edge of the axes
                box.set(edgecolor="black", clip_on=False, zorder=3)
                axes.add_patch(box)
