"""Sparsity and gain for each k, the share of the activation that the neurons cover (paper Figure 5)."""

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
    draw_legend,
    open_figure,
)
from neuronspec.figures.family_colors import PALETTE
from neuronspec.figures.figure_files import save_figure
from neuronspec.layer_names import stack_of

GAP = 0.25  # inches between the axes of sparsity and those of gains, for the legend


@dataclass(frozen=True)
class SharePoint:
    """Sparsity and gain of one k.

    Attributes:
        k: Share of the activation that the selected neurons cover, 0..1.
        sparsity: Mean sparsity over the tasks for each layer, 0..1.
        gain: Score with these neurons minus the baseline's score; None where no such model was scored.
    """

    k: float
    sparsity: Mapping[str, float]
    gain: float | None = None


def draw_shares(
    points: Sequence[SharePoint], path_stem: Path, *, metric: str | None = None, title: str = ""
) -> list[Path]:
    """Draw how k changes the sparsity and, where models were scored, the gain (paper Figure 5).

    The line of a stack is the mean over its layers; the band goes from the densest layer to the sparsest one.

    Args:
        points: One point for each k, in any order.
        path_stem: Path of the files to write, without the suffix.
        metric: Name of the score that gains.
        title: Title of the figure, for the metadata of its files: a paper has it in the caption.

    Returns:
        The paths of the written files: SVG, PNG, CSV, PDF.

    Raises:
        NeuronspecError: If there is nothing to draw, a k is given twice, a value is not finite, or a layer is unknown.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> points = [SharePoint(0.9, {"decoder.0": 0.4}), SharePoint(0.95, {"decoder.0": 0.3})]
        >>> with TemporaryDirectory() as folder:
        ...     len(draw_shares(points, Path(folder) / "shares"))
        4
    """
    # Lines go from the smallest k to the largest
    points = sorted(points, key=lambda point: point.k)
    ks = check_values("k", [point.k for point in points])
    if len(set(ks.tolist())) < len(ks):
        raise NeuronspecError("found a k twice, expected one point for each k")

    table: list[list[object]] = []
    with open_figure(COLUMN - 0.45, 1.3) as (figure, axes):
        # A line and a band for each stack
        for stack, marker in zip(STACK_COLORS, MARKERS[:2], strict=True):
            table += draw_stack_sparsity(axes, points, stack=stack, marker=marker)
        axes.set(xlabel="k", ylabel="sparsity")
        axes.set_xticks(ks, [f"{k:g}" for k in ks], rotation=90 if len(ks) > 6 else 0)

        # Gains in axes of their own, above those of sparsity
        if any(point.gain is not None for point in points):
            top = add_axes(figure, 0, 1.3 + GAP, width=COLUMN - 0.45, height=1.1, sharex=axes)
            _draw_scored_gains(top, points, metric)
        draw_legend(axes, width=COLUMN)

        header = ["k", "stack", "mean", "min", "max", "gain"]
        return save_figure(figure, path_stem, title=title, header=header, rows=table, width=COLUMN)


def draw_stack_sparsity(axes: Any, points: Sequence[SharePoint], *, stack: str, marker: str) -> list[list[object]]:
    """Draw the sparsity of one stack for each k; return the rows of the table."""
    rows: list[list[object]] = []
    for point in points:
        spread = _summarize_stack(point, stack)
        if spread is not None:
            rows.append([point.k, stack, *spread, "" if point.gain is None else point.gain])

    # A model may lack this stack
    if rows:
        ks, _, means, lows, highs, _ = zip(*rows, strict=True)
        color = STACK_COLORS["encoder" if stack == "encoder" else "decoder"]
        axes.plot(ks, means, color=color, marker=marker, label=stack)
        axes.fill_between(ks, lows, highs, color=color, alpha=0.15, linewidth=0)
    return rows


def _draw_scored_gains(axes: Any, points: Sequence[SharePoint], metric: str | None) -> None:
    """Draw the gain for each k whose model was scored."""
    scored = {point.k: point.gain for point in points if point.gain is not None}
    gains = check_values("the gains", list(scored.values()))
    axes.plot(list(scored), gains, color=PALETTE[2], marker="D")
    axes.axhline(0, color=GRAY, linewidth=1)
    axes.set_ylabel(f"gain ({metric})" if metric else "gain")
    axes.tick_params(labelbottom=False)


def _summarize_stack(point: SharePoint, stack: str) -> tuple[float, float, float] | None:
    """Return the mean, the smallest and the largest sparsity of a stack's layers; None without layers."""
    sparsity = [value for layer, value in point.sparsity.items() if stack_of(layer) == stack]
    if not sparsity:
        return None
    values = check_values(f"the {stack} at k={point.k:g}", sparsity)
    return float(values.mean()), float(values.min()), float(values.max())
