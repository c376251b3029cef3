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


def show_decimals(value: float, decimals: int = 1, *, signed: bool = False, significant: bool = False) -> str:
    """Return a number with so many decimals; what rounds to zero has no sign.

    Args:
        value: Number to show.
        decimals: Number of decimals.
        signed: Whether a positive number gets a sign, as a difference does.
        significant: Whether something is claimed of the number, such as a significant difference: if it would round
            to zero, it gets as many decimals as its first digit needs.

    Example:
        >>> show_decimals(1234.56), show_decimals(0.26, signed=True), show_decimals(-0.04, signed=True)
        ('1,234.6', '+0.3', '0.0')
        >>> show_decimals(-0.04, signed=True, significant=True), show_decimals(0.0, significant=True)
        ('-0.04', '0.0')
    """
    sign = "+" if signed else ""
    text = f"{value:{sign},.{decimals}f}"
    if text.strip("+-0."):
        return text

    # It rounds to zero: without a sign, unless the first digit that is not zero says more.
    if not (significant and value):
        return text.lstrip("+-")
    digits = show_number(value, digits=1)
    return f"+{digits}" if signed and value > 0 else digits


def show_change(value: float, *, significant: bool = False) -> str:
    """Return a difference in points with its sign; what rounds to zero has none, unless it is significant.

    Example:
        >>> show_change(1.249), show_change(-0.04), show_change(-0.04, significant=True)
        ('+1.2', '0.0', '-0.04')
    """
    return show_decimals(value, signed=True, significant=significant)


def show_p_value(value: float) -> str:
    """Return a p-value with three digits, so that 0.0502 does not look like 0.05.

    Example:
        >>> show_p_value(0.050249), show_p_value(1.0), show_p_value(0.00002)
        ('0.0502', '1', '< 0.0001')
    """
    return f"{value:.3g}" if value >= 0.0001 or value == 0 else "< 0.0001"


def show_seconds(seconds: float) -> str:
    """Return a duration in the units that fit it.

    Example:
        >>> show_seconds(5.04), show_seconds(754), show_seconds(7384)
        ('5.0 s', '12 min 34 s', '2 h 3 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def count_noun(number: int, noun: str) -> str:
    """Return a number with a noun, in the plural where it needs one.

    Example:
        >>> count_noun(1, "line"), count_noun(2, "line")
        ('1 line', '2 lines')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


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
