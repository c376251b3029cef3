"""Sentences of the validation and test text that are also in the training text: found, counted, and left out."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from neuronspec.data.normalization import comparison_form, hash_forms
from neuronspec.data.texts import Overlap, read_columns
from neuronspec.files import publish
from neuronspec.languages import split_direction

logger = logging.getLogger(__name__)

HELD_OUT = ("valid", "test")

TextPath = Callable[[str, str], Path]
"""Function from a part and a pair of languages to the file of prepared text, such as `Texts.path`."""


@dataclass
class _HeldOutText:
    """The sentences of the held-out text as 64-bit numbers, and those of them that the training text has.

    Memory grows with the validation and test text, never with the training text.

    Attributes:
        sentences: Held-out sentences, by language.
        pairs: Held-out pairs, by pair of languages.
        met_sentences: Those of the sentences that the training text has.
        met_pairs: Those of the pairs that the training text has.
    """

    sentences: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    pairs: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    met_sentences: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    met_pairs: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def add(self, pair: str, path: Path) -> None:
        """Learn the sentences of a file of held-out text."""
        first, second = split_direction(pair)
        for left, right, both in _hash_lines(path):
            self.sentences[first].add(left)
            self.sentences[second].add(right)
            self.pairs[pair].add(both)

    def meet(self, pair: str, left: int, right: int, both: int) -> bool:
        """Note a training pair; return whether one of its sentences is known."""
        first, second = split_direction(pair)
        knows_left = left in self.sentences[first]
        knows_right = right in self.sentences[second]

        # What was met is kept, so that `count_met` can count the held-out lines.
        if knows_left:
            self.met_sentences[first].add(left)
        if knows_right:
            self.met_sentences[second].add(right)
        if knows_left and knows_right and both in self.pairs[pair]:
            self.met_pairs[pair].add(both)
        return knows_left or knows_right

    def count_met(self, pair: str, path: Path) -> dict[str, int]:
        """Return how many lines of a held-out file the training text shares: `either`, `first`, `second`, `both`."""
        first, second = split_direction(pair)
        counts = Counter(either=0, first=0, second=0, both=0)
        for left, right, both in _hash_lines(path):
            met_left = left in self.met_sentences[first]
            met_right = right in self.met_sentences[second]
            met_both = both in self.met_pairs[pair]
            counts.update(either=met_left or met_right, first=met_left, second=met_right, both=met_both)
        return dict(counts)


def drop_held_out(pairs: Sequence[str], path_of: TextPath) -> dict[str, int]:
    """Take out of the training text every pair with a sentence that the held-out text has, too.

    A sentence is known in its own language, whatever pair of languages it comes with, and on either side: an English
    test sentence of `en-de` is not trained on in `en-fr` either. Two sentences with one `comparison_form` are the same.

    Args:
        pairs: All pairs of languages.
        path_of: Function from a part and a pair to its file; those of `train` are rewritten.

    Returns:
        The number of training pairs that were taken out, for each pair of languages.
    """
    # All of the held-out text first: a sentence of any pair is known in all pairs.
    held_out = _read_held_out(pairs, path_of)
    dropped = {}
    for pair in pairs:
        path = path_of("train", pair)
        count = 0

        # The old file is read while the new one is written, which then takes its place.
        with publish(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            for columns, numbers in zip(read_columns(path), _hash_lines(path), strict=True):
                if held_out.meet(pair, *numbers):
                    count += 1
                else:
                    file.write("\t".join(columns) + "\n")
        dropped[pair] = count

    logger.info("train: %d pairs with a sentence of valid or test are left out", sum(dropped.values()))
    return dropped


def measure_leakage(pairs: Sequence[str], path_of: TextPath) -> Overlap:
    """Count the sentences of the held-out text that the training text has, too.

    Args:
        pairs: All pairs of languages.
        path_of: Function from a part and a pair to its file.
    """
    # First see which held-out sentences the training text has, then count them line by line.
    held_out = _read_held_out(pairs, path_of)
    for pair in pairs:
        for numbers in _hash_lines(path_of("train", pair)):
            held_out.meet(pair, *numbers)

    return {pair: {part: held_out.count_met(pair, path_of(part, pair)) for part in HELD_OUT} for pair in pairs}


def report_leakage(overlap: Overlap, sizes: Mapping[str, Mapping[str, int]]) -> None:
    """Log how much of the held-out text is also in the training text, if any is.

    Args:
        overlap: Counts of `measure_leakage`.
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


def _read_held_out(pairs: Sequence[str], path_of: TextPath) -> _HeldOutText:
    held_out = _HeldOutText()
    for pair in pairs:
        for part in HELD_OUT:
            held_out.add(pair, path_of(part, pair))
    return held_out


def _hash_lines(path: Path) -> Iterator[tuple[int, int, int]]:
    """Yield a number for each side of each pair of a file, and one for both together."""
    # Forms, not texts: sentences that look the same to a reader get the same number.
    for columns in read_columns(path):
        left, right = map(comparison_form, columns)
        yield hash_forms(left), hash_forms(right), hash_forms(left, right)
