"""Axis of a figure over layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neuronspec.figures.canvas import GRAY
from neuronspec.layer_names import index_of, stack_of


def fit_width(places: int, *, smallest: float, largest: float) -> float:
    """Return the width in inches of places side by side, each `smallest` to `largest` inches wide."""
    return max(4.0, places * float(np.clip(9 / places, smallest, largest)) + 1)


def label_layers(axes: Any, layers: Sequence[str]) -> None:
    """Number the layers along the axis, name the stacks, and draw a divider between them.

    Args:
        axes: Axes that hold the figure, the place of a layer being its position in `layers`.
        layers: Names of the layers, the encoder before the decoder.
    """
    # Both stacks count from 0
    numbers = [str(index_of(layer)) for layer in layers]
    axes.set_xticks(range(len(layers)), numbers, fontsize=10 if len(layers) <= 30 else 8)
    axes.set_xlabel("layer")

    # Names of the stacks, each in the middle of its layers
    split = sum(stack_of(layer) == "encoder" for layer in layers)
    for stack, start, end in (("encoder", 0, split), ("decoder", split, len(layers))):
        if start < end:
            middle = (start + end - 1) / 2
            axes.text(middle, 0.97, stack, transform=axes.get_xaxis_transform(), ha="center", va="top")
    if 0 < split < len(layers):
        axes.axvline(split - 0.5, color=GRAY, linestyle="--", linewidth=1)

    # Room for the names above the values
    axes.set_xlim(-0.8, len(layers) - 0.2)
    axes.margins(y=0.15)
    axes.set_ylim(bottom=max(-0.02, axes.get_ylim()[0]))
