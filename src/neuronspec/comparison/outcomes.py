"""Counts of the directions of a grid in which a system is significantly better or worse than a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.corrections import Adjust, holm
from neuronspec.statistics.permutation import TIE


class Difference(Protocol):
    """A tested difference, as `count_outcomes` needs it: its size, and its p-value before any correction."""

    @property
    def difference(self) -> float:
        """Score of the system minus that of the baseline."""

    @property
    def p_value(self) -> float:
        """P-value of the test itself."""


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """The numbers of a grid's directions in which a system wins, loses, or neither.

    Attributes:
        significantly_better: Directions with an adjusted p-value up to `level` and a better score.
        significantly_worse: Directions with an adjusted p-value up to `level` and a worse score.
        better: Directions with a better score, significant or not.
        worse: Directions with a worse score, significant or not.
        equal: Directions with the same score.
        level: Significance level, for the whole grid.
        adjusted_p_values: Adjusted p-value of each direction, in the order of the comparisons.

    Example:
        >>> counts = {"better": 58, "worse": 2, "equal": 0, "significantly_better": 57, "significantly_worse": 2}
        >>> print(Outcomes(**counts, level=0.05, adjusted_p_values=()))
        57 of 60 significantly better, 2 worse, 1 undecided (adjusted p <= 0.05); in total 58 better, 2 worse, 0 equal
    """

    significantly_better: int
    significantly_worse: int
    better: int
    worse: int
    equal: int
    level: float
    adjusted_p_values: tuple[float, ...]

    @property
    def undecided(self) -> int:
        """The directions that are neither significantly better nor significantly worse."""
        return self.better + self.worse + self.equal - self.significantly_better - self.significantly_worse

    def __str__(self) -> str:
        tests = self.better + self.worse + self.equal
        return (
            f"{self.significantly_better} of {tests} significantly better, {self.significantly_worse} worse, "
            f"{self.undecided} undecided (adjusted p <= {self.level:g}); "
            f"in total {self.better} better, {self.worse} worse, {self.equal} equal"
        )


def count_outcomes(
    comparisons: Sequence[Difference],
    level: float = 0.05,
    adjust: Adjust = holm,
    higher_is_better: bool = True,
) -> Outcomes:
    """Count the directions of a grid that got significantly better or worse, and those that did not.

    One test for each direction at the level of 0.05 marks 3 of 60 equal directions by chance, so the p-values are
    corrected for their number first.

    Args:
        comparisons: Tested difference of each direction, all with the same metric and the same two systems.
        level: Significance level; an adjusted p-value up to it is significant.
        adjust: Correction: `holm` if every single claim must hold, `benjamini_hochberg` if a share of `level` of the
            claims may be false, or `uncorrected`.
        higher_is_better: False for error rates such as TER (`Metric.higher_is_better`).

    Returns:
        The counts, and the adjusted p-values in the order given.

    Raises:
        NeuronspecError: If `level` is not between 0 and 1, a p-value is not a probability, or a difference is NaN.

    Example:
        >>> from neuronspec.statistics import PairedTest
        >>> gains = {"en-de": (1.2, 0.001), "en-fr": (0.3, 0.04), "en-ti": (-2.0, 0.002), "en-am": (0.0, 1.0)}
        >>> same = {"baseline": 20.0, "interval": None, "trials": 10_000, "test": ""}
        >>> tests = [PairedTest(system=20.0 + gain, difference=gain, p_value=p, **same) for gain, p in gains.values()]
        >>> outcomes = count_outcomes(tests)
        >>> outcomes.significantly_better, outcomes.significantly_worse, outcomes.undecided
        (1, 1, 2)
        >>> outcomes.better, outcomes.worse, outcomes.equal
        (2, 1, 1)
    """
    if not 0 < level < 1:
        raise NeuronspecError(f"level is {level}, but must lie between 0 and 1; 0.05 is usual")

    # The whole grid is one family of tests.
    adjusted = adjust(np.array([comparison.p_value for comparison in comparisons], dtype=np.float64))
    differences = np.array([comparison.difference for comparison in comparisons], dtype=np.float64)
    if np.isnan(differences).any():
        raise NeuronspecError(f"the differences {differences.tolist()} hold NaN, which is neither better nor worse")

    # A difference within rounding error is neither better nor worse.
    gains = differences if higher_is_better else -differences
    better, worse = gains > TIE, gains < -TIE

    # A direction is significantly better if it is significant and better: the tests are two-sided.
    significant = adjusted <= level
    return Outcomes(
        significantly_better=int((significant & better).sum()),
        significantly_worse=int((significant & worse).sum()),
        better=int(better.sum()),
        worse=int(worse.sum()),
        equal=int((~better & ~worse).sum()),
        level=level,
        adjusted_p_values=tuple(adjusted.tolist()),
    )
