"""Overlap of the neurons of tasks: intersection over union (IoU) and its summaries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronspec.errors import NeuronspecError
from neuronspec.statistics.numbers import read_numbers


def above_diagonal(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values of every pair of different tasks once, row by row.

    Args:
        matrix: (tasks, tasks) symmetric, such as IoU.

    Returns:
        (tasks * (tasks - 1) / 2,) the values above the diagonal.

    Example:
        >>> above_diagonal(np.array([[1, 0.25, 0.5], [0.25, 1, 0.75], [0.5, 0.75, 1]])).tolist()
        [0.25, 0.5, 0.75]
    """
    return matrix[np.triu_indices(len(matrix), k=1)]


def within_and_across(iou: ArrayLike, groups: Sequence[str]) -> tuple[float, float]:
    """Return the mean IoU of the pairs in one group and that of the pairs in two groups.

    With language families as groups, the difference says in one number whether neurons follow families.

    Args:
        iou: (tasks, tasks) IoU.
        groups: Group of each task, in the order of the rows.

    Returns:
        The mean within groups and the mean across groups; nan where there is no such pair.

    Raises:
        NeuronspecError: If this is no IoU matrix, or there is not one group for each row.

    Example:
        >>> iou = [[1, 0.75, 0.25], [0.75, 1, 0.5], [0.25, 0.5, 1]]
        >>> within_and_across(iou, ["Germanic", "Germanic", "Slavic"])
        (0.75, 0.375)
    """
    iou = check_iou(iou, groups)

    # Every pair of different tasks once
    first, second = np.triu_indices(len(iou), k=1)
    names = np.asarray(groups)
    same = names[first] == names[second]
    values = iou[first, second]  # (pairs,)
    return _mean_or_nan(values[same]), _mean_or_nan(values[~same])


def _mean_or_nan(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")


def check_iou(iou: ArrayLike, names: Sequence[str] | None = None) -> NDArray[np.float64]:
    """Return the matrix as float64 after checking that it can be an IoU matrix.

    Args:
        iou: (tasks, tasks) IoU.
        names: Label or group of every row, if there are some.

    Returns:
        (tasks, tasks) float64.

    Raises:
        NeuronspecError: If the matrix is not square or not symmetric, a value is no number in 0..1, or there is not
            one name for each row.

    Example:
        >>> check_iou([[100, 40], [40, 100]])
        Traceback (most recent call last):
        neuronspec.errors.NeuronspecError: found IoU 40.0 to 100.0, expected 0..1; divide percentages by 100
    """
    matrix = read_numbers("IoU", iou)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise NeuronspecError(f"found an IoU matrix of shape {matrix.shape}, expected (tasks, tasks), not empty")
    if not np.all((matrix >= 0) & (matrix <= 1)):  # nan fails too
        raise NeuronspecError(f"found IoU {matrix.min()} to {matrix.max()}, expected 0..1; divide percentages by 100")

    # Overlaps go both ways; differences of rounding are accepted
    if not np.allclose(matrix, matrix.T, rtol=0, atol=1e-9):
        raise NeuronspecError("the IoU matrix is not symmetric; build it with pairwise_iou")
    if names is not None and len(names) != len(matrix):
        raise NeuronspecError(
            f"found {len(names)} labels or groups for an IoU matrix of {len(matrix)} tasks, expected one each"
        )
    return matrix
