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

from neuronspec.analysis.overlap import check_iou
from neuronspec.analysis.tree import Tree
from neuronspec.errors import NeuronspecError
from neuronspec.figures.canvas import (
    GREY,
    HATCHES,
    annotate,
    draw_colorbar,
    draw_grid,
    font_size,
    label_rows,
    open_figure,
    paint_groups,
    save_figure,
    turn_labels,
)
from neuronspec.languages import UNKNOWN

RELEASED = "IoU^1.25 × 100"
# the lines of branches, in the order of the hatches of their families
STROKES = ("solid", (0, (5, 3)), (0, (1, 3)), (0, (5, 3, 1, 3)), (0, (9, 3)), (0, (9, 3, 1, 3)))


def draw_heatmap(
    iou: ArrayLike,
    labels: Sequence[str],
    groups: Sequence[str],
    path_stem: Path,
    title: str,
    *,
    limits: tuple[float, float] | None = None,
    released: bool = False,
) -> list[Path]:
    """Draw the IoU of every pair of tasks, in the order given, beside their families (paper Figures 1, 8, 9, 10).

    The colours show the raw IoU; their limits stand at the colour bar. Give `limits` to compare figures.

    Args:
        iou: (tasks, tasks) IoU.
        labels: the name of each row.
        groups: the group (family) of each row; put rows of one group side by side. `""` is no group.
        path_stem: where to write, without the suffix.
        title: a line above the figure.
        limits: the IoU of the lightest and of the darkest colour; by default the smallest and the largest
            off the diagonal, rounded outwards to two decimals.
        released: draw (and write into the CSV) what the released code's pictures show instead of the IoU: 100 *
            IoU ** 1.25 of the IoU cut to whole percents, with colours from 40 to 80. A second line of the title
            says so.

    Returns:
        The paths written: SVG, PNG, CSV.

    Raises:
        NeuronspecError: no IoU matrix, other than one label and one group a row, limits outside 0..1, or
            limits for the released code's picture, which has its own.
    """
    matrix = check_iou(iou, labels)
    check_iou(matrix, groups)
    low, high = _choose_limits(matrix, limits, released)
    if released:
        matrix = 100 * (np.floor(100 * matrix + 1e-9) / 100) ** 1.25  # 0.29 * 100 is a little below 29
        title = "\n".join(filter(None, [title, f"{RELEASED}, as the released code draws it"]))
    size = len(matrix)
    side = max(2.6, size * float(np.clip(7.5 / size, 0.09, 0.6)))  # inches
    cell = side / size
    with open_figure(side, side) as (figure, axes):
        shades = axes.imshow(matrix, cmap="Blues", vmin=low, vmax=high, interpolation="none")
        draw_grid(axes, size, size)
        strip = _strip_width(side) if any(groups) else 0.0
        _draw_strips(axes, groups, {"left": strip / side, "top": strip / side})
        label_rows(axes.yaxis, labels, cell, pad=strip * 72 + 3)
        label_rows(axes.xaxis, labels, cell, pad=3, rotation=turn_labels(labels, cell))
        annotate(axes, shades, "{:.0f}" if released else "{:.2f}")
        draw_colorbar(figure, shades, f"{RELEASED if released else 'IoU'} (colour limits {low:g} to {high:g})")
        _draw_legend(axes, groups, title, side, 1 + (strip + 0.05) / side)
        rows = ([label, group, *row] for label, group, row in zip(labels, groups, matrix.tolist(), strict=True))
        return save_figure(figure, path_stem, ["label", "group", *labels], rows)


