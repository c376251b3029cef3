"""The trials of a paired test: one test set's scores after random exchanges or resamples, and their sums over a group.

Every trial of a test set sums other rows of its per-sentence statistics, so that no text is scored again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.numbers import FloatArray

MetricScore = Callable[[FloatArray], FloatArray]
StatisticsPair = tuple[FloatArray, FloatArray]  # the baseline's and the system's
Disturb = Callable[[StatisticsPair, int, np.random.Generator], StatisticsPair]

# Trials are computed in chunks of at most this many (trial, sentence) cells, 16 MB of float64 each, which bounds the
# memory.
CHUNK_CELLS = 2**21


class TestSetTrials(NamedTuple):
    """The scores of two systems on one test set, and their differences in every trial.

    Attributes:
        baseline: Score of the baseline.
        system: Score of the system.
        shuffled: Differences after random exchanges of the systems' translations, (trials,).
        resampled: Differences on sentences drawn with replacement, (resamples,).
    """

    baseline: float
    system: float
    shuffled: FloatArray
    resampled: FloatArray


class GroupTotals:
    """The sums of scores and differences over the test sets of a group.

    Args:
        trials: Number of random exchanges of a test set.
        resamples: Number of bootstrap samples of a test set.
    """

    def __init__(self, trials: int, resamples: int) -> None:
        self.test_sets = 0
        self.baseline = 0.0
        self.system = 0.0
        self.shuffled = np.zeros(trials)  # (trials,)
        self.resampled = np.zeros(resamples)  # (resamples,)

    def add(self, trials: TestSetTrials) -> None:
        """Add the trials of one more test set."""
        # Trial by trial: a trial of the group disturbs all of its test sets at once.
        self.test_sets += 1
        self.baseline += trials.baseline
        self.system += trials.system
        self.shuffled += trials.shuffled
        self.resampled += trials.resampled

    def mean(self) -> TestSetTrials:
        """Return the means over the test sets."""
        return TestSetTrials(
            baseline=self.baseline / self.test_sets,
            system=self.system / self.test_sets,
            shuffled=self.shuffled / self.test_sets,
            resampled=self.resampled / self.test_sets,
        )


def try_test_set(
    pair: StatisticsPair, metric_score: MetricScore, *, trials: int, resamples: int, seed: tuple[int, int]
) -> TestSetTrials:
    """Score a test set as it is, and in every trial and resample.

    Args:
        pair: Per-sentence statistics of the baseline and of the system, (sentences, S) each.
        metric_score: Function from summed statistics (..., S) to scores (...).
        trials: Number of random exchanges.
        resamples: Number of bootstrap samples.
        seed: Seed of the test, and number of the test set: each test set has random draws of its own.

    Raises:
        NeuronspecError: If a score is not finite.
    """
    # The observed scores, then the differences in all trials.
    baseline, system = (metric_score(rows.sum(axis=0)) for rows in pair)
    shuffled = _collect_differences(pair, metric_score, trials=trials, seed=seed, disturb=_exchange)
    resampled = _collect_differences(pair, metric_score, trials=resamples, seed=seed, disturb=_draw_again)

    # A comparison with nan is always false, and would end up as the smallest p-value.
    if not all(np.isfinite(score).all() for score in (baseline, system, shuffled, resampled)):
        raise NeuronspecError("a score is not a finite number; look for NaN in the per-sentence statistics")
    return TestSetTrials(float(baseline), float(system), shuffled=shuffled, resampled=resampled)


def _collect_differences(
    pair: StatisticsPair, metric_score: MetricScore, *, trials: int, seed: tuple[int, int], disturb: Disturb
) -> FloatArray:
    """Return the difference of the systems' scores in every trial, (trials,)."""
    # Both kinds of trials of a test set start from the same seed, which is its own.
    random = np.random.default_rng(seed)
    differences = np.zeros(trials)

    # As many trials at a time as the memory should hold, one at least.
    step = max(1, CHUNK_CELLS // len(pair[0]))

    for start in range(0, trials, step):
        size = min(step, trials - start)
        baseline_sums, system_sums = disturb(pair, size, random)  # (size, S) each
        differences[start : start + size] = metric_score(system_sums) - metric_score(baseline_sums)
    return differences


def _exchange(pair: StatisticsPair, size: int, random: np.random.Generator) -> StatisticsPair:
    """Sum the statistics after `size` random exchanges of the systems' translations."""
    baseline, system = pair
    gain = system - baseline  # (sentences, S)

    # Exchanging a sentence moves its difference from one system to the other.
    exchanged = random.integers(2, size=(size, len(gain)), dtype=np.bool_).astype(np.float64)
    moved = exchanged @ gain  # (size, S)
    return baseline.sum(axis=0) + moved, system.sum(axis=0) - moved


def _draw_again(pair: StatisticsPair, size: int, random: np.random.Generator) -> StatisticsPair:
    """Sum the statistics of `size` samples of the sentences, drawn with replacement."""
    baseline, system = pair
    weights = draw_weights(len(baseline), size, random)
    return weights @ baseline, weights @ system


def draw_weights(sentences: int, size: int, random: np.random.Generator) -> FloatArray:
    """Draw `size` samples of the sentences with replacement; return how often each holds each sentence.

    Returns:
        (size, sentences) weights, for sums of any per-sentence statistics.
    """
    # Counted with one number for each (sample, sentence)
    cells = random.integers(sentences, size=(size, sentences)) + sentences * np.arange(size)[:, None]
    times = np.bincount(cells.ravel(), minlength=size * sentences)
    return times.reshape(size, sentences).astype(np.float64)
