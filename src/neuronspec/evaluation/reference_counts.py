"""Counts of references, made once for all systems: by BLEU, chrF++, and any other metric of sacrebleu.

BLEU and chrF++ are counted for all sentences at once (`neuronspec.evaluation.ngram_counts`): the numbers are those of
sacrebleu, in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from neuronspec.evaluation.ngram_counts import IntArray, NgramIndex, Vocabulary, read_characters
from neuronspec.evaluation.tokenizers import tokenize_all

PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")  # what chrF++ splits off words


class ReferenceCounts(Protocol):
    """Counts of the references of a test set."""

    def count(self, hypotheses: Sequence[str]) -> IntArray:
        """Return the statistics of each translation, (sentences, S).

        Args:
            hypotheses: Translations, one for each reference.
        """
        ...


def count_references(scorer: Any, references: Sequence[str]) -> ReferenceCounts:
    """Return the counts of references, from which those of any number of systems follow.

    Args:
        scorer: Metric of sacrebleu.
        references: References, one for each sentence.
    """
    from sacrebleu.metrics import BLEU, CHRF

    # Subclasses may count in another way.
    if type(scorer) is BLEU and not scorer.lowercase:
        return BleuCounts(scorer, references)
    if type(scorer) is CHRF and not (scorer.lowercase or scorer.whitespace):
        return ChrfCounts(scorer, references)
    return SacrebleuCounts(scorer, references)


class SacrebleuCounts:
    """The counts of any metric, by sacrebleu's own code."""

    def __init__(self, scorer: Any, references: Sequence[str]) -> None:
        self._scorer = scorer
        # Private names of sacrebleu, used only here and below: its own significance tests start from them too.
        scorer._ref_cache = scorer._cache_references([references])

    def count(self, hypotheses: Sequence[str]) -> IntArray:
        """Return the statistics of each translation, (sentences, S)."""
        return np.asarray(self._scorer._extract_corpus_statistics(hypotheses, None))


class BleuCounts:
    """The counts of BLEU: n-grams of tokens."""

    def __init__(self, scorer: Any, references: Sequence[str]) -> None:
        self._tokenizer = scorer.tokenizer
        self._order = scorer.max_ngram_order
        self._words = Vocabulary()

        text = self._words.add(tokenize_all(self._tokenizer, references))
        self._lengths = text.lengths  # (sentences,)
        self._index = NgramIndex(text, self._order)

    def count(self, hypotheses: Sequence[str]) -> IntArray:
        """Return hypothesis length, reference length, matches and totals of each order, (sentences, 2 + 2 order)."""
        text = self._words.read(tokenize_all(self._tokenizer, hypotheses))
        lengths = np.stack([text.lengths, self._lengths], axis=1)  # (sentences, 2)
        return np.concatenate([lengths, self._index.match(text), text.count_ngrams(self._order)], axis=1)


class ChrfCounts:
    """The counts of chrF++: n-grams of the characters other than white space, and of words without punctuation."""

    def __init__(self, scorer: Any, references: Sequence[str]) -> None:
        self._char_order, self._word_order = scorer.char_order, scorer.word_order
        self._words = Vocabulary()

        split = [text.split() for text in references]
        self._characters = NgramIndex(read_characters(_join_words(split)), self._char_order)
        self._ngrams = NgramIndex(self._words.add(map(split_punctuation, split)), self._word_order)

    def count(self, hypotheses: Sequence[str]) -> IntArray:
        """Return n-grams of hypothesis and reference and those of both, order by order, (sentences, 3 orders)."""
        split = [text.split() for text in hypotheses]
        characters = read_characters(_join_words(split))
        words = self._words.read(map(split_punctuation, split))

        # (sentences, orders) each: characters first, then words
        own = np.concatenate([characters.count_ngrams(self._char_order), words.count_ngrams(self._word_order)], axis=1)
        expected = np.concatenate([self._characters.totals, self._ngrams.totals], axis=1)
        shared = np.concatenate([self._characters.match(characters), self._ngrams.match(words)], axis=1)

        # An order that the reference is too short for counts as if the translation were, too.
        own[expected == 0] = 0
        return np.stack([own, expected, shared], axis=2).reshape(len(hypotheses), -1)


def _join_words(split: Iterable[Sequence[str]]) -> list[str]:
    return ["".join(words) for words in split]


def split_punctuation(words: Iterable[str]) -> list[str]:
    """Return words with one punctuation mark split off the end of each, or else off its beginning, as chrF++ does.

    Example:
        >>> split_punctuation(["(so", "what?", "(hi)", "-"])
        ['(', 'so', 'what', '?', '(hi', ')', '-']
    """
    return list(_split_marks(words))


def _split_marks(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        if len(word) > 1 and word[-1] in PUNCTUATION:
            yield word[:-1]
            yield word[-1]
        elif len(word) > 1 and word[0] in PUNCTUATION:
            yield word[0]
            yield word[1:]
        else:
            yield word
