"""Family colors next to the rows of a heat map or the leaves of a tree."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.patches import Patch, Rectangle

from neuronspec.figures.canvas import FRAMELESS, SMALL, count_columns
from neuronspec.figures.family_colors import paint_groups


def strip_width(side: float, groups: Sequence[str]) -> float:
    """Return the width in inches of a strip of family colors next to axes that are `side` inches wide.

    Args:
        side: Width of the axes in inches.
        groups: Group of every row; without any group there is no strip.
    """
    return 0.06 + side / 100 if any(groups) else 0.0


def draw_family_strips(axes: Any, groups: Sequence[str], widths: Mapping[str, float]) -> None:
    """Draw strips outside the axes with the color of every row's group.

    Args:
        axes: Axes of the matrix or the tree.
        groups: Group of every row; `""` is no group and has no color.
        widths: Width of the strip at each edge (`left`, `right`, `top`), as a share of the axes.
    """
    fills = paint_groups(groups)
    first = 0
    for group, run in itertools.groupby(groups):
        # One box for each run of neighbors of one group
        length = len(list(run))
        if group:
            for edge, width in widths.items():
                box = _make_box(axes, edge, width, first=first, length=length)
                box.set(clip_on=False, **fills[group])
                axes.add_patch(box)
        first += length


def _make_box(axes: Any, edge: str, width: float, *, first: int, length: int) -> Rectangle:
    """Return the box next to neighboring rows (or, at the top, columns) at one edge of the axes."""
    # Rows stand at whole numbers: in data along the axis, in shares of the axes across
    along = first - 0.5
    if edge == "top":
        return Rectangle((along, 1.0), length, width, transform=axes.get_xaxis_transform())
    start = -width if edge == "left" else 1.0
    return Rectangle((start, along), width, length, transform=axes.get_yaxis_transform())


def draw_family_legend(axes: Any, groups: Sequence[str], *, width: float, bottom: float) -> None:
    """Put the family colors above the axes; nothing without families.

    Args:
        axes: Axes of the matrix or the tree.
        groups: Group of every row.
        width: Width in inches that the legend may take.
        bottom: Lower end of the legend, in heights of the axes.
    """
    fills = paint_groups(groups)
    if not fills:
        return
    axes.legend(
        handles=[Patch(label=group, **fill) for group, fill in fills.items()],
        fontsize=SMALL,
        ncols=count_columns(list(fills), width),
        loc="lower center",
        bbox_to_anchor=(0.5, bottom),
        **FRAMELESS,
    )
