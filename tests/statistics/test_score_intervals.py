"""Intervals of scores: what they contain, and that they are those of the paired tests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.numbers import FloatArray
from neuronspec.statistics.paired import compare_groups
from neuronspec.statistics.score_intervals import find_interval, resample_scores


def average(sums: FloatArray) -> FloatArray:
    return sums[..., 0] / sums[..., 1]


def make_rows(values: FloatArray) -> FloatArray:
    return np.stack([values, np.ones_like(values)], axis=1)


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(-100, 100)))
def test_scores_of_samples_lie_between_the_lowest_and_the_highest_sentence(values: FloatArray) -> None:
    [scores] = resample_scores({"one": make_rows(values)}, {"one": average}, resamples=20).values()
    assert scores.shape == (20,)
    assert scores.min() >= values.min() - 1e-9
    assert scores.max() <= values.max() + 1e-9


def test_the_difference_of_two_scores_has_the_interval_of_the_paired_test() -> None:
    generator = np.random.default_rng(0)
    rows = {name: make_rows(generator.normal(size=40)) for name in ("baseline", "system")}
    drawn = resample_scores(rows, dict.fromkeys(rows, average), resamples=200)
    [test] = compare_groups(
        [("de-en", rows["baseline"], rows["system"])], {"all": ["de-en"]}, average, confidence=0.95, resamples=200
    ).values()
    assert test.interval == pytest.approx(find_interval(drawn["system"] - drawn["baseline"]))


def test_the_interval_narrows_as_the_root_of_the_sentences() -> None:
    values = np.random.default_rng(0).normal(size=4000)
    widths = []
    for size in (250, 4000):
        low, high = find_interval(resample_scores({0: make_rows(values[:size])}, {0: average})[0])
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.2)


def test_statistics_of_other_sentences_are_refused() -> None:
    rows = {"a": make_rows(np.zeros(2)), "b": make_rows(np.zeros(3))}
    with pytest.raises(NeuronspecError, match="must be of the same sentences"):
        resample_scores(rows, dict.fromkeys(rows, average))
