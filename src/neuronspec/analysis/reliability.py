"""Reliability of masks and overlaps: two halves of the sentences, and fewer sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuronspec.analysis.sentence_states import PackedBits, Selector, SentenceStates
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.mask_overlap import pairwise_iou
from neuronspec.statistics.correlation import correlate
from neuronspec.statistics.numbers import check_number


@dataclass(frozen=True, eq=False)
class SplitHalves:
    """Agreement of two halves of the sentences.

    Attributes:
        iou: (tasks,) mean IoU of a task's masks from the two halves.
        correlation: Pearson correlation of the overlaps of all pairs of tasks in one half with the other; nan with
            less than three tasks, or where all overlaps are the same.
    """

    iou: NDArray[np.float64]
    correlation: float


@dataclass(frozen=True)
class LearningCurvePoint:
    """One point of a learning curve.

    Attributes:
        sentences: Number of sentences of each task.
        iou: Mean IoU, over tasks and repeats, of a mask from these sentences with the mask from all sentences.
        correlation: Pearson correlation of the overlaps of all pairs of tasks with those from all sentences; nan with
            less than three tasks, or where all overlaps are the same.
    """

    sentences: int
    iou: float
    correlation: float


def split_halves(states: SentenceStates, select: Selector, splits: int = 20, seed: int = 0) -> SplitHalves:
    """Measure the split-half reliability of masks and of overlaps.

    Only noise keeps the halves of one task apart: they overlap as two tasks without any difference would overlap, with
    half the sentences.

    Args:
        states: States of the sentences in one layer, at least two for each task; of an odd number, one is left out.
        select: Function that selects the neurons of each row of counts.
        splits: Number of random splits; the results are means.
        seed: Seed of the draws, from 0; the same seed gives the same result.

    Raises:
        NeuronspecError: If a task has only one sentence, or a number or the seed is invalid.

    Example:
        >>> same = SentenceStates.from_arrays({"de-en": np.ones((4, 8), dtype=bool)})
        >>> split_halves(same, lambda counts: counts > 0).iou.tolist()
        [1.0]
    """
    check_number("splits", splits, 1)
    if states.sizes.min() < 2:
        raise NeuronspecError(f"{states.tasks[states.sizes.argmin()]} has one sentence, which cannot be split")

    def weigh(generator: np.random.Generator, sentences: int) -> NDArray[np.number]:
        # A sentence is in the first half, in the second, or in none: one is left over from an odd number
        ranks, half = _draw_ranks(generator, splits, sentences), sentences // 2
        return np.stack([ranks < half, ranks >= sentences - half]).astype(np.uint8)  # (2, splits, sentences)

    first, second = states.draw(select, weigh, seed)  # (splits, tasks, bytes) each

    # Split by split: do the same pairs of tasks overlap much in both halves?
    pairs = zip(states.iou(first), states.iou(second), strict=True)
    correlations = [correlate(*pair) for pair in pairs]
    return SplitHalves(
        iou=_compare_packed(first, second).mean(axis=0),
        correlation=float(np.mean(correlations)),
    )


def measure_learning_curve(
    states: SentenceStates, select: Selector, sizes: Sequence[int] | None = None, repeats: int = 5, seed: int = 0
) -> list[LearningCurvePoint]:
    """Return how close masks and overlaps from few sentences come to those from all sentences.

    Where the curve still rises at its end, more sentences would change the masks. A mask from most of the sentences
    must be near that from all of them, whose part it is: read the curve well below its end.

    Args:
        states: States of the sentences in one layer.
        select: Function that selects the neurons of each row of counts.
        sizes: Numbers of sentences, the same for each task; by default 10, 20, 50, 100 ... below the smallest task's.
        repeats: Number of draws without replacement; the results are means.
        seed: Seed of the draws, from 0; the same seed gives the same curve.

    Returns:
        A point for each size; none where no task has more than 10 sentences.

    Raises:
        NeuronspecError: If some task has fewer sentences than a size, or a number or the seed is invalid.

    Example:
        >>> same = SentenceStates.from_arrays({"de-en": np.ones((30, 8), dtype=bool)})
        >>> [(point.sentences, point.iou) for point in measure_learning_curve(same, lambda counts: counts > 0)]
        [(10, 1.0), (20, 1.0)]
    """
    check_number("repeats", repeats, 1)
    smallest = int(states.sizes.min())
    chosen = _list_sizes(smallest) if sizes is None else sizes
    for size in chosen:
        check_number("sizes", size, 1)
        if size > smallest:
            raise NeuronspecError(f"{states.tasks[states.sizes.argmin()]} has {smallest} sentences, not {size}")
    if not chosen:
        return []

    def weigh(generator: np.random.Generator, sentences: int) -> NDArray[np.number]:
        # Nested: the sentences of a small size are also part of every larger one
        ranks = _draw_ranks(generator, repeats, sentences)
        return np.stack([ranks < size for size in chosen]).astype(np.uint8)  # (sizes, repeats, sentences)

    masks = states.draw(select, weigh, seed)  # (sizes, repeats, tasks, bytes)

    # What all sentences select, to compare with
    whole = select(states.counts())
    overlaps = pairwise_iou(whole)
    near = _compare_packed(masks, np.packbits(whole, axis=1)).mean(axis=(1, 2))  # (sizes,)

    # For each size, how close the masks come, and how close the overlaps of all pairs come
    points = []
    for size, iou, drawn in zip(chosen, near.tolist(), masks, strict=True):
        correlations = [correlate(one, overlaps) for one in states.iou(drawn)]
        points.append(LearningCurvePoint(size, iou=iou, correlation=float(np.mean(correlations))))
    return points


def _list_sizes(smallest: int) -> list[int]:
    """Return 10, 20, 50, 100 ... below the sentences of the smallest task."""
    sizes = []

    # Up to 500 million: no text has more sentences
    for power in range(1, 9):
        for factor in (1, 2, 5):
            size = factor * 10**power
            if size < smallest:
                sizes.append(size)
    return sizes


def _draw_ranks(generator: np.random.Generator, draws: int, sentences: int) -> NDArray[np.int64]:
    """Return (draws, sentences) random ranks: those below n are n sentences drawn without replacement."""
    # Sorted twice: the rank of each random number among its row
    ranks: NDArray[np.int64] = generator.random((draws, sentences)).argsort(axis=1).argsort(axis=1)
    return ranks


def _compare_packed(first: PackedBits, second: PackedBits) -> NDArray[np.float64]:
    """Return the (...,) IoU of packed masks (..., bytes) one by one; 1 for two empty ones."""
    # Bits are counted in bytes: unpacked, all draws of all tasks may not fit into memory
    shared, united = (np.bitwise_count(bits).sum(axis=-1, dtype=np.int64) for bits in (first & second, first | second))
    iou: NDArray[np.float64] = np.divide(shared, united, out=np.ones(shared.shape), where=united > 0)
    return iou
