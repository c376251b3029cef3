"""Many tests at once: corrected p-values, and in how many directions of a grid a system got better or worse.

One test a direction at the level of 0.05 marks 3 of 60 equal directions by chance, so the p-values of a grid are
corrected for their number before anything is claimed from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.significance import TIE
from neuronspec.registry import Registry

FloatArray = npt.NDArray[np.float64]
Adjust = Callable[[FloatArray], FloatArray]

HOLM = "holm"  # the correction where none is asked for


class Compared(Protocol):
    """What `count_outcomes` reads of a comparison: its difference and its p-value before any correction."""

    @property
    def difference(self) -> float:
        """The system's score less the baseline's."""

    @property
    def p_value(self) -> float:
        """The test's own p-value."""


@dataclass(frozen=True)
class Outcomes:
    """In how many of a grid's directions a system wins, loses, or neither.

    Attributes:
        significantly_better: directions with an adjusted p-value up to `level` and a better score.
        significantly_worse: the same with a worse score.
        undecided: the rest.
        better: directions with a better score, significant or not.
        worse: the same with a worse score.
        equal: directions with the same score.
        level: of significance, for the whole grid.
        adjusted_p_values: one a direction, in the order of the comparisons.

    Example:
        >>> print(Outcomes(57, 2, 1, 58, 2, 0, 0.05, ()))
        57 of 60 significantly better, 2 worse, 1 undecided (adjusted p <= 0.05); 58 better, 2 worse, 0 equal in all
    """

    significantly_better: int
    significantly_worse: int
    undecided: int
    better: int
    worse: int
    equal: int
    level: float
    adjusted_p_values: tuple[float, ...]

    def __str__(self) -> str:
        tests = self.better + self.worse + self.equal
        return (
            f"{self.significantly_better} of {tests} significantly better, {self.significantly_worse} worse, "
            f"{self.undecided} undecided (adjusted p <= {self.level:g}); "
            f"{self.better} better, {self.worse} worse, {self.equal} equal in all"
        )


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


def count_outcomes(
    comparisons: Sequence[Compared],
    level: float = 0.05,
    adjust: Adjust = holm,
    higher_is_better: bool = True,
) -> Outcomes:
    """Count the directions of a grid that got significantly better or worse, and those that did not.

    One test a direction at the level of 0.05 marks 3 of 60 equal directions by chance, so the p-values are
    adjusted for their number first.

    Args:
        comparisons: one a direction, of the same metric and the same two systems; the tests of a family.
        level: an adjusted p-value up to it is significant.
        adjust: `holm`, if every single claim must hold, `benjamini_hochberg`, if a share of `level` of the
            claims may be false, or `uncorrected`.
        higher_is_better: False for error rates such as TER (`Metric.higher_is_better`).

    Returns:
        The counts, and the adjusted p-values in the order given.

    Raises:
        NeuronspecError: `level` is not between 0 and 1, a p-value is no probability, or a difference is NaN.

    Example:
        >>> from neuronspec.evaluation.significance import Comparison
        >>> gains = {"en-de": (1.2, 0.001), "en-fr": (0.3, 0.04), "en-ti": (-2.0, 0.002), "en-am": (0.0, 1.0)}
        >>> tests = [Comparison(20.0, 20.0 + gain, gain, p, None, 10_000, "") for gain, p in gains.values()]
        >>> outcomes = count_outcomes(tests)
        >>> outcomes.significantly_better, outcomes.significantly_worse, outcomes.undecided
        (1, 1, 2)
        >>> outcomes.better, outcomes.worse, outcomes.equal
        (2, 1, 1)
    """
    if not 0 < level < 1:
        raise NeuronspecError(f"level is {level}, but must lie between 0 and 1; 0.05 is usual")
    adjusted = adjust(np.array([comparison.p_value for comparison in comparisons], dtype=np.float64))
    gains = np.array([comparison.difference for comparison in comparisons], dtype=np.float64)
    if np.isnan(gains).any():
        raise NeuronspecError(f"the differences {gains.tolist()} hold NaN, which is neither better nor worse")
    better, worse = (gains > TIE, gains < -TIE) if higher_is_better else (gains < -TIE, gains > TIE)
    significant = adjusted <= level
    won, lost = int((significant & better).sum()), int((significant & worse).sum())
    wins, losses = int(better.sum()), int(worse.sum())
    undecided, equal = len(gains) - won - lost, len(gains) - wins - losses
    return Outcomes(won, lost, undecided, wins, losses, equal, level, tuple(adjusted.tolist()))


def _check_p_values(p_values: npt.ArrayLike) -> FloatArray:
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise NeuronspecError(f"the p-values {values.tolist()} must be a flat list of numbers between 0 and 1")
    return values
