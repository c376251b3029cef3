"""Numbers that users give and read: their checks, and how messages show them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronspec.errors import NeuronspecError

FloatArray = NDArray[np.float64]


def show_number(value: float, digits: int = 2) -> str:
    """Return a number with a few significant digits, never in scientific notation.

    Args:
        value: Number to show.
        digits: Number of significant digits.

    Example:
        >>> show_number(99.7), show_number(7.512), show_number(0.0000123), show_number(12345.6, 3)
        ('100', '7.5', '0.000012', '12300')
    """
    return np.format_float_positional(value, precision=digits, unique=False, fractional=False, trim="-")


def read_numbers(what: str, values: ArrayLike) -> FloatArray:
    """Return numbers as a new array of float64.

    Args:
        what: Name of the values, for error messages.
        values: Numbers in an array of any shape; booleans count as 0 and 1.

    Returns:
        The values, in an array of the same shape.

    Raises:
        NeuronspecError: If the rows have different lengths, or if a value is not a number (such as text or None).

    Example:
        >>> read_numbers("IoU", [[1, "high"], ["high", 1]])
        Traceback (most recent call last):
        neuronspec.errors.NeuronspecError: IoU must be numbers, found text
    """
    try:
        found = np.asarray(values)  # refuses rows of different lengths
    except ValueError as error:
        raise NeuronspecError(f"{what} must be numbers, in rows of the same length") from error

    # Booleans, whole numbers with and without a sign, and floats; `O` would be None or mixed objects.
    if found.dtype.kind not in "biuf":
        kind = "text" if found.dtype.kind == "U" else f"values of type {found.dtype}"
        raise NeuronspecError(f"{what} must be numbers, found {kind}")

    # Always a copy: callers may write into it.
    return found.astype(np.float64)


def check_number(name: str, number: int, least: int) -> None:
    """Refuse a value that is not a whole number (2.0 and True are not), or that is too small.

    Args:
        name: Name of the number, for error messages.
        number: Value to check.
        least: Smallest value that is allowed.

    Raises:
        NeuronspecError: If the value is not a whole number, or is below `least`.
    """
    # True and False are instances of int, too.
    is_whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
    if not is_whole or number < least:
        raise NeuronspecError(f"{name} must be whole numbers from {least} on, not {number}")
