"""Matrix of an ablation: what each text loses without each task's neurons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from neuronspec.errors import NeuronspecError
from neuronspec.figures.canvas import (
    annotate_cells,
    check_values,
    draw_colorbar,
    draw_grid,
    font_size,
    label_rows,
    open_figure,
    save_figure,
    turn_labels,
)


def draw_ablation(
    changes: ArrayLike, texts: Sequence[str], switched: Sequence[str], path_stem: Path, *, metric: str, title: str = ""
) -> list[Path]:
    """Draw what the text of each task loses when the neurons of each task are switched off.

    White is no change. Where neurons are specific, the outlined cells (a text without its own neurons) are the
    darkest of their rows.

    Args:
        changes: (texts, switched) the change of each text; positive ones are red.
        texts: the name of each row.
        switched: whose neurons are switched off in each column; the last columns may be random neurons.
        path_stem: where to write, without the suffix.
        metric: what changes, for the scale of colours (`validation loss`).
        title: a line above the figure.

    Returns:
        The paths written: SVG, PNG, CSV.

    Raises:
        NeuronspecError: the matrix does not fit the names, or a change is not finite.

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
    size = max(matrix.shape)
    cell = float(np.clip(7.5 / size, 0.09, 0.6))  # inches
    width, height = max(cell * len(switched), 1.0), max(cell * len(texts), 1.0)
    most = float(np.abs(matrix).max()) or 1.0
    with open_figure(width, height) as (figure, axes):
        shades = axes.imshow(matrix, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="none", aspect="auto")
        draw_grid(axes, len(texts), len(switched))
        label_rows(axes.yaxis, texts, height / len(texts), pad=3)
        column = width / len(switched)
        label_rows(axes.xaxis, switched, column, pad=3, rotation=turn_labels(switched, column))
        for row, text in enumerate(texts):
            for place, other in enumerate(switched):
                if text == other:
                    box = Rectangle((place - 0.5, row - 0.5), 1, 1, fill=False, linewidth=min(1.5, cell * 8))
                    box.set(edgecolor="black", clip_on=False, zorder=3)
                    axes.add_patch(box)
        annotate_cells(axes, shades, f"{{:+.{int(np.clip(1 - np.floor(np.log10(most)), 0, 4))}f}}")
        draw_colorbar(figure, shades, f"change of {metric}")
        axes.set_xlabel("neurons switched off", fontsize=font_size(width))
        axes.set_ylabel("text", fontsize=font_size(width))
        axes.set_title(title, fontsize=font_size(width) * 1.2)
        rows = ([text, *row] for text, row in zip(texts, matrix.tolist(), strict=True))
        return save_figure(figure, path_stem, ["text", *switched], rows)
