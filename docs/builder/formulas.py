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
    lines = [line for line in source.splitlines() if line.strip()]
    formulas = [f'<div title="{html.escape(line)}">{convert(line, display="block")}</div>' for line in lines]
    return f'<div class="formulas">{"".join(formulas)}</div>'
