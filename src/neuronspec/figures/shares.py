"""Sparsity and gain for each k, the share of the activation that neurons cover (paper Figure 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from neuronspec.errors import NeuronspecError
from neuronspec.figures.canvas import (
    GRAY,
    MARKERS,
    PALETTE,
    STACK_COLORS,
    add_axes,
    check_values,
    draw_legend,
    open_figure,
    save_figure,
)
from neuronspec.layer_names import stack_of


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
            spread = [(point, _summarize_stack(point, stack)) for point in points]
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
            top.axhline(0, color=GRAY, linewidth=1)
            top.set_ylabel(f"gain ({metric})" if metric else "gain")
            top.tick_params(labelbottom=False)
        top.set_title(title)
        return save_figure(figure, path_stem, ["k", "stack", "mean", "min", "max", "gain"], table)


def _summarize_stack(point: SharePoint, stack: str) -> tuple[float, float, float] | None:
    """Return the mean, the least and the largest sparsity of a stack's layers."""
    own = [value for layer, value in point.sparsity.items() if stack_of(layer) == stack]
    if not own:
        return None
    values = check_values(f"the {stack} at k={point.k:g}", own)
    return float(values.mean()), float(values.min()), float(values.max())
