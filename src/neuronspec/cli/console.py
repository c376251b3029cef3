"""Tables on the terminal."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neuronspec.cli.printing import fit
from neuronspec.cli.table_layout import (
    BORDER,
    EDGE,
    Block,
    ColumnWidth,
    divide_columns,
    measure_column,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    from neuronspec.comparison.cells import Cell
    from neuronspec.comparison.tables import Table


# Values of the two fading channels of a shade; black text stays readable at the lower one.
WHITE, FULL_SHADE = 255, 120
MIN_WIDTH = 120  # characters of notes, and of narrow tables where there is no terminal


def print_table(table: Table, *, p_values: bool = False) -> None:
    """Print a table to stdout, no wider than the terminal; at its full width if there is no terminal.

    Where not all columns fit next to each other, they come in several parts, each with the names of the rows; on a
    terminal too narrow for that, each row becomes a list. Numbers are never broken, and nothing is cut.

    Args:
        table: Table to print.
        p_values: Whether cells show the p-values of their tests.
    """
    from rich.console import Console
    from rich.text import Text

    # What people see, as text; a table that is piped into a file is as wide as it needs.
    shown = _show_texts(table, p_values)
    console = Console(highlight=False)
    if not sys.stdout.isatty():
        console.width = max(MIN_WIDTH, _measure_whole(shown))

    blocks = divide_columns(shown.measures, table.naming, console.width)
    for number, block in enumerate(blocks, 1):
        part = f" (part {number} of {len(blocks)})" if len(blocks) > 1 else ""
        # A title may be wider than its table, so that it is not part of it.
        console.print(Text(fit(table.title) + part, style="bold"))
        console.print(_make_part(shown, block))
    if not blocks:
        _print_rows(shown, fit(table.title), console)

    # Notes are prose, which is broken into lines even where the table is wider.
    for note in table.notes:
        console.print(fit(note), markup=False, width=min(MIN_WIDTH, console.width))


@dataclass(frozen=True)
class _ShownTable:
    """The texts of a table, as stdout shows them.

    Attributes:
        headings: Title of each column.
        are_texts: Whether each column holds texts instead of numbers.
        blocks: Rows of each section, with its subtitle.
        measures: Width of each column.
    """

    headings: list[str]
    are_texts: list[bool]
    blocks: list[tuple[str, list[list[Text]]]]
    measures: list[ColumnWidth]


def _show_texts(table: Table, p_values: bool) -> _ShownTable:
    """Return the texts of a table."""
    headings = _make_headings(table)
    are_texts = [table.is_text(column) for column in range(len(headings))]

    # `Text`, because brackets in names must not be read as markup.
    blocks = []
    for section, rows in table.blocks:
        blocks.append((fit(section), [[_style_cell(cell, p_values) for cell in row] for row in rows]))

    measures = []
    for column, heading in enumerate(headings):
        cells = [row[column].plain for _, rows in blocks for row in rows]
        measures.append(measure_column(heading, cells, is_text=are_texts[column]))
    return _ShownTable(headings, are_texts, blocks, measures)


def _measure_whole(shown: _ShownTable) -> int:
    """Return the width at which no cell of a table needs a second line."""
    return EDGE + sum(measure.natural + BORDER for measure in shown.measures)


def _make_part(shown: _ShownTable, block: Block) -> RichTable:
    """Return some columns of a table."""
    from rich.table import Table as RichTable
    from rich.text import Text

    part = RichTable()
    for column, width in zip(block.columns, block.widths, strict=True):
        heading = Text(shown.headings[column])
        part.add_column(heading, justify="left" if shown.are_texts[column] else "right", overflow="fold", width=width)

    # Rows come in blocks; a section has a line above and may have a title.
    for section, rows in shown.blocks:
        part.add_section()
        if section:
            part.add_row(Text(section, style="bold"))
        for row in rows:
            part.add_row(*(row[column] for column in block.columns))
    return part


def _print_rows(shown: _ShownTable, title: str, console: Console) -> None:
    """Print a table row by row, a line for each cell that holds something."""
    from rich.text import Text

    console.print(Text(title, style="bold"))
    headings = [" ".join(heading.split()) for heading in shown.headings]
    for section, rows in shown.blocks:
        if section:
            console.print(Text(section, style="bold"))
        for row in rows:
            for heading, cell in zip(headings, row, strict=True):
                if cell.plain:
                    console.print(Text.assemble(f"{heading}: ", cell))
            console.print()


def _make_headings(table: Table) -> list[str]:
    """Return the title of each column, on two lines if columns are grouped."""
    # A grouped column has a title of two parts; a plain one is lowered to the second line.
    grouped = any(not isinstance(title, str) for title in table.header)
    headings = []
    for title in table.header:
        if isinstance(title, str):
            headings.append("\n" * grouped + fit(title))
        else:
            headings.append("\n".join(map(fit, title)))
    return headings


def _style_cell(cell: Cell, p_values: bool) -> Text:
    """Return the text of a cell with its colors."""
    from rich.style import Style
    from rich.text import Text

    color, ground = _shade(cell)
    text = cell.with_p_value if p_values else str(cell)
    return Text(fit(text), style=Style(color=color, bgcolor=ground, bold=cell.bold))


def _shade(cell: Cell) -> tuple[str | None, str | None]:
    """Return the colors of a cell's text and ground: red below zero, blue above, none without a shade."""
    if not cell.shade or math.isnan(cell.shade):
        return None, None

    # The two fading channels get darker with the strength of the shade, down to FULL_SHADE.
    light = WHITE - round((WHITE - FULL_SHADE) * min(1.0, abs(cell.shade)))
    ground = f"#ff{light:02x}{light:02x}" if cell.shade < 0 else f"#{light:02x}{light:02x}ff"
    return "black", ground
