from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronspec.comparison.outcomes import Outcomes, count_outcomes
from neuronspec.errors import NeuronspecError
from neuronspec.statistics.corrections import benjamini_hochberg, holm
from neuronspec.statistics.numbers import FloatArray
from neuronspec.statistics.paired import PairedTest


def make_comparisons(gains: list[float], p_values: list[float]) -> list[PairedTest]:
    return [
        PairedTest(baseline=20, system=20 + gain, difference=gain, p_value=p, interval=None, trials=100, test="")
        for gain, p in zip(gains, p_values, strict=True)
    ]


def test_outcomes_by_hand() -> None:
    gains, p_values = [1.0, 2.0, -1.0, -0.5, 0.3, 0.0, 1e-14], [0.001, 0.02, 0.004, 0.6, 0.012, 1.0, 1.0]
    comparisons = make_comparisons(gains, p_values)
    strict, loose = count_outcomes(comparisons), count_outcomes(comparisons, adjust=benjamini_hochberg)
    assert (strict.undecided, loose.undecided) == (5, 3)
    assert strict == Outcomes(
        significantly_better=1,
        significantly_worse=1,
        adjusted_p_values=tuple(holm(p_values).tolist()),
        better=3,
        worse=2,
        equal=2,
        level=0.05,
    )
    assert loose == Outcomes(
        significantly_better=3,
        significantly_worse=1,
        adjusted_p_values=tuple(benjamini_hochberg(p_values).tolist()),
        better=3,
        worse=2,
        equal=2,
        level=0.05,
    )
    assert str(loose) == (
        "3 of 7 significantly better, 1 worse, 3 undecided (adjusted p <= 0.05); in total 3 better, 2 worse, 2 equal"
    )
    errors = count_outcomes(comparisons, adjust=benjamini_hochberg, higher_is_better=False)
    assert (errors.significantly_better, errors.significantly_worse, errors.better, errors.worse) == (1, 3, 2, 3)
    assert count_outcomes(comparisons, level=0.001).undecided == 7
    assert count_outcomes(make_comparisons([1.0], [0.05])).significantly_better == 1  # up to the level
    nothing = Outcomes(
        better=0, worse=0, equal=0, significantly_better=0, significantly_worse=0, level=0.05, adjusted_p_values=()
    )
    assert count_outcomes([]) == nothing
    assert nothing.undecided == 0


def test_outcomes_refuse_what_does_not_fit() -> None:
    with pytest.raises(NeuronspecError, match="level is 5"):
        count_outcomes([], level=5)
    with pytest.raises(NeuronspecError, match="hold NaN"):
        count_outcomes(make_comparisons([float("nan")], [0.5]))
    with pytest.raises(NeuronspecError, match="numbers between 0 and 1"):
        count_outcomes(make_comparisons([1.0], [1.5]))


@given(
    cells=st.lists(st.tuples(st.integers(-2, 2).map(float), st.floats(0, 1)), max_size=15),
    adjust=st.sampled_from([holm, benjamini_hochberg]),
)
def test_properties_of_outcomes(cells: list[tuple[float, float]], adjust: Callable[[FloatArray], FloatArray]) -> None:
    comparisons = make_comparisons([gain for gain, _ in cells], [p for _, p in cells])
    outcomes = count_outcomes(comparisons, adjust=adjust)
    signs = Counter(int(np.sign(gain)) for gain, _ in cells)
    assert (outcomes.better, outcomes.worse, outcomes.equal) == (signs[1], signs[-1], signs[0])
    assert outcomes.significantly_better <= outcomes.better
    assert outcomes.significantly_worse <= outcomes.worse
    assert outcomes.significantly_better + outcomes.significantly_worse + outcomes.undecided == len(cells)
    mirrored = count_outcomes(comparisons, adjust=adjust, higher_is_better=False)
    assert mirrored.significantly_better == outcomes.significantly_worse
    assert mirrored.undecided == outcomes.undecided
