"""Sentences of the validation and test text that are also in the training text: found, counted, and left out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from neuronspec.data.cleaned_texts import CleanedText, LineFlags, Piece
from neuronspec.data.duplicates import Flags, Numbers, among, in_range, split_range
from neuronspec.data.shards import BOTH, FIRST, SECOND
from neuronspec.data.texts import Overlap
from neuronspec.languages import split_direction

logger = logging.getLogger(__name__)

HELD_OUT = ("valid", "test")
SIDES = (FIRST, SECOND)


@dataclass
class SharedSentences:
    """The lines of a text that share a sentence with another part of the text, of any pair of languages.

    Attributes:
        text: The text.
        known: Training lines whose first, second side is in the held-out text, by side.
        met: Held-out lines whose first, second side, or both as a pair, are in the training text.
    """

    text: CleanedText
    known: dict[int, LineFlags] = field(default_factory=lambda: {kind: LineFlags(default=False) for kind in SIDES})
    met: dict[int, LineFlags] = field(
        default_factory=lambda: {kind: LineFlags(default=False) for kind in (FIRST, SECOND, BOTH)}
    )

    def drop_known(self) -> int:
        """Drop the training lines with a known sentence; return their number."""
        count = 0
        for piece in self.text.pieces("train"):
            length = self.text.length(piece)
            known = self.known[FIRST].get(piece, length) | self.known[SECOND].get(piece, length)
            if known.any():
                kept = self.text.find_kept(piece)
                count += int((kept & known).sum())
                self.text.kept.set(piece, kept & ~known)

        # The training text that is left has no sentence in common with the held-out one.
        for flags in (*self.known.values(), *self.met.values()):
            flags.clear()
        return count

    def count_met(self, part: str) -> dict[str, int]:
        """Return how many lines of a held-out part the training text shares: `either`, `first`, `second`, `both`."""
        counts = dict.fromkeys(("either", "first", "second", "both"), 0)
        for piece in self.text.pieces(part):
            kept, length = self.text.find_kept(piece), self.text.length(piece)
            first, second, both = (self.met[kind].get(piece, length) & kept for kind in (FIRST, SECOND, BOTH))
            for name, flags in {"either": first | second, "first": first, "second": second, "both": both}.items():
                counts[name] += int(flags.sum())
        return counts


def find_shared(texts: Sequence[CleanedText]) -> list[SharedSentences]:
    """Find the sentences that the training text and the held-out text of all pairs of languages share.

    A sentence is known in its own language, whatever pair of languages it comes with, and on either side: an English
    test sentence of `en-de` is known in `en-fr`, too. Two sentences with one `comparison_form` are the same.

    Memory holds the numbers of the held-out sentences of one language, and only `ROUND_SIZE` of them at a time.

    Args:
        texts: Text of each pair of languages.
    """
    shared = [SharedSentences(text) for text in texts]

    # Languages one by one, each on the sides where it stands
    columns: dict[str, list[tuple[SharedSentences, int]]] = {}
    for one in shared:
        for kind, language in zip(SIDES, split_direction(one.text.pair), strict=True):
            columns.setdefault(language, []).append((one, kind))
    for places in columns.values():
        _find_sentences(places)

    for one in shared:
        _find_pairs(one)
    return shared


def _find_sentences(places: Sequence[tuple[SharedSentences, int]]) -> None:
    """Find the shared sentences of one language.

    Args:
        places: Texts with the language, and the side on which it stands.
    """
    held_out = [(one, kind, piece) for one, kind in places for piece in _list_held_out(one.text)]
    total = sum(one.text.length(piece) for one, _, piece in held_out)

    for low, high in split_range(total):
        known = _unite(_select(one.text, piece, kind, low, high) for one, kind, piece in held_out)

        # First the held-out sentences that the training text has, then the lines that hold them.
        met = []
        for one, kind in places:
            for piece in one.text.pieces("train"):
                numbers = one.text.read_numbers(piece, kind)
                found = among(numbers, known)
                _note(one.known[kind], piece, found)
                met.append(np.unique(numbers[found & one.text.find_kept(piece)]))
        seen = _unite(iter(met))
        for one, kind, piece in held_out:
            _note(one.met[kind], piece, among(one.text.read_numbers(piece, kind), seen))


def _find_pairs(one: SharedSentences) -> None:
    """Find the held-out pairs that are also pairs of the training text."""
    text = one.text
    held_out = list(_list_held_out(text))
    for low, high in split_range(sum(map(text.length, held_out))):
        known = _unite(_select(text, piece, BOTH, low, high) for piece in held_out)

        # Only a line with two known sentences can be a known pair.
        met = []
        for piece in text.pieces("train"):
            length = text.length(piece)
            candidates = one.known[FIRST].get(piece, length) & one.known[SECOND].get(piece, length)
            if candidates.any():
                numbers = text.read_numbers(piece, BOTH)[candidates & text.find_kept(piece)]
                met.append(np.unique(numbers[among(numbers, known)]))
        seen = _unite(iter(met))
        for piece in held_out:
            _note(one.met[BOTH], piece, among(text.read_numbers(piece, BOTH), seen))


def report_leakage(overlap: Overlap, sizes: Mapping[str, Mapping[str, int]]) -> None:
    """Log how much of the held-out text is also in the training text, if any is.

    Args:
        overlap: Number of shared lines; see `SharedSentences.count_met`.
        sizes: Number of sentence pairs, for each part and pair of languages.
    """
    for part in HELD_OUT:
        either = {pair: parts[part]["either"] for pair, parts in overlap.items()}
        both = {pair: parts[part]["both"] for pair, parts in overlap.items()}
        if not any(either.values()):
            continue

        # One line for a part, with its worst pair of languages
        most = max(either, key=lambda pair: either[pair])
        logger.warning(
            f"{part}: {sum(either.values())} of {sum(sizes[part].values())} pairs have a sentence that is also in "
            f"train, {sum(both.values())} of them as the same pair (most in {most}: {either[most]}); "
            "prepare.drop_held_out=true leaves such pairs out of train"
        )


def _list_held_out(text: CleanedText) -> Iterator[Piece]:
    for part in HELD_OUT:
        yield from text.pieces(part)


def _select(text: CleanedText, piece: Piece, kind: int, low: int, high: int) -> Numbers:
    """Return the numbers of a piece that lie in a range."""
    numbers = text.read_numbers(piece, kind)
    return np.asarray(numbers[in_range(numbers, low, high)])


def _unite(pieces: Iterator[Numbers]) -> Numbers:
    """Return all numbers of some pieces, sorted, each once."""
    return np.unique(np.concatenate([np.empty(0, np.uint64), *pieces]))


def _note(flags: LineFlags, piece: Piece, found: Flags) -> None:
    """Add what was found to the flags of a piece."""
    if found.any():
        flags.set(piece, flags.get(piece, len(found)) | found)
