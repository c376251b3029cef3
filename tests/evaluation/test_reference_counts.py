"""Counts of n-grams: always the numbers of sacrebleu, whatever the text."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from neuronspec.evaluation.ngram_counts import NgramIndex, read_characters
from neuronspec.evaluation.reference_counts import SacrebleuCounts, count_references
from neuronspec.evaluation.tokenizers import build_bleu_of, tokenize_all

SCORERS = {
    "bleu": BLEU,
    "bleu, chinese": lambda: BLEU(tokenize="zh"),
    "bleu, characters": lambda: BLEU(tokenize="char"),
    "bleu, own tokens": lambda: build_bleu_of(lambda text: text.replace("a", " a "), "own"),
    "bleu, shorter": lambda: BLEU(max_ngram_order=2),
    "bleu, any case": lambda: BLEU(lowercase=True),
    "chrf": CHRF,
    "chrf++": lambda: CHRF(word_order=2),
    "chrf, spaces": lambda: CHRF(whitespace=True),
    "ter": TER,
}

# Letters of several scripts and lengths in bytes, every mark that a tokenizer treats, and kinds of white space
PIECES = ["a", "A", "b", "é", "猫", "𝔵", "1", "23", " ", "  ", ".", ",", "-", "..", "(", "&", "&amp;", "&quot;", "&lt;"]
PIECES += ["<skipped>", "'", "/", "~", "\\", "\n", "-\n", "\t", "\x1c", "\x85", "\u2028", "\u3000", "\ud800", "_", '"']
texts = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


def count_with_sacrebleu(scorer: Any, hypotheses: list[str], references: list[str]) -> list[list[int]]:
    """Return the statistics that sacrebleu's own tests start from."""
    return [list(map(int, row)) for row in scorer._extract_corpus_statistics(hypotheses, [references])]


@pytest.mark.parametrize("name", SCORERS)
@settings(max_examples=25)
@given(pairs=st.lists(st.tuples(texts, texts), min_size=1, max_size=6))
@example(pairs=[("", "a b"), ("a b", ""), ("", "")])
@example(pairs=[("a a a a a", "a a a"), ("a a a", "a a a a a")])
def test_counts_are_those_of_sacrebleu(name: str, pairs: list[tuple[str, str]]) -> None:
    hypotheses, references = [h for h, _ in pairs], [r for _, r in pairs]
    golden = count_with_sacrebleu(SCORERS[name](), hypotheses, references)

    counts = count_references(SCORERS[name](), references)
    assert counts.count(hypotheses).tolist() == golden

    # The references are counted once: a second system, and the first one again, have their own numbers.
    other = hypotheses[::-1]
    assert counts.count(other).tolist() == count_with_sacrebleu(SCORERS[name](), other, references)
    assert counts.count(hypotheses).tolist() == golden


@settings(max_examples=100)
@given(lines=st.lists(texts, max_size=5))
@example(lines=["1.000,5 -- x.,y.", "..,,..", "1-2-3 a-b", "&amp;lt; &lt;skipped>"])
@example(lines=["-<skipped>\n a", "a-\n-\nb", ".", " .\n. "])
def test_all_lines_together_have_the_tokens_of_each_alone(lines: list[str]) -> None:
    tokenizer = Tokenizer13a()
    assert tokenize_all(tokenizer, lines) == [tokenizer(line.rstrip()).split() for line in lines]


def test_a_tokenizer_with_other_rules_is_used_as_it_is() -> None:
    tokenizer = Tokenizer13a()
    tokenizer._post_tokenizer._re = [*tokenizer._post_tokenizer._re, (re.compile("x"), " y ")]
    assert tokenize_all(tokenizer, ["axb."]) == [["a", "y", "b", "."]]


def test_a_metric_with_counts_of_its_own_is_counted_by_its_own_code() -> None:
    class Longest(BLEU):  # type: ignore[misc]
        def _compute_segment_statistics(self, hypothesis: str, ref_kwargs: dict[str, Any]) -> list[int]:
            return [len(hypothesis), *super()._compute_segment_statistics(hypothesis, ref_kwargs)]

    counts = count_references(Longest(), ["a b"])
    assert isinstance(counts, SacrebleuCounts)
    assert counts.count(["a bcd"])[0, 0] == 5


def test_the_largest_code_points_and_long_texts_are_exact() -> None:
    reference = "\U0010ffff" * 500 + "ab" * 500
    index = NgramIndex(read_characters([reference, "\U0010ffff"]), order=6)
    shared = index.match(read_characters([reference[::-1], "\U0010ffff" * 9]))
    expected = [sum_shared(reference, reference[::-1], order) for order in range(1, 7)]
    np.testing.assert_array_equal(shared, [expected, [1, 0, 0, 0, 0, 0]])


def sum_shared(reference: str, text: str, order: int) -> int:
    """Count by hand the n-grams that two texts share."""
    grams = [[one[i : i + order] for i in range(len(one) - order + 1)] for one in (reference, text)]
    return sum(min(grams[0].count(gram), grams[1].count(gram)) for gram in set(grams[0]))
