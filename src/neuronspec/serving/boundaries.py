"""Places at which a text can be cut: ends of sentences, then whatever else does the least harm.

Cutting too little only leaves a long piece; a cut after an abbreviation spoils two translations. So an end of a
sentence is one only if nothing speaks against it, and what is still too long is cut at weaker places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import regex

from neuronspec.data.normalization import is_empty


class Cut(NamedTuple):
    """A place at which a text can be cut, and the white space there, which belongs to neither side.

    Args:
        end: End of the part before the cut.
        start: Start of the part after it.
    """

    end: int
    start: int


# Marks that end sentences: with white space after them, or without any in scripts that write none.
_SPACED_ENDS: Final = ".!?…‼⁇⁈⁉؟۔։।॥።፧፨။།༎៕᙮᥄᠃᠉"
_DENSE_ENDS: Final = "。！？｡．"
_CLOSING: Final = r"[\p{Pe}\p{Pf}\p{Pi}\"']*"  # some languages close quotations with what others open them with
_DENSE_CLOSING: Final = r"[\p{Pe}\p{Pf}\"']*"  # without a space, such a mark belongs to the next sentence
_WHITE: Final = r"[\s\x1c-\x1f]"
# Runs are taken whole (`++`) and from their beginning, so that long ones take no longer than others of their length.
_SENTENCE_END: Final = regex.compile(
    rf"(?<![{regex.escape(_SPACED_ENDS)}])[{regex.escape(_SPACED_ENDS)}]++{_CLOSING}+(?={_WHITE})"
    rf"|[{_DENSE_ENDS}]++{_DENSE_CLOSING}+"
)
# Marks within sentences, which white space tells from those within numbers
_CLAUSE_END: Final = regex.compile(rf"(?<![,;:،؛፣፤፥၊–—])[,;:،؛፣፤፥၊–—]++(?={_WHITE})|[，、；：､]++")
_SPACE: Final = regex.compile(rf"(?<!{_WHITE})(?={_WHITE})")
_CHARACTER: Final = regex.compile(r"\X")  # as readers see them: marks stay with their letter

# The word before a full stop, and the first letter or digit after it
_LAST_WORD: Final = regex.compile(r"[\p{L}\p{M}\p{N}.]+$")
_FIRST_LETTER: Final = regex.compile(r"^[^\p{L}\p{N}]*(?P<letter>[\p{L}\p{N}])")
# Abbreviations in small letters that capitals can follow; those with a full stop within (e.g.) are known by it.
_ABBREVIATIONS: Final = frozenset(
    {"abs", "al", "approx", "art", "bzw", "ca", "cf", "est", "etc", "evtl", "fig", "ggf", "incl", "inkl", "max", "min"}
    | {"no", "nr", "núm", "op", "pág", "pp", "prof", "resp", "st", "str", "sv", "tel", "tj", "tzn", "ul", "usw", "vgl"}
    | {"vol", "vs", "zzgl", "кг", "см", "ст", "таб", "ул"}
)
_WINDOW: Final = 64  # characters on each side of a mark that decide about it
_REACH: Final = 64  # characters on each side of the middle among which a text without any mark is cut
_SEEN_IN_PART: Final = 16  # characters at the start of such a window that may belong to one before it
_LONGEST_TITLE: Final = 4  # letters of an abbreviation that begins with a capital: Prof.
_LONGEST_ORDINAL: Final = 2  # digits before the full stop of an ordinal number: 31. Dezember


def find_sentence_ends(text: str) -> Iterator[Cut]:
    """Yield the cuts between sentences, as far as punctuation shows them without doubt.

    Args:
        text: One line.

    Example:
        >>> text = "Dr. Li kam am 3. August. Sie ging."
        >>> [text[cut.start:] for cut in find_sentence_ends(text)]
        ['Sie ging.']
    """
    for cut in find_possible_ends(text):
        if _is_end(text[max(0, cut.end - _WINDOW) : cut.end], text[cut.start : cut.start + _WINDOW]):
            yield cut


def find_possible_ends(text: str) -> Iterator[Cut]:
    """Yield the cuts at all marks that can end a sentence, after an abbreviation or not."""
    yield from _find_cuts(_SENTENCE_END, text)


def find_clause_ends(text: str) -> Iterator[Cut]:
    """Yield the cuts at commas, semicolons, colons and dashes."""
    yield from _find_cuts(_CLAUSE_END, text)


def find_spaces(text: str) -> Iterator[Cut]:
    """Yield the cuts at white space."""
    yield from _find_cuts(_SPACE, text)


def find_characters(text: str) -> Iterator[Cut]:
    """Yield the cuts near the middle of a text, between characters that a reader sees as two.

    What counts as one character can be as long as a text, as a letter with thousands of accents, and a row of flags
    takes a time that grows with the square of its length. So only the middle is searched, and cut where it must be.
    """
    middle = len(text) // 2
    start = max(0, middle - _REACH)
    window = text[start : middle + _REACH]
    ends = [start + match.end() for match in _CHARACTER.finditer(window)]

    # A character that begins before the window, or ends after it, is seen in part.
    first = start + _SEEN_IN_PART if start else 0
    last = len(text) if start + len(window) == len(text) else start + len(window) - 1
    cuts = list(_make_cuts([end for end in ends if first <= end <= last], text))
    yield from cuts or _make_cuts([middle], text)


FindCuts = Callable[[str], Iterator[Cut]]

WEAKER_CUTS: Final[tuple[FindCuts, ...]] = (find_possible_ends, find_clause_ends, find_spaces, find_characters)
"""Where a sentence that is too long is cut, the least harm first."""


def _find_cuts(pattern: regex.Pattern[str], text: str) -> Iterator[Cut]:
    """Yield the cuts at the ends of what a pattern matches."""
    yield from _make_cuts((match.end() for match in pattern.finditer(text)), text)


def _make_cuts(ends: Iterable[int], text: str) -> Iterator[Cut]:
    """Yield the cuts at some places, of those with something to read on both sides."""
    first, last = _find_visible(text)
    for end in ends:
        start = end
        if end and text[end - 1].isspace():  # the white space was found from its beginning
            continue
        while start < len(text) and text[start].isspace():
            start += 1
        if first < end and start <= last:
            yield Cut(end, start)


def _find_visible(text: str) -> tuple[int, int]:
    """Return the places of the first and the last visible character of a text that has one."""
    forward, backward = range(len(text)), range(len(text) - 1, -1, -1)
    first, last = (next(place for place in places if not is_empty(text[place])) for places in (forward, backward))
    return first, last


def _is_end(before: str, after: str) -> bool:
    """Return whether a sentence ends between two parts of a line."""
    # A small letter continues the sentence.
    first = _FIRST_LETTER.match(after)
    if first is not None and first["letter"].islower():
        return False

    # Only a full stop has other uses.
    bare = regex.sub(rf"{_CLOSING}$", "", before)
    return not bare.endswith(".") or not _ends_with_abbreviation(bare)


def _ends_with_abbreviation(before: str) -> bool:
    """Return whether the full stop at the end of a text may belong to an abbreviation or an ordinal number."""
    word = _LAST_WORD.search(before)
    letters = word[0].removesuffix(".") if word is not None else ""
    if not letters or letters.endswith("."):  # a mark of its own, or several full stops
        return False

    if letters.isdigit():
        return len(letters) <= _LONGEST_ORDINAL

    # An initial, an abbreviation of several words (z.B.), a title, or one of the list
    is_title = letters[0].isupper() and len(letters) <= _LONGEST_TITLE
    return len(letters) == 1 or "." in letters or is_title or letters.casefold() in _ABBREVIATIONS
