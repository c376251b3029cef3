from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

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


def select_one_by_one(values: list[Any], k: Fraction) -> list[bool]:
    """Take neuron after neuron until k of the total is covered, in exact arithmetic."""
    if k in (0, 1):
        return [bool(k)] * len(values)
    exact, chosen, covered = [Fraction(value) for value in values], set(), Fraction(0)
    for neuron in sorted(range(len(exact)), key=lambda neuron: (-exact[neuron], neuron)):
        if covered >= k * sum(exact):
            break
        chosen.add(neuron)
        covered += exact[neuron]
    return [neuron in chosen for neuron in range(len(exact))]


def smallest_cover(counts: list[int], k: Fraction) -> int:
    """The size of the smallest set that covers k of the total, among all sets."""
    goal = k * sum(counts)
    for size in range(len(counts) + 1):
        if any(sum(chosen) >= goal for chosen in itertools.combinations(counts, size)):
            return size
    raise AssertionError


@settings(max_examples=150)
@given(FEW, st.integers(0, 999))
def test_r6_is_minimal_among_all_sets_and_takes_the_most_frequent(counts: list[int], k: int) -> None:
    selected = select_neurons(np.array(counts), k / 1000).tolist()
    assert sum(itertools.compress(counts, selected)) >= Fraction(k, 1000) * sum(counts)
    assert sum(selected) == smallest_cover(counts, Fraction(k, 1000))
    rank = sorted(range(len(counts)), key=lambda neuron: (-counts[neuron], neuron))  # ties: the lower index first
    assert [neuron for neuron, inside in enumerate(selected) if inside] == sorted(rank[: sum(selected)])


@settings(max_examples=60)
@given(st.one_of(COUNTS, FLOATS), THOUSANDTHS, THOUSANDTHS)
def test_r6_grows_with_k(frequencies: NDArray[np.number], one: int, other: int) -> None:
    low, high = sorted((one, other))
    few, many = (select_neurons(frequencies, k / 1000) for k in (low, high))
    assert (few <= many).all()


@settings(max_examples=60)
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


HUGE = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 2**57)), min_size=1, max_size=16)  # totals below 2**62


@settings(max_examples=300)
@given(HUGE, st.one_of(st.sampled_from([0.0, 1.0, 0.5, 0.95, 1e-9, 1 - 1e-9]), st.floats(0, 1)))
def test_r6_counts_of_any_size_are_selected_as_one_by_one(counts: list[int], k: float) -> None:
    expected = select_one_by_one(counts, Fraction(str(k)))
    assert select_neurons(np.array(counts, dtype=np.int64), k).tolist() == expected
    assert select_neurons(torch.tensor(counts), k).tolist() == expected


@settings(max_examples=100)
@given(
    st.lists(st.integers(0, 256), min_size=1, max_size=16),
    st.integers(0, 64),
    st.sampled_from([torch.bfloat16, torch.float16, torch.float32, torch.float64]),
)
def test_r6_floats_of_any_width_are_selected_as_one_by_one(counts: list[int], k: int, dtype: torch.dtype) -> None:
    selected = select_neurons(torch.tensor(counts, dtype=dtype), k / 64)  # a share that floats hold exactly
    assert selected.tolist() == select_one_by_one(counts, Fraction(k, 64))


@settings(max_examples=60)
@given(st.lists(st.floats(2**-14, 60000, width=16), min_size=1, max_size=12), st.integers(0, 64))
def test_r6_half_precision_sums_neither_overflow_nor_stall(values: list[float], k: int) -> None:
    selected = select_neurons(torch.tensor(values, dtype=torch.float16), k / 64)
    assert selected.tolist() == select_one_by_one(values, Fraction(k, 64))


@settings(max_examples=60)
@given(HUGE, st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_r6_a_chain_of_ks_gives_a_chain_of_sets(counts: list[int], ks: list[float]) -> None:
    chain = [select_neurons(np.array(counts, dtype=np.int64), k) for k in sorted(ks)]
    for few, many in itertools.pairwise(chain):
        assert (few <= many).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint32, np.int64, np.float32, np.float64])
