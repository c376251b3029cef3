"""Cleaning sentence pairs: dropping those that are unfit for training, and counting the reasons."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from neuronspec.data.corpus_formats import Pair
from neuronspec.data.normalization import comparison_form, hash_forms, normalize_text
from neuronspec.text_patterns import TextPattern


@dataclass(frozen=True, kw_only=True)
class _Limits:
    """Limits that a pair must meet to be kept; see `clean_pairs`."""

    min_words: int
    min_source_words: int
    max_words: float
    max_ratio: float
    unwanted: TextPattern | None

    def find_fault(self, texts: tuple[str, str], forms: tuple[str, str]) -> str | None:
        """Return why a pair is dropped, or None.

        Args:
            texts: Normalized source and target.
            forms: Their `comparison_form`.
        """
        # Without a visible character on one side, there is nothing to count.
        if not all(forms):
            return "empty"

        # The reasons in a fixed order: each pair counts for the first one only.
        words = [len(form.split(" ")) for form in forms]
        if min(words) < self.min_words or words[0] < self.min_source_words:
            return "too short"
        if max(words) > self.max_words:
            return "too long"
        if max(words) > self.max_ratio * min(words):
            return "length ratio"
        if self.unwanted is not None and any(map(self.unwanted.is_in, texts)):
            return "pattern"
        return None


@dataclass(frozen=True)
class Judgment:
    """The result of cleaning for one pair.

    Attributes:
        texts: Normalized source and target.
        forms: Their `comparison_form`.
        fault: Reason to drop the pair; None if it is fit for training.
    """

    texts: tuple[str, str]
    forms: tuple[str, str]
    fault: str | None


def judge_pairs(
    pairs: Iterable[Pair],
    *,
    min_words: int = 0,
    max_words: int | None = None,
    max_ratio: float | None = None,
    min_source_words: int = 0,
    drop_matching: str | None = None,
) -> Iterator[Judgment]:
    """Yield a judgment about each pair by itself, whichever pairs came before.

    Args:
        pairs: Pairs that `read_pairs` yields.
        min_words: Least number of words on either side.
        max_words: Greatest number of words on either side.
        max_ratio: Greatest number of words of one side for a word of the other.
        min_source_words: Least number of words on the source side.
        drop_matching: Regular expression; a pair is dropped where it is found on either side.
    """
    limits = _Limits(
        min_words=min_words,
        min_source_words=min_source_words,
        max_words=math.inf if max_words is None else max_words,
        max_ratio=math.inf if max_ratio is None else max_ratio,
        unwanted=None if drop_matching is None else TextPattern(drop_matching),
    )
    for pair in pairs:
        texts = (normalize_text(pair.source), normalize_text(pair.target))
        forms = (comparison_form(texts[0]), comparison_form(texts[1]))
        yield Judgment(texts, forms, limits.find_fault(texts, forms))


def clean_pairs(
    pairs: Iterable[Pair],
    *,
    min_words: int = 0,
    max_words: int | None = None,
    max_ratio: float | None = None,
    min_source_words: int = 0,
    deduplicate: bool = True,
    drop_matching: str | None = None,
    counts: Counter[str],
) -> Iterator[tuple[str, str]]:
    """Yield the normalized pairs that are fit for training, in their order.

    A word is what stands between white space, so the limits mean little for languages written without it.
    `neuronspec.data.normalization` defines which texts are empty and which are the same. Duplicates are recognized by
    a 64-bit hash of the pair: memory holds a set of numbers, not of sentences. Whole corpora are cleaned by
    `prepare_text`, in parallel and without such a set.

    Args:
        pairs: Pairs that `read_pairs` yields.
        min_words: Least number of words on either side.
        max_words: Greatest number of words on either side.
        max_ratio: Greatest number of words of one side for a word of the other.
        min_source_words: Least number of words on the source side.
        deduplicate: Whether to drop a pair that came before.
        drop_matching: Regular expression; a pair is dropped where it is found on either side.
        counts: Counter to which this adds what happened: `"read"`, `"kept"`, and for each dropped pair one of
            `"empty"`, `"too short"`, `"too long"`, `"length ratio"`, `"pattern"`, `"duplicate"`.

    Yields:
        Source and target text.

    Example:
        >>> counts = Counter()
        >>> pairs = [Pair("Good  day", "Guten Tag", "a:1"), Pair("Good day", "Guten Tag", "a:2")]
        >>> list(clean_pairs(pairs, counts=counts)), counts["duplicate"]
        ([('Good day', 'Guten Tag')], 1)
    """
    judgments = judge_pairs(
        pairs,
        min_words=min_words,
        max_words=max_words,
        max_ratio=max_ratio,
        min_source_words=min_source_words,
        drop_matching=drop_matching,
    )
    seen: set[int] = set()
    for judgment in judgments:
        counts["read"] += 1
        fault = judgment.fault

        # Only what is fit otherwise is remembered, so that memory does not grow with what is dropped.
        if fault is None and deduplicate:
            number = hash_forms(*judgment.forms)
            fault = "duplicate" if number in seen else None
            seen.add(number)

        counts[fault or "kept"] += 1
        if fault is None:
            yield judgment.texts
