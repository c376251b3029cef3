"""Encoding text word by word: most words of a text came before, so that their ids are known."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator

from neuronspec.data.encoding import Encode

MOST_WORDS = 200_000  # words in each of two memories, which take about 150 MB together
SPACE_MARK = "\u2581"  # stands for a space within tokenizers
_JOINED = 64  # words that are encoded as one text


class WordEncoder:
    """Encodes text like another encoder of which `reads_words_alone` is true, several times as fast.

    Text that is not single words with single spaces between them is left to that encoder, and so is text with the
    character that stands for a space.

    Args:
        encode: Encoder, from sentences to ids without special tokens.
        starts: Ids of the pieces that begin with a space: with one of them, and with no other piece, a word begins.
    """

    def __init__(self, encode: Encode, starts: Collection[int]) -> None:
        self._encode = encode
        self._starts = frozenset(starts)

        # Words that are not met while one memory fills are forgotten with it; frequent ones are always in one of them.
        self._known: dict[str, list[int]] = {}
        self._older: dict[str, list[int]] = {}

    def __call__(self, sentences: list[str]) -> list[list[int]]:
        """Return the ids of each sentence."""
        words = [self._split(sentence) for sentence in sentences]
        known = self._look_up(dict.fromkeys(itertools.chain.from_iterable(one or () for one in words)))

        # What cannot be split is encoded together.
        whole = [sentence for sentence, one in zip(sentences, words, strict=True) if one is None]
        encoded = iter(self._encode(whole) if whole else ())
        return [next(encoded) if one is None else _join(one, known) for one in words]

    @staticmethod
    def _split(sentence: str) -> list[str] | None:
        """Return the words of a sentence; None if it is not their sequence alone."""
        words = sentence.split()
        return words if " ".join(words) == sentence and SPACE_MARK not in sentence else None

    def _look_up(self, words: Iterable[str]) -> dict[str, list[int]]:
        """Return the ids of words, each of which is encoded if it is in no memory."""
        found: dict[str, list[int]] = {}
        unknown = []
        for word in words:
            ids = self._known.get(word) or self._older.get(word)
            if ids is None:
                unknown.append(word)
            else:
                found[word] = ids
        found.update(self._encode_words(unknown))

        self._known.update(found)
        if len(self._known) > MOST_WORDS:
            self._known, self._older = {}, self._known
        return found

    def _encode_words(self, words: list[str]) -> Iterator[tuple[str, list[int]]]:
        """Yield words with their ids. Many at a time are one text, since every text takes time by itself."""
        groups = [words[start : start + _JOINED] for start in range(0, len(words), _JOINED)]
        encoded = self._encode([" ".join(group) for group in groups]) if groups else []
        for group, ids in zip(groups, encoded, strict=True):
            places = [place for place, number in enumerate(ids) if number in self._starts]

            # A word such as `</s>` is encoded as several ones, which are not told apart from others.
            if len(places) == len(group) and places[0] == 0:
                bounds = itertools.pairwise([*places, len(ids)])
                yield from zip(group, (ids[start:end] for start, end in bounds), strict=True)
            else:
                yield from zip(group, self._encode(group), strict=True)


def _join(words: list[str], known: dict[str, list[int]]) -> list[int]:
    ids: list[int] = []
    for word in words:
        ids += known[word]
    return ids
