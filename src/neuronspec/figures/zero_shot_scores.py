"""Scores of zero-shot directions (paper Figure 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from neuronspec.errors import NeuronspecError
from neuronspec.figures.canvas import (
    BOX_STATISTICS,
    GRAY,
    MARKERS,
    PALETTE,
    check_values,
    draw_boxes,
    draw_legend,
    open_figure,
    save_figure,
    summarize_box,
)


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
                    boxes.append(summarize_box(values))
                    table.append(
                        [group, system, len(values), *(float(boxes[-1][key]) for key in BOX_STATISTICS.values())]
                    )
            draw_boxes(axes, boxes, places, color, step * 0.8)
            means = [box["mean"] for box in boxes]
            axes.plot(places, means, color=color, marker=marker, linestyle="", label=system, zorder=4)
        axes.set_xticks(range(len(scores)), list(scores))
        for place in range(1, len(scores)):
            axes.axvline(place - 0.5, color=GRAY, linewidth=0.5, alpha=0.4)
        axes.set(xlim=(-0.5, len(scores) - 0.5), ylabel=metric, title=title)
        draw_legend(axes)
        return save_figure(figure, path_stem, ["group", "system", "directions", *BOX_STATISTICS], table)
