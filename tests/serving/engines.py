"""An engine without a model: its translation is a plain function of the row, so that swapped answers show."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from neuronspec.serving.engine import Sentence

TASKS = ("en-de", "de-en", "en-fr")


def expect(row: Sentence) -> str:
    """Return the translation of a row."""
    return f"{row.task}/{row.masked:d}/{row.beams}: {row.text[::-1]}" if row.text.strip() else ""


class ReversingEngine:
    """Reverses texts, and keeps the batches that it was given."""

    def __init__(self, tasks: Sequence[str] = TASKS, longest: int | None = None) -> None:
        self.longest = longest
        self.tasks = tuple(tasks)
        self.batches: list[list[Sentence]] = []
        self.threads: set[int] = set()

    def translate(self, rows: Sequence[Sentence]) -> list[str]:
        self.threads.add(threading.get_ident())
        self.batches.append(list(rows))
        return [expect(row) for row in rows]

    def count_tokens(self, rows: Sequence[Sentence]) -> list[int]:
        return [len(row.text.split()) for row in rows]

    def find_longest(self, task: str) -> int | None:
        return self.longest

    def close(self) -> None:
        pass
