"""Learning curve: how many sentences are needed to find the neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

from neuronspec.errors import NeuronspecError
from neuronspec.figures.canvas import (
    MARKERS,
    check_values,
    draw_legend,
    open_figure,
    save_figure,
    sort_layers,
)
from neuronspec.layer_names import index_of, stack_of


def draw_learning_curve(
    points: Mapping[str, Sequence[tuple[int, float]]], path_stem: Path, *, title: str = ""
) -> list[Path]:
    """Draw how near the neurons found in few sentences come to those found in all.

    Where a line is flat, more sentences would hardly change the neurons.

    Args:
        points: layer name -> pairs of a number of sentences of each task and the mean IoU of the neurons found in
            them with those found in all.
        path_stem: where to write, without the suffix.
        title: a line above the figure.

    Returns:
        The paths written: SVG, PNG, CSV.

    Raises:
        NeuronspecError: nothing to draw, an unknown layer, numbers of sentences below 1 or values not finite.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     len(draw_learning_curve({"encoder.0": [(10, 0.6), (100, 0.9)]}, Path(folder) / "curve"))
        3
    """
    layers = sort_layers(points)
    depth = max(index_of(layer) for layer in layers)
    shades = matplotlib.colormaps["viridis"]
    table: list[list[object]] = []
    with open_figure(5.0, 3.4) as (figure, axes):
        for layer in layers:
            stack, number = stack_of(layer), index_of(layer)
            values = check_values(f"the layer {layer!r}", sorted(points[layer]))
            if values[:, 0].min() < 1:
                raise NeuronspecError(f"found {values[:, 0].min():g} sentences for {layer!r}, expected 1 or more")
            solid = stack == "encoder"
            axes.plot(
                *values.T,
                color=shades(0.9 * number / max(depth, 1)),  # the end of the scale is too light on white
                linestyle="-" if solid else "--",
                marker=MARKERS[0 if solid else 1],
                markersize=3,
                label=layer,
            )
            table += [[layer, int(sentences), iou] for sentences, iou in values.tolist()]
        sizes = sorted({int(str(row[1])) for row in table})
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=90 if len(sizes) > 6 else 0)
        axes.minorticks_off()
        axes.set(xlabel="sentences of each task", ylabel="mean IoU with the neurons of all sentences", title=title)
        axes.grid(linewidth=0.4, alpha=0.5)
        draw_legend(axes, ncols=-(-len(layers) // 16), fontsize=8, handlelength=3)
        return save_figure(figure, path_stem, ["layer", "sentences", "iou"], table)
