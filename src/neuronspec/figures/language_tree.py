"""Tree of languages by the overlap of their neurons (paper Figure 7)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection

from neuronspec.analysis.tree import Tree
from neuronspec.errors import NeuronspecError
from neuronspec.figures.canvas import COLUMN, GRAY, PAGE, open_figure
from neuronspec.figures.family_colors import HATCHES, paint_groups
from neuronspec.figures.family_strips import draw_family_legend, draw_family_strips, strip_width
from neuronspec.figures.figure_files import save_figure
from neuronspec.figures.matrix_cells import label_rows
from neuronspec.languages import UNKNOWN

# Line styles of the branches, in the order of the hatches of their families
LINE_STYLES = ("solid", (0, (5, 3)), (0, (1, 3)), (0, (5, 3, 1, 3)), (0, (9, 3)), (0, (9, 3, 1, 3)))


def draw_tree(tree: Tree, groups: Sequence[str], path_stem: Path, title: str) -> list[Path]:
    """Draw a tree of languages with the families at its leaves (paper Figure 7).

    A branch has the color of a family if all leaves below it belong to that family, and is gray otherwise. The CSV
    has a row for every merge; `#3` in it is the node that the third merge made.

    Args:
        tree: Tree from `neuronspec.analysis.language_tree`.
        groups: Group (family) of each of `tree.labels`; `""` is no group.
        path_stem: Path of the files to write, without the suffix.
        title: Title of the figure, for the metadata of its files: a paper has it in the caption.

    Returns:
        The paths of the written files: SVG, PNG, CSV, PDF.

    Raises:
        NeuronspecError: If there is not one group for each label.
    """
    size = len(tree.labels)
    if len(groups) != size:
        raise NeuronspecError(f"found {len(groups)} groups for a tree of {size} labels, expected one each")

    # Leaves get closer as there are more of them
    row = float(np.clip(7.5 / size, 0.1, 0.17))  # inches
    page = COLUMN if size <= 60 else PAGE
    width, height = page - 0.5, size * row
    strip = strip_width(width, groups)

    with open_figure(width, height) as (figure, axes):
        # The leaves are at the right, at distance 0, and the first one at the top
        axes.add_collection(_draw_branches(tree, groups))
        axes.set_xlim(max(float(tree.linkage[-1, 2]) * 1.02, 1e-3), 0)
        axes.set_ylim(size - 0.5, -0.5)
        axes.spines[["left", "right", "top"]].set_visible(False)
        axes.set_xlabel(f"1 − IoU (cophenetic correlation {tree.cophenetic_correlation:.2f})")

        # Families and names of the leaves
        draw_family_strips(axes, [groups[leaf] for leaf in tree.leaves], {"right": strip / width})
        axes.yaxis.tick_right()
        label_rows(axes.yaxis, [tree.labels[leaf] for leaf in tree.leaves], row, pad=strip * 72 + 3)
        draw_family_legend(axes, groups, width=page, bottom=1 + 0.03 / height)

        header = ["merge", "left", "right", "distance", "leaves"]
        rows = _list_merges(tree)
        return save_figure(figure, path_stem, title=title, header=header, rows=rows, width=page)


def _list_merges(tree: Tree) -> list[list[object]]:
    """Return for each merge its number, the two nodes, their distance and the number of leaves below."""
    # Nodes in scipy's numbering: the leaves, then the merges
    names = [*tree.labels, *(f"#{merge}" for merge in range(1, len(tree.labels)))]
    rows: list[list[object]] = []
    for merge, (first, second, distance, leaves) in enumerate(tree.linkage.tolist(), start=1):
        rows.append([merge, names[int(first)], names[int(second)], distance, int(leaves)])
    return rows


def _draw_branches(tree: Tree, groups: Sequence[str]) -> Any:
    """Return the lines of the branches; a node stands at the distance of its merge, in the middle of its children."""
    # A family's branches have the color of its strip, and dashes where the strip is hatched
    fills = paint_groups(groups)
    styles = dict(zip(HATCHES, LINE_STYLES, strict=True))
    lines, inks, dashes = [], [], []

    # Of every node, leaves first: its place along the leaves, its distance, and the family of all leaves below it
    places = [0.0] * len(tree.leaves)
    for place, leaf in enumerate(tree.leaves):
        places[leaf] = place
    depths = [0.0] * len(places)
    families = list(groups)  # "" where the leaves have no family in common

    for first, second, distance in tree.linkage[:, :3].tolist():
        children = int(first), int(second)

        # From each child to the distance of the merge, then across to the new node
        middle = sum(places[node] for node in children) / 2
        for node in children:
            lines.append([(depths[node], places[node]), (distance, places[node]), (distance, middle)])
            family = families[node]
            inks.append(fills[family]["facecolor"] if family else GRAY)
            dashes.append(styles[fills[family]["hatch"]] if family else "solid")

        # The new node itself; languages of unknown family are no family
        places.append(middle)
        depths.append(distance)
        is_one_family = families[children[0]] == families[children[1]] != UNKNOWN
        families.append(families[children[0]] if is_one_family else "")

    return LineCollection(lines, colors=inks, linestyles=dashes, linewidths=1.1, capstyle="projecting", clip_on=False)
