"""Corrections of p-values for the number of tests in a family.

One test for each direction at the level of 0.05 marks 3 of 60 equal directions by chance, so the p-values of a grid
are corrected for their number before anything is claimed from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuronspec.errors import NeuronspecError
from neuronspec.registry import Registry
from neuronspec.statistics.numbers import FloatArray

Adjust = Callable[[FloatArray], FloatArray]

HOLM = "holm"  # the default correction


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Adjust p-values so that the chance of even one false discovery stays below the level (Holm, 1979).

    Use it where every single claim must hold ("better on these three directions").

    Args:
        p_values: P-values of all tests of a family, (tests,).

    Returns:
        The adjusted p-values in the same order; those up to 0.05 are significant at the level of 0.05.

    Raises:
        NeuronspecError: If a value is not a probability.

    Example:
        >>> holm([0.01, 0.04, 0.02]).tolist()
        [0.03, 0.04, 0.04]
    """
    values = _check_p_values(p_values)
    order = np.argsort(values, kind="stable")

    # The smallest is multiplied by the number of tests, the next by one less, ...; the order is kept.
    factors = np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(values[order] * factors)

    # A p-value times a number of tests can exceed 1, which no probability does.
    return np.minimum(adjusted, 1.0)


def holm_known(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values by Holm's correction, leaving nan (nothing could be tested) out of their number.

    Args:
        p_values: P-values of a family; nan for tests that could not be made.

    Returns:
        The adjusted p-values in the same order; nan stays nan.

    Raises:
        NeuronspecError: If another value is not a probability.

    Example:
        >>> holm_known([0.01, float("nan"), 0.04])
        [0.02, nan, 0.04]
    """
    # Nothing was tested where the p-value is nan: only the others count in the number of tests.
    corrected = np.array(p_values, dtype=np.float64)
    known = ~np.isnan(corrected)
    if known.any():
        corrected[known] = holm(corrected[known])
    return [float(p) for p in corrected]


def uncorrected(p_values: npt.ArrayLike) -> FloatArray:
    """Return p-values unchanged, to see the result of each test on its own.

    Use it only to reproduce a table without correction: of 60 equal directions, 3 come out significant by chance.

    Raises:
        NeuronspecError: If a value is not a probability.

    Example:
        >>> uncorrected([0.01, 0.04, 0.02]).tolist()
        [0.01, 0.04, 0.02]
    """
    return _check_p_values(p_values).copy()


def benjamini_hochberg(p_values: npt.ArrayLike) -> FloatArray:
    """Adjust p-values so that the expected share of false discoveries stays below the level.

    Use it for many directions at once, if a known share of false claims is acceptable (Benjamini and
    Hochberg, 1995). The tests must be independent or positively dependent.

    Args:
        p_values: P-values of all tests of a family, (tests,).

    Returns:
        The adjusted p-values in the same order.

    Raises:
        NeuronspecError: If a value is not a probability.

    Example:
        >>> benjamini_hochberg([0.01, 0.04, 0.02]).tolist()
        [0.03, 0.04, 0.03]
    """
    from scipy.stats import false_discovery_control  # takes half a second to import

    return np.asarray(false_discovery_control(_check_p_values(p_values), method="bh"), dtype=np.float64)


@dataclass(frozen=True)
class Correction:
    """A correction for the number of tests in a family.

    Attributes:
        adjust: Function from p-values to adjusted ones.
        wording: Words that follow "p <= 0.05" in the notes of tables.
    """

    adjust: Adjust
    wording: str


CORRECTIONS: Registry[Correction] = Registry("correction")
"""Every correction, by name; its wording goes into the notes of tables, so that readers know what a mark stands for."""
CORRECTIONS.register("none")(Correction(uncorrected, "without correction for their number"))
CORRECTIONS.register(HOLM)(Correction(holm, "after Holm's correction"))
CORRECTIONS.register("bh")(Correction(benjamini_hochberg, "after Benjamini and Hochberg's correction"))


def _check_p_values(p_values: npt.ArrayLike) -> FloatArray:
    values = np.asarray(p_values, dtype=np.float64)

    # Not (0 <= p <= 1), instead of (p < 0 or p > 1), refuses nan, too.
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise NeuronspecError(f"the p-values {values.tolist()} must be a flat list of numbers between 0 and 1")
    return values
