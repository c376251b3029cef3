"""The p-value of a permutation test, for every test that compares an observed statistic with random ones.

The observed order counts as one of the orders tried, so a p-value is never 0: `(1 + reached) / (1 + tried)`, where
`reached` is how many of the `tried` other orders have a statistic at least as large (Phipson and Smyth, 2010).
"""

from __future__ import annotations

import numpy as np

from neuronspec.statistics.numbers import FloatArray

# Statistics this close count as equal, so that rounding never breaks a tie.
TIE = 1e-12


def count_reached(statistics: FloatArray, observed: float, *, scale: float = 1.0) -> int:
    """Return how many statistics are at least as large as the observed one.

    Args:
        statistics: Statistics of the orders that were tried, of any shape.
        observed: Statistic of the observed order.
        scale: Size of the statistics, where rounding errors grow with it.

    Example:
        >>> count_reached(np.array([0.1, 0.3, 0.5]), 0.1 + 0.2)
        2
    """
    # Ties count as reached: without them, p-values would be too small.
    return int(np.count_nonzero(statistics >= observed - TIE * scale))


def find_p_value(reached: float, tried: int) -> float:
    """Return the p-value of a permutation test.

    Args:
        reached: Number of orders, apart from the observed one, whose statistic is at least as large as the observed
            one; nan where nothing could be tested.
        tried: Number of orders that were tried, apart from the observed one.

    Returns:
        The share of orders that reach the observed statistic, the observed order included; nan where `reached` is.

    Example:
        >>> find_p_value(4, 99), find_p_value(0, 99)
        (0.05, 0.01)
    """
    return (1 + reached) / (1 + tried)
