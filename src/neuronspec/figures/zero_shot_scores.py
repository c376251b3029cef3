"""Scores of zero-shot directions (paper Figure 4)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from neuronspec.errors import NeuronspecError
from neuronspec.figures.canvas import (
    BOX_STATISTICS,
    COLUMN,
    GRAY,
    PAGE,
    check_values,
    choose_style,
    draw_boxes,
    draw_legend,
    list_box,
    open_figure,
    summarize_box,
)
from neuronspec.figures.figure_files import save_figure


def draw_zero_shot(
    scores: Mapping[str, Mapping[str, Sequence[float]]], path_stem: Path, *, metric: str, title: str = ""
) -> list[Path]:
    """Draw the distribution of scores over directions, group by group, with a box for every system (paper Figure 4).

    A box holds the middle half of the directions, the line in it is the median, the marker the mean, and the whiskers
    reach the last value within 1.5 times the height of the box.

    Args:
        scores: For each group (`High`, `Medium`, `Low`, `All`) and each system, the score of every direction.
        path_stem: Path of the files to write, without the suffix.
        metric: Name of the score, for the axis (`chrF++`).
        title: Title of the figure, for the metadata of its files: a paper has it in the caption.

    Returns:
        The paths of the written files: SVG, PNG, CSV, PDF.

    Raises:
        NeuronspecError: If there is nothing to draw, or a score is not finite.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> scores = {"High": {"baseline": [20.0, 30.0], "ours": [28.0, 34.0]}}
        >>> with TemporaryDirectory() as folder:
        ...     len(draw_zero_shot(scores, Path(folder) / "zero_shot", metric="chrF++"))
        4
    """
    systems = list(dict.fromkeys(itertools.chain(*scores.values())))
    if not systems:
        raise NeuronspecError("found no scores to draw, expected those of one system or more")

    table: list[list[object]] = []

    # Each group takes one unit of the axis, of which its boxes share 0.8
    step = 0.8 / len(systems)
    width = COLUMN if len(scores) * (len(systems) + 1) <= 20 else PAGE

    with open_figure(width - 0.45, 1.8) as (figure, axes):
        for index, system in enumerate(systems):
            style = choose_style(index)

            # The boxes of a group stand side by side around its place
            shift = (index - (len(systems) - 1) / 2) * step
            places, boxes = [], []

            for place, (group, by_system) in enumerate(scores.items()):
                # A system may lack all directions of a group
                if system not in by_system:
                    continue
                values = check_values(f"{system!r} in {group!r}", by_system[system])
                box = summarize_box(values)
                places.append(place + shift)
                boxes.append(box)
                table.append([group, system, len(values), *list_box(box)])

            # The boxes, and the means on top of them
            draw_boxes(axes, boxes, places, color=style["color"], width=step * 0.8)
            means = [box["mean"] for box in boxes]
            axes.plot(places, means, **style, linestyle="", label=system, zorder=4)

        # Names of the groups, and lines between them
        axes.set_xticks(range(len(scores)), list(scores))
        for place in range(1, len(scores)):
            axes.axvline(place - 0.5, color=GRAY, linewidth=0.5, alpha=0.4)
        axes.set(xlim=(-0.5, len(scores) - 0.5), ylabel=metric)
        draw_legend(axes, width=width)

        header = ["group", "system", "directions", *BOX_STATISTICS]
        return save_figure(figure, path_stem, title=title, header=header, rows=table, width=width)
