"""The layout of a table on a terminal: which columns stand next to each other, and how wide each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len

LONGEST_WORD = 20  # cells: longer words of texts and titles are folded; numbers never are
BORDER, EDGE = 3, 1  # cells that each column takes for its border and padding, and that the table takes at its end


class ColumnWidth(NamedTuple):
    """The width of a column in cells of a terminal, on which a letter takes none, one or two.

    Attributes:
        least: Width that nothing needs to be broken at, apart from spaces and very long words.
        natural: Width at which everything fits into one line.
    """

    least: int
    natural: int


class Block(NamedTuple):
    """Columns of a table that are shown next to each other.

    Attributes:
        columns: Indices of the columns; those with the names of the rows come first.
        widths: Width of each of them in cells.
    """

    columns: Sequence[int]
    widths: Sequence[int]


def measure_column(title: str, cells: Sequence[str], *, is_text: bool) -> ColumnWidth:
    """Return the width of a column.

    Example:
        >>> measure_column("target tokens", ["1,234,567"], is_text=False)
        ColumnWidth(least=9, natural=13)
        >>> measure_column("direction", ["日本語-English"], is_text=True)
        ColumnWidth(least=14, natural=14)
    """
    natural = max(cell_len(line) for line in [*title.split("\n"), *cells])

    # A text may be broken at its spaces, as the title of a column; a number may not.
    words = [word for text in [title, *(cells if is_text else ())] for word in text.split()]
    longest_word = max(map(cell_len, words), default=1)
    numbers = 1 if is_text else max(map(cell_len, cells), default=1)
    return ColumnWidth(max(numbers, min(longest_word, LONGEST_WORD), 1), max(natural, 1))


def divide_columns(columns: Sequence[ColumnWidth], names: int, width: int) -> list[Block]:
    """Return the blocks of columns that a table is shown in, from left to right: a single one where all fit.

    Args:
        columns: Widths of the columns.
        names: Number of columns at the beginning that name the rows: every block begins with them.
        width: Width of the terminal in cells.

    Returns:
        The blocks; none if not even the names and the widest other column fit next to each other.

    Example:
        >>> name, score = ColumnWidth(10, 10), ColumnWidth(8, 12)
        >>> [block.columns for block in divide_columns([name, score, score, score], 1, 40)]
        [[0, 1, 2], [0, 3]]
    """
    first, rest = list(range(names)), range(names, len(columns))
    fixed = EDGE + sum(columns[column].least + BORDER for column in first)
    if fixed + max((columns[column].least + BORDER for column in rest), default=0) > width:
        return []

    # As many columns as fit, then the next block.
    blocks: list[list[int]] = [[]]
    taken = fixed
    for column in rest:
        needed = columns[column].least + BORDER
        if taken + needed > width:
            blocks.append([])
            taken = fixed
        blocks[-1].append(column)
        taken += needed
    return [_spread([*first, *block], columns, width) for block in blocks]


def _spread(block: list[int], columns: Sequence[ColumnWidth], width: int) -> Block:
    """Return a block whose columns share the room that is left, those on the left first."""
    left = width - EDGE - sum(columns[column].least + BORDER for column in block)
    widths = []
    for column in block:
        least, natural = columns[column]
        wanted = min(left, max(0, natural - least))
        widths.append(least + wanted)
        left -= wanted
    return Block(block, widths)
