"""Axis of a figure over layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from neuronspec.figures.canvas import COLUMN, GRAY, PAGE, SMALL, TINY
from neuronspec.layer_names import index_of, stack_of

GAP = 2.0  # points between two numbers


def choose_width(places: int) -> float:
    """Return the width in inches of a figure with so many places side by side: that of a column, or of a page."""
    return COLUMN if places <= 16 else PAGE


def label_numbers(axes: Any, numbers: Sequence[int], *, width: float) -> None:
    """Write numbers below their places along the axis, leaving some out where they would touch.

    Args:
        axes: Axes, the first place at 0.
        numbers: Number of each place.
        width: Width of the axes in inches.
    """
    # Two digits are 1.2 times as wide as high, and need a gap
    room = width * 72 / len(numbers)  # points
    size = SMALL if room >= 1.2 * SMALL + GAP else TINY
    step = max(1, math.ceil((1.2 * size + GAP) / room))
    places = [place for place, number in enumerate(numbers) if number % step == 0]
    axes.set_xticks(places, [str(numbers[place]) for place in places], fontsize=size)


def label_layers(axes: Any, layers: Sequence[str]) -> None:
    """Number the layers along the axis, name the stacks, and draw a divider between them.

    Args:
        axes: Axes that hold the figure, the place of a layer being its position in `layers`.
        layers: Names of the layers, the encoder before the decoder.
    """
    # Both stacks count from 0
    label_numbers(axes, [index_of(layer) for layer in layers], width=choose_width(len(layers)) - 0.45)
    axes.set_xlabel("layer")

    # Names of the stacks, each in the middle of its layers
    split = sum(stack_of(layer) == "encoder" for layer in layers)
    for stack, start, end in (("encoder", 0, split), ("decoder", split, len(layers))):
        if start < end:
            middle = (start + end - 1) / 2
            axes.text(middle, 0.97, stack, transform=axes.get_xaxis_transform(), ha="center", va="top", fontsize=SMALL)
    if 0 < split < len(layers):
        axes.axvline(split - 0.5, color=GRAY, linestyle="--", linewidth=0.8)

    # Room for the names above the values
    axes.set_xlim(-0.8, len(layers) - 0.2)
    axes.margins(y=0.15)
    axes.set_ylim(bottom=max(-0.02, axes.get_ylim()[0]))
