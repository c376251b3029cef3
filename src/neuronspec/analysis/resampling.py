"""What single sentences say about overlaps: how sure they are, whether languages differ at all, how many suffice.

Everything here draws sentences of one layer again, selects neurons from them and compares the masks. A selection works
row by row: the neurons of a task by its own counts (`make_selector` gives that of a set of masks). The draws of a task
depend on the seed and its name alone, so that the same sentences are drawn in every layer and whatever other tasks
there are; tasks that translate the same sentences still draw each their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from neuronspec.analysis.chance import standardize
from neuronspec.analysis.states import Bits, Select, SentenceStates, add_up
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import pairwise_iou
from neuronspec.neurons.rules import RULES
from neuronspec.statistics.correlation import correlate
from neuronspec.statistics.draws import make_generator
from neuronspec.statistics.numbers import check_number
from neuronspec.statistics.permutation import count_reached, find_p_value

ROW_RULES = ("coverage", "top", "released")  # those that look at one task and one layer at a time


@dataclass(frozen=True, eq=False)
class Interval:
    """The lower and the upper end of a confidence interval for every pair of tasks, (tasks, tasks) each."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Null:
    """The overlaps of tasks, and what they would be if it made no difference whose a sentence is.

    Attributes:
        iou: (tasks, tasks) IoU of the tasks as they are.
        mean: (tasks, tasks) mean IoU after shuffling.
        sd: (tasks, tasks) its standard deviation over shuffles.
        p_value: how probable a mean IoU of all pairs as low as that of the tasks is if no task differs; at least
            1 / (1 + shuffles); nan of one task.
    """

    iou: NDArray[np.float64]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    p_value: float

    @property
    def z(self) -> NDArray[np.float64]:
        """How many standard deviations each IoU is above the shuffled ones: far below 0 where tasks differ.

        It describes a pair beside the others, and is no test of it: with sentences of all tasks shuffled, two tasks
        that are alike are told from the mixture, too.
        """
        return standardize(self.iou, self.mean, self.sd)


@dataclass(frozen=True, eq=False)
class Halves:
    """How well one half of the sentences repeats what the other half says.

    Attributes:
        iou: (tasks,) mean IoU of a task's masks from the two halves.
        correlation: of the overlaps of all pairs of tasks in one half with those in the other (Pearson); nan with
            less than three tasks, or where all overlaps are the same.
    """

    iou: NDArray[np.float64]
    correlation: float


@dataclass(frozen=True)
class Point:
    """One point of a learning curve.

    Attributes:
        sentences: how many of each task.
        iou: mean IoU, over tasks and repeats, of a mask from so many sentences with that from all.
        correlation: of the overlaps of all pairs of tasks with those from all sentences (Pearson); nan with less than
            three tasks, or where all overlaps are the same.
    """

    sentences: int
    iou: float
    correlation: float


def make_selector(signature: Mapping[str, str], layer: str) -> Select:
    """Return the function that selected the masks with this signature in one layer, for other counts.

    Args:
        signature: of `NeuronMasks`.
        layer: its name; every layer may have its own k.

    Returns:
        A function from (..., d_ff) int64 counts to (..., d_ff) booleans.

    Raises:
        NeuronspecError: the masks were not selected for each task and layer by itself, from counts of sentences.

    Example:
        >>> select = make_selector({"rule": "coverage", "unit": "sentence", "k.encoder": "0.8"}, "encoder.0")
        >>> select(np.array([[5, 0, 3, 2]])).tolist()
        [[True, False, True, False]]
    """
    rule, unit = signature.get("rule", "by hand"), signature.get("unit", "sentence")
    if rule not in ROW_RULES or unit != "sentence":
        raise NeuronspecError(
            f"masks of the rule {rule!r} and the unit {unit!r} cannot be resampled sentence by sentence: "
            f"select with {', '.join(ROW_RULES)}, from counts of sentences"
        )
    changed = [key for key in ("composed", "stacks") if key in signature]
    share = signature.get(f"k.{layer}", signature.get(f"k.{layer.partition('.')[0]}"))
    if changed or share is None:
        raise NeuronspecError(
            f"the masks of {layer} are not as they were selected ({', '.join(changed) or 'no k'} in their signature) "
            "and cannot be resampled: give those that were selected from counts"
        )
    try:
        k = {layer: float(share)}
    except ValueError as error:
        raise NeuronspecError(f"the masks' signature gives {layer} the k {share!r}, which is no number") from error

    def select(values: NDArray[np.int64]) -> NDArray[np.bool_]:
        rows = torch.from_numpy(np.ascontiguousarray(values).reshape(-1, values.shape[-1]))
        counts = ActivationCounts(tuple(map(str, range(len(rows)))), {layer: rows}, {}, "sentence")
        selected: NDArray[np.bool_] = RULES[rule](counts, k)[layer].numpy()
        return selected.reshape(values.shape)

    return select


