"""Family colors next to the rows of a heat map or the leaves of a tree."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.patches import Patch, Rectangle

from neuronspec.figures.canvas import font_size, paint_groups


def strip_width(side: float) -> float:
    """Return the width in inches of a strip of family colors next to axes that are `side` inches wide."""
    return 0.12 + side / 100  # inches


def draw_family_strips(
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


def draw_family_legend(axes: Any, groups: Sequence[str], title: str, width: float, bottom: float) -> None:
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
