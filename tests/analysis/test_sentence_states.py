from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from neuronspec.analysis.sentence_states import SentenceStates, sum_bits
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.mask_overlap import pairwise_iou
from neuronspec.statistics.draws import make_generator
from neuronspec.statistics.numbers import check_number

STATES = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20))


@given(STATES)
def test_counts_add_the_sentences_up(states: NDArray[np.bool_]) -> None:
    made = SentenceStates.from_arrays({"de-en": states, "ru-en": ~states})
    assert made.counts().tolist() == [states.sum(0).tolist(), (~states).sum(0).tolist()]
    assert made.sizes.tolist() == [len(states)] * 2


def test_a_neuron_that_is_always_active_counts_beyond_8_bits() -> None:
    bits = np.packbits(np.ones((1_000, 3), dtype=bool), axis=1)
    assert sum_bits(bits, 3).tolist() == [1_000] * 3


@settings(max_examples=30)
@given(STATES, st.integers(0, 2**32))
def test_sentences_that_are_drawn_once_each_give_their_counts(states: NDArray[np.bool_], seed: int) -> None:
    made = SentenceStates.from_arrays({"de-en": states, "ru-en": ~states})
    selected: list[NDArray[np.int64]] = []

    def select(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        selected.append(counts)
        return counts > 0

    masks = made.draw(select, lambda generator, n: np.ones((2, n)), seed)  # (draws, tasks, bytes)
    assert np.array_equal(np.stack(selected, axis=1), np.stack([made.counts()] * 2))
    assert np.array_equal(made.iou(masks), np.stack([pairwise_iou(made.counts() > 0)] * 2))


def test_the_generator_of_a_task_does_not_depend_on_other_tasks() -> None:
    def draw(*tasks: str) -> dict[str, list[int]]:
        drawn: dict[str, list[int]] = {}
        made = SentenceStates.from_arrays({task: np.ones((9, 2), dtype=bool) for task in tasks})
        names = iter(tasks)

        def weigh(generator: np.random.Generator, n: int) -> NDArray[np.int64]:
            return np.array(drawn.setdefault(next(names), generator.integers(0, 99, n).tolist()))

        made.draw(lambda counts: counts > 0, weigh, seed=3)
        return drawn

    alone, both = draw("de-en"), draw("ru-en", "de-en")
    assert both["de-en"] == alone["de-en"] != both["ru-en"]
    assert make_generator(3).integers(0, 99, 9).tolist() not in both.values()


@pytest.mark.parametrize("number", [0, 7, np.int64(7), 2**70])
def test_whole_numbers_are_fine(number: int) -> None:
    check_number("resamples", number, 0)


@pytest.mark.parametrize("number", [-1, 1.0, 2.5, float("nan"), float("inf"), True, np.True_, "3", None, [3]])
def test_other_numbers_are_refused(number: Any) -> None:
    with pytest.raises(NeuronspecError, match="resamples must be whole numbers from 0 on, not "):
        check_number("resamples", number, 0)
    with pytest.raises(NeuronspecError, match="seed must be whole numbers from 0 on, not "):
        make_generator(number)


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        ({}, "no sentences of any task"),
        ({"de-en": np.ones((0, 3), dtype=bool)}, "no sentences of de-en"),
        ({"de-en": np.ones((2, 3), dtype=bool), "ru-en": np.ones((2, 4), dtype=bool)}, "with the same d_ff"),
        ({"de-en": np.ones(3, dtype=bool)}, r"the shape \(sentences, d_ff\)"),
    ],
)
def test_states_that_do_not_fit_are_refused(states: dict[str, NDArray[np.bool_]], reason: str) -> None:
    with pytest.raises(NeuronspecError, match=reason):
        SentenceStates.from_arrays(states)


def record(unit: Any = "sentence", added: int = 0) -> ActivationCounts:
    """Activation counts with the states of two sentences; `added` is what the counts say beyond the states."""
    states = np.array([[True, False, True], [True, False, False]])
    return ActivationCounts(
        ("de-en",),
        {"encoder.0": torch.tensor(states.sum(0) + added)[None]},
        {"encoder": torch.tensor([2 + added])},
        unit,
        {},
        {},
        {"encoder.0": torch.tensor(np.packbits(states, axis=1))},
        torch.tensor([0, 0]),
    )


def test_states_are_taken_from_counts() -> None:
    assert SentenceStates.from_counts(record(), "encoder.0").counts().tolist() == [[2, 0, 1]]


@pytest.mark.parametrize(
    ("layer", "tasks", "added", "reason"),
    [
        ("encoder.1", None, 0, r"no states of the layer 'encoder\.1' \(did you mean 'encoder\.0'"),
        ("encoder.0", ["de-fr"], 0, r"no states of the task 'de-fr' \(did you mean 'de-en'"),
        ("encoder.0", None, 1, "do not add up to its counts"),
    ],
)
def test_counts_that_do_not_fit_are_refused(layer: str, tasks: list[str] | None, added: int, reason: str) -> None:
    with pytest.raises(NeuronspecError, match=reason):
        SentenceStates.from_counts(record(added=added), layer, tasks)
