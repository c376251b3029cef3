"""Tables as LaTeX environments, with every character escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import chain, groupby
from typing import TYPE_CHECKING

from neuronspec.comparison.cells import Cell
from neuronspec.terminal import CONTROL

if TYPE_CHECKING:
    from neuronspec.comparison.tables import ColumnTitle, Table

LAST_LATIN_LETTER = 0x17F  # pdfLaTeX has the letters up to here
MAX_COLOR = 50  # percent of a color behind text that can still be read

# Characters that LaTeX has commands for, in text and in formulas, with the names of these commands.
_NAMES = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "<": "less", ">": "greater", "`": "asciigrave"}
_SYMBOLS = {"Δ": "Delta", "θ": "theta", "≥": "geq", "≤": "leq", "↑": "uparrow", "↓": "downarrow"}
_ESCAPES = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{character: rf"\text{name}{{}}" for character, name in _NAMES.items()},
    **{symbol: rf"\ensuremath{{\{name}}}" for symbol, name in _SYMBOLS.items()},
    # Otherwise an option of the command before them.
    "[": "{[}",
    "*": "{*}",
    # Signatures are long, and have no other place to break.
    "|": r"\textbar{}\allowbreak{}",
}
_MARK_SYMBOLS = {"": "", "↑": r"$^{\uparrow}$", "↓": r"$^{\downarrow}$"}


def format_latex(table: Table) -> str:
    """Return a table as a LaTeX environment; its first line names the packages it needs."""
    # Text is aligned left, numbers right.
    alignment = ""
    for column in range(len(table.header)):
        alignment += "l" if table.is_text(column) else "r"

    # The table itself, with the rules of booktabs.
    lines = [r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{{alignment}}}", r"\toprule"]
    lines += [*_format_header(table.header), r"\midrule", *_format_body(table), r"\bottomrule", r"\end{tabular}"]

    # Title and notes; without them the environment is the table alone.
    if table.title:
        lines.append(rf"\caption{{{_escape_latex(table.title)}}}")
    if table.notes:
        notes = "\\par\n".join(_format_note(note) for note in table.notes)
        lines += [r"\begin{minipage}{\linewidth}\footnotesize", notes, r"\end{minipage}"]

    lines.append(r"\end{table}")

    # The packages depend on the finished table: colors, letters.
    return "\n".join([f"% needs {_list_needs(table, lines)}", *lines]) + "\n"


def _format_body(table: Table) -> list[str]:
    """Return the rows, section by section, with rules between sections and below their subtitles."""
    width = len(table.header)
    lines = []
    for number, (section, rows) in enumerate(table.blocks):
        # Rules stand between sections, not above the first.
        if number:
            lines.append(r"\midrule")

        # The subtitle of a section takes the whole width.
        if section:
            lines += [rf"\multicolumn{{{width}}}{{l}}{{{_escape_latex(section)}}} \\", r"\midrule"]

        for row in rows:
            cells = [_format_cell(cell) for cell in row]
            lines.append(" & ".join(cells) + r" \\")

    return lines


def _list_needs(table: Table, lines: Sequence[str]) -> str:
    """Return the packages that the lines of a table need, and another LaTeX where pdfLaTeX lacks letters."""
    needs = r"\usepackage{booktabs}"
    if any(map(_find_color, chain(*table.rows))):
        needs += r" \usepackage[table]{xcolor}"
    if any(ord(character) > LAST_LATIN_LETTER for character in chain(*lines)):
        needs += "; XeLaTeX or LuaLaTeX with fonts for all its letters"
    return needs


def _format_header(header: Sequence[ColumnTitle]) -> list[str]:
    """Return the titles of groups, with a rule below each, and the titles of columns."""
    # Every title as a group, empty for none, and a column.
    pairs = []
    for title in header:
        pairs.append(("", title) if isinstance(title, str) else title)

    titles = " & ".join(_escape_latex(title) for _, title in pairs) + r" \\"
    if not any(group for group, _ in pairs):
        return [titles]

    # A group spans its columns, and a rule below it shows how far.
    cells, rules, first = [], [], 1
    for group, members in groupby(group for group, _ in pairs):
        span = len(list(members))
        if group:
            cells.append(rf"\multicolumn{{{span}}}{{c}}{{{_escape_latex(group)}}}")
            rules.append(rf"\cmidrule(lr){{{first}-{first + span - 1}}}")
        else:
            cells += [""] * span
        first += span
    return [" & ".join(cells) + r" \\", " ".join(rules), titles]


def _format_cell(cell: Cell) -> str:
    # A minus sign, not a hyphen.
    text = _escape_latex(cell.shown)
    is_number = not isinstance(cell.value, str)
    if text.startswith("-") and is_number:
        text = "$-$" + text[1:]
    if cell.bold and text:
        text = rf"\textbf{{{text}}}"

    # The mark and the p-value, where there is a value that they belong to.
    if text:
        text += _MARK_SYMBOLS.get(cell.mark, rf"\textsuperscript{{{_escape_latex(cell.mark)}}}")
    if text and cell.test is not None:
        text += rf" {{\scriptsize {_escape_latex(str(cell.test))}}}"

    # A color is a command at the beginning of the cell.
    percent = _find_color(cell)
    color = "red" if percent < 0 else "blue"
    return rf"\cellcolor{{{color}!{abs(percent)}}}{text}" if percent else text


def _find_color(cell: Cell) -> int:
    """Return how much color a cell has, in percent: below 0 red, above 0 blue."""
    if cell.shade is None or math.isnan(cell.shade):
        return 0
    return round(MAX_COLOR * max(-1.0, min(1.0, cell.shade)))


def _format_note(note: str) -> str:
    """Return a note, with what stands between two backticks set like code."""
    shown = ""
    for number, part in enumerate(re.split("`([^`]+)`", note)):
        text = _escape_latex(part)
        shown += rf"\texttt{{{text}}}" if number % 2 else text  # every second part stood between backticks
    return shown


def _escape_latex(text: str) -> str:
    """Return a text for LaTeX that prints as it is, apart from white space and control characters."""
    # White space becomes single spaces: an empty line in the argument of a command would be an error.
    visible = CONTROL.sub("", re.sub(r"\s+", " ", text))
    escaped = "".join(_ESCAPES.get(character, character) for character in visible)

    # LaTeX would join two hyphens into a dash.
    return re.sub("-(?=-)", "-{}", escaped)
