from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from neuronspec.analysis.overlap import above_diagonal, check_iou, within_and_across
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.mask_overlap import pairwise_iou
from neuronspec.statistics.numbers import read_numbers

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))
IOU = np.array([[1.0, 0.8, 0.2, 0.4], [0.8, 1.0, 0.3, 0.5], [0.2, 0.3, 1.0, 0.6], [0.4, 0.5, 0.6, 1.0]])


@given(MASKS)
def test_equals_sets(masks: NDArray[np.bool_]) -> None:
    sets = [{i for i, active in enumerate(row) if active} for row in masks]
    expected = [[len(a & b) / len(a | b) if a | b else 1.0 for b in sets] for a in sets]
    assert pairwise_iou(masks).tolist() == expected


@given(MASKS)
def test_is_symmetric_with_ones_on_the_diagonal_and_in_range(masks: NDArray[np.bool_]) -> None:
    iou = pairwise_iou(masks)
    assert iou.dtype == np.float64
    assert np.array_equal(iou, iou.T)
    assert np.array_equal(iou.diagonal(), np.ones(len(masks)))
    assert ((iou >= 0) & (iou <= 1)).all()
    check_iou(iou)


@given(MASKS, st.randoms(use_true_random=False))
def test_does_not_depend_on_the_order_of_neurons(masks: NDArray[np.bool_], random: object) -> None:
    order = list(range(masks.shape[1]))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert np.array_equal(pairwise_iou(masks), pairwise_iou(masks[:, order]))


def test_two_empty_masks_are_equal() -> None:
    assert pairwise_iou(np.array([[False], [False], [True]])).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("masks", [np.ones((2, 3)), np.ones(3, dtype=bool), np.ones((1, 2, 3), dtype=bool)])
def test_refuses_what_are_no_masks(masks: NDArray[np.bool_]) -> None:
    with pytest.raises(NeuronspecError, match=r"expected bool of shape \(tasks, d_ff\)"):
        pairwise_iou(masks)


def test_above_the_diagonal_is_every_pair_once() -> None:
    assert above_diagonal(IOU).tolist() == [0.8, 0.2, 0.4, 0.3, 0.5, 0.6]
    assert above_diagonal(np.eye(1)).size == 0


def test_within_and_across_are_means_of_pairs() -> None:
    within, across = within_and_across(IOU, ["Germanic", "Germanic", "Slavic", "Slavic"])
    assert within == pytest.approx((0.8 + 0.6) / 2)
    assert across == pytest.approx((0.2 + 0.4 + 0.3 + 0.5) / 4)


def test_within_and_across_are_nan_without_pairs() -> None:
    within, across = within_and_across(IOU, ["a", "b", "c", "d"])
    assert math.isnan(within)
    assert across == pytest.approx(2.8 / 6)
    assert math.isnan(within_and_across(IOU, ["a"] * 4)[1])


@pytest.mark.parametrize(
    ("iou", "names", "reason"),
    [
        ([[1.0, 0.5]], None, r"shape \(1, 2\)"),
        ([], None, "shape"),
        ([[1.0, 0.5], [0.4, 1.0]], None, "not symmetric"),
        ([[100, 40], [40, 100]], None, "divide percentages by 100"),
        ([[1, math.nan], [math.nan, 1]], None, "expected 0..1"),
        ([[1, "much"], ["much", 1]], None, "IoU must be numbers, found text"),
        ([[1, None], [None, 1]], None, "IoU must be numbers, found values of type object"),
        ([[1, 0.5], [0.5]], None, "in rows of the same length"),
        (IOU, ["a", "b"], "found 2 labels or groups for an IoU matrix of 4 tasks"),
    ],
)
def test_check_says_what_is_wrong(iou: list[list[float]], names: list[str] | None, reason: str) -> None:
    with pytest.raises(NeuronspecError, match=reason):
        check_iou(iou, names)


@given(st.lists(st.lists(st.floats(allow_nan=False) | st.integers(-(2**40), 2**40), min_size=2, max_size=2)))
def test_numbers_are_read_as_they_are_into_a_new_array(values: list[list[float]]) -> None:
    found = read_numbers("values", values)
    assert found.dtype == np.float64
    assert found.tolist() == values
    assert not np.shares_memory(read_numbers("values", found), found)
