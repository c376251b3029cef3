"""Matrix of an ablation: how the text of each task changes without the neurons of each task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from neuronspec.errors import NeuronspecError
from neuronspec.figures.canvas import check_values, font_size, open_figure, save_figure
from neuronspec.figures.matrix_cells import annotate_cells, draw_colorbar, draw_grid, label_rows, turn_labels


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
        title: Title of the figure.

    Returns:
        The paths of the written files: SVG, PNG, CSV.

    Raises:
        NeuronspecError: If the matrix does not fit the names, or a change is not finite.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     stem = Path(folder) / "ablation"
        ...     len(draw_ablation([[0.5, 0.1]], ["de"], ["de", "random"], stem, metric="loss"))
        3
    """
    matrix = check_values("the ablation", changes)
    if matrix.shape != (len(texts), len(switched)):
        raise NeuronspecError(
            f"found changes of shape {matrix.shape} for {len(texts)} texts and {len(switched)} sets of neurons that "
            "are switched off, expected (texts, sets)"
        )

    # Cells shrink as the matrix grows: the longer side takes up to 7.5 inches, more only if no cell is wider than 0.09
    cell = float(np.clip(7.5 / max(matrix.shape), 0.09, 0.6))  # inches
    width, height = max(cell * len(switched), 1.0), max(cell * len(texts), 1.0)
    column, row = width / len(switched), height / len(texts)

    # Colors reach equally far both ways, so that white is no change; two significant digits of the largest change
    largest = float(np.abs(matrix).max()) or 1.0
    digits = int(np.clip(1 - np.floor(np.log10(largest)), 0, 4))

    with open_figure(width, height) as (figure, axes):
        # The matrix and its labels
        shades = axes.imshow(matrix, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="none", aspect="auto")
        draw_grid(axes, len(texts), len(switched))
        label_rows(axes.yaxis, texts, row, pad=3)
        label_rows(axes.xaxis, switched, column, pad=3, rotation=turn_labels(switched, column))
        _outline_own(axes, texts, switched, cell=cell)
        annotate_cells(axes, shades, f"{{:+.{digits}f}}")
        draw_colorbar(figure, shades, f"change of {metric}")

        # What the axes are, and the numbers behind the colors
        size = font_size(width)
        axes.set_xlabel("neurons switched off", fontsize=size)
        axes.set_ylabel("text", fontsize=size)
        axes.set_title(title, fontsize=size * 1.2)

        rows = ([text, *numbers] for text, numbers in zip(texts, matrix.tolist(), strict=True))
        return save_figure(figure, path_stem, header=["text", *switched], rows=rows)


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
