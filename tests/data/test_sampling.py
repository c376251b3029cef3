import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuronspec.data import sampling
from neuronspec.data.sampling import Batch, BatchSampler, Cursor, cut_by_tokens, permute, temperature_weights
from neuronspec.errors import NeuronspecError

Lengths = list[NDArray[np.int64]]


def draw_lengths(sizes: Sequence[int], seed: int = 0, longest: int = 40) -> Lengths:
    generator = np.random.default_rng(seed)
    return [generator.integers(2, longest, (size, 2), endpoint=True) for size in sizes]


def make_sampler(lengths: Lengths, **options: Any) -> BatchSampler:
    return BatchSampler(lengths, **{"temperature": 2.0, "tokens_per_batch": 120, **options})


def rows(batch: Batch) -> list[tuple[int, int]]:
    return list(zip(batch.tasks.tolist(), batch.examples.tolist(), strict=True))


def first_batches(sampler: BatchSampler, count: int, start: Cursor | None = None) -> list[list[tuple[int, int]]]:
    return [rows(batch) for batch, _ in itertools.islice(sampler.batches(start), count)]


def drawn(sampler: BatchSampler, rounds: int) -> Counter[tuple[int, int]]:
    return Counter(row for number in range(rounds) for batch in sampler.round(number) for row in rows(batch))


@pytest.mark.parametrize(
    ("sizes", "temperature", "expected"),
    [
        ([3, 1], 1, [3 / 4, 1 / 4]),
        ([100, 1], 2, [10 / 11, 1 / 11]),
        ([32, 1], 5, [2 / 3, 1 / 3]),
        ([7, 7, 7], 5, [1 / 3, 1 / 3, 1 / 3]),
        ([1_000_000, 1], 1e9, [1 / 2, 1 / 2]),
    ],
)
def test_temperature_takes_the_root_of_the_shares(sizes: list[int], temperature: float, expected: list[float]) -> None:
    assert temperature_weights(sizes, temperature).tolist() == pytest.approx(expected)


@given(st.integers(1, 700), st.lists(st.integers(0, 2**40), min_size=1, max_size=4))
@settings(max_examples=60)
def test_permute_is_a_bijection(size: int, key: list[int]) -> None:
    assert sorted(permute(np.arange(size), size, key).tolist()) == list(range(size))


@given(st.integers(1, 10**15), st.integers(0, 9), st.data())
@settings(max_examples=40)
def test_permute_seeks_anywhere(size: int, key: int, data: st.DataObject) -> None:
    positions = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=30, unique=True))
    together = permute(np.array(positions), size, [key])
    alone = [int(permute(np.array([position]), size, [key])[0]) for position in positions]
    assert together.tolist() == alone
    assert len(set(alone)) == len(alone)
    assert 0 <= min(alone) <= max(alone) < size


def test_permute_is_pinned_so_that_a_run_resumes_under_a_later_release() -> None:
    # from a scalar implementation of the same network in Python's integers
    assert permute(np.arange(10), 10, [1, 0, 2, 3]).tolist() == [1, 0, 7, 6, 2, 9, 5, 8, 4, 3]


def test_permute_spreads_evenly_over_keys() -> None:
    ways = Counter(tuple(permute(np.arange(4), 4, [key]).tolist()) for key in range(2_400))
    # 24 permutations, 100 times each were they all alike; a four-round network over four values is not that even
    assert len(ways) >= 20
    for position in range(4):
        where = Counter(way[position] for way in ways.elements())
        assert all(500 < count < 700 for count in where.values()), where


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 100))
def test_cutting_keeps_the_order_the_budget_and_every_example(widths: list[int], tokens: int) -> None:
    widths.sort()
    order = np.arange(100, 100 + len(widths))
    groups = [group.tolist() for group in cut_by_tokens(order, widths, tokens)]
    assert list(itertools.chain.from_iterable(groups)) == order.tolist()
    for group, following in itertools.zip_longest(groups, groups[1:]):
        assert len(group) == 1 or len(group) * widths[group[-1] - 100] <= tokens
        if following:  # one more would not have fitted
            assert (len(group) + 1) * widths[following[0] - 100] > tokens


@given(
    st.lists(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), max_size=25), min_size=1, max_size=4),
    st.integers(8, 60),
    st.none() | st.integers(8, 60),
    st.booleans(),
    st.sampled_from([1.0, 2.0, 5.0]),
    st.integers(0, 3),
)
@settings(max_examples=60)
def test_batches_keep_budget_limit_and_homogeneity(
    pairs: list[list[tuple[int, int]]],
    tokens: int,
    max_tokens: int | None,
    homogeneous: bool,
    temperature: float,
    seed: int,
) -> None:
    # the budget bounds each side's padded tokens; a pair over the limit never comes
    lengths = [np.array([(8, 8), *task]) for task in pairs]
    options = {"tokens_per_batch": tokens, "max_tokens": max_tokens, "homogeneous": homogeneous}
    sampler = make_sampler(lengths, temperature=temperature, seed=seed, **options)
    for batch, _ in itertools.islice(sampler.batches(), 40):
        sides = np.array([lengths[task][example] for task, example in rows(batch)])
        assert len(batch) == len(sides) > 0
        assert (sides.max(axis=0) * len(batch) <= tokens).all()
        assert sides.max() <= (max_tokens or tokens)
        assert not homogeneous or len(set(batch.tasks.tolist())) == 1


def test_a_batch_mixes_tasks_unless_it_may_not() -> None:
    lengths = draw_lengths([300, 300])
    mixed = [len({task for task, _ in batch}) for batch in first_batches(make_sampler(lengths), 50)]
    assert sum(tasks == 2 for tasks in mixed) > 25


