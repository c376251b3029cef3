"""Finding duplicates among any number of lines, in bounded memory, by 64-bit numbers that are kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]
Flags = NDArray[np.bool_]

ROUND_SIZE = 1 << 23  # numbers that are compared at a time: about 0.3 GB of memory


def find_first(pieces: Sequence[Callable[[], Numbers]], lengths: Sequence[int]) -> Iterator[Flags]:
    """Yield, for each piece of a list of numbers, which of them did not come before, in the order of the list.

    Numbers are compared in rounds, each of which takes those from one range: equal numbers are in one range. So memory
    holds one bit for each number, and `ROUND_SIZE` numbers, whatever their total.

    Args:
        pieces: Functions that read the pieces.
        lengths: Number of numbers in each piece.

    Example:
        >>> pieces = [np.array([7, 5], np.uint64), np.array([5, 8, 8], np.uint64)]
        >>> [flags.tolist() for flags in find_first([lambda: pieces[0], lambda: pieces[1]], [2, 3])]
        [[True, True], [False, True, False]]
    """
    total = sum(lengths)
    first = np.zeros(-(-total // 8), dtype=np.uint8)  # a bit for each number

    for low, high in split_range(total):
        found, places = _gather(pieces, low, high)

        # The sort is stable, so the index of a number is that of the first one.
        _, indices = np.unique(found, return_index=True)
        chosen = places[indices]
        np.bitwise_or.at(first, chosen >> 3, (128 >> (chosen & 7)).astype(np.uint8))

    start = 0
    for length in lengths:
        yield _read_bits(first, start, length)
        start += length


def split_range(total: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of 64-bit numbers (the end belongs to the range) in which about `ROUND_SIZE` of a total lie."""
    count = -(-total // ROUND_SIZE)
    for number in range(count):
        yield (number << 64) // count, ((number + 1) << 64) // count - 1


def in_range(numbers: Numbers, low: int, high: int) -> Flags:
    """Return which numbers lie in a range."""
    return np.asarray((numbers >= np.uint64(low)) & (numbers <= np.uint64(high)))


def among(numbers: Numbers, known: Numbers) -> Flags:
    """Return which numbers are among known ones, which are sorted."""
    if not len(known):
        return np.zeros(len(numbers), dtype=np.bool_)
    places = np.searchsorted(known, numbers)
    return np.asarray(known[np.minimum(places, len(known) - 1)] == numbers)


def _gather(pieces: Sequence[Callable[[], Numbers]], low: int, high: int) -> tuple[Numbers, NDArray[np.int64]]:
    """Return the numbers of all pieces that lie in a range, and their places in the whole list."""
    found, places, start = [], [], 0
    for piece in pieces:
        numbers = piece()
        inside = np.flatnonzero(in_range(numbers, low, high))
        found.append(numbers[inside])
        places.append(inside + start)
        start += len(numbers)
    return np.concatenate(found), np.concatenate(places)


def _read_bits(bits: NDArray[np.uint8], start: int, length: int) -> Flags:
    """Return some of the flags that `np.packbits` has packed."""
    begin, end = start // 8, -(-(start + length) // 8)
    flags = np.unpackbits(bits[begin:end])[start - 8 * begin :][:length]
    return flags.astype(np.bool_)
