from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuronspec.analysis.reliability import measure_learning_curve, split_halves
from neuronspec.analysis.resampling import bootstrap_iou, shuffle_null
from neuronspec.analysis.reselection import make_selector
from neuronspec.analysis.sentence_states import SentenceStates
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.mask_overlap import pairwise_iou
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.selection import select_neurons


def select_most(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    return select_neurons(counts, k=0.9)


PAIRS = np.triu_indices(6, k=1)
FAMILY = (np.arange(6) // 3)[:, None] == np.arange(6) // 3  # (6, 6): x0 to x2 and x3 to x5
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "bootstrap": functools.partial(bootstrap_iou, select=select_most, resamples=8),
    "shuffle": functools.partial(shuffle_null, select=select_most, shuffles=8),
    "halves": functools.partial(split_halves, select=select_most, splits=4),
    "curve": functools.partial(measure_learning_curve, select=select_most, repeats=2),
}


def draw_frequencies(rng: np.random.Generator, rows: int, width: int) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(2 - 1.8 * rng.normal(size=(rows, width))))


def draw_states(frequencies: NDArray[np.float64], sentences: int, rng: np.random.Generator) -> SentenceStates:
    shape = (sentences, frequencies.shape[1])
    return SentenceStates.from_arrays({f"x{n}-en": rng.random(shape) < row for n, row in enumerate(frequencies)})


@pytest.fixture(scope="module")
def families() -> SentenceStates:
    """Two families of three languages: a third of the neurons of a language are its own, the rest its family's."""
    rng = np.random.default_rng(0)
    family, own = draw_frequencies(rng, 2, 200), draw_frequencies(rng, 6, 200)
    frequencies = np.where(rng.random((6, 200)) < 1 / 3, own, family.repeat(3, axis=0))
    return draw_states(frequencies, 120, rng)


@pytest.fixture(scope="module")
def equals() -> SentenceStates:
    rng = np.random.default_rng(1)
    return draw_states(draw_frequencies(rng, 1, 150).repeat(6, axis=0), 60, rng)


def make_counts(arrays: list[NDArray[np.bool_]], order: NDArray[np.int64] | None = None) -> ActivationCounts:
    """Activation counts of an encoder and a decoder layer (its neurons the other way round), as recording makes them.

    `order`: of the sentences of all tasks.
    """
    order = np.arange(sum(map(len, arrays))) if order is None else order
    numbers = np.repeat(np.arange(len(arrays)), [len(array) for array in arrays])[order]
    layers = {"encoder.0": arrays, "decoder.0": [array[:, ::-1] for array in arrays]}
    totals = torch.tensor([len(array) for array in arrays])
    return ActivationCounts(
        tuple(f"x{n}-en" for n in range(len(arrays))),
        {layer: torch.tensor(np.stack([a.sum(0) for a in parts])) for layer, parts in layers.items()},
        {"encoder": totals, "decoder": totals},
        "sentence",
        {},
        {},
        {layer: torch.tensor(np.packbits(np.concatenate(p)[order], axis=1)) for layer, p in layers.items()},
        torch.tensor(numbers),
    )


def flatten(result: Any) -> list[NDArray[np.float64]]:
    """All numbers of a result."""
    parts = result if isinstance(result, list) else [result]
    return [np.asarray(value) for part in parts for value in vars(part).values()]


def assert_equal(first: Any, second: Any) -> None:
    for one, two in zip(flatten(first), flatten(second), strict=True):
        np.testing.assert_array_equal(one, two)


def test_counts_take_the_states_they_were_made_of() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.random((n, 13)) < 0.4 for n in (3, 300, 7)]  # more sentences than 8-bit integers count
    counts = make_counts(arrays, rng.permutation(310))
    states = SentenceStates.from_counts(counts, "encoder.0")
    assert np.array_equal(states.counts(), counts.values["encoder.0"].numpy())
    assert states.sizes.tolist() == [3, 300, 7]
    assert SentenceStates.from_counts(counts, "encoder.0", ["x2-en", "x0-en"]).sizes.tolist() == [7, 3]


