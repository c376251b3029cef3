"""Many tests at once: corrected p-values, and in how many directions of a grid a system got better or worse.

One test a direction at the level of 0.05 marks 3 of 60 equal directions by chance, so the p-values of a grid are
corrected for their number before anything is claimed from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.corrections import Adjust, holm
from neuronspec.statistics.permutation import TIE


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
        >>> from neuronspec.statistics.paired import PairedTest
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
