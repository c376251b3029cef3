"""What is found out about a tokenizer once, and again when tokens were added to it."""

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
    """Return a function that remembers its result for each tokenizer as long as the tokenizer's length is the same.

    Args:
        find: Function of a tokenizer that takes long, such as a search through its vocabulary.
    """
    known: WeakKeyDictionary[PreTrainedTokenizerBase, tuple[int, Found]] = WeakKeyDictionary()

    @functools.wraps(find)
    def remember(tokenizer: PreTrainedTokenizerBase) -> Found:
        remembered = known.get(tokenizer)
        if remembered is None or remembered[0] != len(tokenizer):
            remembered = (len(tokenizer), find(tokenizer))
            known[tokenizer] = remembered
        return remembered[1]

    return remember
