"""One progress bar at a time, on stderr, with the remaining time; none if logs are silenced."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

from neuronspec.executors import in_worker
from neuronspec.processes import is_first_process
from neuronspec.terminal import escape

Advance = Callable[..., None]  # of the steps just done, and of a note to show
LINE_EVERY = 20.0  # seconds between lines if stderr is not a terminal

# Widths of terminals from which a bar fits next to the numbers, and from which a title fits
WITH_BAR, WITH_TITLE = 100, 60


def is_quiet() -> bool:
    """Return whether the user wants results only: the logger `neuronspec` has a level above INFO (`--quiet`)."""
    return logging.getLogger("neuronspec").level > logging.INFO


@contextmanager
def show_progress(title: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Show the progress of a stage: a bar on a terminal, a line now and then elsewhere.

    Args:
        title: Title of the stage.
        total: Number of steps of the whole stage.
        done: Number of steps that an earlier run has done.

    Yields:
        `advance(steps=1, note="")`, to call after each step.
    """
    title = escape(title)

    # Nothing for `--quiet`, lines for a log, a bar for a terminal; of several processes, the first one speaks.
    if is_quiet() or not is_first_process() or in_worker():
        yield _advance_unseen
        return

    # On stderr, because stdout is for results. A bar needs a terminal that can move its cursor.
    console = Console(stderr=True)
    if not sys.stderr.isatty() or console.is_dumb_terminal:
        yield _Lines(title, total, done)
        return

    # The bar leaves with the stage; what the stage says in the end stays.
    with Progress(*_choose_columns(console.width, title, total), console=console, transient=True) as bars:
        bar = bars.add_task(title, total=total, completed=done, note="")

        def advance(steps: int = 1, note: str | None = None) -> None:
            bars.advance(bar, steps)
            if note is not None:
                bars.update(bar, note=escape(note))

        yield advance


def _choose_columns(width: int, title: str, total: int) -> list[ProgressColumn]:
    """Return the parts of a bar, so that they fit into one line of a terminal of so many cells."""
    # The numbers are never cut: steps as in `12/400`, the time as in `1:02:03`, and spaces between all parts.
    numbers: list[ProgressColumn] = [
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    ]
    left = width - len(f"{total}/{total}") - len("0:00:00") - 5

    # Then the title, then a bar; the note gets what is left.
    parts: list[ProgressColumn] = []
    if width >= WITH_TITLE:
        cells = min(cell_len(title), left // 2)
        parts.append(_show("{task.description}", cells))
        left -= cells
    if width >= WITH_BAR:
        cells = min(40, left - 30)
        parts.append(BarColumn(bar_width=cells))
        left -= cells
    return [*parts, *numbers, _show("{task.fields[note]}", left)]


def _show(text: str, cells: int) -> TextColumn:
    """Return a part that takes so many cells at most, and shows with an ellipsis where more would follow."""
    # No markup: titles and notes may hold square brackets.
    column = Column(no_wrap=True, overflow="ellipsis", max_width=cells)
    return TextColumn(text, markup=False, table_column=column)


def _advance_unseen(steps: int = 1, note: str | None = None) -> None:
    """Show nothing."""


class _Lines:
    """Progress as plain lines, for logs."""

    def __init__(self, title: str, total: int, done: int) -> None:
        # An earlier run did the first `done` steps: they count as progress, but not for the speed.
        self.title, self.total, self.first, self.done = title, total, done, done
        self.note = ""
        self.start = self.printed = time.monotonic()

    def __call__(self, steps: int = 1, note: str | None = None) -> None:
        self.done += steps
        self.note = self.note if note is None else escape(note)

        # A line now and then; the time that is left is guessed from the steps of this run alone.
        now = time.monotonic()
        if now - self.printed >= LINE_EVERY and self.done > self.first:
            self.printed = now
            seconds_per_step = (now - self.start) / (self.done - self.first)
            minutes, seconds = divmod(int(seconds_per_step * (self.total - self.done)), 60)
            sys.stderr.write(f"{self.title}: {self.done}/{self.total}, {minutes}:{seconds:02d} left {self.note}\n")
            sys.stderr.flush()
