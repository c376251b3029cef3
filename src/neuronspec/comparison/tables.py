"""Tables of results: one description, written as Markdown, CSV, LaTeX or JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, groupby
from pathlib import Path
from typing import Any, NamedTuple

from neuronspec.files import format_csv, write_text
from neuronspec.names import child
from neuronspec.registry import Registry
from neuronspec.terminal import CONTROL, escape, escape_json

Title = str | tuple[str, str]
"""The title of a column; or that of the group of columns it belongs to, and its own."""


class Tested(NamedTuple):
    """The test behind a cell; its fields become columns of CSV and JSON.

    Attributes:
        difference: The system's score less the baseline's.
        low: The lower end of its interval; None where there is none.
        high: The upper end.
        p: The test's own p-value.
        adjusted_p: The p-value after the correction, which marks go by.
    """

    difference: float
    low: float | None
    high: float | None
    p: float
    adjusted_p: float

    @classmethod
    def titles(cls) -> list[str]:
        """Return the titles of the columns."""
        return [name.replace("_", " ") for name in cls._fields]

    def __str__(self) -> str:
        return f"(p = {show_p_value(self.adjusted_p)})"


def show_p_value(value: float) -> str:
    """Return a p-value with three digits, which keep 0.0502 apart from 0.05.

    Example:
        >>> show_p_value(0.050249), show_p_value(1.0), show_p_value(0.00002)
        ('0.0502', '1', '< 0.0001')
    """
    return f"{value:.3g}" if value >= 0.0001 or value == 0 else "< 0.0001"


@dataclass(frozen=True)
class Cell:
    """A value of a table, and how people read it.

    Args:
        value: a number, a text, or None for nothing; NaN is nothing, too.
        decimals: to show of a number.
        mark: what follows it (`↑`: significantly better).
        signed: whether a number is a difference, shown with its sign: `+1.2`.
        bold: whether it is the best.
        shade: -1..1: red for negative, blue for positive, the darker the farther from 0; None for no colour.
        text: what people read in place of the value (`5 min` for 301.2 seconds).
        test: the test that the mark stands for: Markdown and LaTeX show its p-value, CSV and JSON all of it.

    Example:
        >>> str(Cell(1.249, signed=True, mark="↑")), str(Cell(-0.04, signed=True)), str(Cell(float("nan")))
        ('+1.2↑', '0.0', '')
    """

    value: float | str | None
    decimals: int = 1
    mark: str = ""
    signed: bool = False
    bold: bool = False
    shade: float | None = None
    text: str | None = None
    test: Tested | None = None

    @property
    def content(self) -> float | str | None:
        """The value; None for NaN."""
        return None if isinstance(self.value, float) and math.isnan(self.value) else self.value

    @property
    def shown(self) -> str:
        """What people read, without the mark."""
        if self.text is not None:
            return self.text
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        text = f"{self.content:{'+' if self.signed else ''},.{self.decimals}f}"
        return text if text.strip("+-0.") else text.lstrip("+-")  # nothing has no sign

    def __str__(self) -> str:
        return self.shown + self.mark if self.shown else ""

    @property
    def with_p_value(self) -> str:
        """What people read, with the mark and the p-value."""
        return self._add_p_value(str(self))

    def to_markdown(self) -> str:
        """Return the cell as Markdown, the p-value included."""
        bold = f"**{self.shown}**{self.mark}" if self.bold and self.shown else str(self)
        return self._add_p_value(bold)

    def _add_p_value(self, text: str) -> str:
        return f"{text} {self.test}" if text and self.test is not None else text


@dataclass(frozen=True)
class Table:
    """A table with a title, a header, rows of equal length in sections, and notes below.

    Args:
        title: of the whole.
        header: a title a column; neighbours of one group share its title.
        rows: a cell a column.
        notes: sentences below; what stands between two backticks is set like code.
        sections: sub-titles, each with the number of the row that it stands above.

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
    header: Sequence[Title]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    sections: Mapping[int, str] = field(default_factory=dict)

    @property
    def titles(self) -> list[str]:
        """The titles of the columns, each in one piece."""
        return [title if isinstance(title, str) else " ".join(title).strip() for title in self.header]

    @property
    def blocks(self) -> list[tuple[str, Sequence[Sequence[Cell]]]]:
        """The rows of each section, with its sub-title; an empty one for rows above the first."""
        starts = sorted({0, *self.sections})
        parts = zip(starts, [*starts[1:], len(self.rows)], strict=True)
        return [(self.sections.get(start, ""), self.rows[start:end]) for start, end in parts if start < end]

    def to_markdown(self) -> str:
        """Return the table as GitHub-flavoured Markdown."""
        blank = [""] * (len(self.header) - 1)
        lines = [self.titles]
        for section, rows in self.blocks:
            lines += [[f"**{section}**", *blank]] if section else []
            lines += [[cell.to_markdown() for cell in row] for row in rows]
        text = [[" ".join(cell.replace("|", "\\|").splitlines()) for cell in line] for line in lines]
        rule = "".join("---|" if self.is_text(column) else "---:|" for column in range(len(self.header)))
        body = [f"| {' | '.join(line)} |" for line in text]
        notes = [line for note in self.notes for line in ("", note)]
        # Control characters of names and signatures: no line of a stranger's, and nothing for a terminal to obey.
        return "\n".join(map(escape, [f"**{self.title}**", "", body[0], f"|{rule}", *body[1:], *notes]))

    def to_csv(self) -> str:
        """Return the values, unrounded, as CSV: columns for marks and tests, and a first one for sections."""
        names, lines = self._spread(marks=True)
        return format_csv([names, *lines])

    def to_json(self) -> list[dict[str, Any]]:
        """Return one mapping from title to value a row, tests included, null where it is no finite number."""
        names, lines = self._spread(marks=False)
        found = []
        for line in lines:
            finite = [None if value in (math.inf, -math.inf) else value for value in line]
            found.append(dict(zip(names, finite, strict=True)))
        return found

    def _spread(self, *, marks: bool) -> tuple[list[str], list[list[float | str | None]]]:
        """Return the names of all columns, those of marks and tests after their own, and the values of all rows."""
        marked = {column for row in self.rows for column, cell in enumerate(row) if marks and cell.mark}
        tested = {column for row in self.rows for column, cell in enumerate(row) if cell.test is not None}

        names = ["section"] if self.sections else []
        for column, title in enumerate(self.titles):
            names += [title, *([f"{title} mark"] if column in marked else [])]
            names += [f"{title} {part}" for part in Tested.titles()] if column in tested else []

        lines = []
        for section, rows in self.blocks:
            for row in rows:
                line: list[float | str | None] = [section] if self.sections else []
                for column, cell in enumerate(row):
                    line += [cell.content, *([cell.mark] if column in marked else [])]
                    line += (cell.test or [None] * len(Tested._fields)) if column in tested else []
                lines.append(line)
        return _number_repeated(names), lines

    def to_latex(self) -> str:
        """Return the table as a LaTeX environment; its first line says which packages it needs."""
        shaded, width = any(_shade(cell) for row in self.rows for cell in row), len(self.header)
        rows = [*_latex_header(self.header), r"\midrule"]
        for number, (section, block) in enumerate(self.blocks):
            rows += [r"\midrule"] if number else []
            rows += [rf"\multicolumn{{{width}}}{{l}}{{{_latex(section)}}} \\", r"\midrule"] if section else []
            rows += [" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in block]
        alignment = "".join("l" if self.is_text(column) else "r" for column in range(width))
        lines = [r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{{alignment}}}", r"\toprule", *rows]
        lines += [r"\bottomrule", r"\end{tabular}", *([rf"\caption{{{_latex(self.title)}}}"] if self.title else [])]
        if self.notes:
            notes = "\\par\n".join(_latex_note(note) for note in self.notes)
            lines += [r"\begin{minipage}{\linewidth}\footnotesize", notes, r"\end{minipage}"]
        needs = r"\usepackage{booktabs}" + (r" \usepackage[table]{xcolor}" if shaded else "")
        if any(ord(character) > LATIN for line in lines for character in line):
            needs += "; XeLaTeX or LuaLaTeX with fonts for all its letters"
        return "\n".join([f"% needs {needs}", *lines, r"\end{table}"]) + "\n"

    def is_text(self, column: int) -> bool:
        """Tell whether a column holds text, to be aligned left."""
        return any(isinstance(row[column].value, str) for row in self.rows)


LATIN = 0x17F  # pdfLaTeX knows the letters up to here
_NAMES = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "<": "less", ">": "greater", "`": "asciigrave"}
_SYMBOLS = {"Δ": "Delta", "θ": "theta", "≥": "geq", "≤": "leq", "↑": "uparrow", "↓": "downarrow"}
_LATEX = {character: f"\\{character}" for character in "&%$#_{}"}
_LATEX |= {character: rf"\text{name}{{}}" for character, name in _NAMES.items()}
_LATEX |= {symbol: rf"\ensuremath{{\{name}}}" for symbol, name in _SYMBOLS.items()}
_LATEX |= {"[": "{[}", "*": "{*}"}  # else an option of what stands before
_LATEX["|"] = r"\textbar{}\allowbreak{}"  # signatures are long
_LATEX_MARKS = {"": "", "↑": r"$^{\uparrow}$", "↓": r"$^{\downarrow}$"}


