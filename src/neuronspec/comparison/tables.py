"""Tables of results: one description, written as Markdown, CSV, LaTeX or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from neuronspec.comparison.cells import Cell, CellTest
from neuronspec.comparison.latex import format_latex
from neuronspec.files import format_csv, write_text
from neuronspec.names import child
from neuronspec.registry import Registry
from neuronspec.terminal import escape, escape_json

ColumnTitle = str | tuple[str, str]
"""The title of a column; or the title of the group of columns that it belongs to, and its own."""

TableRows = list[list[Cell]]


@dataclass(frozen=True)
class Table:
    """A table with a title, a header, rows of equal length in sections, and notes below.

    Args:
        title: Title of the table.
        header: Title of each column; neighbors of one group share its title.
        rows: Cells of each row, one for each column.
        notes: Sentences below the table; text between two backticks is set like code.
        sections: Subtitles, each by the number of the row that it stands above.
        name: Name of the table, of its files and of its label in LaTeX; without one, the label follows the title.

    Example:
        >>> rows = [[Cell("base"), Cell(26.4)], [Cell("ours"), Cell(1.24, signed=True, bold=True, mark="↑")]]
        >>> print(Table("Scores", ["system", ("BLEU", "avg")], rows, sections={0: "From English"}).to_markdown())
        **Scores**
        <BLANKLINE>
        | system | BLEU avg |
        |---|---:|
        | **From English** |  |
        | base | 26.4 |
        | ours | **+1.2**↑ |
    """

    title: str
    header: Sequence[ColumnTitle]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    sections: Mapping[int, str] = field(default_factory=dict)
    name: str = ""

    @property
    def titles(self) -> list[str]:
        """The titles of the columns, each in one piece."""
        titles = []
        for title in self.header:
            titles.append(title if isinstance(title, str) else " ".join(title).strip())
        return titles

    @property
    def blocks(self) -> list[tuple[str, Sequence[Sequence[Cell]]]]:
        """The rows of each section, with its subtitle; an empty one for rows above the first."""
        # A section ends where the next one starts.
        starts = sorted({0, *self.sections})
        ends = [*starts[1:], len(self.rows)]

        blocks = []
        for start, end in zip(starts, ends, strict=True):
            if start < end:
                blocks.append((self.sections.get(start, ""), self.rows[start:end]))
        return blocks

    def is_text(self, column: int) -> bool:
        """Return whether a column holds text, which is aligned left."""
        return any(isinstance(row[column].value, str) for row in self.rows)

    @property
    def naming(self) -> int:
        """The number of columns at the beginning that name the rows: those with texts before the first number.

        Example:
            >>> Table("t", ["a", "b", "c", "d"], [[Cell("en-de"), Cell("BLEU"), Cell(1.0), Cell("x")]]).naming
            2
        """
        texts = [self.is_text(column) for column in range(len(self.header))]
        # Where all columns are texts, the first one says what the others are about.
        return max(1, texts.index(False)) if False in texts else 1

    def to_markdown(self) -> str:
        """Return the table as GitHub-flavored Markdown."""
        # Header and alignment: text to the left, numbers to the right.
        alignment = []
        for column in range(len(self.header)):
            alignment.append("---" if self.is_text(column) else "---:")
        lines = [_join_markdown(self.titles), f"|{'|'.join(alignment)}|"]

        # Markdown has no sections: a subtitle is a row with empty cells.
        blank = [""] * (len(self.header) - 1)
        for section, rows in self.blocks:
            if section:
                lines.append(_join_markdown([f"**{section}**", *blank]))
            for row in rows:
                lines.append(_join_markdown([cell.to_markdown() for cell in row]))

        for note in self.notes:
            lines += ["", note]

        # Names and signatures may come from untrusted files: their control characters must not reach a terminal.
        return "\n".join(escape(line) for line in [f"**{self.title}**", "", *lines])

    def to_csv(self) -> str:
        """Return the values, unrounded, as CSV: columns for marks and tests, and a first one for sections."""
        names, lines = self._spread(marks=True)
        return format_csv([names, *lines])

    def to_json(self) -> list[dict[str, Any]]:
        """Return a mapping from titles to values for each row, tests included; null for infinite numbers."""
        # JSON has no infinity; the marks follow from the tests.
        names, lines = self._spread(marks=False)
        found = []
        for line in lines:
            # The titles differ from each other, or a mapping would lose columns.
            values = dict(zip(names, line, strict=True))
            for name, value in values.items():
                if value in (math.inf, -math.inf):
                    values[name] = None
            found.append(values)
        return found

    def to_latex(self) -> str:
        """Return the table as LaTeX for a paper of two columns; its first line names the packages it needs."""
        return format_latex(self)

    def _spread(self, *, marks: bool) -> tuple[list[str], list[list[float | str | None]]]:
        """Return the names of all columns, those of marks and tests after their own, and the values of all rows."""
        marked = self._find_columns(lambda cell: marks and bool(cell.mark))
        tested = self._find_columns(lambda cell: cell.test is not None)

        # The header: a mark and the fields of a test follow the column that has some.
        names = ["section"] if self.sections else []
        for column, title in enumerate(self.titles):
            names.append(title)
            if column in marked:
                names.append(f"{title} mark")
            if column in tested:
                names += [f"{title} {part}" for part in CellTest.titles()]

        # Every row repeats its section, so that rows can be sorted and filtered.
        lines = []
        for section, rows in self.blocks:
            start: list[float | str | None] = [section] if self.sections else []
            for row in rows:
                lines.append(start + _spread_row(row, marked, tested))
        return _number_repeated(names), lines

    def _find_columns(self, has: Callable[[Cell], bool]) -> set[int]:
        """Return the columns in which a cell has something."""
        found = set()
        for row in self.rows:
            for column, cell in enumerate(row):
                if has(cell):
                    found.add(column)
        return found


def _join_markdown(cells: Iterable[str]) -> str:
    """Return a row of Markdown; line breaks and bars in cells would end it or a cell."""
    tidied = [" ".join(cell.replace("|", "\\|").splitlines()) for cell in cells]
    return f"| {' | '.join(tidied)} |"


def _spread_row(row: Sequence[Cell], marked: set[int], tested: set[int]) -> list[float | str | None]:
    """Return the values of a row, each followed by its mark and its test if its column has some."""
    values: list[float | str | None] = []
    for column, cell in enumerate(row):
        values.append(cell.content)
        if column in marked:
            values.append(cell.mark)
        if column in tested:
            # A cell without a test fills the columns of its neighbors' tests with nothing.
            values += cell.test or [None] * len(CellTest._fields)
    return values


def _number_repeated(names: Iterable[str]) -> list[str]:
    """Return names that differ: one that comes again gets a number."""
    found: dict[str, None] = {}
    for name in names:
        # The number is raised until the name is new: another column may already be called `BLEU (2)`.
        numbered = (f"{name} ({number})" for number in count(2))
        unused = next(new for new in chain([name], numbered) if new not in found)
        found[unused] = None
    return list(found)


@dataclass(frozen=True)
class TableFormat:
    """A file format for tables.

    Attributes:
        suffix: End of the names of its files.
        write: Function from a table to the content of its file.
    """

    suffix: str
    write: Callable[[Table], str]


TABLE_FORMATS: Registry[TableFormat] = Registry("table format")
"""Every format that tables are written in, by name."""
TABLE_FORMATS.register("markdown")(TableFormat(".md", lambda table: table.to_markdown() + "\n"))
TABLE_FORMATS.register("csv")(TableFormat(".csv", Table.to_csv))
TABLE_FORMATS.register("latex")(TableFormat(".tex", Table.to_latex))


def _write_json(table: Table) -> str:
    # Names may come from untrusted files, and the text may end up on a terminal.
    text = json.dumps(table.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
    return escape_json(text) + "\n"


TABLE_FORMATS.register("json")(TableFormat(".json", _write_json))


def write_tables(tables: Mapping[str, Table], directory: Path) -> None:
    """Write every table in every format.

    Args:
        tables: Tables by the names of their files.
        directory: Directory of the files, which exists.
    """
    for name, table in name_tables(tables).items():
        for format in TABLE_FORMATS.values():
            write_text(child(directory, name, format.suffix), format.write(table))


def name_tables(tables: Mapping[str, Table]) -> dict[str, Table]:
    """Return tables that know the names they are found by."""
    return {name: replace(table, name=name) for name, table in tables.items()}
