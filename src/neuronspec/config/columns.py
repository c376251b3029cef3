"""The two columns of a table that hold its texts, as users name them."""

from __future__ import annotations

from collections.abc import Sequence

from neuronspec.errors import NeuronspecError

Columns = Sequence[int | str]
"""Two columns: numbers, counted from 1, or names, which the table's first line has."""


def check_columns(columns: Columns) -> list[int | str]:
    """Return two columns, those that are written as numbers as numbers.

    Raises:
        ValueError: If they are not two different columns.

    Example:
        >>> check_columns(["2", 3]), check_columns(["{src}", "{tgt}"])
        ([2, 3], ['{src}', '{tgt}'])
    """
    # Options and YAML may give numbers as text.
    found = [int(column) if str(column).isdecimal() else column for column in columns]

    # Numbers count from 1; a name must have something in it.
    usable = all(column >= 1 if isinstance(column, int) else bool(column.strip()) for column in found)

    # The same column twice would make every sentence its own translation.
    if len(found) != 2 or found[0] == found[1] or not usable:
        raise ValueError("expected two columns: numbers from 1 on, as in 2,3, or names in the first line, as in en,de")
    return found


def parse_columns(text: str) -> list[int | str]:
    """Return the columns that an option names.

    Raises:
        NeuronspecError: If these are not two different columns.

    Example:
        >>> parse_columns("2, 3")
        [2, 3]
    """
    try:
        return check_columns([name.strip() for name in text.split(",")])
    except ValueError as error:
        raise NeuronspecError(f"cannot read --columns {text!r}: {error}") from None