def draw_tree(tree: Tree, groups: Sequence[str], path_stem: Path, title: str) -> list[Path]:
    """Draw a tree of languages with the families at its leaves (paper Figure 7).

    A branch has the colour of a family when every leaf below it is of that family, and is grey otherwise. The
    CSV has a row for every merge; `#3` in it is the node that the third merge made.

    Args:
        tree: from `language_tree`.
        groups: the group (family) of each of `tree.labels`; `""` is no group.
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
        strip = _strip_width(width) if any(groups) else 0.0
        _draw_strips(axes, [groups[leaf] for leaf in tree.leaves], {"right": strip / width}, groups)
        axes.yaxis.tick_right()
        label_rows(axes.yaxis, [tree.labels[leaf] for leaf in tree.leaves], row, pad=strip * 72 + 3)
        _draw_legend(axes, groups, title, width, 1 + 0.05 / height)
        names = [*tree.labels, *(f"#{merge}" for merge in range(1, size))]
        rows = (
            [merge, names[int(first)], names[int(second)], distance, int(leaves)]
            for merge, (first, second, distance, leaves) in enumerate(tree.linkage.tolist(), start=1)
        )
        return save_figure(figure, path_stem, ["merge", "left", "right", "distance", "leaves"], rows)


def _choose_limits(
    matrix: NDArray[np.float64], limits: tuple[float, float] | None, released: bool
) -> tuple[float, float]:
    if released:
        if limits is not None:
            raise NeuronspecError(
                f"found the colour limits {limits} for a picture as the released code draws it, whose limits are 40 "
                "and 80; leave one of them out"
            )
        return 40, 80
    if limits is None:
        pairs = matrix[~np.eye(len(matrix), dtype=bool)]
        if not pairs.size:
            return 0.0, 1.0
        low, high = math.floor(pairs.min() * 100) / 100, math.ceil(pairs.max() * 100) / 100
        return (low, high) if low < high else (max(0.0, low - 0.01), min(1.0, high + 0.01))
    if not 0 <= limits[0] < limits[1] <= 1:
        raise NeuronspecError(f"found the colour limits {limits}, expected two rising values in 0..1")
    return limits


def _strip_width(side: float) -> float:
    return 0.12 + side / 100  # inches


def _draw_strips(
    axes: Any, groups: Sequence[str], widths: Mapping[str, float], order: Sequence[str] | None = None
) -> None:
    """Draw, outside the axes, the colour of every row's group.

    Widths are shares of the axes; colours follow the first appearance in `order`, by default that of the rows.
    """
    fills = paint_groups(order or groups)
    first = 0
    for group, run in itertools.groupby(groups):
        length = len(list(run))
        for edge, width in widths.items() if group else ():
            start = -width if edge == "left" else 1.0
            along = first - 0.5
            if edge == "top":
                box = Rectangle((along, start), length, width, transform=axes.get_xaxis_transform())
            else:
                box = Rectangle((start, along), width, length, transform=axes.get_yaxis_transform())
            box.set(clip_on=False, **fills[group])
            axes.add_patch(box)
        first += length


def _draw_legend(axes: Any, groups: Sequence[str], title: str, width: float, bottom: float) -> None:
    """Put title and family colours above the axes, which are `width` inches wide."""
    fills = paint_groups(groups)
    size = font_size(width)
    if not fills:
        axes.set_title(title, fontsize=size * 1.2)
        return
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
    ).get_title().set_multialignment("center")


def _draw_branches(tree: Tree, groups: Sequence[str]) -> Any:
    fills = paint_groups(groups)
    places = [0.0] * len(tree.leaves)
    for place, leaf in enumerate(tree.leaves):
        places[leaf] = place
    depths = [0.0] * len(places)
    families = list(groups)  # of every node, "" where its leaves have none in common
    strokes = dict(zip(HATCHES, STROKES, strict=True))
    lines, inks, dashes = [], [], []
    for first, second, distance in tree.linkage[:, :3].tolist():
        a, b = int(first), int(second)
        middle = (places[a] + places[b]) / 2
        for node in (a, b):
            lines.append([(depths[node], places[node]), (distance, places[node]), (distance, middle)])
            family = families[node]
            inks.append(fills[family]["facecolor"] if family else GREY)
            dashes.append(strokes[fills[family]["hatch"]] if family else "solid")
        places.append(middle)
        depths.append(distance)
        is_one_family = families[a] == families[b] != UNKNOWN
        families.append(families[a] if is_one_family else "")
    return LineCollection(lines, colors=inks, linestyles=dashes, linewidths=1.4, capstyle="projecting", clip_on=False)