def bootstrap_iou(
    states: SentenceStates, select: Select, resamples: int = 200, level: float = 0.95, seed: int = 0
) -> Interval:
    """Return how far the overlaps would move with other sentences: an interval around each pair's IoU.

    It is an interval of the IoU to expect from as many sentences of the same kind: IoU plus and minus the bootstrap's
    standard deviation times the normal quantile, about nominal in simulations, for languages alike and unlike. Not of
    the IoU that endless text would give: masks from few sentences are noisy, and noise makes masks differ, so an
    observed IoU lies below that one (two equal languages do not reach 1), and that of resampled sentences, noisier
    still, below the observed one. Percentile intervals therefore may not even hold the IoU, and neither they nor basic
    or bias-corrected ones hold the endless text's IoU as often as they promise. Compare pairs whose tasks have about
    the same number of sentences.

    Args:
        states: of one layer.
        select: the neurons of each row of counts.
        resamples: how many times sentences are drawn with replacement, each task's by themselves.
        level: the share of such intervals that hold what they are for.
        seed: from 0 on; the same seed gives the same interval.

    Returns:
        (tasks, tasks) ends, within 0..1; both 1 on the diagonal.

    Raises:
        NeuronspecError: less than 2 resamples, or a level or seed that is none.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> texts = {task: rng.random((40, 60)) < rng.random(60) for task in ("de-en", "ja-en")}
        >>> select = make_selector({"rule": "top", "k.encoder": "0.5"}, "encoder.0")
        >>> interval = bootstrap_iou(SentenceStates.from_arrays(texts), select)
        >>> bool(interval.low[0, 1] < interval.high[0, 1] < 0.75)
        True
    """
    check_number("resamples", resamples, 2)
    if not 0 < level < 1:
        raise NeuronspecError(f"level is {level}, but must lie between 0 and 1; 0.95 is usual")

    def weigh(generator: np.random.Generator, sentences: int) -> NDArray[np.number]:
        return generator.multinomial(sentences, np.full(sentences, 1 / sentences), resamples)

    reach = norm.ppf((1 + level) / 2) * states.iou(states.draw(select, weigh, seed)).std(axis=0, ddof=1)
    iou = pairwise_iou(select(states.counts()))
    return Interval(np.clip(iou - reach, 0, 1), np.clip(iou + reach, 0, 1))


def shuffle_null(states: SentenceStates, select: Select, shuffles: int = 100, seed: int = 0) -> Null:
    """Ask whether tasks differ at all: deal all their sentences out again and see how much more they overlap.

    A permutation test of all tasks together: where neurons do not care whose a sentence is, dealing the sentences of
    all tasks out at random, as many to each as it had, changes nothing but the noise. The noise of few sentences,
    which alone keeps masks apart, is the same on both sides. The p-value is one-sided: of a mean overlap that low. Any
    difference counts, that of sentence lengths or of domains as well as that of languages.

    Args:
        states: of one layer.
        select: the neurons of each row of counts.
        shuffles: how many times; the smallest p-value there can be is 1 / (1 + shuffles).
        seed: from 0 on; the same seed gives the same result.

    Raises:
        NeuronspecError: less than 2 shuffles, or a seed that is none.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> texts = {task: rng.random((40, 60)) < rng.random(60) for task in ("de-en", "ja-en")}
        >>> select = make_selector({"rule": "top", "k.encoder": "0.5"}, "encoder.0")
        >>> null = shuffle_null(SentenceStates.from_arrays(texts), select)
        >>> bool(null.z[0, 1] < -4), round(null.p_value, 4)
        (True, 0.0099)
    """
    check_number("shuffles", shuffles, 2)
    generator = make_generator(seed)
    pooled, ends = np.concatenate(states.bits), np.cumsum(states.sizes)
    ious = np.empty((shuffles, len(ends), len(ends)))
    for iou in ious:
        dealt = np.split(generator.permutation(len(pooled)), ends[:-1])
        iou[:] = pairwise_iou(select(np.stack([add_up(pooled[rows], states.width) for rows in dealt])))
    observed = pairwise_iou(select(states.counts()))
    above = np.triu_indices(len(ends), k=1)
    lower = math.nan
    if len(ends) > 1:
        means = ious[:, *above].mean(axis=1)  # (shuffles,)
        lower = count_reached(-means, -observed[above].mean())  # as low as the observed one
    return Null(observed, ious.mean(axis=0), ious.std(axis=0, ddof=1), find_p_value(lower, shuffles))


