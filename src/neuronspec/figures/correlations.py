"""Correlations of overlaps with distances between languages, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.lines import Line2D

from neuronspec.analysis.structure import ALPHA
from neuronspec.figures.canvas import (
    GRAY,
    MARKERS,
    PALETTE,
    add_axes,
    draw_legend,
    open_figure,
    save_figure,
    sort_layers,
)
from neuronspec.layer_names import STACKS, index_of, place_of, stack_of


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
                _draw_one_distance(axes, sorted(own, key=lambda row: place_of(row.layer)), index)
            axes.axhline(0, color=GRAY, linewidth=1)
            axes.set_xticks(range(depth + 1), [str(number) for number in range(depth + 1)], fontsize=8)
            axes.set(xlim=(-0.5, depth + 0.5), xlabel="layer")
            axes.set_title(stack, fontsize=10)
            axes.tick_params(labelleft=axes is first)
        first.set_ylabel("Mantel correlation r")
        figure.suptitle(title, x=(len(stacks) * (width + 0.2) - 0.2) / width / 2, y=1.12, va="bottom")
        handles = [Line2D([], [], label=name, **_choose_style(index)) for index, name in enumerate(distances)]
        handles.append(Line2D([], [], color=GRAY, marker="o", linestyle="", label="p ≤ 0.05 (corrected)"))
        hollow: dict[str, Any] = {"color": GRAY, "marker": "o", "linestyle": "", "markerfacecolor": "white"}
        handles.append(Line2D([], [], label="p > 0.05", **hollow))
        draw_legend(panels[-1], handles=handles)
        order = sorted(rows, key=lambda row: (layers.index(row.layer), distances.index(row.distance)))
        table = ([row.layer, row.distance, row.r, row.p_value] for row in order)
        return save_figure(figure, path_stem, ["layer", "distance", "r", "p_value"], table)


def _choose_style(index: int) -> dict[str, Any]:
    return {"color": PALETTE[index % len(PALETTE)], "marker": MARKERS[index % len(MARKERS)]}


def _draw_one_distance(axes: Any, rows: Sequence[LayerCorrelation], index: int) -> None:
    """Draw the correlations with one distance over the layers of one stack."""
    look = _choose_style(index)
    axes.plot([index_of(row.layer) for row in rows], [row.r for row in rows], color=look["color"], zorder=2)
    for row in rows:
        fill = look["color"] if row.p_value <= ALPHA else "white"
        axes.plot(index_of(row.layer), row.r, markerfacecolor=fill, markersize=6, zorder=3, **look)
