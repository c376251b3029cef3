"""Confidence intervals of scores themselves: how far a score may move with another test set."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.numbers import FloatArray
from neuronspec.statistics.trials import CHUNK_CELLS, MetricScore, draw_weights

Key = TypeVar("Key", bound=Hashable)


def resample_scores(
    statistics: Mapping[Key, FloatArray],
    scores: Mapping[Key, MetricScore],
    *,
    resamples: int = 500,
    seed: tuple[int, int] = (0, 0),
) -> dict[Key, FloatArray]:
    """Return the scores of one test set on sentences drawn with replacement (Koehn, 2004).

    Everything is scored on the same samples, so that means over systems or test sets have intervals, too.

    Args:
        statistics: Per-sentence statistics over the same sentences, (sentences, S) each, by any names.
        scores: Function from summed statistics (..., S) to scores (...), for each of these names.
        resamples: Number of samples to draw.
        seed: Seed of the random draws, and number of the test set: each test set has draws of its own.

    Returns:
        Scores of each sample by the same names, (resamples,) each.

    Raises:
        NeuronspecError: If the statistics are not over the same sentences, at least one.

    Example:
        >>> rows = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0], [1.0, 1.0]])  # (correct, total) of each sentence
        >>> found = resample_scores({"system": rows}, {"system": lambda total: total[..., 0] / total[..., 1]})
        >>> find_interval(found["system"])
        (0.25, 1.0)
    """
    # Samples are of sentences, so every array must have the same
    sizes = {name: len(rows) for name, rows in statistics.items()}
    if len(set(sizes.values())) != 1 or not min(sizes.values()):
        raise NeuronspecError(f"found statistics of {sizes} sentences; all must be of the same sentences, at least one")
    sentences = next(iter(sizes.values()))

    # As many samples at a time as the memory should hold
    random = np.random.default_rng(seed)
    step = max(1, CHUNK_CELLS // sentences)
    drawn: dict[Key, list[FloatArray]] = {name: [] for name in statistics}
    for start in range(0, resamples, step):
        weights = draw_weights(sentences, min(step, resamples - start), random)
        for name, rows in statistics.items():
            drawn[name].append(scores[name](weights @ rows))

    return {name: np.concatenate(parts) for name, parts in drawn.items()}


def find_interval(values: FloatArray, confidence: float = 0.95) -> tuple[float, float]:
    """Return the ends of the middle `confidence` of some values (the percentile bootstrap).

    Example:
        >>> find_interval(np.arange(5.0), confidence=0.5)
        (1.0, 3.0)
    """
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    return low, high
