"""Formulas as MathML: drawn by the browser, without a script."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

BLOCK = re.compile(r"^```math\n(.*?)^```$", re.M | re.S)


def draw_formulas(text: str) -> str:
    """Return a page whose blocks of the language `math` are MathML, one formula a line."""
    return BLOCK.sub(lambda found: draw(found[1]), text)


def draw(source: str) -> str:
    """Return lines of LaTeX as a block of HTML."""
    formulas = [f'<div title="{html.escape(line)}">{convert_line(line)}</div>' for line in source.splitlines() if line]
    return f'<div class="formulas">{"".join(formulas)}</div>'


def convert_line(line: str) -> str:
    """Return a line of LaTeX as MathML.

    Raises:
        ValueError: If the converter does not know a command, which it would show as text.
    """
    drawn = str(convert(line, display="block"))
    if "\\" in drawn:
        raise ValueError(f"a command of {line} is unknown: {drawn}")
    return drawn
