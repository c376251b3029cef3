"""Numbers as users give them, checked, and the generators that random draws come from."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronspec.errors import NeuronspecError


def read_numbers(what: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return numbers as a new array of float64.

    Args:
        what: what errors call them.
        values: of any shape; booleans count as 0 and 1.

    Raises:
        NeuronspecError: rows of different lengths, or text, None or anything else that is no number.

    Example:
        >>> read_numbers("IoU", [[1, "high"], ["high", 1]])
        Traceback (most recent call last):
        neuronspec.errors.NeuronspecError: IoU must be numbers, found text
    """
    try:
        found = np.asarray(values)
    except ValueError as error:
        raise NeuronspecError(f"{what} must be numbers, in rows of the same length") from error
    if found.dtype.kind not in "biuf":
        kind = "text" if found.dtype.kind == "U" else f"values of type {found.dtype}"
        raise NeuronspecError(f"{what} must be numbers, found {kind}")
    return found.astype(np.float64)


def make_generator(seed: int, task: str | None = None) -> np.random.Generator:
    """Return the generator of a seed, or of a seed and a task, whatever other tasks there are.

    Raises:
        NeuronspecError: the seed is no whole number from 0 on.
    """
    check_number("seed", seed, 0)
    return np.random.default_rng(seed if task is None else [seed, *task.encode()])


def check_number(name: str, number: int, least: int) -> None:
    """Refuse what is no whole number (nor are 2.0 and True), or one that is too small.

    Raises:
        NeuronspecError: it is.
    """
    if not isinstance(number, int | np.integer) or isinstance(number, bool) or number < least:
        raise NeuronspecError(f"{name} must be whole numbers from {least} on, not {number}")
