"""One progress bar at a time, on stderr, with the remaining time; none if logs are silenced."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from neuronspec.terminal import escape

Advance = Callable[..., None]  # of the steps just done, and of a note to show
LINE_EVERY = 20.0  # seconds between lines if stderr is not a terminal


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

    # Nothing for `--quiet`, lines for a log, a bar for a terminal.
    if is_quiet():
        yield _advance_unseen
        return
    if not sys.stderr.isatty():
        yield _Lines(title, total, done)
        return

    # No markup: titles and notes may hold square brackets.
    columns = (
        TextColumn("{task.description:<34}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", markup=False),
    )

    # On stderr, because stdout is for results.
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task(title, total=total, completed=done, note="")

        def advance(steps: int = 1, note: str | None = None) -> None:
            bars.advance(bar, steps)
            if note is not None:
                bars.update(bar, note=escape(note))

        yield advance


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
