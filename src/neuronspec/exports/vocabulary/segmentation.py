"""The pieces that a tokenizer must keep, so that texts of kept tokens are still split in the same way."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

Rank = Callable[[str, str], float | None]  # order in which two neighbors are merged; None: never


class Segmentation(Protocol):
    """The rule by which a tokenizer splits words into the pieces of its vocabulary."""

    def close(self, pieces: Iterable[str]) -> set[str]:
        """Return pieces with all others that are needed to split a text into these pieces, as before.

        Args:
            pieces: Pieces that are kept.
        """


class MergeSegmentation:
    """Byte-pair encoding: the neighbors with the lowest rank are merged, again and again.

    A merge within a piece does not depend on what stands around the piece, because no merge crosses its border (or the
    piece would not be there). So what a piece is merged from is found by splitting the piece alone; with all of that
    kept, every text of kept pieces is merged in the same order as before.

    Args:
        rank: Function of two neighbors that returns their rank, or None if they are never merged.
    """

    def __init__(self, rank: Rank) -> None:
        self._rank = rank

    @classmethod
    def from_merges(cls, merges: Sequence[tuple[str, str]]) -> MergeSegmentation:
        """Return the segmentation of a list of merges, the first of which are made first."""
        ranks = {pair: number for number, pair in enumerate(merges)}
        return cls(lambda left, right: ranks.get((left, right)))

    @classmethod
    def from_scores(cls, scores: Mapping[str, float]) -> MergeSegmentation:
        """Return the segmentation of SentencePiece: any neighbors that form a piece, the highest score first."""

        def rank(left: str, right: str) -> float | None:
            score = scores.get(left + right)
            return None if score is None else -score

        return cls(rank)

    def close(self, pieces: Iterable[str]) -> set[str]:
        """Return pieces with those that they are merged from."""
        closed: set[str] = set()
        for piece in pieces:
            closed |= {piece, *self._merge(piece)}
        return closed

    def _merge(self, piece: str) -> set[str]:
        """Return every symbol that occurs while the characters of a piece are merged."""
        symbols = [*piece]
        seen = set(symbols)

        while True:
            # Of neighbors with the same rank, the first ones are merged.
            ranked = [(self._rank(*pair), place) for place, pair in enumerate(itertools.pairwise(symbols))]
            possible = [(rank, place) for rank, place in ranked if rank is not None]
            if not possible:
                return seen

            _, place = min(possible)
            symbols[place : place + 2] = [symbols[place] + symbols[place + 1]]
            seen.add(symbols[place])


class ScoreSegmentation:
    """Unigram: of all ways to split a word, the one with the highest sum of scores.

    A way that uses kept pieces only is still the best one when others disappear. The score of unknown characters is
    lower than the lowest score of a piece by a constant: that piece stays, so that it does not change.

    Args:
        scores: Score of each piece that text is split into.
    """

    def __init__(self, scores: Mapping[str, float]) -> None:
        self._lowest = heapq.nsmallest(1, scores, key=lambda piece: (scores[piece], piece))

    def close(self, pieces: Iterable[str]) -> set[str]:
        """Return pieces with the one that has the lowest score."""
        return {*pieces, *self._lowest}
