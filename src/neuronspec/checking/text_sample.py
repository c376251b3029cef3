"""The text of corpora, read up to a limit, so that even the largest is checked in seconds."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from neuronspec.checking.problem import Problem
from neuronspec.config.sections import Corpus, Data, HoldOut, Preparation
from neuronspec.data.cleaning import clean_pairs
from neuronspec.data.configured_corpora import choose_corpora
from neuronspec.data.corpora import read_pairs
from neuronspec.data.corpus_formats import Pair
from neuronspec.data.holdout import choose_part
from neuronspec.data.leakage import HELD_OUT
from neuronspec.data.normalization import normalize_text
from neuronspec.data.texts import TEXT_PARTS
from neuronspec.errors import NeuronspecError
from neuronspec.languages import split_direction

SentencePair = tuple[str, str]

# Sentences that are read of all training text together, unless a limit is given, and at least of each pair
_READ_IN_ALL, _READ_AT_LEAST = 200_000, 2_000


@dataclass(kw_only=True)
class PairText:
    """The beginning of the text of a pair of languages.

    Attributes:
        pair: Pair of languages.
        parts: Sentence pairs of each part.
        whole: Parts that were read to their end.
        counts: Numbers of training pairs that were `read`, `kept`, and dropped for each reason, if they were cleaned.
    """

    pair: str
    parts: Mapping[str, list[SentencePair]] = field(default_factory=lambda: defaultdict(list))
    whole: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def languages(self) -> tuple[str, str]:
        """The codes of both languages."""
        return split_direction(self.pair)

    def count(self, part: str) -> str:
        """Return the number of sentence pairs of a part in words: `1,200`, or `over 20,000` where not all was read."""
        number = f"{len(self.parts[part]):,}"
        return number if part in self.whole else f"over {number}"


def choose_limit(pairs: int) -> int:
    """Return how many sentences to read of each pair of languages.

    Example:
        >>> choose_limit(4), choose_limit(500)
        (50000, 2000)
    """
    return max(_READ_AT_LEAST, _READ_IN_ALL // max(1, pairs))


def read_text(
    data: Data, pairs: Sequence[str], pivot: str, *, limit: int | None = None, cleaning: Preparation | None = None
) -> tuple[list[PairText], list[Problem]]:
    """Return the beginning of all text, and a problem for each corpus that cannot be read.

    Args:
        data: Corpora, and the shares of the training text to hold out.
        pairs: Pairs of languages.
        pivot: Code of the language that most pairs have in common.
        limit: Number of sentence pairs to read of each part of each pair.
        cleaning: Limits on what the training text may hold; None to take all of it.
    """
    most = limit or choose_limit(len(pairs))
    texts, problems = [], []
    for pair in pairs:
        text = PairText(pair=pair)
        corpora, shares = choose_corpora(data, pair, pivot)
        for part in TEXT_PARTS:
            try:
                _read_part(text, part, _read_corpora(corpora[part], pair), most)
            except NeuronspecError as error:
                problems.append(Problem(level="error", subject=f"data.{part}", message=str(error)))

        if cleaning is not None:
            _clean_training(text, cleaning)
        _hold_out(text, shares)
        texts.append(text)
    return texts, problems


def _read_part(text: PairText, part: str, pairs: Iterator[SentencePair], limit: int) -> None:
    text.parts[part].extend(itertools.islice(pairs, limit))
    if next(pairs, None) is None:
        text.whole.add(part)


def _read_corpora(corpora: Iterable[Corpus], pair: str) -> Iterator[SentencePair]:
    first, second = split_direction(pair)
    for corpus in corpora:
        for found in read_pairs(corpus.path, first, second, format=corpus.format, columns=corpus.columns):
            yield found.source, found.target


def _clean_training(text: PairText, cleaning: Preparation) -> None:
    """Drop training pairs as `prepare` does, and count them."""
    pairs = [Pair(first, second, "") for first, second in text.parts["train"]]
    text.parts["train"][:] = clean_pairs(
        pairs,
        min_source_words=cleaning.min_words,
        max_words=cleaning.max_words,
        max_ratio=cleaning.max_length_ratio,
        deduplicate=cleaning.deduplicate,
        drop_matching=cleaning.drop_matching,
        counts=text.counts,
    )


def _hold_out(text: PairText, shares: HoldOut) -> None:
    """Move held-out sentences from the training text to their parts, as `prepare` does."""
    held = [part for part in HELD_OUT if getattr(shares, part)]
    if not held:
        return

    training = text.parts["train"][:]
    text.parts["train"].clear()
    for sides in training:
        text.parts[choose_part(normalize_text(sides[0]), shares)].append(sides)

    # Sentences that were not read may belong to any part.
    if "train" not in text.whole:
        text.whole -= set(held)
