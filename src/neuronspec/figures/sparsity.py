"""Sparsity over layers (paper Figure 6)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from neuronspec.figures.canvas import check_values, choose_style, draw_legend, open_figure, sort_layers
from neuronspec.figures.figure_files import save_figure
from neuronspec.figures.layer_axis import choose_width, label_layers
from neuronspec.layer_names import STACKS, stack_of


def draw_sparsity(
    sparsities: Mapping[str, Mapping[str, Sequence[float]]], path_stem: Path, *, title: str = ""
) -> list[Path]:
    """Draw the mean sparsity over tasks layer by layer, the encoder before the decoder (paper Figure 6).

    The band around each line goes from the smallest to the largest value.

    Args:
        sparsities: For each line, by its name (such as `k=0.95`), the sparsity of each task in each layer, 0..1.
        path_stem: Path of the files to write, without the suffix.
        title: Title of the figure, for the metadata of its files: a paper has it in the caption.

    Returns:
        The paths of the written files: SVG, PNG, CSV, PDF.

    Raises:
        NeuronspecError: If there is nothing to draw, or a layer is not called `encoder.N` or `decoder.N`.
    """
    layers = sort_layers(set(itertools.chain(*sparsities.values())))
    table: list[list[object]] = []

    width = choose_width(len(layers))
    with open_figure(width - 0.45, 1.6) as (figure, axes):
        for index, (name, line) in enumerate(sparsities.items()):
            # An empty line for the legend: both stacks share its entry
            style = choose_style(index)
            axes.plot([], [], label=name, **style)

            for stack in STACKS:
                # A line for each stack: the last encoder layer does not lead to the first decoder layer
                shown = [layer for layer in layers if stack_of(layer) == stack and layer in line]
                if not shown:
                    continue
                rows = [_summarize_layer(name, layer, line[layer]) for layer in shown]
                table += map(list, rows)

                # The line of the means, and the band around it
                _, _, means, lows, highs, _ = zip(*rows, strict=True)
                places = [layers.index(layer) for layer in shown]
                axes.plot(places, means, **style)
                axes.fill_between(places, lows, highs, color=style["color"], alpha=0.15, linewidth=0)

        label_layers(axes, layers)
        axes.set_ylabel("sparsity (mean over tasks)")
        draw_legend(axes, width=width)

        header = ["line", "layer", "mean", "min", "max", "tasks"]
        return save_figure(figure, path_stem, title=title, header=header, rows=table, width=width)


def _summarize_layer(name: str, layer: str, sparsity: Sequence[float]) -> tuple[str, str, float, float, float, int]:
    """Return a row of the table: line, layer, mean, smallest and largest sparsity, and number of tasks."""
    values = check_values(f"the layer {layer!r}", sparsity)
    return name, layer, float(values.mean()), float(values.min()), float(values.max()), len(values)
