"""Cleaning sentence pairs, and holding some out for validation and test."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from neuronspec.data.corpus_formats import Pair
from neuronspec.data.normalization import comparison_form, hash_forms, normalize_text


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
    """Yield the normalised pairs that are fit for training, in their order.

    A word is what stands between white space, so the limits mean little for languages written without it.
    `neuronspec.data.normalization` defines which texts are empty and which are the same. Duplicates are recognised by a
    64-bit hash of the pair: memory holds a set of numbers, not of sentences.

    Args:
        pairs: what `read_pairs` yields.
        min_words: the least number of words on either side.
        max_words: the greatest number of words on either side.
        max_ratio: the greatest number of words of one side for a word of the other.
        min_source_words: the least number of words on the source side.
        deduplicate: whether to drop a pair that came before.
        drop_matching: a regular expression; a pair is dropped where it is found on either side.
        counts: what happened is added here: `"read"`, `"kept"`, and for each dropped pair one of `"empty"`,
            `"too short"`, `"too long"`, `"length ratio"`, `"pattern"`, `"duplicate"`.

    Yields:
        Source and target text.

    Example:
        >>> counts = Counter()
        >>> pairs = [Pair("Good  day", "Guten Tag", "a:1"), Pair("Good day", "Guten Tag", "a:2")]
        >>> list(clean_pairs(pairs, counts=counts)), counts["duplicate"]
        ([('Good day', 'Guten Tag')], 1)
    """
    seen: set[int] = set()
    unwanted = re.compile(drop_matching) if drop_matching is not None else None
    for pair in pairs:
        counts["read"] += 1
        source, target = normalize_text(pair.source), normalize_text(pair.target)
        forms = (comparison_form(source), comparison_form(target))
        words = (len(forms[0].split(" ")), len(forms[1].split(" ")))
        key = hash_forms(*forms) if deduplicate else 0
        if not all(forms):
            reason = "empty"
        elif min(words) < min_words or words[0] < min_source_words:
            reason = "too short"
        elif max_words is not None and max(words) > max_words:
            reason = "too long"
        elif max_ratio is not None and max(words) > max_ratio * min(words):
            reason = "length ratio"
        elif unwanted is not None and (unwanted.search(source) or unwanted.search(target)):
            reason = "pattern"
        elif deduplicate and key in seen:
            reason = "duplicate"
        else:
            reason = "kept"
            seen.add(key)
        counts[reason] += 1
        if reason == "kept":
            yield source, target
