"""The cleaned text of a pair of languages: its shards, and which of their lines are kept."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuronspec.data.duplicates import Flags, find_first
from neuronspec.data.shards import BOTH, Shard
from neuronspec.data.texts import TEXT_PARTS

Piece = tuple[int, str]
"""The lines of one part in one shard: its index, and the name of the part."""


@dataclass
class LineFlags:
    """A bit for each of very many lines; pieces in which all bits are alike take no memory.

    Attributes:
        default: Value of the lines of which nothing was noted.
    """

    default: bool
    _packed: dict[Piece, NDArray[np.uint8]] = field(default_factory=dict)

    def get(self, piece: Piece, length: int) -> Flags:
        """Return the flags of a piece, (lines,)."""
        if piece not in self._packed:
            return np.full(length, self.default)
        return np.unpackbits(self._packed[piece], count=length).astype(np.bool_)

    def set(self, piece: Piece, flags: Flags) -> None:
        """Note the flags of a piece."""
        if (flags == self.default).all():
            self._packed.pop(piece, None)
        else:
            self._packed[piece] = np.packbits(flags)

    def clear(self) -> None:
        """Forget what was noted."""
        self._packed.clear()


@dataclass
class CleanedText:
    """The cleaned text of a pair of languages.

    Attributes:
        pair: Pair of languages.
        shards: Shards in the order of the text.
        kept: Lines that are neither duplicates nor dropped for another reason.
        counts: Number of pairs of the training corpora by what became of them, in the order in which that occurred.
    """

    pair: str
    shards: Sequence[Shard]
    kept: LineFlags = field(default_factory=lambda: LineFlags(default=True))
    counts: dict[str, int] = field(default_factory=dict)

    def pieces(self, part: str) -> Iterator[Piece]:
        """Yield the pieces of a part that have lines, in the order of the text."""
        for index, shard in enumerate(self.shards):
            if shard.sizes[part]:
                yield index, part

    def length(self, piece: Piece) -> int:
        """Return the number of lines of a piece, dropped ones included."""
        index, part = piece
        return self.shards[index].sizes[part]

    def find_kept(self, piece: Piece) -> Flags:
        """Return which lines of a piece are kept, (lines,)."""
        return self.kept.get(piece, self.length(piece))

    def read_numbers(self, piece: Piece, kind: int) -> NDArray[np.uint64]:
        """Return a number for each line of a piece; see `Shard.read_numbers`."""
        index, part = piece
        return self.shards[index].read_numbers(part, kind)

    def count_kept(self, part: str) -> int:
        """Return the number of lines of a part that are kept."""
        return sum(int(self.find_kept(piece).sum()) for piece in self.pieces(part))

    def write(self, part: str, path: Path) -> None:
        """Write the lines of a part that are kept."""
        with path.open("wb") as file:
            for piece in self.pieces(part):
                text, lengths = self.shards[piece[0]].read_lines(part)
                kept = self.find_kept(piece)
                file.write((text if kept.all() else text[np.repeat(kept, lengths)]).data)


def join_shards(pair: str, shards: Sequence[Shard], *, deduplicate: bool) -> CleanedText:
    """Return the text of some shards, in which every training pair is kept only once.

    Args:
        pair: Pair of languages.
        shards: Shards in the order of the text.
        deduplicate: Whether to drop training pairs that came before.
    """
    text = CleanedText(pair, shards)
    training = [(index, shard) for index, shard in enumerate(shards) if shard.part == "train"]

    # The first pair of each kind, by its place in the text: statistics list the kinds in this order.
    firsts: dict[str, tuple[int, int]] = {}
    for index, shard in training:
        for kind, count in shard.counts.items():
            text.counts[kind] = text.counts.get(kind, 0) + count
            firsts.setdefault(kind, (index, shard.firsts[kind]))

    if deduplicate:
        found = _drop_duplicates(text, training)
        if found is not None:
            firsts["duplicate"] = found

    # Every pair was read before anything else became of it.
    order = sorted(text.counts, key=lambda kind: (kind != "read", firsts[kind]))
    text.counts = {kind: text.counts[kind] for kind in order}
    return text


def _drop_duplicates(text: CleanedText, training: Sequence[tuple[int, Shard]]) -> tuple[int, int] | None:
    """Drop pairs that came before; return the place of the first one, if there is any.

    Equal pairs are always in one part, since their English side decides where they belong.
    """
    pieces = [(index, part) for index, shard in training for part in TEXT_PARTS if shard.sizes[part]]
    readers = [functools.partial(text.read_numbers, piece, BOTH) for piece in pieces]
    lengths = [text.length(piece) for piece in pieces]

    count, first = 0, None
    for piece, is_first in zip(pieces, find_first(readers, lengths), strict=True):
        text.kept.set(piece, is_first)
        repeated = np.flatnonzero(~is_first)
        count += len(repeated)

        # Of the parts of one shard, any may hold the first one.
        if len(repeated) and (first is None or first[0] == piece[0]):
            place = (piece[0], int(text.shards[piece[0]].read_places(piece[1])[repeated[0]]))
            first = place if first is None else min(first, place)

    if count:
        text.counts["kept"] -= count
        text.counts["duplicate"] = count
    return first
