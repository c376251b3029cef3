"""Gains over a baseline, direction by direction (paper Figure 3)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Patch

from neuronspec.errors import NeuronspecError
from neuronspec.figures.canvas import (
    COLUMN,
    PAGE,
    SMALL,
    TINY,
    add_axes,
    check_values,
    draw_legend,
    open_figure,
)
from neuronspec.figures.family_colors import PALETTE
from neuronspec.figures.figure_files import save_figure

Gains = Mapping[str, Mapping[str, float]]  # system -> task -> gain
Marks = Mapping[str, Mapping[str, str]]  # system -> task -> sign

SCALE = 0.5  # inches that the scale takes at the left
PAGE_WIDTH = PAGE - SCALE  # inches: bars that need more continue in a new line
GAP = 0.1  # inches between the axes of two groups
MAX_COLUMN_BARS = 45  # bars and gaps that fit a column of a paper
LINE_HEIGHT = 1.3  # inches: height of a line of bars


@dataclass(frozen=True, kw_only=True)
class _GroupAxes:
    """Neighboring directions of one group, and where their axes stand.

    Attributes:
        group: Name of the group.
        tasks: Names of the directions.
        left: Left edge of the axes in inches.
        line: Number of the line of bars, from 0.
        width: Width of the axes in inches.
    """

    group: str
    tasks: list[str]
    left: float
    line: int
    width: float


def draw_gains(
    gains: Gains,
    path_stem: Path,
    *,
    metric: str,
    title: str = "",
    groups: Mapping[str, str] | None = None,
    marks: Marks | None = None,
) -> list[Path]:
    """Draw the gains of systems over a baseline, direction by direction (paper Figure 3).

    Directions stand in the order in which they are first given, neighbors of one group in axes of their own.

    Args:
        gains: For each system and task, its score minus the baseline's score. A system may lack tasks.
        path_stem: Path of the files to write, without the suffix.
        metric: Name of the score, for the axis (`BLEU`).
        title: Title of the figure, for the metadata of its files: a paper has it in the caption.
        groups: Group of each task, such as `en to x`.
        marks: For each system and task, a sign to print at the end of its bar, such as `*` where the gain is
            significant.

    Returns:
        The paths of the written files: SVG, PNG, CSV, PDF.

    Raises:
        NeuronspecError: If there is nothing to draw, a gain is not finite, or a mark has no gain.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     paths = draw_gains({"ours": {"de-en": 1.5, "en-de": -0.2}}, Path(folder) / "gains", metric="BLEU")
        >>> [path.name for path in paths]
        ['gains.svg', 'gains.png', 'gains.csv', 'gains.pdf']
    """
    marks = marks or {}
    groups = groups or {}
    tasks = list(dict.fromkeys(itertools.chain(*gains.values())))
    numbers = check_values("the gains", _list_values(gains))
    _check_marks(gains, marks)

    # Axes of each group, in lines of the page
    slots = len(gains) + 0.6  # bars of a task and the gap after them
    page = COLUMN if len(tasks) * slots <= MAX_COLUMN_BARS else PAGE
    bar = float(np.clip((page - SCALE) / len(tasks) / slots, 0.05, 0.15))  # inches
    placed = list(_place_axes(tasks, groups, bar * slots, room=page - SCALE))
    width = max(one.left + one.width for one in placed)

    # Room between two lines for the names of tasks, and above for those of groups
    has_groups = any(one.group for one in placed)
    gap = 0.065 * max(map(len, tasks)) + (0.35 if has_groups else 0.15)

    # One scale for all, with some room for marks
    low, high = min(0.0, numbers.min()), max(0.0, numbers.max())
    room = 0.1 * (high - low or 1.0)

    with open_figure(width, LINE_HEIGHT) as (figure, first):
        # The first axes only hold the legend; every group has axes of its own
        first.set_axis_off()
        for one in placed:
            bottom = -one.line * (LINE_HEIGHT + gap)
            axes = add_axes(figure, one.left, bottom, width=one.width, height=LINE_HEIGHT)
            _draw_bars(axes, gains, one.tasks, marks=marks, bar=bar * 72)
            axes.set_ylim(low - room, high + room)
            axes.set_title(one.group)

            # Only the first axes of a line have a scale
            axes.set_ylabel("" if one.left else f"gain ({metric})")
            axes.tick_params(labelleft=not one.left)

        # The legend stands above everything, in as many columns as fit
        handles = [Patch(facecolor=_choose_color(index), label=name) for index, name in enumerate(gains)]
        draw_legend(
            first,
            handles=handles,
            width=page,
            top=0.17 if has_groups else 0.0,
        )

        rows = _list_gains(gains, tasks, groups=groups, marks=marks)
        header = ["system", "task", "group", "gain", "mark"]
        return save_figure(figure, path_stem, title=title, header=header, rows=rows, width=page)


def _check_marks(gains: Gains, marks: Marks) -> None:
    # A mark without a bar would be lost without a word
    for system, by_task in marks.items():
        for task in by_task:
            if task not in gains.get(system, {}):
                raise NeuronspecError(f"found a mark for the task {task!r} of the system {system!r}, but no gain of it")


def _list_values(gains: Gains) -> list[float]:
    values: list[float] = []
    for by_task in gains.values():
        values += by_task.values()
    return values


def _list_gains(gains: Gains, tasks: Sequence[str], *, groups: Mapping[str, str], marks: Marks) -> list[list[object]]:
    """Return a row of the table for each system and task."""
    rows: list[list[object]] = []
    for system, values in gains.items():
        for task in tasks:
            if task in values:
                mark = marks.get(system, {}).get(task, "")
                rows.append([system, task, groups.get(task, ""), float(values[task]), mark])
    return rows


def _place_axes(
    tasks: Sequence[str], groups: Mapping[str, str], step: float, room: float = PAGE_WIDTH
) -> Iterator[_GroupAxes]:
    """Yield axes for each run of tasks of one group, side by side, in as many lines as the page needs.

    Args:
        tasks: Names of all tasks, in their order.
        groups: Group of each task.
        step: Width in inches that a task takes.
        room: Width in inches of a line.
    """
    # Widths have a tolerance: rounding must not push the last task of a full line into the next
    left, line = 0.0, 0
    largest = max(1, int(room / step + 1e-9))  # tasks that fit into a line

    for group, run in itertools.groupby(tasks, key=lambda task: groups.get(task, "")):
        # A run that is longer than a line is cut into pieces of about the same length
        members = list(run)
        pieces = math.ceil(len(members) / largest)
        for piece in np.array_split(np.asarray(members, dtype=object), pieces):
            width = max(len(piece) * step, 0.07 * len(group), 0.3)  # not narrower than its name

            # What does not fit begins a new line
            if left and left + width > room + 1e-9:
                left, line = 0.0, line + 1
            yield _GroupAxes(group=group, tasks=piece.tolist(), left=left, line=line, width=width)
            left += width + GAP


def _draw_bars(axes: Any, gains: Gains, tasks: Sequence[str], *, marks: Marks, bar: float) -> None:
    """Draw a bar, `bar` points wide, for every task and system."""
    slots = len(gains) + 0.6
    for index, (system, values) in enumerate(gains.items()):
        # The bars of a task stand side by side around its place
        shift = (index - (len(gains) - 1) / 2) * (1 / slots)
        places = {}
        for place, task in enumerate(tasks):
            if task in values:
                places[task] = place + shift
        heights = [values[task] for task in places]
        axes.bar(list(places.values()), heights, width=1 / slots, color=_choose_color(index), linewidth=0)

        # Marks stand at the end of their bars
        for task, at in places.items():
            mark = marks.get(system, {}).get(task)
            if mark:
                side = "bottom" if values[task] >= 0 else "top"
                axes.text(at, values[task], mark, ha="center", va=side, fontsize=float(np.clip(bar, TINY, SMALL)))

    # The baseline, the names of the tasks, and a light grid behind the bars
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(tasks)), tasks, rotation=90, fontsize=float(np.clip(bar * slots, TINY, SMALL)))
    axes.set_xlim(-0.5, len(tasks) - 0.5)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", linewidth=0.4, alpha=0.5)
    axes.set_axisbelow(True)


def _choose_color(index: int) -> str:
    return PALETTE[index % len(PALETTE)]
