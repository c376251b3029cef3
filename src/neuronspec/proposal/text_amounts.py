"""Amounts of text: how long its sentences are, how many pieces it gives, measured on a sample."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neuronspec.data import learn_vocabulary
from neuronspec.proposal.enough_text import check_samples
from neuronspec.proposal.found import Discovery
from neuronspec.proposal.part_text import read_part
from neuronspec.proposal.spelling_logs import without_spelling_logs

_SAMPLE = 2_000  # pairs of each language that are read
_TRIAL = 4_000  # pieces of the vocabulary of the sample
_SMALLEST = 64  # pieces; a configuration allows no fewer


@dataclass(frozen=True, kw_only=True)
class TextAmounts:
    """Amounts of the training text.

    Attributes:
        pairs: Number of pairs of each pair of languages, such as `en-de`.
        samples: Number of sampled pairs of each of them, in the order of the rows below.
        lengths: Lengths of sampled sources and targets, (pairs, 2), in tokens of a vocabulary of the sample.
        words: The same in words.
        pieces: Number of pieces that the sample gives, up to a few thousand.
        characters: Number of different characters in the sample.
        whole: Whether the sample is all of the text.
    """

    pairs: dict[str, int]
    samples: dict[str, int]
    lengths: NDArray[np.int64]
    words: NDArray[np.int64]
    pieces: int
    characters: int
    whole: bool

    @property
    def total(self) -> int:
        """The number of pairs in all languages."""
        return sum(self.pairs.values())

    @property
    def longest(self) -> int:
        """The number of tokens that all but one in a hundred sentences of every pair of languages have at most."""
        own = [self.lengths[rows] for rows in self._list_rows().values()]
        return int(max(np.quantile(lengths, 0.99) for lengths in own if len(lengths)))

    @property
    def tokens(self) -> float:
        """The number of tokens of the longer sides in one pass over the text in both directions."""
        longer = self.lengths.max(axis=1)
        rows = self._list_rows()
        return 2 * sum(self.pairs[pair] * float(longer[own].mean()) for pair, own in rows.items() if len(longer[own]))

    def limit(self, words: int | None) -> TextAmounts:
        """Return the amounts of the pairs with at most so many words on either side; None is no limit."""
        if words is None:
            return self
        kept = self.words.max(axis=1) <= words
        shares = self._measure_shares(kept)
        return replace(
            self,
            pairs={pair: round(count * shares.get(pair, 0)) for pair, count in self.pairs.items()},
            samples={pair: int(kept[rows].sum()) for pair, rows in self._list_rows().items()},
            lengths=self.lengths[kept],
            words=self.words[kept],
        )

    def share_within(self, words: int) -> tuple[str, float]:
        """Return the pair of languages of which a limit on the words keeps the least, and the share that it keeps."""
        return self._find_least(self.words.max(axis=1) <= words)

    def share_alike(self, ratio: float) -> tuple[str, float]:
        """Return the pair of languages of which a limit on the ratio of words keeps the least, and this share."""
        return self._find_least(self.words.max(axis=1) <= ratio * self.words.min(axis=1))

    def _find_least(self, kept: NDArray[np.bool_]) -> tuple[str, float]:
        shares = self._measure_shares(kept)
        least = min(shares, key=lambda pair: shares[pair])
        return least, shares[least]

    def _measure_shares(self, kept: NDArray[np.bool_]) -> dict[str, float]:
        """Return the share of kept rows of each pair of languages that has some."""
        return {pair: float(kept[rows].mean()) for pair, rows in self._list_rows().items() if self.samples[pair]}

    def _list_rows(self) -> dict[str, slice]:
        """Return the rows of each pair of languages."""
        ends = itertools.accumulate(self.samples.values())
        return {pair: slice(end - self.samples[pair], end) for pair, end in zip(self.samples, ends, strict=True)}


def measure_text(found: Discovery) -> TextAmounts:
    """Return the amounts of the training text, from its first few thousand pairs.

    Raises:
        NeuronspecError: If there is no text in it, or none that is not held out as well.
    """
    pairs = found.count_pairs("train")
    with without_spelling_logs():
        samples = {pair: list(itertools.islice(read_part(found, pair, "train"), _SAMPLE)) for pair in pairs}
        check_samples(found, samples)

    sample = [sides for own in samples.values() for sides in own]
    sentences = [sentence for sides in sample for sentence in sides]
    characters = len({*itertools.chain.from_iterable(sentences)})

    # A vocabulary of the sample shows how many tokens sentences have, and whether the text gives that many pieces.
    codes = [found.pivot, *found.languages]
    tokenizer = learn_vocabulary(iter(sentences), max(_TRIAL, 2 * characters), codes)
    lengths = np.array([len(ids) for ids in tokenizer(sentences)["input_ids"]]).reshape(-1, 2)  # (pairs, 2)
    return TextAmounts(
        pairs=pairs,
        samples={pair: len(own) for pair, own in samples.items()},
        lengths=lengths,
        words=np.array([len(sentence.split()) for sentence in sentences]).reshape(-1, 2),
        pieces=max(_SMALLEST, len(tokenizer) - len(codes)),
        characters=characters,
        whole=len(sample) >= 0.9 * sum(pairs.values()),
    )
