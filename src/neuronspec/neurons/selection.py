"""Selecting the specialized neurons of a task from how often each was active."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray

from neuronspec.errors import NeuronspecError


@overload
def select_neurons(frequencies: torch.Tensor, k: float = ...) -> torch.Tensor: ...
@overload
def select_neurons(frequencies: NDArray[np.number], k: float = ...) -> NDArray[np.bool_]: ...
def select_neurons(frequencies: torch.Tensor | NDArray[np.number], k: float = 0.95) -> torch.Tensor | NDArray[np.bool_]:
    """Select the smallest set of most frequent neurons that covers k of the total activation (Eq. 1).

    The selection is deterministic, minimal, and grows with k (promise R6). Among equally frequent neurons the lower
    index comes first; k = 0 selects none, k = 1 all, even those that were never active. Integer counts are compared
    exactly, with k read as the decimal number that it prints as.

    Args:
        frequencies: (..., d_ff) activation counts or frequencies, not negative.
        k: Share to cover, 0..1.

    Returns:
        (..., d_ff) boolean, of the same kind (tensor or array) as `frequencies`.

    Raises:
        NeuronspecError: If k is outside 0..1, or a frequency is negative or not finite.

    Example:
        >>> select_neurons(np.array([5, 0, 3, 2]), k=0.8).tolist()
        [True, False, True, False]
    """
    share = check_share(k)
    if isinstance(frequencies, torch.Tensor):
        values = frequencies.detach().cpu()
        values = values.double() if values.is_floating_point() else values  # numpy has no bfloat16
        return torch.from_numpy(_select(values.numpy(), share)).to(frequencies.device)
    return _select(np.asarray(frequencies), share)


def check_share(share: float) -> Fraction:
    """Return a share as the exact decimal number that it prints as.

    Args:
        share: Share, 0..1.

    Raises:
        NeuronspecError: If the share is outside 0..1.

    Example:
        >>> check_share(0.95)
        Fraction(19, 20)
    """
    if not 0 <= share <= 1:
        raise NeuronspecError(f"k is a share, from 0 to 1; it is {share}")
    return Fraction(str(float(share)))


def _select(frequencies: NDArray[np.number], share: Fraction) -> NDArray[np.bool_]:
    """Return (..., d_ff) boolean: the neurons that cover a share of each row."""
    # Counts stay whole numbers, frequencies become float64.
    exact = np.issubdtype(frequencies.dtype, np.integer)
    values = frequencies.astype(np.int64 if exact else np.float64)
    if not np.isfinite(values).all() or (values < 0).any():
        raise NeuronspecError("activation frequencies must be finite and not negative")

    # Both ends are exact, also for neurons that were never active.
    if share in (0, 1):
        return np.full(values.shape, bool(share))

    rows = values.reshape(-1, values.shape[-1])
    if exact:
        _check_totals(rows)

    # The most frequent neurons first, with the frequency that they cover together
    order = _rank(rows, exact=exact)
    covered = np.cumsum(np.take_along_axis(rows, order, axis=1), axis=1)

    # The smallest number of them that reaches the goal, for each row
    sizes = _count_needed(covered, share, exact=exact)
    ranks = np.arange(rows.shape[1]) < sizes[:, None]

    selected = np.zeros(rows.shape, dtype=bool)
    np.put_along_axis(selected, order, ranks, axis=1)
    return selected.reshape(values.shape)


def _check_totals(rows: NDArray[np.number]) -> None:
    """Refuse counts whose sum 64-bit integers cannot hold."""
    # A floating-point sum finds the rows that may be too large; only these are summed exactly.
    near = rows[rows.sum(axis=1, dtype=np.float64) > 2.0**62]
    if any(sum(row.tolist()) >= 2**63 for row in near):
        raise NeuronspecError("the counts of a layer add up to more than 64-bit integers hold")


def _rank(rows: NDArray[np.number], *, exact: bool) -> NDArray[np.intp]:
    """Return the indices of each row's neurons, the most frequent first; of equal ones, the lower index first."""
    # The sort ascends, so the order is reversed in the values; a stable sort keeps equal ones in place.
    falling = rows.max(initial=0) - rows if exact else -rows
    if exact and falling.max(initial=0) < 2**16:
        falling = falling.astype(np.uint16)  # sorted by radix, several times faster
    return np.argsort(falling, axis=1, kind="stable")


def _count_needed(covered: NDArray[np.number], share: Fraction, *, exact: bool) -> NDArray[np.intp]:
    """Return how many of the most frequent neurons of each row reach the share; 0 if there is nothing to cover.

    Args:
        covered: (rows, d_ff) frequency that the first neurons cover together.
        share: Share of the last column to reach.
        exact: Whether these are whole numbers, which are compared exactly.
    """
    needed = []
    for row in covered:
        total = row[-1].item()
        # Whole numbers reach a share where they reach the next whole number above it.
        goal = math.ceil(share * total) if exact else float(share) * total
        needed.append(int(np.searchsorted(row, goal, side="left")) + 1 if goal > 0 else 0)
    return np.asarray(needed, dtype=np.intp)
