"""Overlaps of resampled sentences: confidence intervals, and whether tasks differ at all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from neuronspec.analysis.chance import standardize
from neuronspec.analysis.sentence_states import Selector, SentenceStates, sum_bits
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.masks import pairwise_iou
from neuronspec.statistics.draws import make_generator
from neuronspec.statistics.numbers import check_number
from neuronspec.statistics.permutation import count_reached, find_p_value


@dataclass(frozen=True, eq=False)
class OverlapInterval:
    """The lower and the upper end of a confidence interval for every pair of tasks, (tasks, tasks) each."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ShuffledOverlap:
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


def bootstrap_iou(
    states: SentenceStates, select: Selector, resamples: int = 200, level: float = 0.95, seed: int = 0
) -> OverlapInterval:
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
    return OverlapInterval(np.clip(iou - reach, 0, 1), np.clip(iou + reach, 0, 1))


def shuffle_null(states: SentenceStates, select: Selector, shuffles: int = 100, seed: int = 0) -> ShuffledOverlap:
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
        iou[:] = pairwise_iou(select(np.stack([sum_bits(pooled[rows], states.width) for rows in dealt])))
    observed = pairwise_iou(select(states.counts()))
    above = np.triu_indices(len(ends), k=1)
    lower = math.nan
    if len(ends) > 1:
        means = ious[:, *above].mean(axis=1)  # (shuffles,)
        lower = count_reached(-means, -observed[above].mean())  # as low as the observed one
    return ShuffledOverlap(observed, ious.mean(axis=0), ious.std(axis=0, ddof=1), find_p_value(lower, shuffles))
