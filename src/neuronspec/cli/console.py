"""Tables on the terminal."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from neuronspec.cli.printing import fit

if TYPE_CHECKING:
    from rich.text import Text

    from neuronspec.comparison.cells import Cell
    from neuronspec.comparison.tables import Table


# Values of the two fading channels of a shade; black text stays readable at the lower one.
WHITE, FULL_SHADE = 255, 120
MIN_WIDTH = 120  # characters of notes, and of narrow tables where there is no terminal


def print_table(table: Table, *, p_values: bool = False) -> None:
    """Print a table to stdout, no wider than the terminal; at its full width if there is no terminal.

    Args:
        table: Table to print.
        p_values: Whether cells show the p-values of their tests.
    """
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    # Titles and cells are `Text`: brackets in names must not be read as markup.
    shown = RichTable(title=Text(fit(table.title), style="bold"), title_justify="left")
    for column, heading in enumerate(_make_headings(table)):
        shown.add_column(Text(heading), justify="left" if table.is_text(column) else "right", overflow="fold")

    # Rows come in blocks; a section has a line above and may have a title.
    for section, rows in table.blocks:
        shown.add_section()
        if section:
            shown.add_row(Text(fit(section), style="bold"))
        for row in rows:
            shown.add_row(*(_style_cell(cell, p_values) for cell in row))

    # Piped into a file, a table is as wide as it needs; on a terminal, long cells are folded.
    console = Console(highlight=False)
    if not sys.stdout.isatty():
        console.width = 10_000  # numbers are never broken into lines; notes are
        console.width = max(MIN_WIDTH, console.measure(shown).maximum)
    console.print(shown)

    # Notes are prose, which is broken into lines even where the table is wider.
    for note in table.notes:
        console.print(fit(note), markup=False, width=min(MIN_WIDTH, console.width))


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
