"""Figures of checks: ablation, how many sentences suffice, and what the overlaps correlate with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from neuronspec.errors import NeuronspecError
from neuronspec.figures.canvas import (
    GREY,
    MARKERS,
    PALETTE,
    add_axes,
    annotate,
    check_values,
    draw_colorbar,
    draw_grid,
    draw_legend,
    font_size,
    label_rows,
    open_figure,
    save_figure,
    sort_layers,
    turn_labels,
)
from neuronspec.layer_names import STACKS, index_of, place_of, stack_of

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class LayerCorrelation:
    """The correlation of a layer's overlaps with a distance between languages.

    Attributes:
        layer: such as `encoder.0`.
        distance: what the overlaps are compared with, such as `family`.
        r: the correlation; nan where there is none (all languages equally distant).
        p_value: of the Mantel test, corrected for the tests of other layers; nan where there is no correlation.
    """

    layer: str
    distance: str
    r: float
    p_value: float


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
        annotate(axes, shades, f"{{:+.{int(np.clip(1 - np.floor(np.log10(most)), 0, 4))}f}}")
        draw_colorbar(figure, shades, f"change of {metric}")
        axes.set_xlabel("neurons switched off", fontsize=font_size(width))
        axes.set_ylabel("text", fontsize=font_size(width))
        axes.set_title(title, fontsize=font_size(width) * 1.2)
        rows = ([text, *row] for text, row in zip(texts, matrix.tolist(), strict=True))
        return save_figure(figure, path_stem, ["text", *switched], rows)


def draw_curve(points: Mapping[str, Sequence[tuple[int, float]]], path_stem: Path, *, title: str = "") -> list[Path]:
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
        ...     len(draw_curve({"encoder.0": [(10, 0.6), (100, 0.9)]}, Path(folder) / "curve"))
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


def draw_correlations(rows: Sequence[LayerCorrelation], path_stem: Path, *, title: str = "") -> list[Path]:
    """Draw what the overlaps of each layer's neurons go along with: families, scripts, vocabularies.

    A filled sign says p <= 0.05 by the Mantel test of that layer and distance. The p-values are drawn as they are
    given: correct them for the number of tests before.

    Args:
        rows: one for each layer and distance.
        path_stem: where to write, without the suffix.
        title: a line above the figure.

    Returns:
        The paths written: SVG, PNG, CSV.

    Raises:
        NeuronspecError: nothing to draw, or an unknown layer.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     rows = [LayerCorrelation("decoder.0", "family", 0.6, 0.01)]
        ...     len(draw_correlations(rows, Path(folder) / "correlations"))
        3
    """
    layers = sort_layers({row.layer for row in rows})
    distances = list(dict.fromkeys(row.distance for row in rows))
    stacks = [stack for stack in STACKS if any(stack_of(layer) == stack for layer in layers)]
    depth = max(index_of(layer) for layer in layers)
    width = max(2.6, 0.22 * (depth + 1))
    with open_figure(width, 3.0) as (figure, first):
        panels = [first, *(add_axes(figure, width + 0.2, 0, width, 3.0, sharey=first) for _ in stacks[1:])]
        for stack, axes in zip(stacks, panels, strict=True):
            for index, distance in enumerate(distances):
                own = [row for row in rows if row.distance == distance and stack_of(row.layer) == stack]
                _draw_line(axes, sorted(own, key=lambda row: place_of(row.layer)), index)
            axes.axhline(0, color=GREY, linewidth=1)
            axes.set_xticks(range(depth + 1), [str(number) for number in range(depth + 1)], fontsize=8)
            axes.set(xlim=(-0.5, depth + 0.5), xlabel="layer")
            axes.set_title(stack, fontsize=10)
            axes.tick_params(labelleft=axes is first)
        first.set_ylabel("Mantel correlation r")
        figure.suptitle(title, x=(len(stacks) * (width + 0.2) - 0.2) / width / 2, y=1.12, va="bottom")
        handles = [Line2D([], [], label=name, **_look(index)) for index, name in enumerate(distances)]
        handles.append(Line2D([], [], color=GREY, marker="o", linestyle="", label="p ≤ 0.05 (corrected)"))
        hollow: dict[str, Any] = {"color": GREY, "marker": "o", "linestyle": "", "markerfacecolor": "white"}
        handles.append(Line2D([], [], label="p > 0.05", **hollow))
        draw_legend(panels[-1], handles=handles)
        order = sorted(rows, key=lambda row: (layers.index(row.layer), distances.index(row.distance)))
        table = ([row.layer, row.distance, row.r, row.p_value] for row in order)
        return save_figure(figure, path_stem, ["layer", "distance", "r", "p_value"], table)


def _look(index: int) -> dict[str, Any]:
    return {"color": PALETTE[index % len(PALETTE)], "marker": MARKERS[index % len(MARKERS)]}


def _draw_line(axes: Any, rows: Sequence[LayerCorrelation], index: int) -> None:
    """Draw the correlations with one distance over the layers of one stack."""
    look = _look(index)
    axes.plot([index_of(row.layer) for row in rows], [row.r for row in rows], color=look["color"], zorder=2)
    for row in rows:
        fill = look["color"] if row.p_value <= SIGNIFICANT else "white"
        axes.plot(index_of(row.layer), row.r, markerfacecolor=fill, markersize=6, zorder=3, **look)
