"""Figures of scores: gains by direction (paper Figure 3), zero-shot (Figure 4), the choice of k (Figure 5)."""

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
    BOX,
    GREY,
    MARKERS,
    PALETTE,
    STACK_COLORS,
    add_axes,
    check_values,
    draw_boxes,
    draw_legend,
    font_size,
    open_figure,
    save_figure,
    summarize,
)
from neuronspec.layer_names import stack_of

PAGE = 12.0  # inches: bars that need more continue in a new line
LINE = 2.2  # the height of a line of bars


@dataclass(frozen=True)
class SharePoint:
    """What one k leads to.

    Attributes:
        k: the share of the activation that the selected neurons cover, 0..1.
        sparsity: layer name -> its mean sparsity over the tasks, 0..1.
        gain: the score with these neurons minus that of the baseline; None where no such model was scored.
    """

    k: float
    sparsity: Mapping[str, float]
    gain: float | None = None


@dataclass(frozen=True)
class _Panel:
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
    bar = float(np.clip(PAGE / len(tasks) / (len(gains) + 0.6), 0.06, 0.25))  # inches
    panels = list(_place_panels(tasks, groups or {}, bar * (len(gains) + 0.6)))
    named = any(panel.group for panel in panels)
    gap = 0.085 * max(map(len, tasks)) + (0.6 if named else 0.35)
    low, high = min(0.0, numbers.min()), max(0.0, numbers.max())
    room = 0.1 * (high - low or 1.0)
    width = max(panel.left + panel.width for panel in panels)
    with open_figure(width, LINE) as (figure, first):
        first.set_axis_off()
        for panel in panels:
            axes = add_axes(figure, panel.left, -panel.line * (LINE + gap), panel.width, LINE)
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
            bbox_to_anchor=(0.5, 1 + (0.3 if named else 0.05) / LINE),
        )
        rows = (
            [system, task, (groups or {}).get(task, ""), float(values[task]), marks.get(system, {}).get(task, "")]
            for system, values in gains.items()
            for task in tasks
            if task in values
        )
        return save_figure(figure, path_stem, ["system", "task", "group", "gain", "mark"], rows)


def draw_zero_shot(
    scores: Mapping[str, Mapping[str, Sequence[float]]], path_stem: Path, *, metric: str, title: str = ""
) -> list[Path]:
    """Draw the distribution of scores over directions, group by group, a box for every system (paper Figure 4).

    A box holds the middle half of the directions, the line in it is the median, the sign the mean, and the
    whiskers reach the last value within 1.5 times the box's height.

    Args:
        scores: name of the group (`High`, `Medium`, `Low`, `All`) -> name of the system -> the score of each
            direction.
        path_stem: where to write, without the suffix.
        metric: the name of the score, for the axis (`chrF++`).
        title: a line above the figure.

    Returns:
        The paths written: SVG, PNG, CSV.

    Raises:
        NeuronspecError: nothing to draw, or a score that is not finite.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> scores = {"High": {"baseline": [20.0, 30.0], "ours": [28.0, 34.0]}}
        >>> with TemporaryDirectory() as folder:
        ...     len(draw_zero_shot(scores, Path(folder) / "zero_shot", metric="chrF++"))
        3
    """
    systems = list(dict.fromkeys(system for group in scores.values() for system in group))
    if not systems:
        raise NeuronspecError("found no scores to draw, expected those of one system or more")
    table = []
    step = 0.8 / len(systems)
    with open_figure(max(4.0, len(scores) * (0.3 * len(systems) + 0.4)), 3.4) as (figure, axes):
        for index, system in enumerate(systems):
            color, marker = PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)]
            places, boxes = [], []
            for place, (group, by_system) in enumerate(scores.items()):
                if system in by_system:
                    values = check_values(f"{system!r} in {group!r}", by_system[system])
                    places.append(place + (index - (len(systems) - 1) / 2) * step)
                    boxes.append(summarize(values))
                    table.append([group, system, len(values), *(float(boxes[-1][key]) for key in BOX.values())])
            draw_boxes(axes, boxes, places, color, step * 0.8)
            means = [box["mean"] for box in boxes]
            axes.plot(places, means, color=color, marker=marker, linestyle="", label=system, zorder=4)
        axes.set_xticks(range(len(scores)), list(scores))
        for place in range(1, len(scores)):
            axes.axvline(place - 0.5, color=GREY, linewidth=0.5, alpha=0.4)
        axes.set(xlim=(-0.5, len(scores) - 0.5), ylabel=metric, title=title)
        draw_legend(axes)
        return save_figure(figure, path_stem, ["group", "system", "directions", *BOX], table)


