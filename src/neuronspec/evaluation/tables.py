"""Tables of results: one description, written as Markdown, CSV or JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    """A value of a table, with a mark behind it.

    Args:
        value: a number, a text, or None for nothing.
        decimals: to show of a number.
        mark: what follows it (`↑`: significantly better).
    """

    value: float | str | None
    decimals: int = 1
    mark: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return ""
        return (self.value if isinstance(self.value, str) else f"{self.value:,.{self.decimals}f}") + self.mark


@dataclass(frozen=True)
class Table:
    """A table with a title, a header, rows of equal length, and notes below.

    Example:
        >>> print(Table("Scores", ["system", "BLEU"], [[Cell("ours"), Cell(27.64, mark="↑")]]).to_markdown())
        **Scores**
        <BLANKLINE>
        | system | BLEU |
        |---|---:|
        | ours | 27.6↑ |
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()

    def to_markdown(self) -> str:
        """Return the table as GitHub-flavoured Markdown."""
        lines = [list(self.header), *([str(cell) for cell in row] for row in self.rows)]
        text = [[cell.replace("|", "\\|") for cell in line] for line in lines]
        rule = "".join("---|" if self.is_text(column) else "---:|" for column in range(len(self.header)))
        body = [f"| {' | '.join(line)} |" for line in text]
        return "\n".join(
            [f"**{self.title}**", "", body[0], f"|{rule}", *body[1:], *(f"\n{note}" for note in self.notes)]
        )

    def to_csv(self) -> str:
        """Return the values, unrounded, as CSV with a column for each mark."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        marked = [any(row[column].mark for row in self.rows) for column in range(len(self.header))]
        writer.writerow(
            name
            for column, title in enumerate(self.header)
            for name in ([title, f"{title} mark"] if marked[column] else [title])
        )
        for row in self.rows:
            writer.writerow(
                value
                for column, cell in enumerate(row)
                for value in ([cell.value, cell.mark] if marked[column] else [cell.value])
            )
        return text.getvalue()

    def to_json(self) -> list[dict[str, Any]]:
        """Return one mapping from header to value a row."""
        return [{title: cell.value for title, cell in zip(self.header, row, strict=True)} for row in self.rows]

    def is_text(self, column: int) -> bool:
        """Tell whether a column holds text, to be aligned left."""
        return any(isinstance(row[column].value, str) for row in self.rows)