def test_lengths_are_alike_within_a_batch_and_batches_are_shuffled() -> None:
    lengths = draw_lengths([4_000])
    batches = make_sampler(lengths, tokens_per_batch=400).round(0)
    widths = [lengths[0][batch.examples].max(axis=1) for batch in batches]
    padded = sum(len(width) * width.max() for width in widths)
    assert sum(width.sum() for width in widths) / padded > 0.95
    longest = [int(width.max()) for width in widths]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3


@pytest.mark.parametrize("temperature", [1, 2, 5])
@pytest.mark.parametrize("homogeneous", [False, True])
def test_shares_follow_the_temperature_in_the_long_run(temperature: float, homogeneous: bool) -> None:
    sizes = [640, 160, 20]
    sampler = make_sampler(draw_lengths(sizes), temperature=temperature, homogeneous=homogeneous)
    by_task = Counter(task for task, _ in drawn(sampler, 12).elements())
    roots = [size ** (1 / temperature) for size in sizes]
    for task, root in enumerate(roots):
        assert by_task[task] / by_task.total() == pytest.approx(root / sum(roots), abs=1e-3)


def test_shares_follow_the_pairs_that_fit() -> None:
    short, long = np.full((100, 2), 5), np.full((900, 2), 50)
    sampler = make_sampler([np.concatenate([short, long]), short], temperature=1, max_tokens=10)
    by_task = Counter(task for task, _ in drawn(sampler, 5).elements())
    assert by_task == {0: 500, 1: 500}


@pytest.mark.parametrize("round_size", [1 << 17, 97], ids=["a round is a pass", "a pass is many rounds"])
def test_examples_come_without_replacement_within_a_pass(round_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # at any time no example of a task may be ahead of another by more than one pass
    monkeypatch.setattr(sampling, "ROUND_SIZE", round_size)
    sizes = [300, 40, 6]
    sampler = make_sampler(draw_lengths(sizes), temperature=5)
    counts: Counter[tuple[int, int]] = Counter()
    for number in range(12):
        counts.update(row for batch in sampler.round(number) for row in rows(batch))
        for task, size in enumerate(sizes):
            times = [counts[task, example] for example in range(size)]
            assert max(times) - min(times) <= 1
    assert min(counts[2, example] for example in range(6)) > 3  # the smallest task was passed over several times


def test_each_pass_and_each_seed_starts_with_other_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "ROUND_SIZE", 20)  # a third of a pass
    lengths = [np.full((60, 2), 8)]
    starts = [set(drawn(make_sampler(lengths, seed=seed), 1)) for seed in range(3)]
    rounds = make_sampler(lengths)
    starts += [{row for batch in rounds.round(number) for row in rows(batch)} for number in (3, 6)]
    assert [len(start) for start in starts] == [20] * 5
    assert all(left != right for left, right in itertools.combinations(starts, 2))


@given(st.integers(0, 60), st.booleans(), st.integers(0, 2**31))
@settings(max_examples=25)
def test_r2_batches_from_a_cursor_are_those_from_the_start(skipped: int, homogeneous: bool, seed: int) -> None:
    lengths = draw_lengths([90, 30, 5], longest=20)
    options = {"homogeneous": homogeneous, "seed": seed}
    stream = make_sampler(lengths, **options).batches()
    *_, cursor = [Cursor(), *(after for _, after in itertools.islice(stream, skipped))]
    ahead = [rows(batch) for batch, _ in itertools.islice(stream, 25)]
    torch.manual_seed(seed)
    np.random.seed(seed)
    assert first_batches(make_sampler(lengths, **options), 25, cursor) == ahead


def test_r2_the_end_of_a_round_is_a_cursor_like_any_other() -> None:
    sampler = make_sampler(draw_lengths([50]))
    last = len(sampler.round(0))
    assert first_batches(sampler, 3, Cursor(0, last)) == first_batches(sampler, 3, Cursor(1, 0))
    assert first_batches(sampler, last + 3)[last:] == first_batches(sampler, 3, Cursor(1, 0))


def test_r2_another_seed_is_another_order() -> None:
    lengths = draw_lengths([200, 50])
    seeds = [first_batches(make_sampler(lengths, seed=seed), 20) for seed in (1, 2, 1)]
    assert seeds[0] == seeds[2] != seeds[1]


def test_a_task_without_a_fitting_pair_is_named() -> None:
    lengths = [np.full((3, 2), 5), np.array([[5, 31], [31, 5]])]
    with pytest.raises(NeuronspecError, match=r"en-de has no training pair of at most 30 tokens a side \(2 pairs.*max"):
        make_sampler(lengths, max_tokens=30, names=["de-en", "en-de"])
    with pytest.raises(NeuronspecError, match="1 has no training pair of at most 20 tokens"):
        make_sampler(lengths, tokens_per_batch=20)
    with pytest.raises(NeuronspecError, match=r"0 pairs in all"):
        make_sampler([np.empty((0, 2), dtype=np.int64)])


@pytest.mark.parametrize("tasks", [1, 3, 49, 107])
def test_tasks_of_a_single_pair_all_come(tasks: int) -> None:
    # 49 * (1 / 49) is less than 1 in floating point
    sampler = make_sampler([np.full((1, 2), 5)] * tasks, temperature=1)
    assert set(drawn(sampler, 3)) == {(task, 0) for task in range(tasks)}
    assert math.isclose(sampler.weights.sum(), 1)
