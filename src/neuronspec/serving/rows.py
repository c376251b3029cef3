"""Helpers of all engines: groups of rows that one call translates, and the length at which a text is split."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from neuronspec.serving.engine import Sentence

Key = TypeVar("Key", bound=Hashable)


def group_rows(rows: Sequence[Sentence], key: Callable[[Sentence], Key]) -> dict[Key, list[int]]:
    """Return the positions of the rows of each group, in their order.

    Args:
        rows: (n,) sentences.
        key: Function that returns the group of a row.
    """
    groups: dict[Key, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(key(row), []).append(place)
    return groups


def choose_longest(room: int | None, max_tokens: int) -> int:
    """Return the largest number of tokens of a text that is translated whole.

    Args:
        room: Number of tokens of text that the model can read; None for no limit.
        max_tokens: Largest number of tokens of a translation.

    Example:
        >>> choose_longest(None, 200), choose_longest(62, 200)
        (100, 62)
    """
    # A translation may have twice as many tokens as its text before anything of it is lost.
    wanted = max(1, max_tokens // 2)
    return wanted if room is None else min(room, wanted)