def split_halves(states: SentenceStates, select: Select, splits: int = 20, seed: int = 0) -> Halves:
    """Compare what two halves of the sentences say: the split-half reliability of masks and of overlaps.

    Noise alone keeps the halves of one task apart: what they overlap is what two tasks without any difference would,
    with half the sentences.

    Args:
        states: of one layer, with two sentences of each task at least; of an odd number one is left out.
        select: the neurons of each row of counts.
        splits: how many times sentences are split at random; the results are means.
        seed: from 0 on; the same seed gives the same result.

    Raises:
        NeuronspecError: a task has one sentence only, or a number or seed that is none.

    Example:
        >>> same = SentenceStates.from_arrays({"de-en": np.ones((4, 8), dtype=bool)})
        >>> split_halves(same, lambda counts: counts > 0).iou.tolist()
        [1.0]
    """
    check_number("splits", splits, 1)
    if states.sizes.min() < 2:
        raise NeuronspecError(f"{states.tasks[states.sizes.argmin()]} has one sentence, which cannot be split")

    def weigh(generator: np.random.Generator, sentences: int) -> NDArray[np.number]:
        ranks, half = _rank(generator, splits, sentences), sentences // 2
        return np.stack([ranks < half, ranks >= sentences - half]).astype(np.uint8)

    first, second = states.draw(select, weigh, seed)  # (splits, tasks, bytes) each
    pairs = zip(states.iou(first), states.iou(second), strict=True)
    return Halves(_compare(first, second).mean(axis=0), float(np.mean([correlate(*pair) for pair in pairs])))


def curve_sentences(
    states: SentenceStates, select: Select, sizes: Sequence[int] | None = None, repeats: int = 5, seed: int = 0
) -> list[Point]:
    """Return how near masks and overlaps from few sentences come to those from all: how many sentences suffice.

    Where the curve still rises at its end, more sentences would change the masks. A mask from most of the sentences
    must be near that from all of them, whose part it is: read the curve well below its end.

    Args:
        states: of one layer.
        select: the neurons of each row of counts.
        sizes: numbers of sentences, the same of each task; by default 10, 20, 50, 100 ... below the smallest task's.
        repeats: how many times sentences are drawn without replacement; the results are means.
        seed: from 0 on; the same seed gives the same curve.

    Returns:
        A point for each size; none where no task has more than 10 sentences.

    Raises:
        NeuronspecError: a size that some task does not have, or a number or seed that is none.

    Example:
        >>> same = SentenceStates.from_arrays({"de-en": np.ones((30, 8), dtype=bool)})
        >>> [(point.sentences, point.iou) for point in curve_sentences(same, lambda counts: counts > 0)]
        [(10, 1.0), (20, 1.0)]
    """
    check_number("repeats", repeats, 1)
    smallest = int(states.sizes.min())
    if sizes is None:
        sizes = [size for power in range(1, 9) for size in (10**power, 2 * 10**power, 5 * 10**power) if size < smallest]
    for size in sizes:
        check_number("sizes", size, 1)
        if size > smallest:
            raise NeuronspecError(f"{states.tasks[states.sizes.argmin()]} has {smallest} sentences, not {size}")
    if not sizes:
        return []

    def weigh(generator: np.random.Generator, sentences: int) -> NDArray[np.number]:
        ranks = _rank(generator, repeats, sentences)
        return np.stack([ranks < size for size in sizes]).astype(np.uint8)  # (sizes, repeats, sentences)

    masks = states.draw(select, weigh, seed)  # (sizes, repeats, tasks, bytes)
    whole = select(states.counts())
    overlaps, near = pairwise_iou(whole), _compare(masks, np.packbits(whole, axis=1)).mean(axis=(1, 2))
    correlations = [np.mean([correlate(iou, overlaps) for iou in states.iou(drawn)]) for drawn in masks]
    return [Point(*point) for point in zip(sizes, near.tolist(), map(float, correlations), strict=True)]


def _rank(generator: np.random.Generator, draws: int, sentences: int) -> NDArray[np.int64]:
    """Return (draws, sentences) random ranks: those below n are n sentences drawn without replacement."""
    ranks: NDArray[np.int64] = generator.random((draws, sentences)).argsort(axis=1).argsort(axis=1)
    return ranks


def _compare(first: Bits, second: Bits) -> NDArray[np.float64]:
    """Return the (...,) IoU of packed masks (..., bytes) one by one; 1 for two empty ones."""
    shared, united = (np.bitwise_count(bits).sum(axis=-1, dtype=np.int64) for bits in (first & second, first | second))
    iou: NDArray[np.float64] = np.divide(shared, united, out=np.ones(shared.shape), where=united > 0)
    return iou
