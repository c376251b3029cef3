from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.selection import select_neurons

THOUSANDTHS = st.integers(0, 1000)
FEW = st.lists(st.integers(0, 6), min_size=1, max_size=8)
COUNTS = arrays(np.int64, st.tuples(st.integers(1, 3), st.integers(1, 20)), elements=st.integers(0, 50))
FLOATS = arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 20)), elements=st.floats(0, 1e6))


def smallest_cover(counts: list[int], k: Fraction) -> int:
    """The size of the smallest set that covers k of the total, among all sets."""
    goal = k * sum(counts)
    for size in range(len(counts) + 1):
        if any(sum(chosen) >= goal for chosen in itertools.combinations(counts, size)):
            return size
    raise AssertionError


@settings(max_examples=150, deadline=None)
@given(FEW, st.integers(0, 999))
def test_r6_is_minimal_among_all_sets_and_takes_the_most_frequent(counts: list[int], k: int) -> None:
    selected = select_neurons(np.array(counts), k / 1000).tolist()
    assert sum(itertools.compress(counts, selected)) >= Fraction(k, 1000) * sum(counts)
    assert sum(selected) == smallest_cover(counts, Fraction(k, 1000))
    rank = sorted(range(len(counts)), key=lambda neuron: (-counts[neuron], neuron))  # ties: the lower index first
    assert [neuron for neuron, inside in enumerate(selected) if inside] == sorted(rank[: sum(selected)])


@settings(max_examples=60, deadline=None)
@given(st.one_of(COUNTS, FLOATS), THOUSANDTHS, THOUSANDTHS)
def test_r6_grows_with_k(frequencies: NDArray[np.number], one: int, other: int) -> None:
    low, high = sorted((one, other))
    few, many = (select_neurons(frequencies, k / 1000) for k in (low, high))
    assert (few <= many).all()


@settings(max_examples=60, deadline=None)
@given(st.one_of(COUNTS, FLOATS), THOUSANDTHS)
def test_r6_tensors_and_arrays_and_single_rows_agree(frequencies: NDArray[np.number], k: int) -> None:
    whole = select_neurons(frequencies, k / 1000)
    tensor = select_neurons(torch.from_numpy(frequencies), k / 1000)
    assert whole.dtype == np.dtype(bool)
    assert tensor.dtype == torch.bool
    assert np.array_equal(whole, tensor.numpy())
    assert np.array_equal(whole, select_neurons(frequencies[None], k / 1000)[0])
    for row, expected in zip(frequencies, whole, strict=True):
        assert np.array_equal(select_neurons(row, k / 1000), expected)


@given(st.one_of(COUNTS, FLOATS))
def test_r6_k_0_selects_none_and_k_1_all(frequencies: NDArray[np.number]) -> None:
    assert not select_neurons(frequencies, 0).any()
    assert select_neurons(frequencies, 1).all()


def test_ties_go_to_the_lower_index() -> None:
    assert select_neurons(np.array([1, 2, 2, 2, 1]), 0.5).tolist() == [False, True, True, False, False]
    assert select_neurons(np.full(1000, 3), 0.25).nonzero()[0].tolist() == list(range(250))


def test_neurons_that_never_fired_are_not_selected_below_1() -> None:
    assert not select_neurons(np.zeros(5, dtype=np.int64), 0.99).any()
    assert select_neurons(np.array([0, 4, 0]), 0.999).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("counts", "k", "expected"),
    [
        ([7, *[3] * 31], 0.07, 1),  # 0.07 * 100 is 7.000000000000001 in binary
        ([2**53, 2**53 + 1], 0.5, 1),  # equal as floats, and so is their half
        ([2**60 + 1, 2**60, 1], 0.5, 1),
        ([2**60, 2**60, 1], 0.5, 2),  # half of an odd total, just above 2**60
        ([95, 5], 0.95, 1),
        ([95, 5], 0.9500001, 2),
        ([1, 1], 1e-300, 1),
    ],
)
def test_counts_are_compared_exactly(counts: list[int], k: float, expected: int) -> None:
    assert select_neurons(np.array(counts), k).sum() == expected
    assert select_neurons(torch.tensor(counts), k).sum() == expected


def test_large_counts_keep_their_order() -> None:
    assert select_neurons(np.array([2**53, 2**53 + 1]), 0.5).tolist() == [False, True]


@pytest.mark.parametrize("k", [-0.01, 1.01, float("nan"), float("inf")])
def test_k_outside_0_to_1_is_refused(k: float) -> None:
    with pytest.raises(NeuronspecError, match=f"from 0 to 1; it is {k}"):
        select_neurons(np.ones(3), k)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("k", [0.0, 0.5, 1.0])
def test_frequencies_that_cannot_be_are_refused(bad: float, k: float) -> None:
    with pytest.raises(NeuronspecError, match="finite and not negative"):
        select_neurons(np.array([1.0, bad]), k)


def test_leaves_its_input_alone() -> None:
    counts = torch.tensor([[3, 1, 2]])
    select_neurons(counts, 0.5)
    assert counts.tolist() == [[3, 1, 2]]
