"""Figures of overlaps: heat map (paper Figure 1) and language tree (paper Figure 7).

Every function writes `<stem>.svg`, `<stem>.png` and `<stem>.csv` (the numbers behind), each atomically. The
same input gives the same bytes. pyplot and its global state are never touched.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.patches import Patch, Rectangle
from numpy.typing import ArrayLike, NDArray

from neuronspec.analysis.canvas import GREY, HATCHES, PALETTE, open_figure, save_figure
from neuronspec.analysis.overlap import check_iou
from neuronspec.analysis.tree import Tree
from neuronspec.errors import NeuronspecError

ANNOTATED = 12  # heat maps of at most so many labels show the values


def draw_heatmap(
    iou: ArrayLike,
    labels: Sequence[str],
    groups: Sequence[str],
    path_stem: Path,
    title: str,
    *,
    limits: tuple[float, float] | None = None,
) -> list[Path]:
    """Draw the IoU of every pair of tasks, in the order given, beside their families (paper Figure 1).

    The colours show the raw IoU; their limits stand at the colour bar. Give `limits` to compare figures.

    Args:
        iou: (tasks, tasks) IoU.
        labels: the name of each row.
        groups: the group (family) of each row; put rows of one group side by side.
        path_stem: where to write, without the suffix.
        title: a line above the figure.
        limits: the IoU of the lightest and of the darkest colour; by default the smallest and the largest
            off the diagonal, rounded outwards to two decimals.

    Returns:
        The paths written: SVG, PNG, CSV.

    Raises:
        NeuronspecError: no IoU matrix, other than one label and one group a row, or limits outside 0..1.
    """
    matrix = check_iou(iou, labels)
    check_iou(matrix, groups)
    low, high = _choose_limits(matrix, limits)
    size = len(matrix)
    side = max(2.6, size * float(np.clip(7.5 / size, 0.09, 0.6)))  # inches
    cell = side / size
    with open_figure(side, side) as (figure, axes):
        shades = axes.imshow(matrix, cmap="Blues", vmin=low, vmax=high, interpolation="none")
        _draw_grid(axes, size)
        strip = _strip_width(side)
        _draw_strips(axes, groups, _paint(groups), {"left": strip / side, "top": strip / side})
        _label_rows(axes.yaxis, labels, cell, pad=strip * 72 + 3)
        fits = max(map(len, labels)) * 0.1 < cell  # inches
        _label_rows(axes.xaxis, labels, cell, pad=3, rotation=0 if fits else 90)
        if size <= ANNOTATED:
            _annotate(axes, matrix, low, high)
        beyond = matrix.min() < low, matrix.max() > high
        extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get(beyond, "neither")
        length, font = min(1, 6 / side), _font_size(side)
        bar = figure.add_axes((1 + 0.25 / side, 1 - length, 0.2 / side, length))
        figure.colorbar(shades, cax=bar, extend=extend)
        bar.set_ylabel(f"IoU (colour limits {low:g} to {high:g})", fontsize=font)
        bar.tick_params(labelsize=font)
        _draw_legend(axes, groups, title, side, 1 + (strip + 0.05) / side)
        rows = ([label, group, *row] for label, group, row in zip(labels, groups, matrix.tolist(), strict=True))
        return save_figure(figure, path_stem, ["label", "group", *labels], rows)


def draw_tree(tree: Tree, groups: Sequence[str], path_stem: Path, title: str) -> list[Path]:
    """Draw a tree of languages with the families at its leaves (paper Figure 7).

    A branch has the colour of a family when every leaf below it is of that family. The CSV has a row
    for every merge; `#3` in it is the node that the third merge made.

    Args:
        tree: from `language_tree`.
        groups: the group (family) of each of `tree.labels`.
        path_stem: where to write, without the suffix.
        title: a line above the figure.

    Returns:
        The paths written: SVG, PNG, CSV.

    Raises:
        NeuronspecError: other than one group a label.
    """
    size = len(tree.labels)
    if len(groups) != size:
        raise NeuronspecError(f"found {len(groups)} groups for a tree of {size} labels, expected one each")
    row = float(np.clip(7.5 / size, 0.12, 0.35))  # inches
    width, height = 6.0 if size <= 60 else 9.0, size * row
    with open_figure(width, height) as (figure, axes):
        axes.add_collection(_draw_branches(tree, groups))
        axes.set_xlim(max(float(tree.linkage[-1, 2]) * 1.02, 1e-3), 0)
        axes.set_ylim(size - 0.5, -0.5)
        axes.spines[["left", "right", "top"]].set_visible(False)
        axes.set_xlabel(f"1 − IoU, complete linkage (cophenetic correlation {tree.cophenetic_correlation:.2f})")
        strip = _strip_width(width)
        _draw_strips(axes, [groups[leaf] for leaf in tree.leaves], _paint(groups), {"right": strip / width})
        axes.yaxis.tick_right()
        _label_rows(axes.yaxis, [tree.labels[leaf] for leaf in tree.leaves], row, pad=strip * 72 + 3)
        _draw_legend(axes, groups, title, width, 1 + 0.05 / height)
        names = [*tree.labels, *(f"#{merge}" for merge in range(1, size))]
        rows = (
            [merge, names[int(first)], names[int(second)], distance, int(leaves)]
            for merge, (first, second, distance, leaves) in enumerate(tree.linkage.tolist(), start=1)
        )
        return save_figure(figure, path_stem, ["merge", "left", "right", "distance", "leaves"], rows)


def _choose_limits(matrix: NDArray[np.float64], limits: tuple[float, float] | None) -> tuple[float, float]:
    if limits is None:
        pairs = matrix[~np.eye(len(matrix), dtype=bool)]
        if not pairs.size:
            return 0.0, 1.0
        low, high = math.floor(pairs.min() * 100) / 100, math.ceil(pairs.max() * 100) / 100
        return (low, high) if low < high else (max(0.0, low - 0.01), min(1.0, high + 0.01))
    if not 0 <= limits[0] < limits[1] <= 1:
        raise NeuronspecError(f"found the colour limits {limits}, expected two rising values in 0..1")
    return limits


def _paint(groups: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return how to fill the area of each group, in the order of their first appearance."""
    return {
        group: {
            "facecolor": PALETTE[index % len(PALETTE)],
            "hatch": HATCHES[index // len(PALETTE) % len(HATCHES)],
            "edgecolor": "white",
            "linewidth": 0,
        }
        for index, group in enumerate(dict.fromkeys(groups))
    }


def _strip_width(side: float) -> float:
    return 0.12 + side / 100  # inches


def _font_size(side: float) -> float:
    return float(np.clip(side * 1.1, 9, 16))  # points


def _draw_strips(
    axes: Any, groups: Sequence[str], fills: Mapping[str, Mapping[str, Any]], widths: Mapping[str, float]
) -> None:
    """Draw, outside the axes, the colour of every row's group; widths are shares of the axes."""
    first = 0
    for group, run in itertools.groupby(groups):
        length = len(list(run))
        for edge, width in widths.items():
            start = -width if edge == "left" else 1.0
            along = first - 0.5
            if edge == "top":
                box = Rectangle((along, start), length, width, transform=axes.get_xaxis_transform())
            else:
                box = Rectangle((start, along), width, length, transform=axes.get_yaxis_transform())
            box.set(clip_on=False, **fills[group])
            axes.add_patch(box)
        first += length


def _label_rows(axis: Any, labels: Sequence[str], row: float, pad: float, rotation: float = 0) -> None:
    axis.set_ticks(range(len(labels)), labels)
    axis.set_tick_params(length=0, pad=pad, labelsize=min(10.0, row * 72 * 0.85), labelrotation=rotation)


def _draw_grid(axes: Any, size: int) -> None:
    borders = np.arange(size + 1) - 0.5
    span = (-0.5, size - 0.5)
    lines = [
        *(((at, span[0]), (at, span[1])) for at in borders),
        *(((span[0], at), (span[1], at)) for at in borders),
    ]
    axes.add_collection(LineCollection(lines, colors="white", linewidths=min(1.0, 30 / size)))
    axes.spines[:].set_visible(False)


def _annotate(axes: Any, matrix: NDArray[np.float64], low: float, high: float) -> None:
    for (row, column), value in np.ndenumerate(matrix):
        ink = "white" if (value - low) / (high - low) > 0.55 else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=9)


