"""A cache of results that depend on a tokenizer's vocabulary only."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

from transformers import PreTrainedTokenizerBase

Found = TypeVar("Found")


def cached_by_vocabulary(
    find: Callable[[PreTrainedTokenizerBase], Found],
) -> Callable[[PreTrainedTokenizerBase], Found]:
    """Return a function that remembers its result for each tokenizer, until tokens are added to the tokenizer.

    Args:
        find: Slow function of a tokenizer, such as a search through its vocabulary.
    """
    # Weak, so that a tokenizer can still be deleted
    known: WeakKeyDictionary[PreTrainedTokenizerBase, tuple[int, Found]] = WeakKeyDictionary()

    @functools.wraps(find)
    def remember(tokenizer: PreTrainedTokenizerBase) -> Found:
        # A longer vocabulary is another vocabulary.
        remembered = known.get(tokenizer)
        if remembered is None or remembered[0] != len(tokenizer):
            remembered = (len(tokenizer), find(tokenizer))
            known[tokenizer] = remembered
        return remembered[1]

    return remember
