"""Learning curve: how many sentences are needed to find the neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from neuronspec.errors import NeuronspecError
from neuronspec.figures.canvas import COLUMN, MARKERS, PAGE, check_values, draw_legend, open_figure, sort_layers
from neuronspec.figures.figure_files import save_figure
from neuronspec.layer_names import index_of, stack_of


def draw_learning_curve(
    points: Mapping[str, Sequence[tuple[int, float]]], path_stem: Path, *, title: str = ""
) -> list[Path]:
    """Draw how close the neurons found in few sentences come to those found in all sentences.

    Where a line is flat, more sentences would hardly change the neurons.

    Args:
        points: For each layer, pairs of a number of sentences per task and the mean IoU of the neurons found in them
            with those found in all sentences.
        path_stem: Path of the files to write, without the suffix.
        title: Title of the figure, for the metadata of its files: a paper has it in the caption.

    Returns:
        The paths of the written files: SVG, PNG, CSV, PDF.

    Raises:
        NeuronspecError: If there is nothing to draw, a layer is unknown, a number of sentences is below 1, or a value
            is not finite.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     len(draw_learning_curve({"encoder.0": [(10, 0.6), (100, 0.9)]}, Path(folder) / "curve"))
        4
    """
    # Everything is checked before anything is drawn
    layers = sort_layers(points)
    curves = {layer: _check_curve(layer, points[layer]) for layer in layers}
    deepest = max(index_of(layer) for layer in layers)

    # A legend of many layers needs a whole page
    width = COLUMN if len(layers) <= 16 else PAGE
    with open_figure(width - 0.45, 1.8) as (figure, axes):
        # A line for each layer; its points are also the table and the ticks
        rows: list[list[object]] = []
        sizes: set[int] = set()
        for layer, values in curves.items():
            axes.plot(*values.T, label=layer, **_choose_layer_style(layer, deepest))
            for sentences, iou in values.tolist():
                rows.append([layer, int(sentences), iou])
                sizes.add(int(sentences))

        # Sizes grow by about the same factor, not by the same number
        axes.set_xscale("log")

        # A tick at each size: powers of ten alone would be few
        ticks = sorted(sizes)
        axes.set_xticks(ticks, [f"{size:,}" for size in ticks], rotation=90 if len(ticks) > 6 else 0)
        axes.minorticks_off()
        axes.set(xlabel="sentences of each task", ylabel="mean IoU with all sentences")
        axes.grid(linewidth=0.4, alpha=0.5)

        draw_legend(axes, width=width, handlelength=2.6)

        header = ["layer", "sentences", "iou"]
        return save_figure(figure, path_stem, title=title, header=header, rows=rows, width=width)


def _check_curve(layer: str, points: Sequence[tuple[int, float]]) -> NDArray[np.float64]:
    """Return the (points, 2) sentences and IoU of a layer, sorted by the number of sentences."""
    # A logarithmic axis has no place for 0
    values = check_values(f"the layer {layer!r}", sorted(points))
    if values[:, 0].min() < 1:
        raise NeuronspecError(f"found {values[:, 0].min():g} sentences for {layer!r}, expected 1 or more")
    return values


def _choose_layer_style(layer: str, deepest: int) -> dict[str, Any]:
    """Return the style of a layer's line: the color by its depth, the dashes and the marker by its stack."""
    # Layers of one depth share a color, and the dashes tell the stacks apart
    is_encoder = stack_of(layer) == "encoder"
    shade = 0.9 * index_of(layer) / max(deepest, 1)  # the end of the scale is too light on white
    return {
        "color": matplotlib.colormaps["viridis"](shade),
        "linestyle": "-" if is_encoder else "--",
        "marker": MARKERS[0 if is_encoder else 1],
        "markersize": 3,
    }
