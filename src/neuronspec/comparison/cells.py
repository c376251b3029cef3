"""Cells of tables: values, how people read them, and the tests behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from neuronspec.statistics.numbers import show_decimals, show_p_value


class CellTest(NamedTuple):
    """The test behind a cell; its fields become columns of CSV and JSON.

    Attributes:
        difference: Score of the system minus that of the baseline.
        low: Lower end of the difference's confidence interval; None if there is no interval.
        high: Upper end of the interval.
        p: P-value of the test itself.
        adjusted_p: P-value after the correction; marks depend on it.
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
        shown = show_p_value(self.adjusted_p)
        return f"(p {shown})" if shown.startswith("<") else f"(p = {shown})"


@dataclass(frozen=True)
class Cell:
    """A value of a table, and how people read it.

    Args:
        value: A number, a text, or None for nothing; NaN counts as nothing.
        decimals: Number of decimals to show of a number.
        mark: Mark after the value (`↑`: significantly better).
        signed: True for a difference, which is shown with its sign: `+1.2`.
        bold: True for the best of a column.
        shade: Shade in -1..1: red for negative, blue for positive, darker farther from 0; None for no color.
        text: Text that people read instead of the value (`5 min` for 301.2 seconds).
        test: Test that the mark stands for: Markdown and LaTeX show its p-value, CSV and JSON all of it.

    Example:
        >>> str(Cell(1.249, signed=True, mark="↑")), str(Cell(-0.04, signed=True)), str(Cell(float("nan")))
        ('+1.2↑', '0.0', '')
        >>> str(Cell(-0.04, signed=True, mark="↓"))
        '-0.04↓'
    """

    value: float | str | None
    decimals: int = 1
    mark: str = ""
    signed: bool = False
    bold: bool = False
    shade: float | None = None
    text: str | None = None
    test: CellTest | None = None

    @property
    def content(self) -> float | str | None:
        """The value; None for NaN."""
        return None if isinstance(self.value, float) and math.isnan(self.value) else self.value

    @property
    def shown(self) -> str:
        """The text that people read, without the mark."""
        # Words for people replace the value; a text needs no format.
        if self.text is not None:
            return self.text
        if self.content is None or isinstance(self.content, str):
            return self.content or ""

        # A mark claims that there is a difference, which must not look like none.
        return show_decimals(self.content, self.decimals, signed=self.signed, significant=bool(self.mark))

    def __str__(self) -> str:
        return self.shown + self.mark if self.shown else ""

    @property
    def with_p_value(self) -> str:
        """The text that people read, with the mark and the p-value."""
        return self._add_p_value(str(self))

    def to_markdown(self) -> str:
        """Return the cell as Markdown, the p-value included."""
        # The mark stays outside of the bold text.
        text = f"**{self.shown}**{self.mark}" if self.bold and self.shown else str(self)
        return self._add_p_value(text)

    def _add_p_value(self, text: str) -> str:
        return f"{text} {self.test}" if text and self.test is not None else text
