from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from neuronspec.analysis.chance import chance_overlap, standardize
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.mask_overlap import pairwise_iou
from neuronspec.neurons.masks import NeuronMasks


@st.composite
def layers(draw: st.DrawFn, widest: int) -> tuple[list[int], int]:
    width = draw(st.integers(1, widest))
    return draw(st.lists(st.integers(0, width), min_size=1, max_size=4)), width


def enumerate_iou(first: int, second: int, width: int) -> list[float]:
    """The IoU of {0, 1 ... first - 1} with every set of the other size: by symmetry, that of any two sets."""
    fixed = set(range(first))
    others = (set(chosen) for chosen in itertools.combinations(range(width), second))
    return [len(fixed & other) / len(fixed | other) if fixed | other else 1.0 for other in others]


@settings(max_examples=40)
@given(layers(widest=8))
def test_equals_enumeration_of_all_sets(layer: tuple[list[int], int]) -> None:
    sizes, width = layer
    chance = chance_overlap(sizes, width)
    for (i, first), (j, second) in itertools.product(enumerate(sizes), repeat=2):
        values = enumerate_iou(first, second, width)
        assert chance.mean[i, j] == pytest.approx(np.mean(values), abs=1e-12)
        assert chance.sd[i, j] == pytest.approx(np.std(values), abs=1e-12)


@settings(max_examples=30)
@given(layers(widest=9000))
def test_equals_the_sum_over_the_whole_distribution(layer: tuple[list[int], int]) -> None:
    sizes, width = layer
    chance = chance_overlap(sizes, width)
    for i, first in enumerate(sizes):
        shared = np.arange(min(first, sizes[0]) + 1)
        chances = hypergeom.pmf(shared, width, first, sizes[0])
        iou = shared / np.maximum(first + sizes[0] - shared, 1) if first + sizes[0] else np.ones(1)
        assert chance.mean[i, 0] == pytest.approx(chances @ iou, rel=1e-6)
        spread = np.sqrt(chances @ (iou - chances @ iou) ** 2)
        assert chance.sd[i, 0] == pytest.approx(spread, rel=1e-6, abs=1e-9)


def test_equals_random_masks() -> None:
    sizes = [60, 200, 350]
    masks = {f"x{n}-en": {"encoder.0": np.arange(512) < size} for n, size in enumerate(sizes)}
    like = NeuronMasks.from_dict(masks)
    ious = np.stack([NeuronMasks.random(like, seed).iou("encoder.0") for seed in range(400)])
    chance = chance_overlap(like.layer("encoder.0").sum(1).numpy(), 512)
    for pair in ((0, 1), (0, 2), (1, 2)):
        values = ious[:, pair[0], pair[1]]
        assert abs(values.mean() - chance.mean[pair]) < 4 * chance.sd[pair] / np.sqrt(400)
        assert values.std() == pytest.approx(chance.sd[pair], rel=0.15)
    scores = np.stack([chance.z(iou) for iou in ious])
    assert np.isnan(scores[:, range(3), range(3)]).all()
    off = scores[:, ~np.eye(3, dtype=bool)]
    assert abs(off.mean()) < 0.2
    assert off.std() == pytest.approx(1, abs=0.1)


def test_is_symmetric_and_follows_the_order_of_tasks() -> None:
    sizes = np.random.default_rng(0).integers(0, 4097, 40)
    chance = chance_overlap(sizes, 4096)
    order = np.random.default_rng(1).permutation(40)
    other = chance_overlap(sizes[order], 4096)
    for one, two in ((chance.mean, other.mean), (chance.sd, other.sd)):
        np.testing.assert_allclose(one, one.T, atol=1e-12)
        assert np.array_equal(one[np.ix_(order, order)], two)


def test_shared_neurons_stand_out() -> None:
    masks = np.zeros((2, 1000), dtype=bool)
    masks[0, :200] = masks[1, 50:250] = True
    assert chance_overlap(masks.sum(1), 1000).z(pairwise_iou(masks))[0, 1] > 15


def test_sets_that_can_only_be_one_way_have_no_score() -> None:
    chance = chance_overlap([0, 0, 8, 8, 3], 8)
    assert chance.mean[0].tolist() == [1, 1, 0, 0, 0]
    assert chance.mean[2].tolist() == [0, 0, 1, 1, 0.375]
    assert np.isnan(chance.z(chance.mean)).sum() == 25


def test_a_layer_without_neurons_has_nothing_but_equal_sets() -> None:
    chance = chance_overlap([0, 0, 0], 0)
    assert (chance.mean == 1).all()
    assert (chance.sd == 0).all()
    assert np.isnan(chance.z(np.ones((3, 3)))).all()


@pytest.mark.parametrize("width", [-1, 8.0, float("nan"), True])
def test_refuses_what_is_no_width(width: Any) -> None:
    with pytest.raises(NeuronspecError, match="width must be whole numbers from 0 on"):
        chance_overlap([0], width)


def test_no_spread_but_for_rounding_is_no_spread() -> None:
    assert np.isnan(standardize(np.full((2, 2), 0.3), np.full((2, 2), 0.4), np.full((2, 2), 1e-17))).all()


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ([3, 9], "masks of 3 to 9 neurons in a layer of 8"),
        ([-1], "masks of -1"),
        ([True, False], "whole number"),
        ([0.5], "whole number"),
        ([], "whole number"),
        ([[1, 2]], "whole number"),
    ],
)
def test_refuses_what_are_no_sizes(sizes: Any, reason: str) -> None:
    with pytest.raises(NeuronspecError, match=reason):
        chance_overlap(sizes, 8)


def test_refuses_an_iou_of_other_tasks() -> None:
    with pytest.raises(NeuronspecError, match="found an IoU of 3 tasks, expected one of 2"):
        chance_overlap([2, 3], 8).z(np.eye(3))