def _latex(text: str) -> str:
    """Return a text for LaTeX that prints as it is, white space and control characters apart."""
    visible = CONTROL.sub("", re.sub(r"\s+", " ", text))
    return re.sub("-(?=-)", "-{}", "".join(_LATEX.get(character, character) for character in visible))


def _latex_note(note: str) -> str:
    parts = [_latex(part) for part in re.split("`([^`]+)`", note)]
    return "".join(rf"\texttt{{{part}}}" if number % 2 else part for number, part in enumerate(parts))


def _latex_cell(cell: Cell) -> str:
    text = _latex(cell.shown)
    if text.startswith("-") and not isinstance(cell.value, str):
        text = "$-$" + text[1:]
    if cell.bold and text:
        text = rf"\textbf{{{text}}}"
    if text:
        text += _LATEX_MARKS[cell.mark] if cell.mark in _LATEX_MARKS else rf"\textsuperscript{{{_latex(cell.mark)}}}"
        text += rf" {{\scriptsize {_latex(str(cell.test))}}}" if cell.test is not None else ""
    percent = _shade(cell)
    return rf"\cellcolor{{{'red' if percent < 0 else 'blue'}!{abs(percent)}}}{text}" if percent else text


def _latex_header(header: Sequence[Title]) -> list[str]:
    """Return the titles of groups, with a rule below each, and the titles of columns."""
    pairs = [("", title) if isinstance(title, str) else title for title in header]
    lines = [" & ".join(_latex(title) for _, title in pairs) + r" \\"]
    if any(group for group, _ in pairs):
        cells, rules, first = [], [], 1
        for group, members in groupby(group for group, _ in pairs):
            span = len(list(members))
            cells += [rf"\multicolumn{{{span}}}{{c}}{{{_latex(group)}}}"] if group else [""] * span
            rules += [rf"\cmidrule(lr){{{first}-{first + span - 1}}}"] if group else []
            first += span
        lines = [" & ".join(cells) + r" \\", " ".join(rules), *lines]
    return lines


