"""Training curves: the loss of each system over the updates of its training."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.lines import Line2D

from neuronspec.errors import NeuronspecError
from neuronspec.figures.canvas import (
    COLUMN,
    GRAY,
    PAGE,
    add_axes,
    check_values,
    choose_style,
    draw_legend,
    open_figure,
)
from neuronspec.figures.figure_files import save_figure
from neuronspec.training.curves import ALL, TrainingCurve

GAP = 0.5  # inches between the axes of two trainings, for the scale of the second
HEIGHT = 1.6
HEADER = ["training", "system", "curve", "task", "update", "value"]


def draw_training_curves(
    trainings: Mapping[str, Mapping[str, TrainingCurve]], path_stem: Path, *, title: str = ""
) -> list[Path]:
    """Draw the loss of every system over its updates; trainings with other budgets have axes of their own.

    Markers are the loss of all directions on the validation text, thin lines the training loss. The CSV holds every
    number of the logs: losses of each direction, learning rates, and target tokens per second.

    Args:
        trainings: For each training (such as `pretraining`), the curve of each system by its title.
        path_stem: Path of the files to write, without the suffix.
        title: Title of the figure, for the metadata of its files: a paper has it in the caption.

    Returns:
        The paths of the written files: SVG, PNG, CSV, PDF.

    Raises:
        NeuronspecError: If there is nothing to draw, or a loss is not finite.
    """
    shown = {name: curves for name, curves in trainings.items() if curves}
    if not shown:
        raise NeuronspecError("found no training curves to draw")

    # All systems have colors of their own, also in different axes
    systems = list(dict.fromkeys(itertools.chain(*shown.values())))
    styles = {system: choose_style(index) for index, system in enumerate(systems)}
    page = COLUMN if len(shown) == 1 else PAGE
    width = (page - 0.5 - GAP * (len(shown) - 1)) / len(shown)

    with open_figure(width, HEIGHT) as (figure, first):
        for number, (name, curves) in enumerate(shown.items()):
            left = number * (width + GAP)
            axes = first if number == 0 else add_axes(figure, left, 0, width=width, height=HEIGHT)
            for system, curve in curves.items():
                _draw_curve(axes, system, curve, styles[system])
            axes.set_xlabel("updates" if len(shown) == 1 else f"updates of the {name}")
        first.set_ylabel("loss (nats per token)")

        # One legend above the middle of all axes, measured in widths of the first
        middle = (len(shown) * (width + GAP) - GAP) / width / 2
        draw_legend(first, handles=_list_handles(styles), width=page, middle=middle)
        rows = [row for name, curves in shown.items() for row in list_rows(name, curves)]
        return save_figure(figure, path_stem, title=title, header=HEADER, rows=rows, width=page)


def _draw_curve(axes: Any, system: str, curve: TrainingCurve, style: Mapping[str, Any]) -> None:
    losses = check_values(f"the training loss of {system!r}", curve.losses)
    valid = check_values(f"the validation loss of {system!r}", curve.valid_loss)

    axes.plot(curve.updates, losses, color=style["color"], linewidth=0.6, alpha=0.45)
    axes.plot(curve.validations, valid, **style, zorder=3)
    axes.grid(linewidth=0.3, alpha=0.5)


def _list_handles(styles: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """Return the entries of the legend: the systems, and what the two kinds of lines are."""
    return [
        *(Line2D([], [], label=system, **style) for system, style in styles.items()),
        Line2D([], [], label="validation", color=GRAY, marker="o"),
        Line2D([], [], label="training", color=GRAY, linewidth=0.7, alpha=0.7),
    ]


def list_rows(training: str, curves: Mapping[str, TrainingCurve]) -> list[list[object]]:
    """Return every number of the curves of a training as a row of the table."""
    rows: list[list[object]] = []
    for system, curve in curves.items():
        tasks = {ALL: curve.valid_loss, **curve.valid_losses}
        lines = [
            ("training loss", ALL, curve.updates, curve.losses),
            ("learning rate", ALL, curve.updates, curve.learning_rates),
            ("target tokens per second", ALL, curve.validations, curve.speeds),
            *(("validation loss", task, curve.validations, values) for task, values in tasks.items()),
        ]
        for kind, task, updates, values in lines:
            for update, value in zip(updates, values, strict=True):
                if value is not None:
                    rows.append([training, system, kind, task, update, value])
    return rows