def _draw_legend(axes: Any, groups: Sequence[str], title: str, width: float, bottom: float) -> None:
    """Put title and family colours above the axes, which are `width` inches wide."""
    fills = _paint(groups)
    size = _font_size(width)
    column = size / 72 * (0.55 * max(map(len, fills)) + 4)  # inches
    lines = math.ceil(len(fills) / max(1, width // column))
    axes.legend(
        handles=[Patch(label=group, **fill) for group, fill in fills.items()],
        title=title,
        title_fontsize=size * 1.2,
        fontsize=size,
        ncols=math.ceil(len(fills) / lines),
        loc="lower center",
        bbox_to_anchor=(0.5, bottom),
        frameon=False,
    )


def _draw_branches(tree: Tree, groups: Sequence[str]) -> Any:
    fills = _paint(groups)
    places = [0.0] * len(tree.leaves)
    for place, leaf in enumerate(tree.leaves):
        places[leaf] = place
    depths = [0.0] * len(places)
    families: list[str | None] = list(groups)
    lines, inks = [], []
    for first, second, distance in tree.linkage[:, :3].tolist():
        a, b = int(first), int(second)
        middle = (places[a] + places[b]) / 2
        for node in (a, b):
            lines.append([(depths[node], places[node]), (distance, places[node]), (distance, middle)])
            family = families[node]
            inks.append(GREY if family is None else fills[family]["facecolor"])
        places.append(middle)
        depths.append(distance)
        families.append(families[a] if families[a] == families[b] else None)
    return LineCollection(lines, colors=inks, linewidths=1.4, capstyle="projecting", clip_on=False)