def _shade(cell: Cell) -> int:
    """Return how much of its colour a cell takes, in percent, -50..50: text stays readable."""
    return 0 if cell.shade is None or math.isnan(cell.shade) else round(50 * max(-1.0, min(1.0, cell.shade)))


def _number_repeated(names: Iterable[str]) -> list[str]:
    """Return names that differ: one that comes again gets a number."""
    found: dict[str, None] = {}
    for name in names:
        others = (f"{name} ({number})" for number in count(2))
        found[next(new for new in chain([name], others) if new not in found)] = None
    return list(found)


@dataclass(frozen=True)
class TableFormat:
    """A format of files: what their names end in, and what makes their content."""

    suffix: str
    write: Callable[[Table], str]


FORMATS: Registry[TableFormat] = Registry("table format")
FORMATS.register("markdown")(TableFormat(".md", lambda table: table.to_markdown() + "\n"))
FORMATS.register("csv")(TableFormat(".csv", Table.to_csv))
FORMATS.register("latex")(TableFormat(".tex", Table.to_latex))
FORMATS.register("json")(
    TableFormat(
        ".json", lambda t: escape_json(json.dumps(t.to_json(), indent=2, ensure_ascii=False, allow_nan=False)) + "\n"
    )
)


def write_tables(tables: Mapping[str, Table], directory: Path) -> None:
    """Write every table in every format."""
    for name, table in tables.items():
        for format in FORMATS.values():
            write_text(child(directory, name, format.suffix), format.write(table))
