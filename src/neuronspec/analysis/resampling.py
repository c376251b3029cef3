"""Overlaps of resampled sentences: confidence intervals, and whether tasks differ at all.

Everything here draws sentences of one layer again, selects neurons from them, and compares the masks. Neurons are
selected row by row: those of a task by its own counts (`make_selector` selects as a set of masks was selected). The
draws of a task depend on the seed and its name alone; so the same sentences are drawn in every layer, whatever other
tasks there are. Tasks that translate the same sentences still draw their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from neuronspec.analysis.chance import standardize
from neuronspec.analysis.sentence_states import Selector, SentenceStates, sum_bits
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.mask_overlap import pairwise_iou
from neuronspec.statistics.draws import make_generator
from neuronspec.statistics.numbers import check_number
from neuronspec.statistics.permutation import count_reached, find_p_value


@dataclass(frozen=True, eq=False)
class OverlapInterval:
    """Confidence interval of the IoU of every pair of tasks.

    Attributes:
        low: (tasks, tasks) lower ends.
        high: (tasks, tasks) upper ends.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ShuffledOverlap:
    """Overlaps of tasks, and overlaps after their sentences were shuffled over the tasks.

    Attributes:
        iou: (tasks, tasks) IoU of the tasks as they are.
        mean: (tasks, tasks) mean IoU after shuffling.
        sd: (tasks, tasks) standard deviation of the IoU over shuffles.
        p_value: Probability of a mean IoU of all pairs as low as that of the tasks if no task differs; at least
            1 / (1 + shuffles); nan for one task.
    """

    iou: NDArray[np.float64]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    p_value: float

    @property
    def z(self) -> NDArray[np.float64]:
        """Number of standard deviations that each IoU is above the shuffled ones: far below 0 where tasks differ.

        It compares pairs with each other and does not test a single pair: since sentences of all tasks are shuffled,
        two tasks that are alike also differ from the mixture.
        """
        return standardize(self.iou, self.mean, self.sd)


def bootstrap_iou(
    states: SentenceStates, select: Selector, resamples: int = 200, level: float = 0.95, seed: int = 0
) -> OverlapInterval:
    """Return a confidence interval of each pair's IoU: how far the overlaps would move with other sentences.

    It is an interval of the IoU to expect from as many sentences of the same kind: the IoU plus and minus the
    bootstrap's standard deviation times the normal quantile. In simulations its coverage is about nominal, for similar
    and for different languages.

    It is not an interval of the IoU with unlimited text. Masks from few sentences are noisy, and noise makes masks
    differ; so an observed IoU lies below the IoU with unlimited text (two equal languages do not reach 1), and the IoU
    of resampled sentences, which are noisier still, below the observed one. Therefore percentile intervals may not
    even contain the observed IoU, and neither they nor basic or bias-corrected intervals cover the IoU with unlimited
    text as often as they promise. Compare pairs whose tasks have about the same number of sentences.

    Args:
        states: States of the sentences in one layer.
        select: Function that selects the neurons of each row of counts.
        resamples: Number of times that sentences are drawn with replacement, for each task by itself.
        level: Confidence level of the interval, between 0 and 1.
        seed: Seed of the draws, from 0; the same seed gives the same interval.

    Returns:
        (tasks, tasks) ends, within 0..1; both are 1 on the diagonal.

    Raises:
        NeuronspecError: If there are fewer than 2 resamples, or the level or the seed is invalid.

    Example:
        >>> from neuronspec.analysis import make_selector
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

    def draw_with_replacement(generator: np.random.Generator, sentences: int) -> NDArray[np.number]:
        # How often each sentence comes, in as many draws as there are sentences
        return generator.multinomial(sentences, np.full(sentences, 1 / sentences), resamples)

    drawn = states.iou(states.draw(select, draw_with_replacement, seed))  # (resamples, tasks, tasks)

    # Around the observed IoU, not around the mean of the noisier resamples
    reach = norm.ppf((1 + level) / 2) * drawn.std(axis=0, ddof=1)
    iou = pairwise_iou(select(states.counts()))
    return OverlapInterval(np.clip(iou - reach, 0, 1), np.clip(iou + reach, 0, 1))


def shuffle_null(states: SentenceStates, select: Selector, shuffles: int = 100, seed: int = 0) -> ShuffledOverlap:
    """Test whether tasks differ at all: shuffle their sentences over the tasks and see how much more they overlap.

    This is a permutation test of all tasks together. If neurons do not depend on the task of a sentence, then shuffling
    the sentences of all tasks, as many to each as it had, changes nothing but the noise. The noise of few sentences,
    which alone keeps masks apart, is the same on both sides. The p-value is one-sided: the probability of a mean
    overlap that low. Any difference counts: of languages, but also of sentence lengths or domains.

    Args:
        states: States of the sentences in one layer.
        select: Function that selects the neurons of each row of counts.
        shuffles: Number of shuffles; the smallest possible p-value is 1 / (1 + shuffles).
        seed: Seed of the shuffles, from 0; the same seed gives the same result.

    Raises:
        NeuronspecError: If there are fewer than 2 shuffles, or the seed is invalid.

    Example:
        >>> from neuronspec.analysis import make_selector
        >>> rng = np.random.default_rng(0)
        >>> texts = {task: rng.random((40, 60)) < rng.random(60) for task in ("de-en", "ja-en")}
        >>> select = make_selector({"rule": "top", "k.encoder": "0.5"}, "encoder.0")
        >>> null = shuffle_null(SentenceStates.from_arrays(texts), select)
        >>> bool(null.z[0, 1] < -4), round(null.p_value, 4)
        (True, 0.0099)
    """
    check_number("shuffles", shuffles, 2)
    generator = make_generator(seed)

    # All sentences in one pool, from which every task is dealt its number of them
    pooled = np.concatenate(states.bits)  # (sentences of all tasks, bytes)
    ends = np.cumsum(states.sizes)
    tasks = len(ends)

    ious = np.empty((shuffles, tasks, tasks))
    for iou in ious:
        dealt = np.split(generator.permutation(len(pooled)), ends[:-1])
        counts = [sum_bits(pooled[rows], states.width) for rows in dealt]
        iou[:] = pairwise_iou(select(np.stack(counts)))

    # One-sided: how many shuffles have a mean overlap as low as the observed one
    observed = pairwise_iou(select(states.counts()))
    lower = math.nan
    if tasks > 1:
        above = np.triu_indices(tasks, k=1)
        means = ious[:, *above].mean(axis=1)  # (shuffles,)

        # Negative: here a low mean is extreme
        lower = count_reached(-means, -observed[above].mean())

    return ShuffledOverlap(
        iou=observed,
        mean=ious.mean(axis=0),
        sd=ious.std(axis=0, ddof=1),
        p_value=find_p_value(lower, shuffles),
    )
