"""Tables on the terminal."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from neuronspec.cli.printing import fit

if TYPE_CHECKING:
    from neuronspec.comparison.cells import Cell
    from neuronspec.comparison.tables import Table


def print_table(table: Table, *, p_values: bool = False) -> None:
    """Print a table to stdout, as wide as the terminal allows; as wide as it is where there is no terminal."""
    from rich.console import Console
    from rich.style import Style
    from rich.table import Table as RichTable
    from rich.text import Text

    def style(cell: Cell) -> Style:
        if not cell.shade or math.isnan(cell.shade):
            return Style(bold=cell.bold)
        light = 255 - round(135 * min(1.0, abs(cell.shade)))  # black text stays readable on the darkest
        ground = f"#ff{light:02x}{light:02x}" if cell.shade < 0 else f"#{light:02x}{light:02x}ff"
        return Style(color="black", bgcolor=ground, bold=cell.bold)

    shown = RichTable(title=Text(fit(table.title), style="bold"), title_justify="left")
    levels = any(not isinstance(title, str) for title in table.header)
    for column, title in enumerate(table.header):
        heading = ("\n" * levels + fit(title)) if isinstance(title, str) else "\n".join(map(fit, title))
        shown.add_column(Text(heading), justify="left" if table.is_text(column) else "right", overflow="fold")
    for section, rows in table.blocks:
        shown.add_section()
        if section:
            shown.add_row(Text(fit(section), style="bold"))
        for row in rows:
            shown.add_row(*(Text(fit(cell.with_p_value if p_values else str(cell)), style=style(cell)) for cell in row))
    console = Console(highlight=False)
    if not sys.stdout.isatty():
        console.width = 10_000  # numbers are never broken into lines; notes are
        console.width = max(120, console.measure(shown).maximum)
    console.print(shown)
    for note in table.notes:
        console.print(fit(note), markup=False, width=min(120, console.width))
