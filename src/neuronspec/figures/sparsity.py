"""Sparsity over layers (paper Figure 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neuronspec.figures.canvas import (
    GRAY,
    MARKERS,
    PALETTE,
    check_values,
    draw_legend,
    open_figure,
    save_figure,
    sort_layers,
)
from neuronspec.figures.layer_axis import fit_width
from neuronspec.layer_names import STACKS, index_of, stack_of


def draw_sparsity(
    sparsities: Mapping[str, Mapping[str, Sequence[float]]], path_stem: Path, *, title: str = ""
) -> list[Path]:
    """Draw the mean sparsity over tasks layer by layer, the encoder before the decoder (paper Figure 6).

    The band about each line goes from the smallest to the largest value.

    Args:
        sparsities: name of the line (such as `k=0.95`) -> layer name -> the sparsity of each task, 0..1.
        path_stem: where to write, without the suffix.
        title: a line above the figure.

    Returns:
        The paths written: SVG, PNG, CSV.

    Raises:
        NeuronspecError: nothing to draw, or a layer that is not called `encoder.N` or `decoder.N`.
    """
    layers = sort_layers({layer for line in sparsities.values() for layer in line})
    places = {layer: place for place, layer in enumerate(layers)}
    table: list[tuple[object, ...]] = []
    with open_figure(fit_width(len(layers), 0.22, 0.35), 3.2) as (figure, axes):
        for index, (name, line) in enumerate(sparsities.items()):
            look = {"color": PALETTE[index % len(PALETTE)], "marker": MARKERS[index % len(MARKERS)]}
            axes.plot([], [], label=name, **look)
            for stack in STACKS:
                own = [layer for layer in layers if stack_of(layer) == stack and layer in line]
                values = [check_values(f"the layer {layer!r}", line[layer]) for layer in own]
                if own:
                    x, means = [places[layer] for layer in own], [float(part.mean()) for part in values]
                    lows = [float(part.min()) for part in values]
                    highs = [float(part.max()) for part in values]
                    axes.plot(x, means, **look)
                    axes.fill_between(x, lows, highs, color=look["color"], alpha=0.15, linewidth=0)
                    table += zip([name] * len(own), own, means, lows, highs, map(len, values), strict=True)
        _name_stacks(axes, layers)
        axes.set_ylabel("sparsity (mean over tasks)")
        axes.set_title(title)
        draw_legend(axes)
        return save_figure(figure, path_stem, ["line", "layer", "mean", "min", "max", "tasks"], table)


def _name_stacks(axes: Any, layers: Sequence[str]) -> None:
    """Number the layers, name the stacks and draw a divider between them."""
    numbers = [str(index_of(layer)) for layer in layers]
    axes.set_xticks(range(len(layers)), numbers, fontsize=10 if len(layers) <= 30 else 8)
    axes.set_xlabel("layer")
    split = sum(stack_of(layer) == "encoder" for layer in layers)
    for stack, start, end in (("encoder", 0, split), ("decoder", split, len(layers))):
        if start < end:
            middle = (start + end - 1) / 2
            axes.text(middle, 0.97, stack, transform=axes.get_xaxis_transform(), ha="center", va="top")
    if 0 < split < len(layers):
        axes.axvline(split - 0.5, color=GRAY, linestyle="--", linewidth=1)
    axes.set_xlim(-0.8, len(layers) - 0.2)
    axes.margins(y=0.15)
    axes.set_ylim(bottom=max(-0.02, axes.get_ylim()[0]))
