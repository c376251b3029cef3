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
from neuronspec.figures.canvas import PALETTE, add_axes, check_values, draw_legend, font_size, open_figure, save_figure

PAGE_WIDTH = 12.0  # inches: bars that need more continue in a new line
LINE_HEIGHT = 2.2  # the height of a line of bars


@dataclass(frozen=True)
class _GroupAxes:
    """Neighbouring directions of one group, and where their axes stand (inches)."""

    group: str
    tasks: list[str]
    left: float
    line: int
    width: float


def draw_gains(
    gains: Mapping[str, Mapping[str, float]],
    path_stem: Path,
    *,
    metric: str,
    title: str = "",
    groups: Mapping[str, str] | None = None,
    marks: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Path]:
    """Draw what systems gain over a baseline, direction by direction (paper Figure 3).

    Directions stand in the order in which they are given first, neighbours of one group in axes of their own.

    Args:
        gains: name of the system -> task -> its score minus the baseline's. A system may lack tasks.
        path_stem: where to write, without the suffix.
        metric: the name of the score, for the axis (`BLEU`).
        title: a line above the figure.
        groups: task -> its group, such as `en to x`.
        marks: name of the system -> task -> a sign to print at the end of its bar, such as `*` where the gain
            is significant.

    Returns:
        The paths written: SVG, PNG, CSV.

    Raises:
        NeuronspecError: nothing to draw, a gain that is not finite, or a mark for no gain.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     paths = draw_gains({"ours": {"de-en": 1.5, "en-de": -0.2}}, Path(folder) / "gains", metric="BLEU")
        >>> [path.name for path in paths]
        ['gains.svg', 'gains.png', 'gains.csv']
    """
    tasks = list(dict.fromkeys(task for values in gains.values() for task in values))
    numbers = check_values("the gains", [value for values in gains.values() for value in values.values()])
    marks = marks or {}
    unknown = [(system, task) for system, row in marks.items() for task in row if task not in gains.get(system, {})]
    if unknown:
        raise NeuronspecError(
            f"found a mark for the task {unknown[0][1]!r} of the system {unknown[0][0]!r}, but no gain of it"
        )
    bar = float(np.clip(PAGE_WIDTH / len(tasks) / (len(gains) + 0.6), 0.06, 0.25))  # inches
    panels = list(_place_axes(tasks, groups or {}, bar * (len(gains) + 0.6)))
    named = any(panel.group for panel in panels)
    gap = 0.085 * max(map(len, tasks)) + (0.6 if named else 0.35)
    low, high = min(0.0, numbers.min()), max(0.0, numbers.max())
    room = 0.1 * (high - low or 1.0)
    width = max(panel.left + panel.width for panel in panels)
    with open_figure(width, LINE_HEIGHT) as (figure, first):
        first.set_axis_off()
        for panel in panels:
            axes = add_axes(figure, panel.left, -panel.line * (LINE_HEIGHT + gap), panel.width, LINE_HEIGHT)
            _draw_bars(axes, gains, panel.tasks, marks, bar * 72)
            axes.set_ylim(low - room, high + room)
            axes.set_title(panel.group, fontsize=10)
            axes.set_ylabel("" if panel.left else f"gain ({metric})")
            axes.tick_params(labelleft=not panel.left)
        handles = [Patch(facecolor=PALETTE[index % len(PALETTE)], label=name) for index, name in enumerate(gains)]
        draw_legend(
            first,
            handles=handles,
            title=title,
            title_fontsize=font_size(width),
            ncols=max(1, min(len(gains), int(width // 1.8))),
            loc="lower center",
            bbox_to_anchor=(0.5, 1 + (0.3 if named else 0.05) / LINE_HEIGHT),
        )
        rows = (
            [system, task, (groups or {}).get(task, ""), float(values[task]), marks.get(system, {}).get(task, "")]
            for system, values in gains.items()
            for task in tasks
            if task in values
        )
        return save_figure(figure, path_stem, ["system", "task", "group", "gain", "mark"], rows)


def _place_axes(tasks: Sequence[str], groups: Mapping[str, str], step: float) -> Iterator[_GroupAxes]:
    """Set runs of one group side by side, in as many lines as the page needs."""
    left, line, most = 0.0, 0, max(1, int(PAGE_WIDTH / step + 1e-9))
    for group, run in itertools.groupby(tasks, key=lambda task: groups.get(task, "")):
        members = list(run)
        pieces = math.ceil(len(members) / most)
        for piece in np.array_split(np.asarray(members, dtype=object), pieces):
            width = max(len(piece) * step, 0.1 * len(group), 0.5)  # not narrower than its name
            if left and left + width > PAGE_WIDTH + 1e-9:
                left, line = 0.0, line + 1
            yield _GroupAxes(group, piece.tolist(), left, line, width)
            left += width + 0.15


def _draw_bars(
    axes: Any,
    gains: Mapping[str, Mapping[str, float]],
    tasks: Sequence[str],
    marks: Mapping[str, Mapping[str, str]],
    bar: float,
) -> None:
    """Draw a bar, `bar` points wide, for every task and system."""
    share = 1 / (len(gains) + 0.6)  # of the place of a task
    for index, (system, values) in enumerate(gains.items()):
        places = [(place, task) for place, task in enumerate(tasks) if task in values]
        x = [place + (index - (len(gains) - 1) / 2) * share for place, _ in places]
        heights = [values[task] for _, task in places]
        axes.bar(x, heights, width=share, color=PALETTE[index % len(PALETTE)], linewidth=0)
        for at, height, (_, task) in zip(x, heights, places, strict=True):
            if mark := marks.get(system, {}).get(task):
                side = "bottom" if height >= 0 else "top"
                axes.text(at, height, mark, ha="center", va=side, fontsize=float(np.clip(bar, 5, 9)))
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(tasks)), tasks, rotation=90, fontsize=float(np.clip(bar * (len(gains) + 0.6), 5, 9)))
    axes.set_xlim(-0.5, len(tasks) - 0.5)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", linewidth=0.4, alpha=0.5)
    axes.set_axisbelow(True)
