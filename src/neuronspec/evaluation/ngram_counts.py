"""Exact counts of the n-grams that translations share with their references, for all sentences of a test set at once.

The n-grams of the references form a tree for each sentence: an n-gram is the child of the one without its last symbol.
All trees are one sorted array for each order. A translation is looked up in it order by order, and a place whose
n-gram is not in the reference is dropped, since no longer n-gram that begins there can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

# More than there are characters (code points) or different words in a text; a key is a parent times this plus a symbol.
SYMBOLS = 2**31
UNKNOWN = SYMBOLS - 1  # a symbol that no reference has


@dataclass(frozen=True)
class SymbolText:
    """The sentences of a text as numbers.

    Attributes:
        symbols: Symbols of all sentences in a row, (symbols,), each below `SYMBOLS`.
        lengths: Number of symbols of each sentence, (sentences,).
    """

    symbols: IntArray
    lengths: IntArray

    def count_ngrams(self, order: int) -> IntArray:
        """Return how many n-grams of 1 to `order` symbols each sentence has, (sentences, order)."""
        totals: IntArray = np.maximum(self.lengths[:, None] - np.arange(order), 0)
        return totals


class Vocabulary:
    """The numbers of the words of references; all other words have the number `UNKNOWN`."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def add(self, sentences: Iterable[Sequence[str]]) -> SymbolText:
        """Return sentences of words as numbers, and give new words numbers."""
        numbers = self._numbers
        return _join([[numbers.setdefault(word, len(numbers)) for word in words] for words in sentences])

    def read(self, sentences: Iterable[Sequence[str]]) -> SymbolText:
        """Return sentences of words as numbers; words without a number are unknown."""
        find = self._numbers.get
        return _join([[find(word, UNKNOWN) for word in words] for words in sentences])


def _join(sentences: Sequence[Sequence[int]]) -> SymbolText:
    lengths = np.array([len(numbers) for numbers in sentences], dtype=np.int64)
    joined = [number for numbers in sentences for number in numbers]
    return SymbolText(np.array(joined, dtype=np.int64), lengths)


def read_characters(texts: Sequence[str]) -> SymbolText:
    """Return texts as the code points of their characters."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    joined = "".join(texts).encode("utf-32-le", "surrogatepass")  # 4 bytes for each character
    return SymbolText(np.frombuffer(joined, dtype="<u4").astype(np.int64), lengths)


@dataclass(frozen=True)
class _Level:
    """The n-grams of one order in all references.

    Attributes:
        keys: Number of the n-gram without its last symbol, times `SYMBOLS`, plus the last symbol; sorted, (n-grams,).
            The n-gram without symbols of a sentence has the sentence's number.
        counts: Number of times that each is in its sentence, (n-grams,).
        sentences: Sentence of each, (n-grams,).
    """

    keys: IntArray
    counts: IntArray
    sentences: IntArray


class NgramIndex:
    """The n-grams of references, counted once for any number of systems.

    Args:
        references: References, a sentence each.
        order: Number of symbols of the longest n-grams.

    Example:
        >>> words = Vocabulary()
        >>> index = NgramIndex(words.add([["a", "b", "a"], ["c"]]), order=2)
        >>> index.match(words.read([["a", "a", "b"], ["a"]])).tolist()
        [[3, 1], [0, 0]]
    """

    def __init__(self, references: SymbolText, order: int) -> None:
        self.sentences = len(references.lengths)
        self.totals = references.count_ngrams(order)  # (sentences, order)
        self._levels: list[_Level] = []

        walk = _Walk(references)
        sentences = np.arange(self.sentences)
        for _ in range(order):
            # The n-grams of this order, each once; its places go on from it.
            keys, walk.parents, counts = _sort_unique(walk.step())
            sentences = sentences[keys // SYMBOLS]
            self._levels.append(_Level(keys, counts, sentences))

    def match(self, hypotheses: SymbolText) -> IntArray:
        """Return how many n-grams each hypothesis shares with its reference, (sentences, order).

        An n-gram counts at most as often as the reference has it.

        Args:
            hypotheses: Translations, one for each reference.
        """
        matches = np.zeros((self.sentences, len(self._levels)), dtype=np.int64)
        walk = _Walk(hypotheses)
        for number, level in enumerate(self._levels):
            keys = walk.step()
            if not len(keys) or not len(level.keys):
                break  # no longer n-gram can be shared, either

            # The places whose n-gram the reference has
            found = np.minimum(np.searchsorted(level.keys, keys), len(level.keys) - 1)
            walk.keep(level.keys[found] == keys, found)

            counts = np.bincount(walk.parents, minlength=len(level.keys))
            shared = np.minimum(counts, level.counts)  # (n-grams,)
            matches[:, number] = np.bincount(level.sentences, weights=shared, minlength=self.sentences)
        return matches


def _sort_unique(keys: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Return sorted keys, each once; the index of each given key among them; and how often each was given."""
    # Keys come sentence by sentence, hence in long sorted runs: a stable sort takes half the time of `np.unique`.
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    is_first = np.ones(len(keys), dtype=np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]

    places = np.empty(len(keys), dtype=np.int64)
    places[order] = np.cumsum(is_first) - 1
    starts = np.flatnonzero(is_first)
    return ordered[starts], places, np.diff(starts, append=len(keys))


class _Walk:
    """The places in a text from which n-grams are read, one symbol longer with each step.

    Attributes:
        parents: Number of the n-gram read so far at each place, (places,).
    """

    def __init__(self, text: SymbolText) -> None:
        self._symbols = text.symbols
        self.parents = np.repeat(np.arange(len(text.lengths)), text.lengths)
        self._next = np.arange(len(text.symbols))  # index of the symbol after the n-gram read so far
        self._ends = np.repeat(np.cumsum(text.lengths), text.lengths)  # index after the last symbol of the sentence

    def step(self) -> IntArray:
        """Read one more symbol, and return the key of the n-gram at each place that has one."""
        inside = self._next < self._ends
        self.keep(inside, self.parents)

        keys = self.parents * SYMBOLS + self._symbols[self._next]
        self._next = self._next + 1
        return keys

    def keep(self, chosen: npt.NDArray[np.bool_], parents: IntArray) -> None:
        """Leave out all places but the chosen ones, whose n-grams get new numbers."""
        self.parents = parents[chosen]
        self._next = self._next[chosen]
        self._ends = self._ends[chosen]
