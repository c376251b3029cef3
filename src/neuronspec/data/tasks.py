"""Tasks over the blocks of a text: little work is done here, more of it by workers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from neuronspec.executors import map_ordered, open_executor

Item = TypeVar("Item")
Result = TypeVar("Result")

DONE_HERE = 100_000  # lines, which take a few seconds: as long as it takes to start workers


def map_blocks(
    function: Callable[[Item], Result], items: Iterable[Item], count_lines: Callable[[Item], int]
) -> Generator[Result]:
    """Yield what a function returns for each item, in the order of the items.

    Close the iterator (`contextlib.closing`) if not all results are taken: workers then end at once.

    Args:
        function: Function of one item; it, items and results must be picklable, unless the text is small.
        items: Items in their order.
        count_lines: Function from an item to the number of lines that it is about.
    """
    remaining = iter(items)
    done = 0
    while done < DONE_HERE:
        item = next(remaining, None)
        if item is None:
            return
        yield function(item)
        done += count_lines(item)

    # Workers start only for an item that is left.
    following = next(remaining, None)
    if following is not None:
        with open_executor() as executor:
            yield from map_ordered(executor, function, itertools.chain([following], remaining))


class Meter:
    """Turns numbers of bytes into steps of a progress bar, which are whole MiB.

    Args:
        size: Number of all bytes.
    """

    def __init__(self, size: int) -> None:
        self.total = max(1, size >> 20)
        self._bytes = self._shown = 0

    def add(self, count: int) -> int:
        """Return how many steps further the bar is after more bytes."""
        self._bytes += count
        before, self._shown = self._shown, min(self.total, self._bytes >> 20)
        return self._shown - before
