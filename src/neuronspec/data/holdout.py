"""Holding sentences out of the training text, for validation and test."""

from __future__ import annotations

import re
from typing import Literal

from neuronspec.config.sections import HoldOut
from neuronspec.data.normalization import comparison_form, hash_forms

_IN_PROGRAM_TEXT = re.compile(
    r"""
    </?\w[^<>]*>                                        # <b>, </b>, <link href="...">
    | \$?\{[^{}]*\}+                                    # {name}, ${name}, {{name}}
    | %\(\w+\)\w                                        # %(name)s
    | %(?:\d+\$)?[-+\#]?\d*(?:\.\d+)?(?:l{0,2}[a-zA-Z@]|(?<=\d))   # %s, %1$s, %.2f, %ld, %@, %1
    | \$\w+                                             # $1, $name
    """,
    re.VERBOSE,
)
_BEGINS = re.compile(r"[<{$%]")  # a character of program text
_DIGIT = re.compile(r"\d")
_PUNCTUATION = re.compile(r"[^\w\s]|_")


def held_out_share(text: str) -> float:
    """Return a number in [0, 1) that depends on the words of an English sentence only.

    A pair is held out when the share of its English side is below some threshold: the sentence then falls on
    the same side for every language, and so do the sentences that differ from it in case, punctuation,
    digits, white space or placeholders (`{name}`, `%1$s`, `$1`, `<tag>`).

    Args:
        text: English side of a pair.

    Returns:
        The share, uniform over different sentences and the same on every machine.

    Example:
        >>> held_out_share("Page 1 of %d.") == held_out_share("page 7 of {total}")
        True
    """
    # Only words are left, and a 0 for each digit.
    words = comparison_form(text)
    if _BEGINS.search(words) is not None:
        words = _IN_PROGRAM_TEXT.sub(" ", words)
    words = words.lower()
    words = _DIGIT.sub("0", words)
    words = _PUNCTUATION.sub("", words)

    # What was taken out may leave double spaces, which the form joins.
    number = hash_forms(comparison_form(words))
    return (number >> 11) / 2**53  # 53 bits: a float holds no more, and 1.0 is never reached


def choose_part(text: str, limits: HoldOut) -> Literal["train", "valid", "test"]:
    """Return the part that a training sentence belongs to, some of which are held out.

    Args:
        text: Side of the pair that decides: the pivot, where the pair has it.
        limits: Shares to hold out.
    """
    if not limits.test and not limits.valid:
        return "train"

    # The test set comes first: it stays the same whatever share is held out for validation.
    share = held_out_share(text)
    if share < limits.test:
        return "test"
    if share < limits.test + limits.valid:
        return "valid"
    return "train"
