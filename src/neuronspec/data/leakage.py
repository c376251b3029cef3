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
Place = Callable[[str, str], Path]  # part, pair -> the file of prepared text


@dataclass
class _Known:
    """The sentences of the held-out text as 64-bit numbers, and those of them that the training text has.

    Memory grows with the validation and test text, never with the training text.

    Attributes:
        sentences: held-out sentences, by language.
        pairs: held-out pairs, by pair of languages.
        met_sentences: those of the sentences that the training text has.
        met_pairs: those of the pairs that the training text has.
    """

    sentences: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    pairs: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    met_sentences: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    met_pairs: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def add(self, pair: str, path: Path) -> None:
        """Learn the sentences of a file of held-out text."""
        first, second = split_direction(pair)
        for left, right, both in _number(path):
            self.sentences[first].add(left)
            self.sentences[second].add(right)
            self.pairs[pair].add(both)

    def meet(self, pair: str, left: int, right: int, both: int) -> bool:
        """Note a training pair; return whether one of its sentences is known."""
        first, second = split_direction(pair)
        knows_left, knows_right = left in self.sentences[first], right in self.sentences[second]
        if knows_left:
            self.met_sentences[first].add(left)
        if knows_right:
            self.met_sentences[second].add(right)
        if knows_left and knows_right and both in self.pairs[pair]:
            self.met_pairs[pair].add(both)
        return knows_left or knows_right


def drop_held_out(pairs: Sequence[str], place: Place) -> dict[str, int]:
    """Take out of the training text every pair with a sentence that the held-out text has, too.

    A sentence is known in its own language, whatever pair of languages it comes with, and on either side: an English
    test sentence of `en-de` is not trained on in `en-fr` either. What is the same says `comparison_form`.

    Args:
        pairs: all pairs of languages.
        place: function from a part and a pair to its file; those of `train` are rewritten.

    Returns:
        For each pair, how many training pairs were taken out.
    """
    known = _learn(pairs, place)
    dropped = {}
    for pair in pairs:
        path, count = place("train", pair), 0
        with publish(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            for columns, numbers in zip(read_columns(path), _number(path), strict=True):
                if known.meet(pair, *numbers):
                    count += 1
                else:
                    file.write("\t".join(columns) + "\n")
        dropped[pair] = count
    logger.info("train: %d pairs with a sentence of valid or test are left out", sum(dropped.values()))
    return dropped


def measure_overlap(pairs: Sequence[str], place: Place) -> Overlap:
    """Count the sentences of the held-out text that the training text has, too.

    Args:
        pairs: all pairs of languages.
        place: function from a part and a pair to its file.
    """
    known = _learn(pairs, place)
    for pair in pairs:
        for numbers in _number(place("train", pair)):
            known.meet(pair, *numbers)
    return {pair: {part: _count(known, pair, place(part, pair)) for part in HELD_OUT} for pair in pairs}


def report_overlap(overlap: Overlap, sizes: Mapping[str, Mapping[str, int]]) -> None:
    """Say in the log how much of the held-out text is also in the training text, if any is.

    Args:
        overlap: counts of `measure_overlap`.
        sizes: for each part and pair, the number of pairs of sentences.
    """
    for part in HELD_OUT:
        counts = {pair: parts[part] for pair, parts in overlap.items()}
        either = sum(count["either"] for count in counts.values())
        if not either:
            continue
        both = sum(count["both"] for count in counts.values())
        most = max(counts, key=lambda pair: counts[pair]["either"])
        logger.warning(
            "%s: %d of %d pairs have a sentence that is also in train, %d of them as the same pair (most in %s: %d); "
            "data.drop_held_out=true leaves such pairs out of train",
            part,
            either,
            sum(sizes[part].values()),
            both,
            most,
            counts[most]["either"],
        )


def _learn(pairs: Sequence[str], place: Place) -> _Known:
    known = _Known()
    for pair in pairs:
        for part in HELD_OUT:
            known.add(pair, place(part, pair))
    return known


def _count(known: _Known, pair: str, path: Path) -> dict[str, int]:
    first, second = split_direction(pair)
    counts = Counter(either=0, first=0, second=0, both=0)
    for left, right, both in _number(path):
        sides = (left in known.met_sentences[first], right in known.met_sentences[second])
        counts.update(either=any(sides), first=sides[0], second=sides[1], both=both in known.met_pairs[pair])
    return dict(counts)


def _number(path: Path) -> Iterator[tuple[int, int, int]]:
    """Yield a number for each side of each pair of a file, and one for both together."""
    for columns in read_columns(path):
        left, right = map(comparison_form, columns)
        yield hash_forms(left), hash_forms(right), hash_forms(left, right)