def test_every_type_of_number_is_taken(dtype: type[np.number]) -> None:
    frequencies = np.array([[3, 100, 0, 100, 7], [0, 0, 0, 0, 0]], dtype=dtype)
    assert select_neurons(frequencies, 0.5).tolist() == [[False, True, False, True, False], [False] * 5]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.bfloat16, torch.float16])
def test_small_types_do_not_overflow_in_the_sum(dtype: torch.dtype) -> None:
    frequencies = torch.full((1, 1000), 200, dtype=dtype)
    assert select_neurons(frequencies, 0.25).sum() == 250
    ones = torch.ones(1000, dtype=dtype)  # 1 + 256 is 256 in bfloat16
    assert select_neurons(ones, 0.5).sum() == 500


@pytest.mark.parametrize(
    ("counts", "k", "expected"),
    [
        ([2**31, 2**31 + 1, 1], 0.5, [False, True, False]),  # float32 cannot tell the first two apart
        ([2**31 - 1, 2**31, 2], 0.5, [True, True, False]),  # half of 2**32 + 1 is above 2**31
        ([2**31 - 2, 2**31, 2], 0.5, [False, True, False]),  # exactly half
        ([2**24, 1], 0.99999999, [True, True]),  # float32 reads the total as 2**24 and the share as 1
        ([2**53, 1], 0.9999999999999999, [True, True]),  # 2**53 + 0.1; as floats, 2**53 - 1
        ([2**53, 2**53, 1], 0.5, [True, True, False]),  # half of the total is 2**53 + 0.5; as floats, 2**53
        ([2**61 + 1, 2**61, 2**61], 0.3333333333333333, [True, False, False]),
        ([2**62 - 1, 1], 0.9999999999999999, [True, False]),
    ],
)
def test_large_totals_are_compared_exactly(counts: list[int], k: float, expected: list[bool]) -> None:
    assert expected == select_one_by_one(counts, Fraction(str(k))), "the case itself is wrong"
    assert select_neurons(np.array(counts), k).tolist() == expected
    assert select_neurons(torch.tensor(counts), k).tolist() == expected


@pytest.mark.parametrize("counts", [[2**62, 2**62, 2**62], [2**62, 2**62], [2**63 - 1, 1]])
def test_r6_totals_beyond_64_bits_are_exact_or_refused(counts: list[int]) -> None:
    try:
        selected = select_neurons(np.array(counts), 0.5).tolist()
    except NeuronspecError:
        return
    assert selected == select_one_by_one(counts, Fraction(1, 2))


def test_any_number_of_leading_dimensions() -> None:
    frequencies = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    whole = select_neurons(frequencies, 0.6)
    assert whole.shape == (2, 3, 4)
    assert whole[1, 2].tolist() == select_neurons(frequencies[1, 2], 0.6).tolist()
    assert select_neurons(np.zeros((0, 4), dtype=np.int64), 0.6).shape == (0, 4)


def test_tensors_that_are_views_or_need_a_gradient_are_taken() -> None:
    values = torch.tensor([[1.0, 5.0], [3.0, 4.0], [2.0, 0.0]], requires_grad=True)
    expected = [[False, True, False], [True, False, False]]
    assert select_neurons(values.T, 0.5).tolist() == expected
    assert select_neurons(values.detach().numpy().T, 0.5).tolist() == expected


def test_the_same_answer_every_time() -> None:
    frequencies = torch.randint(0, 5, (4, 4096), generator=torch.Generator().manual_seed(0))  # many ties
    first = select_neurons(frequencies, 0.95)
    assert all(select_neurons(frequencies.clone(), 0.95).equal(first) for _ in range(3))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert select_neurons(frequencies, 0.95).equal(first)
    finally:
        torch.set_num_threads(threads)
