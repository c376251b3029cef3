"""Correlations of overlaps with distances between languages, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.lines import Line2D

from neuronspec.analysis.structure import ALPHA
from neuronspec.figures.canvas import (
    COLUMN,
    GRAY,
    PAGE,
    add_axes,
    choose_style,
    draw_legend,
    open_figure,
    sort_layers,
)
from neuronspec.figures.figure_files import save_figure
from neuronspec.figures.layer_axis import label_numbers
from neuronspec.layer_names import index_of, place_of, stack_of

GAP = 0.12  # inches between the axes of the two stacks


@dataclass(frozen=True)
class LayerCorrelation:
    """Correlation of a layer's overlaps with a distance between languages.

    Attributes:
        layer: Name of the layer, such as `encoder.0`.
        distance: Name of the distance, such as `family`.
        r: Correlation; nan where there is none (all languages equally distant).
        p_value: P-value of the Mantel test, corrected for the tests of other layers; nan where there is no correlation.
    """

    layer: str
    distance: str
    r: float
    p_value: float


def draw_correlations(rows: Sequence[LayerCorrelation], path_stem: Path, *, title: str = "") -> list[Path]:
    """Draw how the overlaps of each layer correlate with families, scripts, vocabularies and other distances.

    A filled marker means p <= 0.05 in the Mantel test of that layer and distance. The p-values are drawn as they are
    given: correct them for the number of tests before.

    Args:
        rows: One correlation for each layer and distance.
        path_stem: Path of the files to write, without the suffix.
        title: Title of the figure, for the metadata of its files: a paper has it in the caption.

    Returns:
        The paths of the written files: SVG, PNG, CSV, PDF.

    Raises:
        NeuronspecError: If there is nothing to draw, or a layer is unknown.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     rows = [LayerCorrelation("decoder.0", "family", 0.6, 0.01)]
        ...     len(draw_correlations(rows, Path(folder) / "correlations"))
        4
    """
    # Both stacks get axes of the same width, that of the deeper one
    layers = sort_layers({row.layer for row in rows})
    distances = list(dict.fromkeys(row.distance for row in rows))
    stacks = list(dict.fromkeys(stack_of(layer) for layer in layers))  # in the order of the layers
    deepest = max(index_of(layer) for layer in layers)
    page = COLUMN if deepest < 12 else PAGE
    width = (page - 0.45 - GAP * (len(stacks) - 1)) / len(stacks)

    with open_figure(width, 1.5) as (figure, first):
        # Side by side, with one scale of r
        panels = [first]
        for _ in stacks[1:]:
            panels.append(add_axes(figure, width + GAP, 0, width=width, height=1.5, sharey=first))

        for stack, axes in zip(stacks, panels, strict=True):
            of_stack = [row for row in rows if stack_of(row.layer) == stack]
            _draw_stack_correlations(axes, of_stack, distances=distances, deepest=deepest)
            axes.set_xlabel(f"{stack} layer")
            label_numbers(axes, list(range(deepest + 1)), width=width)
            axes.tick_params(labelleft=axes is first)

        # The legend stands above the middle of all panels, measured in widths of the first one
        first.set_ylabel("Mantel correlation r")
        middle = (len(stacks) * (width + GAP) - GAP) / width / 2
        draw_legend(first, handles=_list_handles(distances), width=page, middle=middle)

        # Layer by layer, for the table
        order = sorted(rows, key=lambda row: (layers.index(row.layer), distances.index(row.distance)))
        table = ([row.layer, row.distance, row.r, row.p_value] for row in order)
        header = ["layer", "distance", "r", "p_value"]
        return save_figure(figure, path_stem, title=title, header=header, rows=table, width=page)


def _draw_stack_correlations(
    axes: Any, rows: Sequence[LayerCorrelation], *, distances: Sequence[str], deepest: int
) -> None:
    """Draw the correlations of one stack, a line for each distance."""
    for index, distance in enumerate(distances):
        own = [row for row in rows if row.distance == distance]
        ordered = sorted(own, key=lambda row: place_of(row.layer))
        style = choose_style(index)

        # The line, and on it a marker for each test
        places = [index_of(row.layer) for row in ordered]
        axes.plot(places, [row.r for row in ordered], color=style["color"], zorder=2)
        for row in ordered:
            fill = style["color"] if row.p_value <= ALPHA else "white"
            axes.plot(index_of(row.layer), row.r, markerfacecolor=fill, markersize=3.5, zorder=3, **style)

    # The line of no correlation
    axes.axhline(0, color=GRAY, linewidth=0.8)
    axes.set_xlim(-0.5, deepest + 0.5)


def _list_handles(distances: Sequence[str]) -> list[Any]:
    """Return the entries of the legend: the distances, and what filled and hollow markers mean."""
    marker: dict[str, Any] = {"color": GRAY, "marker": "o", "linestyle": ""}
    return [
        *(Line2D([], [], label=name, **choose_style(index)) for index, name in enumerate(distances)),
        Line2D([], [], label="p ≤ 0.05 (corrected)", **marker),
        Line2D([], [], label="p > 0.05", markerfacecolor="white", **marker),
    ]
