"""The overlap of masks: intersection over union."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuronspec.errors import NeuronspecError


def pairwise_iou(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the intersection over union of every pair of masks (paper Eq. 2).

    Call it on the masks of one FFN layer, to see which tasks share neurons there. Two masks that are both
    empty are equal, so their IoU is 1.

    Args:
        masks: (tasks, d_ff) boolean, True where the neuron is specialized for the task.

    Returns:
        (tasks, tasks) float64 in 0..1, symmetric, with ones on the diagonal.

    Raises:
        NeuronspecError: If `masks` is not a two-dimensional boolean array.

    Example:
        >>> pairwise_iou(np.array([[True, True, False], [False, True, True]])).round(2).tolist()
        [[1.0, 0.33], [0.33, 1.0]]
    """
    if masks.ndim != 2 or masks.dtype != np.bool_:
        raise NeuronspecError(
            f"found masks of shape {masks.shape} and type {masks.dtype}, expected bool of shape "
            "(tasks, d_ff); stack the masks of one layer, one row a task"
        )

    rows = masks.astype(np.float64)
    shared = rows @ rows.T  # (tasks, tasks): counts below 2**53, so exact

    # The union of two masks has their neurons, less those counted twice.
    sizes = shared.diagonal()
    united = sizes[:, None] + sizes[None, :] - shared

    # Pairs of empty masks keep the 1 that is there already.
    return np.divide(shared, united, out=np.ones_like(shared), where=united > 0)
