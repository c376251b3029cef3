"""The layout of a LaTeX table: in one column of a paper or over both, and how much it is squeezed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.cells import cell_len

if TYPE_CHECKING:
    from neuronspec.comparison.cells import Cell
    from neuronspec.comparison.tables import ColumnTitle, Table

# Widths of the ACL style in points: of a column, and of the text over both columns
COLUMN, TEXT = 219, 455
# Share of the room above which a table may be too wide after all, because the widths of its letters are guessed
SAFE = 0.85
# Sizes of fonts in points in a text of 11 points, and the width of a usual letter, as a share of the size
SIZES = {"small": 10.0, "footnotesize": 9.0, "scriptsize": 8.0}
LETTER = 0.5
WIDE_SPACE, NARROW_SPACE = 6, 3  # points on both sides of every column
MAX_LINES = 40  # lines of rows that fit on a page next to a caption


@dataclass(frozen=True, kw_only=True)
class LatexLayout:
    """The layout of a table.

    Attributes:
        environment: `table` for one column, `table*` for the width of the text.
        size: Size of the font.
        column_space: Points on both sides of every column.
        is_stacked: Whether titles are broken at their spaces, and p-values stand below their numbers.
        shrinks: Whether LaTeX shrinks the table if it turns out to be too wide.
    """

    environment: str
    size: str
    column_space: int
    is_stacked: bool = False
    shrinks: bool = False

    @property
    def room(self) -> float:
        """The width that there is, in points."""
        return COLUMN if self.environment == "table" else TEXT


# From the most comfortable to the tightest
LAYOUTS = (
    LatexLayout(environment="table", size="small", column_space=WIDE_SPACE),
    LatexLayout(environment="table", size="small", column_space=NARROW_SPACE, is_stacked=True),
    LatexLayout(environment="table*", size="small", column_space=WIDE_SPACE),
    LatexLayout(environment="table*", size="small", column_space=NARROW_SPACE, is_stacked=True),
    LatexLayout(environment="table*", size="footnotesize", column_space=NARROW_SPACE, is_stacked=True),
)


def choose_layout(table: Table) -> LatexLayout:
    """Return the most comfortable layout that a table fits into; the tightest where none is wide enough."""
    fitting = (layout for layout in LAYOUTS if _guess_width(table, layout) <= layout.room)
    layout = next(fitting, LAYOUTS[-1])
    return replace(layout, shrinks=_guess_width(table, layout) > SAFE * layout.room)


def split_pages(table: Table, layout: LatexLayout) -> list[Table]:
    """Return a table in parts that fit on a page each, also in their width; a single one if the whole does."""
    first, rest = [*range(table.naming)], range(table.naming, len(table.header))
    widths = [_guess_column(table, column, layout) for column in range(len(table.header))]

    # As many columns as fit, then the next part, which begins with the names of the rows again.
    blocks: list[list[int]] = [[]]
    for column in rest:
        taken = sum(widths[one] for one in (*first, *blocks[-1], column))
        if taken > layout.room / SAFE and blocks[-1]:  # a little is shrunk instead
            blocks.append([])
        blocks[-1].append(column)

    parts = []
    for block in blocks:
        chosen = [*first, *block]
        rows = [[row[column] for column in chosen] for row in table.rows]
        parts += _split_rows(replace(table, header=[table.header[one] for one in chosen], rows=rows), layout)
    return parts


def _split_rows(table: Table, layout: LatexLayout) -> list[Table]:
    """Return a table in parts that are no longer than a page."""
    has_tests = any(cell.test is not None for row in table.rows for cell in row)
    limit = MAX_LINES // 2 if layout.is_stacked and has_tests else MAX_LINES

    # Every part begins with the subtitle of the section that it continues.
    parts = []
    for start in range(0, max(1, len(table.rows)), limit):
        end = min(start + limit, len(table.rows))
        sections = {number - start: title for number, title in table.sections.items() if start <= number < end}
        before = [number for number in table.sections if number <= start]
        if before:
            sections[0] = table.sections[max(before)]
        parts.append(replace(table, rows=table.rows[start:end], sections=sections))
    return parts


def _guess_width(table: Table, layout: LatexLayout) -> float:
    """Return about how wide a table is, in points."""
    return sum(_guess_column(table, column, layout) for column in range(len(table.header)))


def _guess_column(table: Table, column: int, layout: LatexLayout) -> float:
    """Return about how wide a column is, with the space at its sides, in points."""
    letter = LETTER * SIZES[layout.size]
    small_letter = LETTER * SIZES["scriptsize"]

    widths = [letter * _measure_title(table.header[column], layout)]
    widths += [_guess_cell(row[column], layout, letter, small_letter) for row in table.rows]
    return max(widths) + 2 * layout.column_space


def _measure_title(title: ColumnTitle, layout: LatexLayout) -> int:
    """Return the letters of the longest line of a title."""
    # A group's title stands over several columns.
    own = title if isinstance(title, str) else title[1]
    lines: Sequence[str] = own.split() if layout.is_stacked else [own]
    return max(map(cell_len, lines), default=0)


def _guess_cell(cell: Cell, layout: LatexLayout, letter: float, small_letter: float) -> float:
    number = letter * cell_len(str(cell))
    if cell.test is None:
        return number
    p_value = small_letter * cell_len(str(cell.test))
    return max(number, p_value) if layout.is_stacked else number + letter + p_value
