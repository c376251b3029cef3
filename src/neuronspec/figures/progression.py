"""Progression of overlaps over layers (paper Figure 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from neuronspec.figures.canvas import (
    BOX_STATISTICS,
    MARKERS,
    STACK_COLORS,
    check_values,
    draw_boxes,
    draw_legend,
    list_box,
    open_figure,
    sort_layers,
    summarize_box,
)
from neuronspec.figures.figure_files import save_figure
from neuronspec.figures.layer_axis import choose_width, label_numbers
from neuronspec.layer_names import index_of, stack_of


def draw_progression(
    values_by_layer: Mapping[str, Sequence[float] | NDArray[np.float64]], path_stem: Path, *, title: str = ""
) -> list[Path]:
    """Draw the distribution of the pairwise IoU layer by layer, with the means joined (paper Figure 2).

    A box holds the middle half of the pairs, the line in it is the median, and the whiskers reach the last value
    within 1.5 times the height of the box.

    Args:
        values_by_layer: For each layer, the IoU of each pair, as from `above_diagonal`.
        path_stem: Path of the files to write, without the suffix.
        title: Title of the figure, for the metadata of its files: a paper has it in the caption.

    Returns:
        The paths of the written files: SVG, PNG, CSV, PDF.

    Raises:
        NeuronspecError: If there is nothing to draw, or a layer is not called `encoder.N` or `decoder.N`.
    """
    layers = sort_layers(values_by_layer)

    # A box and a row of the table for each layer
    boxes, rows = {}, []
    for layer in layers:
        values = check_values(f"the layer {layer!r}", values_by_layer[layer])
        boxes[layer] = summarize_box(values)
        rows.append([layer, len(values), *list_box(boxes[layer])])

    # The boxes of both stacks stand side by side at the number of their layer.
    deepest = max(index_of(layer) for layer in layers)
    has_both_stacks = len({stack_of(layer) for layer in layers}) > 1
    shifts = (-0.19, 0.19) if has_both_stacks else (0, 0)

    # A layer of both stacks has the room of two
    width = choose_width(2 * (deepest + 1))
    with open_figure(width - 0.45, 1.7) as (figure, axes):
        # Boxes of either stack, and the line of its means
        handles = []
        for stack, shift, marker in zip(STACK_COLORS, shifts, MARKERS[:2], strict=True):
            boxes_of_stack = {layer: box for layer, box in boxes.items() if stack_of(layer) == stack}
            if boxes_of_stack:
                style: dict[str, Any] = {"color": STACK_COLORS[stack], "marker": marker}
                _draw_stack(axes, boxes_of_stack, shift=shift, style=style)
                handles.append(Line2D([], [], label=f"{stack} (mean)", **style))

        label_numbers(axes, list(range(deepest + 1)), width=width)
        axes.set(xlim=(-0.6, deepest + 0.6), xlabel="layer", ylabel="pairwise IoU")
        draw_legend(axes, handles=handles, width=width)

        header = ["layer", "pairs", *BOX_STATISTICS]
        return save_figure(figure, path_stem, title=title, header=header, rows=rows, width=width)


def _draw_stack(axes: Any, boxes: Mapping[str, Mapping[str, Any]], *, shift: float, style: dict[str, Any]) -> None:
    """Draw the boxes of one stack's layers and the line that joins their means."""
    # The means stand above the boxes, which would hide them
    places = [index_of(layer) + shift for layer in boxes]
    means = [box["mean"] for box in boxes.values()]
    draw_boxes(axes, list(boxes.values()), places, color=style["color"], width=0.3)
    axes.plot(places, means, **style, zorder=4)