def test_results_do_not_depend_on_how_the_sentences_of_tasks_mix() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.random((n, 40)) < 0.4 for n in (20, 25)]
    # Sentences of one task keep their order.
    mixed = np.argsort(np.concatenate([np.sort(rng.random(20)), np.sort(rng.random(25))]))
    plain, other = (SentenceStates.from_counts(make_counts(arrays, order), "encoder.0") for order in (None, mixed))
    for function in FUNCTIONS.values():
        assert_equal(function(plain), function(other))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_seed_decides(families: SentenceStates, name: str) -> None:
    function = FUNCTIONS[name]
    assert_equal(function(families, seed=3), function(families, seed=3))
    with pytest.raises(AssertionError):
        assert_equal(function(families, seed=3), function(families, seed=4))


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 5))
def test_drawing_every_sentence_once_gives_the_masks_of_all(sentences: int, width: int, seed: int) -> None:
    states = draw_states(np.full((2, width), 0.4), sentences, np.random.default_rng(seed))
    masks = states.draw(select_most, lambda _, n: np.ones((3, n)), seed)
    whole = select_most(states.counts())
    assert np.array_equal(np.unpackbits(masks, axis=-1, count=width).astype(bool), np.stack([whole] * 3))
    assert np.array_equal(states.iou(masks), np.stack([pairwise_iou(whole)] * 3))


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_counts_of_draws_are_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    array = rng.random((23, 11)) < rng.random(11)
    weights = rng.integers(0, 1000, (4, 23))
    seen = []

    def select(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        seen.append(counts)
        return counts > 0

    SentenceStates.from_arrays({"x-en": array}).draw(select, lambda _, n: weights, 0)
    assert np.array_equal(seen[0], weights @ array)


def test_many_sentences_are_counted_in_blocks(monkeypatch: pytest.MonkeyPatch, families: SentenceStates) -> None:
    whole = bootstrap_iou(families, select_most, resamples=5)
    monkeypatch.setattr("neuronspec.analysis.sentence_states._BLOCK", 7)
    assert_equal(whole, bootstrap_iou(families, select_most, resamples=5))


def test_intervals_hold_the_iou_and_part_families(families: SentenceStates) -> None:
    interval = bootstrap_iou(families, select_most)
    iou = pairwise_iou(select_most(families.counts()))
    assert ((interval.low <= iou) & (iou <= interval.high)).all()
    assert (interval.low.diagonal() == 1).all()
    assert interval.low[FAMILY].min() > interval.high[~FAMILY].max()


def test_a_higher_level_makes_a_wider_interval(families: SentenceStates) -> None:
    narrow, wide = (bootstrap_iou(families, select_most, 20, level) for level in (0.5, 0.99))
    assert (wide.low < narrow.low)[PAIRS].all()
    assert (wide.high > narrow.high)[PAIRS].all()


def test_a_pair_has_its_interval_whatever_other_tasks_there_are(families: SentenceStates) -> None:
    some = SentenceStates(families.tasks[::-2], families.bits[::-2], families.width)
    rows = np.ix_([5, 3, 1], [5, 3, 1])
    assert np.array_equal(bootstrap_iou(families, select_most, 9).low[rows], bootstrap_iou(some, select_most, 9).low)


@pytest.mark.parametrize("own", [0.0, 0.3, 1.0])  # of the neurons; where 0, the languages are equal
def test_intervals_hold_what_they_promise(own: float) -> None:
    rng = np.random.default_rng(5)
    frequencies = draw_frequencies(rng, 2, 96)
    frequencies[1] = np.where(np.arange(96) < 96 * own, frequencies[1], frequencies[0])
    drawn = [draw_states(frequencies, 80, rng) for _ in range(600)]
    expected = np.mean([pairwise_iou(select_most(states.counts()))[0, 1] for states in drawn])
    intervals = [bootstrap_iou(states, select_most, 100, level=0.9) for states in drawn[:200]]
    held = np.mean([interval.low[0, 1] <= expected <= interval.high[0, 1] for interval in intervals])
    assert 0.84 <= held <= 0.96


def test_the_null_is_far_where_languages_differ(families: SentenceStates) -> None:
    null = shuffle_null(families, select_most, shuffles=60)
    assert np.array_equal(null.iou, pairwise_iou(select_most(families.counts())))
    assert (null.z[~FAMILY] < -10).all()
    assert null.z[~FAMILY].max() < null.z[FAMILY & ~np.eye(6, dtype=bool)].min()
    assert null.p_value == pytest.approx(1 / 61)
    assert np.isnan(null.z.diagonal()).all()


def test_the_null_is_near_where_languages_are_equal(equals: SentenceStates) -> None:
    null = shuffle_null(equals, select_most, shuffles=80)
    assert abs(null.z[PAIRS].mean()) < 0.8
    assert np.abs(null.z[PAIRS]).max() < 4
    assert null.p_value > 0.1


def test_one_odd_task_makes_the_whole_differ() -> None:
    rng = np.random.default_rng(5)
    same, odd = rng.random(80), rng.random(80)
    texts = {f"{n}-en": rng.random((40, 80)) < (odd if n == 0 else same) for n in range(5)}
    assert shuffle_null(SentenceStates.from_arrays(texts), select_most, 60).p_value <= 0.05
    assert math.isnan(shuffle_null(SentenceStates.from_arrays({"0-en": texts["0-en"]}), select_most, 8).p_value)


def test_p_values_of_equal_languages_are_calibrated() -> None:
    rng = np.random.default_rng(2)
    frequencies = draw_frequencies(rng, 1, 80)[0]
    texts = [{task: rng.random((n, 80)) < frequencies for task, n in (("a-en", 30), ("b-en", 50))} for _ in range(250)]
    p_values = np.array([shuffle_null(SentenceStates.from_arrays(t), select_most, 39).p_value for t in texts])
    for level in (0.1, 0.25, 0.5, 0.75):
        noise = 3 * math.sqrt(level * (1 - level) / len(p_values))
        # Ties count against a difference, so that p-values may be larger than uniform ones, but not smaller.
        assert level - 2 * noise < (p_values <= level).mean() < level + noise


def test_halves_repeat_what_is_there(families: SentenceStates, equals: SentenceStates) -> None:
    halves = split_halves(families, select_most)
    across = pairwise_iou(select_most(families.counts()))[~FAMILY]
    assert halves.iou.shape == (6,)
    assert (halves.iou > across.max()).all()
    assert (halves.iou < 1).all()
    assert halves.correlation > 0.9
    assert abs(split_halves(equals, select_most).correlation) < 0.5


def test_halves_have_no_sentence_in_common() -> None:
    # Every sentence has a neuron of its own, so that halves that share none share no neuron either.
    states = SentenceStates.from_arrays({"x-en": np.eye(9, dtype=bool), "y-en": np.eye(9, dtype=bool)[:4]})
    assert split_halves(states, lambda counts: counts > 0).iou.tolist() == [0, 0]
    drawn: list[list[int]] = []

    def select(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        drawn.append(np.unique(counts.sum(axis=-1)).tolist())
        return counts > 0

    split_halves(states, select)
    assert drawn == [[4], [2]]


def test_curves_rise_to_all_sentences(families: SentenceStates) -> None:
    points = measure_learning_curve(families, select_most, [5, 20, 60, 120])
    assert [point.sentences for point in points] == [5, 20, 60, 120]
    ious, correlations = ([getattr(point, name) for point in points] for name in ("iou", "correlation"))
    assert ious == sorted(ious)
    assert correlations == sorted(correlations)
    assert ious[0] < 0.85
    assert (ious[-1], correlations[-1]) == (1, pytest.approx(1))


def test_curves_stop_below_the_smallest_task(families: SentenceStates) -> None:
    assert [point.sentences for point in measure_learning_curve(families, select_most)] == [10, 20, 50, 100]
    short = replace(families, bits=(families.bits[0][:10], *families.bits[1:]))
    assert measure_learning_curve(short, select_most) == []


def test_curves_draw_without_replacement() -> None:
    states = SentenceStates.from_arrays({"x-en": np.eye(12, dtype=bool)})
    points = measure_learning_curve(states, lambda counts: counts > 0, [3, 6])
    assert [point.iou for point in points] == [0.25, 0.5]


def test_two_tasks_have_no_correlation(families: SentenceStates) -> None:
    two = SentenceStates(families.tasks[:2], families.bits[:2], families.width)
    assert math.isnan(split_halves(two, select_most, 2).correlation)
    assert math.isnan(measure_learning_curve(two, select_most, [10])[0].correlation)


def test_overlaps_that_are_all_the_same_have_no_correlation(families: SentenceStates) -> None:
    def select(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.arange(counts.shape[-1]) < np.full((*counts.shape[:-1], 1), 7)

    assert math.isnan(split_halves(families, select, 2).correlation)


@pytest.mark.parametrize("rule", ["coverage", "top", "released"])
def test_selectors_select_as_the_masks_were(rule: str) -> None:
    rng = np.random.default_rng(0)
    counts = make_counts([rng.random((30, 50)) < rng.random(50) for _ in range(3)])
    for layer_k in (None, {"decoder.0": 0.3}):
        masks = NeuronMasks.from_counts(counts, 0.7, encoder_k=0.45, layer_k=layer_k, rule=rule)
        for layer in counts.layers:
            select = make_selector(masks.signature, layer)
            values = SentenceStates.from_counts(counts, layer).counts()
            assert np.array_equal(select(values), masks.layer(layer).numpy())
            assert np.array_equal(select(np.stack([values, values[::-1]]))[1], masks.layer(layer).numpy()[::-1])


def test_selectors_need_masks_of_single_tasks() -> None:
    rng = np.random.default_rng(0)
    counts = make_counts([rng.random((30, 50)) < rng.random(50) for _ in range(3)])
    masks = NeuronMasks.from_counts(counts)
    hand = NeuronMasks.from_dict({"x0-en": {"encoder.0": [1, 0]}})
    tokens = NeuronMasks.from_counts(replace(counts, unit="token"))
    cases = {
        "'random'.* select with coverage, top, released": NeuronMasks.from_counts(counts, rule="random"),
        "'lape'": NeuronMasks.from_counts(counts, rule="lape", share=0.5, bar=0.5),
        "'by hand'": hand,
        "'not coverage'": masks.complement(),
        "the unit 'token'": tokens,
        "composed in their signature": masks.compose("x0-en", "x1-en"),
        "stacks in their signature": masks.restrict("encoder"),
    }
    for reason, other in cases.items():
        with pytest.raises(NeuronspecError, match=reason):
            make_selector(other.signature, "encoder.0")
    with pytest.raises(NeuronspecError, match="no k in their signature"):
        make_selector({"rule": "coverage", "k.decoder": "0.5"}, "encoder.0")


def test_states_that_do_not_serve_are_refused() -> None:
    rng = np.random.default_rng(0)
    counts = make_counts([rng.random((9, 20)) < 0.5 for _ in range(2)] + [np.zeros((0, 20), dtype=bool)])
    flipped = {layer: bits ^ 128 for layer, bits in counts.states.items()}
    shorter = {layer: bits[1:] for layer, bits in counts.states.items()}
    cases: dict[str, tuple[ActivationCounts, str, list[str]]] = {
        "record with record.unit=sentence": (replace(counts, unit="token"), "encoder.0", ["x0-en"]),
        "record.states=true": (replace(counts, states={}, state_tasks=None), "encoder.0", ["x0-en"]),
        "x0-en in encoder.0 do not add up": (replace(counts, states=flipped), "encoder.0", ["x0-en"]),
        "x1-en in encoder.0 do not add up": (replace(counts, states=shorter), "encoder.0", ["x1-en"]),
        "did you mean 'encoder.0'": (counts, "encoder.1", ["x0-en"]),
        "did you mean 'x1-en'": (counts, "encoder.0", ["x0-en", "x1-e"]),
        "no sentences of x2-en": (counts, "encoder.0", ["x0-en", "x2-en"]),
        "no sentences of any task": (counts, "encoder.0", []),
    }
    for reason, (given_counts, layer, tasks) in cases.items():
        with pytest.raises(NeuronspecError, match=reason):
            SentenceStates.from_counts(given_counts, layer, tasks)
    with pytest.raises(NeuronspecError, match=r"\(sentences, d_ff\)"):
        SentenceStates.from_arrays({"a": np.ones((2, 3), dtype=bool), "b": np.ones((2, 4), dtype=bool)})


def test_numbers_that_are_none_are_refused(families: SentenceStates) -> None:
    single = replace(families, bits=(families.bits[0][:1], *families.bits[1:]))
    cases: dict[str, Callable[[], object]] = {
        "resamples must be": lambda: bootstrap_iou(families, select_most, resamples=1),
        "level is 95": lambda: bootstrap_iou(families, select_most, level=95),
        "shuffles must be": lambda: shuffle_null(families, select_most, shuffles=0),
        "splits must be": lambda: split_halves(families, select_most, splits=0),
        "repeats must be": lambda: measure_learning_curve(families, select_most, repeats=0),
        "sizes must be": lambda: measure_learning_curve(families, select_most, sizes=[0]),
        "x0-en has 120 sentences, not 121": lambda: measure_learning_curve(families, select_most, sizes=[121]),
        "x0-en has one sentence": lambda: split_halves(single, select_most),
        "seed must be": lambda: shuffle_null(families, select_most, seed=-1),
    }
    for reason, call in cases.items():
        with pytest.raises(NeuronspecError, match=reason):
            call()
