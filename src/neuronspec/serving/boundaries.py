"""Places at which a text can be cut: ends of sentences, then whatever else does the least harm.

Cutting too little only leaves a long piece; a cut after an abbreviation spoils two translations. So an end of a
sentence is one only if nothing speaks against it, and what is still too long is cut at weaker places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import regex


class Cut(NamedTuple):
    """A place at which a text can be cut, and the white space there, which belongs to neither side.

    Args:
        end: End of the part before the cut.
        start: Start of the part after it.
    """

    end: int
    start: int


# Marks that end sentences: with white space after them, or without any in scripts that write none.
_SPACED_ENDS: Final = ".!?…‼⁇⁈⁉؟۔։।॥።፧፨။།༎។៕᙮᥄᠃᠉"
_DENSE_ENDS: Final = "。！？｡．"
_CLOSING: Final = r"[\p{Pe}\p{Pf}\p{Pi}\"']*"  # some languages close quotations with the marks that others open them with
_DENSE_CLOSING: Final = r"[\p{Pe}\p{Pf}\"']*"  # without a space, the mark may belong to the next sentence
_SENTENCE_END: Final = regex.compile(
    rf"[{regex.escape(_SPACED_ENDS)}]+{_CLOSING}(?P<gap>\s+)(?=\S)|[{_DENSE_ENDS}]+{_DENSE_CLOSING}(?P<gap>\s*)(?=\S)"
)
# Marks within sentences, which the white space or a script without it sets apart from those within numbers
_CLAUSE_END: Final = regex.compile(r"(?:[,;:،؛፣፤፥၊–—]+(?P<gap>\s+)|[，、；：､]+(?P<gap>\s*))(?=\S)")
_SPACE: Final = regex.compile(r"(?<=\S)(?P<gap>\s+)(?=\S)")
_CHARACTER: Final = regex.compile(r"\X(?P<gap>)(?=\S)")  # as readers see them: marks stay with their letter

# The word before a full stop, and the first letter or digit after it
_LAST_WORD: Final = regex.compile(r"[\p{L}\p{M}\p{N}.]+$")
_FIRST_LETTER: Final = regex.compile(r"^[^\p{L}\p{N}]*(?P<letter>[\p{L}\p{N}])")
# Abbreviations in small letters that capitals can follow; those with a full stop within (e.g.) are known by it.
_ABBREVIATIONS: Final = frozenset(
    "abs al approx art bzw ca cca cf č ed est etc evtl fig г ggf incl inkl кг max min mind nr no núm op ob pág par"
    " pl pp prof resp rue sec см str ст st sv таб tel tj tzn u ul ул usw v vgl vol vs z zzgl".split()
)
_WINDOW: Final = 64  # characters on each side of a mark that decide about it
_LONGEST_TITLE: Final = 4  # letters of an abbreviation that begins with a capital: Prof.
_LONGEST_ORDINAL: Final = 2  # digits before the full stop of an ordinal number: 31. Dezember


def find_sentence_ends(text: str) -> Iterator[Cut]:
    """Yield the cuts between sentences, as far as punctuation shows them without doubt.

    Args:
        text: One line.

    Example:
        >>> text = "Dr. Li came on 3. May. She left."
        >>> [text[cut.start:] for cut in find_sentence_ends(text)]
        ['She left.']
    """
    for match in _SENTENCE_END.finditer(text):
        end, start = match.span("gap")
        if _is_end(text[max(0, end - _WINDOW) : end], text[start : start + _WINDOW]):
            yield _read_cut(match)


def find_possible_ends(text: str) -> Iterator[Cut]:
    """Yield the cuts at all marks that can end a sentence, after an abbreviation or not."""
    yield from map(_read_cut, _SENTENCE_END.finditer(text))


def find_clause_ends(text: str) -> Iterator[Cut]:
    """Yield the cuts at commas, semicolons, colons and dashes."""
    yield from map(_read_cut, _CLAUSE_END.finditer(text))


def find_spaces(text: str) -> Iterator[Cut]:
    """Yield the cuts at white space."""
    yield from map(_read_cut, _SPACE.finditer(text))


def find_characters(text: str) -> Iterator[Cut]:
    """Yield the cuts between any two characters that a reader sees as two."""
    yield from map(_read_cut, _CHARACTER.finditer(text))


FindCuts = Callable[[str], Iterator[Cut]]

WEAKER_CUTS: Final[tuple[FindCuts, ...]] = (find_possible_ends, find_clause_ends, find_spaces, find_characters)
"""Where a sentence that is too long is cut, the least harm first."""


def _read_cut(match: regex.Match[str]) -> Cut:
    return Cut(*match.span("gap"))


def _is_end(before: str, after: str) -> bool:
    """Return whether a sentence ends between two parts of a line."""
    # A small letter goes on with the sentence.
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
