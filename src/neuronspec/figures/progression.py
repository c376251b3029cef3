"""Progression of overlaps over layers (paper Figure 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

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
    open_figure,
    save_figure,
    sort_layers,
    summarize_box,
)
from neuronspec.figures.layer_axis import fit_width
from neuronspec.layer_names import index_of, stack_of


def draw_progression(
    values_by_layer: Mapping[str, Sequence[float] | NDArray[np.float64]], path_stem: Path, *, title: str = ""
) -> list[Path]:
    """Draw the distribution of the pairwise IoU layer by layer, with the means joined (paper Figure 2).

    A box holds the middle half of the pairs, the line in it is the median, the whiskers reach the last value
    within 1.5 times the box's height.

    Args:
        values_by_layer: layer name -> the IoU of each pair, as from `above_diagonal`.
        path_stem: where to write, without the suffix.
        title: a line above the figure.

    Returns:
        The paths written: SVG, PNG, CSV.

    Raises:
        NeuronspecError: nothing to draw, or a layer that is not called `encoder.N` or `decoder.N`.
    """
    layers = sort_layers(values_by_layer)
    values = {layer: check_values(f"the layer {layer!r}", values_by_layer[layer]) for layer in layers}
    boxes = {layer: summarize_box(values[layer]) for layer in layers}
    deepest = max(index_of(layer) for layer in layers)
    shifts = (-0.19, 0.19) if len({stack_of(layer) for layer in layers}) > 1 else (0, 0)
    with open_figure(fit_width(deepest + 1, 0.42, 0.7), 3.6) as (figure, axes):
        handles = []
        for (stack, color), shift, marker in zip(STACK_COLORS.items(), shifts, MARKERS[:2], strict=True):
            own = [layer for layer in layers if stack_of(layer) == stack]
            if own:
                places = [index_of(layer) + shift for layer in own]
                draw_boxes(axes, [boxes[layer] for layer in own], places, color, 0.3)
                means = [boxes[layer]["mean"] for layer in own]
                axes.plot(places, means, color=color, marker=marker, zorder=4)
                handles.append(Line2D([], [], color=color, marker=marker, label=f"{stack} (mean)"))
        axes.set_xticks(range(deepest + 1), [str(layer) for layer in range(deepest + 1)])
        axes.set(xlim=(-0.6, deepest + 0.6), xlabel="layer", ylabel="pairwise IoU", title=title)
        draw_legend(axes, handles=handles)
        rows = (
            [layer, len(values[layer]), *(float(boxes[layer][key]) for key in BOX_STATISTICS.values())]
            for layer in layers
        )
        return save_figure(figure, path_stem, ["layer", "pairs", *BOX_STATISTICS], rows)
