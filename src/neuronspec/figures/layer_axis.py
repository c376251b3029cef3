"""Axis of a figure over layers."""

from __future__ import annotations

import numpy as np


def fit_width(places: int, least: float, most: float) -> float:
    """Return the width in inches of so many places side by side, each of `least` to `most` inches."""
    return max(4.0, places * float(np.clip(9 / places, least, most)) + 1)
