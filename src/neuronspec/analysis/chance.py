"""Overlap by chance: the IoU of random sets of neurons of the same sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronspec.analysis.overlap import check_iou
from neuronspec.errors import NeuronspecError
from neuronspec.statistics.numbers import check_number

# What is left out is further from the mean than 10 standard deviations and 30 neurons: less than 2e-19 of the
# probability (Bernstein's inequality), so that the moments are exact as far as 64-bit numbers go.
_DEVIATIONS, _NEURONS = 10, 30


@dataclass(frozen=True, eq=False)
class Chance:
    """The IoU of two random sets of neurons that are as large as those of two tasks.

    Attributes:
        mean: (tasks, tasks) expected value.
        sd: (tasks, tasks) standard deviation.
    """

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    def z(self, iou: ArrayLike) -> NDArray[np.float64]:
        """Return how many standard deviations an IoU is above chance.

        Neurons differ in how often any language uses them, so almost every pair of tasks is far above chance. Read
        it together with `shuffle_null` of `neuronspec.analysis.resampling`, which tests the opposite.

        Args:
            iou: (tasks, tasks) IoU, as from `pairwise_iou`.

        Returns:
            (tasks, tasks) standard scores; nan on the diagonal and where chance leaves one value only.

        Raises:
            NeuronspecError: If this is no IoU matrix, or it has another number of tasks.
        """
        # Only the number of tasks can be checked; their order must be the same
        matrix = check_iou(iou)
        if matrix.shape != self.mean.shape:
            raise NeuronspecError(f"found an IoU of {len(matrix)} tasks, expected one of {len(self.mean)}")
        return standardize(matrix, self.mean, self.sd)


def chance_overlap(sizes: Sequence[int] | NDArray[np.integer], width: int) -> Chance:
    """Return the mean and the standard deviation of the IoU of random sets with these numbers of neurons.

    Large masks overlap a good deal even where nothing is shared: two that each hold half of a layer have an IoU of
    1/3 by chance. The number of shared neurons follows the hypergeometric distribution; the IoU's moments are summed
    over it, not approximated.

    Args:
        sizes: (tasks,) number of neurons in each mask, `mask.sum(1)`.
        width: Number of neurons of the layer, d_ff; without neurons, all sets are empty and so equal.

    Returns:
        The moments for every pair; on the diagonal those of two different sets of that size.

    Raises:
        NeuronspecError: If a size is no integer from 0 to `width`, or the width is no integer from 0.

    Example:
        >>> chance = chance_overlap([2048, 2048], 4096)
        >>> chance.mean.round(3).tolist(), chance.sd.round(3).tolist()
        ([[0.333, 0.333], [0.333, 0.333]], [[0.007, 0.007], [0.007, 0.007]])
        >>> chance.z([[1, 0.4], [0.4, 1]]).round(1).tolist()
        [[nan, 9.6], [9.6, nan]]
    """
    check_number("width", width, 0)
    counts = np.asarray(sizes)
    if counts.ndim != 1 or not counts.size or not np.issubdtype(counts.dtype, np.integer):
        raise NeuronspecError(f"found sizes {counts.tolist()}, expected a whole number of neurons for each task")
    if counts.min() < 0 or counts.max() > width:
        raise NeuronspecError(f"found masks of {counts.min()} to {counts.max()} neurons in a layer of {width}")

    # Masks of the same size have the same moments
    different, rows = np.unique(counts, return_inverse=True)

    # A layer without neurons has the empty set alone, which is the same in a layer of one neuron.
    moments = np.array([_moments(size, different, max(width, 1)) for size in different])  # (different, 2, different)
    mean, sd = moments.swapaxes(0, 1)[:, rows[:, None], rows[None, :]]  # (tasks, tasks) each
    return Chance(mean, sd)


def standardize(values: NDArray[np.float64], mean: NDArray[np.float64], sd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how many standard deviations values are above a mean; nan on the diagonal and where there is no spread.

    Args:
        values: (tasks, tasks).
        mean: (tasks, tasks) what is expected.
        sd: (tasks, tasks) its standard deviation.

    Example:
        >>> half, spread = np.full((2, 2), 0.5), np.full((2, 2), 0.1)
        >>> standardize(np.array([[1, 0.25], [0.25, 1]]), half, spread).tolist()
        [[nan, -2.5], [-2.5, nan]]
    """
    spread = (sd > 1e-12) & ~np.eye(len(values), dtype=bool)  # a sum of equals may be off by rounding
    scores: NDArray[np.float64] = np.divide(values - mean, sd, out=np.full(values.shape, np.nan), where=spread)
    return scores


def _moments(size: int, others: NDArray[np.integer], width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the (others,) mean and standard deviation of the IoU of a random set with random sets of other sizes."""
    first, second = float(size), others.astype(np.float64)

    # The window of numbers of shared neurons that have any probability worth counting
    expected = first * second / width
    deviation = np.sqrt(expected * (1 - first / width) * (width - second) / max(width - 1, 1))
    reach = _DEVIATIONS * deviation + _NEURONS
    lowest = np.maximum(np.maximum(0, first + second - width), np.floor(expected - reach))
    highest = np.minimum(np.minimum(first, second), np.ceil(expected + reach))
    shared = lowest[:, None] + np.arange(int((highest - lowest).max()) + 1)  # (others, window)
    inside = shared <= highest[:, None]
    union = first + second[:, None] - shared  # (others, window)

    # P(i + 1) / P(i) of the hypergeometric distribution, whose product gives every P up to a factor.
    more = (first - shared) * (second[:, None] - shared)
    fewer = (shared + 1) * (width - union + 1)
    ratio = np.where(inside, more / fewer, 0)

    # Summed as logarithms: the product itself would overflow in wide layers
    steps = np.log(ratio[:, :-1], out=np.full_like(ratio[:, :-1], -np.inf), where=ratio[:, :-1] > 0)
    logs = np.concatenate([np.zeros((len(second), 1)), np.cumsum(steps, axis=1)], axis=1)  # (others, window)

    # As probabilities: the largest is 1 before they are made to sum to 1, so that none overflows
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)

    # The moments of the IoU, with these probabilities of each number of shared neurons
    iou = np.divide(shared, union, out=np.ones_like(shared), where=union > 0)  # two empty sets are equal
    mean = (weights * iou).sum(axis=1)
    return mean, np.sqrt((weights * (iou - mean[:, None]) ** 2).sum(axis=1))