def draw_shares(
    points: Sequence[SharePoint], path_stem: Path, *, metric: str | None = None, title: str = ""
) -> list[Path]:
    """Draw what the choice of k does to the sparsity and, where models were scored, to the gain (paper Figure 5).

    The line of a stack is the mean over its layers, the band goes from the sparsest layer to the densest one.

    Args:
        points: one for each k, in any order.
        path_stem: where to write, without the suffix.
        metric: the name of the score that the gains are of.
        title: a line above the figure.

    Returns:
        The paths written: SVG, PNG, CSV.

    Raises:
        NeuronspecError: nothing to draw, a k given twice, a value that is not finite, or an unknown layer.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> points = [SharePoint(0.9, {"decoder.0": 0.4}), SharePoint(0.95, {"decoder.0": 0.3})]
        >>> with TemporaryDirectory() as folder:
        ...     len(draw_shares(points, Path(folder) / "shares"))
        3
    """
    points = sorted(points, key=lambda point: point.k)
    ks = check_values("k", [point.k for point in points])
    if len(set(ks.tolist())) < len(ks):
        raise NeuronspecError("found a k twice, expected one point for each k")
    scored = [point for point in points if point.gain is not None]
    table = []
    with open_figure(5.2, 2.4) as (figure, axes):
        for (stack, color), marker in zip(STACK_COLORS.items(), MARKERS[:2], strict=True):
            spread = [(point, _spread(point, stack)) for point in points]
            own = [(point, values) for point, values in spread if values]
            if own:
                x, (means, lows, highs) = (
                    [point.k for point, _ in own],
                    zip(*(values for _, values in own), strict=True),
                )
                axes.plot(x, means, color=color, marker=marker, label=stack)
                axes.fill_between(x, lows, highs, color=color, alpha=0.15, linewidth=0)
                table += [[point.k, stack, *values, "" if point.gain is None else point.gain] for point, values in own]
        axes.set(xlabel="k", ylabel="sparsity")
        axes.set_xticks(ks, [f"{k:g}" for k in ks], rotation=90 if len(ks) > 6 else 0)
        draw_legend(axes)
        top = axes
        if scored:
            gains = check_values("the gains", [point.gain for point in scored if point.gain is not None])
            top = add_axes(figure, 0, 2.65, 5.2, 1.8, sharex=axes)
            top.plot([point.k for point in scored], gains, color=PALETTE[2], marker="D")
            top.axhline(0, color=GREY, linewidth=1)
            top.set_ylabel(f"gain ({metric})" if metric else "gain")
            top.tick_params(labelbottom=False)
        top.set_title(title)
        return save_figure(figure, path_stem, ["k", "stack", "mean", "min", "max", "gain"], table)


def _place_panels(tasks: Sequence[str], groups: Mapping[str, str], step: float) -> Iterator[_Panel]:
    """Set runs of one group side by side, in as many lines as the page needs."""
    left, line, most = 0.0, 0, max(1, int(PAGE / step + 1e-9))
    for group, run in itertools.groupby(tasks, key=lambda task: groups.get(task, "")):
        members = list(run)
        pieces = math.ceil(len(members) / most)
        for piece in np.array_split(np.asarray(members, dtype=object), pieces):
            width = max(len(piece) * step, 0.1 * len(group), 0.5)  # not narrower than its name
            if left and left + width > PAGE + 1e-9:
                left, line = 0.0, line + 1
            yield _Panel(group, piece.tolist(), left, line, width)
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


def _spread(point: SharePoint, stack: str) -> tuple[float, float, float] | None:
    """Return the mean, the least and the largest sparsity of a stack's layers."""
    own = [value for layer, value in point.sparsity.items() if stack_of(layer) == stack]
    if not own:
        return None
    values = check_values(f"the {stack} at k={point.k:g}", own)
    return float(values.mean()), float(values.min()), float(values.max())
