"""Corrections of p-values for the number of tests of a family.

One test a direction at the level of 0.05 marks 3 of 60 equal directions by chance, so the p-values of a grid are
corrected for their number before anything is claimed from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuronspec.errors import NeuronspecError
from neuronspec.registry import Registry

FloatArray = npt.NDArray[np.float64]
Adjust = Callable[[FloatArray], FloatArray]

HOLM = "holm"  # the correction where none is asked for


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Adjust p-values so that the chance of even one false discovery stays below the level (Holm, 1979).

    Use it where every single claim must hold ("better on these three directions").

    Args:
        p_values: the p-values of all tests of a family, (tests,).

    Returns:
        The adjusted p-values in the same order; those up to 0.05 are significant at the level of 0.05.

    Raises:
        NeuronspecError: a value is not a probability.

    Example:
        >>> holm([0.01, 0.04, 0.02]).tolist()
        [0.03, 0.04, 0.04]
    """
    values = _check_p_values(p_values)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return np.minimum(adjusted, 1.0)


def uncorrected(p_values: npt.ArrayLike) -> FloatArray:
    """Return p-values as they are, to see what the tests say one by one.

    Use it only to reproduce a table that did not correct: of 60 equal directions 3 come out significant by chance.

    Raises:
        NeuronspecError: a value is not a probability.

    Example:
        >>> uncorrected([0.01, 0.04, 0.02]).tolist()
        [0.01, 0.04, 0.02]
    """
    return _check_p_values(p_values).copy()


def benjamini_hochberg(p_values: npt.ArrayLike) -> FloatArray:
    """Adjust p-values so that the expected share of false discoveries stays below the level.

    Use it for many directions at once, where a known share of false claims is acceptable (Benjamini and
    Hochberg, 1995). The tests must be independent or positively dependent.

    Args:
        p_values: the p-values of all tests of a family, (tests,).

    Returns:
        The adjusted p-values in the same order.

    Raises:
        NeuronspecError: a value is not a probability.

    Example:
        >>> benjamini_hochberg([0.01, 0.04, 0.02]).tolist()
        [0.03, 0.04, 0.03]
    """
    from scipy.stats import false_discovery_control  # half a second, which Holm's correction does not need

    return np.asarray(false_discovery_control(_check_p_values(p_values), method="bh"), dtype=np.float64)


@dataclass(frozen=True)
class Correction:
    """A correction for the number of tests of a family.

    Attributes:
        adjust: Function from p-values to adjusted ones.
        wording: Words for it that follow "p <= 0.05" in the notes of tables.
    """

    adjust: Adjust
    wording: str


CORRECTIONS: Registry[Correction] = Registry("correction")
CORRECTIONS.register("none")(Correction(uncorrected, "without correction for their number"))
CORRECTIONS.register(HOLM)(Correction(holm, "after Holm's correction"))
CORRECTIONS.register("bh")(Correction(benjamini_hochberg, "after Benjamini and Hochberg's correction"))


def _check_p_values(p_values: npt.ArrayLike) -> FloatArray:
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise NeuronspecError(f"the p-values {values.tolist()} must be a flat list of numbers between 0 and 1")
    return values
