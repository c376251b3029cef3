"""The choice of sentences that a page shows, where there are too many to show them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice

import numpy as np

from neuronspec.comparison.side_by_side import SideBySide

MAX_SHOWN = 20_000
"""Largest number of sentences of a page, of all directions together: more would make it slow to open."""

# The largest parts of the sentences of a direction that are shown because a translation is broken, or because the
# difference between two systems is large. A random sample fills the rest.
BROKEN_PART, EXTREME_PART = 0.5, 0.25

DESCRIPTION = (
    "of each direction, sentences with a broken translation (at most half of what is shown), those with the largest "
    "gains and losses (a quarter), examples of n-grams, and a random sample"
)


def share_out(sizes: Mapping[str, int], limit: int = MAX_SHOWN) -> dict[str, int]:
    """Return how many sentences of each direction a page shows: all, or equal shares of a limit.

    Args:
        sizes: Number of sentences of each direction.
        limit: Number of sentences of the page; every direction has at least one.

    Example:
        >>> share_out({"de-en": 10, "fr-en": 500, "nl-en": 500}, limit=100)
        {'de-en': 10, 'fr-en': 45, 'nl-en': 45}
    """
    # The smallest come first: what they leave of their share goes to the others.
    shares: dict[str, int] = {}
    left = limit
    for done, task in enumerate(sorted(sizes, key=lambda one: sizes[one])):
        fair = max(1, left // (len(sizes) - done))
        shares[task] = min(sizes[task], fair)
        left = max(0, left - shares[task])
    return {task: shares[task] for task in sizes}


def choose_sentences(
    side: SideBySide, count: int, pairs: Sequence[tuple[str, str]], examples: Iterable[int] = ()
) -> list[int]:
    """Return the indices of the sentences of a direction that a page shows, in their order.

    Args:
        side: Sentences of the direction.
        count: Number of sentences to choose.
        pairs: Pairs of (baseline, system), whose largest differences are shown.
        examples: Indices of sentences that are examples of something else.
    """
    if count >= len(side):
        return list(range(len(side)))

    # A dictionary keeps the order and drops what comes again.
    chosen = dict.fromkeys(islice(_list_broken(side), max(1, int(BROKEN_PART * count))))
    extremes = _list_extremes(side, pairs)
    chosen |= dict.fromkeys(islice(extremes, max(1, int(EXTREME_PART * count))))
    chosen |= dict.fromkeys(examples)

    # The same sample each time, another one for each direction
    random = np.random.default_rng(list(side.task.encode()))
    chosen |= dict.fromkeys(random.permutation(len(side)).tolist())
    return sorted(islice(chosen, count))


def _list_broken(side: SideBySide) -> Iterable[int]:
    """Return the sentences with a translation that is broken in some way."""
    broken = np.zeros(len(side), dtype=np.bool_)
    for system in side.systems.values():
        for found in system.broken.values():
            broken |= found
    return np.flatnonzero(broken).tolist()


def _list_extremes(side: SideBySide, pairs: Sequence[tuple[str, str]]) -> Iterable[int]:
    """Return the sentences by the size of their gains and losses: the largest of each pair, the second largest ..."""
    orders = []
    for baseline, system in pairs:
        if baseline in side.systems and system in side.systems:
            order = np.argsort(side.gains(baseline, system), kind="stable").tolist()  # (sentences,)
            orders += [order, order[::-1]]
    return chain.from_iterable(zip(*orders, strict=True))
