"""Engines without a model: a translation is a plain function of the row, so that swapped answers show."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from neuronspec.errors import NeuronspecError
from neuronspec.serving.engine import Sentence, UnavailableError

TASKS = ("en-de", "de-en", "en-fr")
POISON = {"refused": NeuronspecError, "gone": UnavailableError, "broken": ValueError}


def expect(row: Sentence) -> str:
    """Return the translation of a text of one line."""
    return f"{row.task}/{row.masked:d}/{row.beams}: {row.text[::-1]}"


class ReversingEngine:
    """Reverses texts, fails for some words, and keeps the batches that it was given.

    Args:
        tasks: Directions.
        longest: Largest number of words of a piece.
        seconds: Time that a batch takes.
    """

    def __init__(self, tasks: Sequence[str] = TASKS, longest: int | None = None, seconds: float = 0.0) -> None:
        self.tasks = tuple(tasks)
        self.longest = longest
        self.seconds = seconds
        self.batches: list[list[Sentence]] = []
        self.threads: set[int] = set()
        self.held = threading.Event()
        self.held.set()

    def hold(self) -> None:
        """Let the next batch wait until `held` is set."""
        self.held.clear()

    def translate(self, rows: Sequence[Sentence]) -> list[str]:
        self.threads.add(threading.get_ident())
        self.batches.append(list(rows))
        self.held.wait()
        time.sleep(self.seconds)
        for row in rows:
            for word, error in POISON.items():
                if word in row.text:
                    raise error(f"cannot translate {row.text}")
        return [expect(row) for row in rows]

    def count_tokens(self, rows: Sequence[Sentence]) -> list[int]:
        return [len(row.text.split()) for row in rows]

    def find_longest(self, task: str) -> int | None:
        return self.longest

    def close(self) -> None:
        pass
