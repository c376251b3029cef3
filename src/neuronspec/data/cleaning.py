"""Cleaning sentence pairs, and holding some out for validation and test."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator

from neuronspec.data.formats import Pair
from neuronspec.data.sameness import hash_forms, same_form

# control characters, and the halves of surrogate pairs, which no file can hold
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_PLACEHOLDER = re.compile(
    r"""
    </?\w[^<>]*>                                        # <b>, </b>, <link href="...">
    | \$?\{[^{}]*\}+                                    # {name}, ${name}, {{name}}
    | %\(\w+\)\w                                        # %(name)s
    | %(?:\d+\$)?[-+\#]?\d*(?:\.\d+)?(?:l{0,2}[a-zA-Z@]|(?<=\d))   # %s, %1$s, %.2f, %ld, %@, %1
    | \$\w+                                             # $1, $name
    """,
    re.VERBOSE,
)
_DIGIT = re.compile(r"\d")
_PUNCTUATION = re.compile(r"[^\w\s]|_")


def normalize_text(text: str) -> str:
    """Return `text` in Unicode NFC, with every run of white space or control characters as one space.

    Invisible characters stay: some languages need them. `same_form` compares texts without them.

    Example:
        >>> normalize_text(" Guten\\tMorgen\\u2028\\n")
        'Guten Morgen'
    """
    text = unicodedata.normalize("NFC", text)
    if not text.isprintable():
        text = _CONTROL.sub(" ", text)
    return " ".join(text.split())


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
    `neuronspec.data.sameness` defines which texts are empty and which are the same. Duplicates are recognised by a
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
        forms = (same_form(source), same_form(target))
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


def held_out_share(text: str) -> float:
    """Return a number in [0, 1) that depends on the words of an English sentence only.

    A pair is held out when the share of its English side is below some threshold: the sentence then falls on
    the same side for every language, and so do the sentences that differ from it in case, punctuation,
    digits, white space or placeholders (`{name}`, `%1$s`, `$1`, `<tag>`).

    Args:
        text: the English side of a pair.

    Returns:
        The share, uniform over different sentences and the same on every machine.

    Example:
        >>> held_out_share("Page 1 of %d.") == held_out_share("page 7 of {total}")
        True
    """
    words = _PLACEHOLDER.sub(" ", same_form(text)).lower()
    words = _PUNCTUATION.sub("", _DIGIT.sub("0", words))
    return (hash_forms(same_form(words)) >> 11) / 2**53  # 53 bits: a float holds no more, and 1.0 is never reached
