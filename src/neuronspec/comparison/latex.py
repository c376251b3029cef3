"""Tables as LaTeX environments, with every character escaped."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Sequence
from itertools import chain, groupby
from typing import TYPE_CHECKING

from neuronspec.comparison.cells import Cell
from neuronspec.comparison.latex_layout import WIDE_SPACE, LatexLayout, choose_layout, split_pages
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
_ARROWS = {"↑": r"$^{\uparrow}$", "↓": r"$^{\downarrow}$"}
# Shrinks what is wider than the line, and leaves the rest as it is; the braces are closed behind the table.
_SHRINK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"


def format_latex(table: Table) -> str:
    r"""Return a table as LaTeX floats for a paper of two columns; the first line names the packages it needs.

    The table takes one column where it fits, otherwise both (`table*`); what is longer than a page has several parts.
    The caption explains marks and p-values; `\label` is the name of the table: `\ref{tab:languages.bleu}`.
    """
    layout = choose_layout(table)
    parts = split_pages(table, layout)

    lines: list[str] = []
    for number, part in enumerate(parts, 1):
        count = f"(part {number} of {len(parts)})" if len(parts) > 1 else ""
        lines += _format_float(part, layout, count, label=make_label(table) + (f"-{number}" if number > 1 else ""))

    # The packages depend on the finished table: colors, letters.
    return "\n".join([f"% needs {_list_needs(table, lines)}", *lines]) + "\n"


def make_label(table: Table) -> str:
    """Return the label of a table, from its name or else its title, safe in any LaTeX document.

    Example:
        >>> from neuronspec.comparison import Table
        >>> make_label(Table("Scores & more: base", ["x"], [])), make_label(Table("", ["x"], [], name="levels.chrf++"))
        ('tab:scores-more', 'tab:levels.chrf++')
    """
    # What follows a colon in a title are names of systems, which differ from study to study.
    named = table.name or table.title.partition(":")[0]
    safe = re.sub(r"[^a-z0-9.+]+", "-", named.lower()).strip("-")
    unreadable = f"{zlib.crc32(named.encode(errors='replace')):08x}"  # a title without Latin letters
    return f"tab:{safe or unreadable}"


def _format_float(table: Table, layout: LatexLayout, count: str, *, label: str) -> list[str]:
    """Return the lines of one float.

    Args:
        table: The table, or a part of it.
        layout: Layout of the table.
        count: Number of the part, in words; empty where it is the whole.
        label: Label of the float.
    """
    # Text is aligned left, numbers right.
    alignment = ""
    for column in range(len(table.header)):
        alignment += "l" if table.is_text(column) else "r"

    # The table itself, with the rules of booktabs.
    lines = [rf"\begin{{{layout.environment}}}", r"\centering", rf"\{layout.size}"]
    if layout.column_space != WIDE_SPACE:
        lines.append(rf"\setlength{{\tabcolsep}}{{{layout.column_space}pt}}")
    lines += [rf"{_SHRINK if layout.shrinks else ''}\begin{{tabular}}{{{alignment}}}", r"\toprule"]
    lines += [
        *_format_header(table.header, alignment, layout),
        r"\midrule",
        *_format_body(table, layout),
        r"\bottomrule",
    ]
    lines.append(rf"\end{{tabular}}{'}' if layout.shrinks else ''}")

    # Title and notes; without them the environment is the table alone.
    explaining, others = _sort_notes(table)
    if table.title:
        title = " ".join(filter(None, [table.title, count]))
        sentences = [f"{title}." if explaining else title, *explaining]
        lines += [rf"\caption{{{' '.join(map(_format_note, sentences))}}}", rf"\label{{{label}}}"]
    if others:
        notes = "\\par\n".join(_format_note(note) for note in others)
        lines += [r"\begin{minipage}{\linewidth}\footnotesize", notes, r"\end{minipage}"]

    return [*lines, rf"\end{{{layout.environment}}}"]


def _sort_notes(table: Table) -> tuple[list[str], list[str]]:
    """Return the notes that explain marks and p-values, which belong into the caption, and the others."""
    cells = list(chain(*table.rows))
    marks = {cell.mark for cell in cells if cell.mark in _ARROWS}
    has_tests = any(cell.test is not None for cell in cells)
    if not table.title:
        return [], list(table.notes)

    explaining: list[str] = []
    others: list[str] = []
    for note in table.notes:
        explains = any(mark in note for mark in marks) or (has_tests and note.startswith("p: "))
        (explaining if explains else others).append(note)

    # No table leaves its arrows without a meaning.
    if marks and not any(mark in note for mark in marks for note in explaining):
        explaining.insert(0, "↑ ↓: significantly better or worse.")
    return explaining, others


def _format_body(table: Table, layout: LatexLayout) -> list[str]:
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
            cells = [_format_cell(cell, layout) for cell in row]
            lines.append(" & ".join(cells) + r" \\")

    return lines


def _list_needs(table: Table, lines: Sequence[str]) -> str:
    """Return the packages that the lines of a table need, and another LaTeX where pdfLaTeX lacks letters."""
    needs = r"\usepackage{booktabs}"
    if any(map(_find_color, chain(*table.rows))):
        needs += r" \usepackage[table]{xcolor}"
    if any(_SHRINK in line for line in lines):
        needs += r" \usepackage{graphicx}"
    if any(ord(character) > LAST_LATIN_LETTER for character in chain(*lines)):
        needs += "; XeLaTeX or LuaLaTeX with fonts for all its letters"
    return needs


def _format_header(header: Sequence[ColumnTitle], alignment: str, layout: LatexLayout) -> list[str]:
    """Return the titles of groups, with a rule below each, and the titles of columns."""
    # Every title as a group, empty for none, and a column.
    pairs = []
    for title in header:
        pairs.append(("", title) if isinstance(title, str) else title)

    own = [_format_title(title, side, layout) for (_, title), side in zip(pairs, alignment, strict=True)]
    titles = " & ".join(own) + r" \\"
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


def _format_title(title: str, side: str, layout: LatexLayout) -> str:
    """Return the title of a column, a line for each word where there is little room."""
    words = title.split()
    if not layout.is_stacked or len(words) < 2:
        return _escape_latex(title)
    return _stack(map(_escape_latex, words), side)


def _stack(lines: Iterable[str], side: str = "r") -> str:
    """Return lines on top of each other, aligned on the left or the right side."""
    joined = r" \\ ".join(lines)
    return rf"\shortstack[{side}]{{{joined}}}"


def _format_cell(cell: Cell, layout: LatexLayout) -> str:
    # A minus sign, not a hyphen.
    text = _escape_latex(cell.shown)
    is_number = not isinstance(cell.value, str)
    if text.startswith("-") and is_number:
        text = "$-$" + text[1:]
    if cell.bold and text:
        text = rf"\textbf{{{text}}}"

    # The mark and the p-value, where there is a value that they belong to.
    if text and cell.mark:
        text += _ARROWS.get(cell.mark, rf"\textsuperscript{{{_escape_latex(cell.mark)}}}")
    if text and cell.test is not None:
        p_value = rf"{{\scriptsize {_escape_latex(str(cell.test))}}}"
        text = _stack([text, p_value]) if layout.is_stacked else f"{text} {p_value}"

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
