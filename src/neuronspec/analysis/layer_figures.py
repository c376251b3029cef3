"""Figures over layers: sparsity (paper Figure 6) and the progression of overlaps (paper Figure 2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import cbook, colors
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from neuronspec.analysis.canvas import GREY, PALETTE, STACKS, open_figure, save_figure
from neuronspec.errors import NeuronspecError


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
    layers = _sort_layers({layer for line in sparsities.values() for layer in line})
    places = {layer: place for place, layer in enumerate(layers)}
    table: list[tuple[object, ...]] = []
    with open_figure(max(4.0, 0.35 * len(layers) + 1), 3.2) as (figure, axes):
        for index, (name, line) in enumerate(sparsities.items()):
            look = {"color": PALETTE[index % len(PALETTE)], "marker": "osD^v<>"[index % 7]}
            axes.plot([], [], label=name, **look)
            for stack in STACKS:
                own = [layer for layer in layers if layer.startswith(stack) and layer in line]
                values = [_check_values(layer, line[layer]) for layer in own]
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
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
        return save_figure(figure, path_stem, ["line", "layer", "mean", "min", "max", "tasks"], table)


def draw_progression(
    values_by_layer: Mapping[str, Sequence[float] | NDArray[np.float64]], path_stem: Path, *, title: str = ""
) -> list[Path]:
    """Draw the distribution of the pairwise IoU layer by layer, with the means joined (paper Figure 2).

    A box holds the middle half of the pairs, the line in it is the median, the whiskers reach the last value
    within 1.5 times the box's height.

    Args:
        values_by_layer: layer name -> the IoU of each pair, as from `progression`.
        path_stem: where to write, without the suffix.
        title: a line above the figure.

    Returns:
        The paths written: SVG, PNG, CSV.

    Raises:
        NeuronspecError: nothing to draw, or a layer that is not called `encoder.N` or `decoder.N`.
    """
    columns = {"mean": "mean", "median": "med", "q1": "q1", "q3": "q3", "low": "whislo", "high": "whishi"}
    layers = _sort_layers(values_by_layer)
    values = {layer: _check_values(layer, values_by_layer[layer]) for layer in layers}
    boxes = {layer: cbook.boxplot_stats(values[layer])[0] for layer in layers}
    deepest = max(_read_layer(layer)[1] for layer in layers)
    with open_figure(max(4.0, 0.7 * (deepest + 1) + 1), 3.6) as (figure, axes):
        handles = []
        for (stack, color), shift, marker in zip(STACKS.items(), (-0.19, 0.19), "os", strict=True):
            own = [layer for layer in layers if layer.startswith(stack)]
            if own:
                places = [_read_layer(layer)[1] + shift for layer in own]
                _draw_boxes(axes, [boxes[layer] for layer in own], places, color)
                means = [boxes[layer]["mean"] for layer in own]
                axes.plot(places, means, color=color, marker=marker, zorder=4)
                handles.append(Line2D([], [], color=color, marker=marker, label=f"{stack} (mean)"))
        axes.set_xticks(range(deepest + 1), [str(layer) for layer in range(deepest + 1)])
        axes.set(xlim=(-0.6, deepest + 0.6), xlabel="layer", ylabel="pairwise IoU", title=title)
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
        rows = (
            [layer, len(values[layer]), *(float(boxes[layer][key]) for key in columns.values())] for layer in layers
        )
        return save_figure(figure, path_stem, ["layer", "pairs", *columns], rows)


def _draw_boxes(axes: Any, boxes: Sequence[Any], places: Sequence[float], color: str) -> None:
    line = {"color": color}
    axes.bxp(
        boxes,
        positions=places,
        widths=0.3,
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": colors.to_rgba(color, 0.25), "edgecolor": color},
        medianprops=line,
        whiskerprops=line,
        capprops=line,
    )


def _name_stacks(axes: Any, layers: Sequence[str]) -> None:
    """Number the layers, name the stacks and draw a divider between them."""
    axes.set_xticks(range(len(layers)), [str(_read_layer(layer)[1]) for layer in layers])
    axes.set_xlabel("layer")
    split = sum(layer.startswith("encoder") for layer in layers)
    for stack, start, end in (("encoder", 0, split), ("decoder", split, len(layers))):
        if start < end:
            middle = (start + end - 1) / 2
            axes.text(middle, 0.97, stack, transform=axes.get_xaxis_transform(), ha="center", va="top")
    if 0 < split < len(layers):
        axes.axvline(split - 0.5, color=GREY, linestyle="--", linewidth=1)
    axes.margins(y=0.15)


def _read_layer(layer: str) -> tuple[str, int]:
    stack, _, rest = layer.partition(".")
    index, *expert = rest.split(".expert.")  # the experts of a layer share its place
    if stack not in STACKS or not index.isdecimal() or len(expert) > 1:
        raise NeuronspecError(f"found the layer {layer!r}, expected a name such as 'encoder.0' or 'decoder.5'")
    return stack, int(index)


def _sort_layers(layers: Iterable[str]) -> list[str]:
    places = {layer: _read_layer(layer) for layer in layers}
    names = sorted(places, key=lambda layer: (list(STACKS).index(places[layer][0]), places[layer][1]))
    if not names:
        raise NeuronspecError("found no layers to draw, expected one or more")
    return names


def _check_values(layer: str, values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    if not numbers.size or not np.isfinite(numbers).all():
        raise NeuronspecError(
            f"found no values for the layer {layer!r}, or some that are not finite; expected finite numbers"
        )
    return numbers
