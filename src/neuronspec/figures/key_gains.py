"""Gain at each value of a key of the configuration, over the sparsity where it depends on the key (paper Figure 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuronspec.errors import NeuronspecError
from neuronspec.figures.canvas import (
    COLUMN,
    GRAY,
    MARKERS,
    STACK_COLORS,
    add_axes,
    check_values,
    choose_style,
    draw_legend,
    open_figure,
)
from neuronspec.figures.figure_files import save_figure
from neuronspec.figures.shares import GAP, SharePoint, draw_stack_sparsity


@dataclass(frozen=True)
class GainPoint:
    """The gain of a system at one value of a key.

    Attributes:
        value: Value of the key.
        gain: Score of the system minus that of its baseline.
        low: Lower end of the gain's confidence interval; None without an interval.
        high: Upper end of the interval.
        adjusted_p: P-value of the gain, corrected; None without a test.
    """

    value: float
    gain: float
    low: float | None = None
    high: float | None = None
    adjusted_p: float | None = None


def draw_key_gains(
    lines: Mapping[str, Sequence[GainPoint]],
    path_stem: Path,
    *,
    key: str,
    metric: str,
    sparsity: Mapping[float, Mapping[str, float]] | None = None,
    title: str = "",
) -> list[Path]:
    """Draw how the gain of systems depends on a key, and below it how the sparsity of the FFN layers does.

    Bars are confidence intervals.

    Args:
        lines: Points of each line, in any order.
        path_stem: Path of the files to write, without the suffix.
        key: Name of the key, for the axis (`select.k`).
        metric: Name of the score that gains.
        sparsity: Mean sparsity over the tasks for each layer, 0..1, at each value; nothing where it does not matter.
        title: Title of the figure, for the metadata of its files: a paper has it in the caption.

    Returns:
        The paths of the written files: SVG, PNG, CSV, PDF.

    Raises:
        NeuronspecError: If there is nothing to draw, a line has a value twice, or a number is not finite.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> points = [GainPoint(0.8, 1.2, 0.7, 1.7), GainPoint(0.9, 1.5, 1.0, 2.0)]
        >>> with TemporaryDirectory() as folder:
        ...     len(draw_key_gains({"ours": points}, Path(folder) / "gains", key="select.k", metric="BLEU"))
        4
    """
    if not lines:
        raise NeuronspecError("found no gains to draw")
    for name, points in lines.items():
        _check_line(name, points)
    ticks = sorted({point.value for points in lines.values() for point in points})

    table: list[list[object]] = []
    with open_figure(COLUMN - 0.45, 1.4) as (figure, axes):
        for index, (name, points) in enumerate(lines.items()):
            table += _draw_line(axes, name, sorted(points, key=lambda point: point.value), choose_style(index))
        axes.axhline(0, color=GRAY, linewidth=1)
        axes.set_ylabel(f"gain ({metric})")
        draw_legend(axes, width=COLUMN)

        # The sparsity stands below the gains, over the same values
        bottom = axes
        if sparsity:
            bottom = add_axes(figure, 0, -1.1 - GAP, width=COLUMN - 0.45, height=1.1, sharex=axes)
            axes.tick_params(labelbottom=False)
            table += _draw_sparsity(bottom, sparsity)
        bottom.set_xlabel(key)
        bottom.set_xticks(ticks, [f"{tick:g}" for tick in ticks], rotation=90 if len(ticks) > 6 else 0)

        header = ["key", "value", "line", "gain or mean", "low", "high", "adjusted p"]
        rows = [[key, *row] for row in table]
        return save_figure(figure, path_stem, title=title, header=header, rows=rows, width=COLUMN)


def _check_line(name: str, points: Sequence[GainPoint]) -> None:
    values = check_values(f"the values of {name!r}", [point.value for point in points])
    check_values(f"the gains of {name!r}", [point.gain for point in points])
    if len(set(values.tolist())) < len(values):
        raise NeuronspecError(f"found a value of {name!r} twice, expected one point for each value")


def _draw_line(axes: Any, name: str, points: Sequence[GainPoint], style: dict[str, Any]) -> list[list[object]]:
    """Draw the gains of one line with their intervals; return the rows of the table."""
    values, gains = [point.value for point in points], [point.gain for point in points]
    axes.plot(values, gains, label=name, **style)

    # Bars go from the gain to the ends of its interval.
    for point in points:
        if point.low is not None and point.high is not None:
            below, above = max(0.0, point.gain - point.low), max(0.0, point.high - point.gain)
            axes.errorbar(point.value, point.gain, yerr=[[below], [above]], color=style["color"], capsize=2)

    rows: list[list[object]] = []
    for point in points:
        ends = ["" if number is None else number for number in (point.low, point.high, point.adjusted_p)]
        rows.append([point.value, name, point.gain, *ends])
    return rows


def _draw_sparsity(axes: Any, sparsity: Mapping[float, Mapping[str, float]]) -> list[list[object]]:
    """Draw the sparsity of each stack at each value; return the rows of the table."""
    points = [SharePoint(value, sparsity[value]) for value in sorted(sparsity)]
    rows: list[list[object]] = []
    for stack, marker in zip(STACK_COLORS, MARKERS[:2], strict=True):
        for value, _, mean, low, high, _ in draw_stack_sparsity(axes, points, stack=stack, marker=marker):
            rows.append([value, f"sparsity of the {stack}", mean, low, high, ""])
    axes.set_ylabel("sparsity")
    draw_legend(axes, width=COLUMN)
    return rows
