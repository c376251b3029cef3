"""Single characters that stay in a trimmed vocabulary, so that no text in a language becomes unknown."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

_LEAST_SHARE = 0.001  # of all letters: a script with fewer of them is not one of the language
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")  # one byte of a character that has no piece


def find_scripts(pieces: Mapping[str, int]) -> set[str]:
    """Return the scripts in which a text is written.

    Args:
        pieces: Number of times that each piece occurs in the text.

    Example:
        >>> sorted(find_scripts({"▁Guten": 2, "ж": 1, ".": 5}))
        ['CYRILLIC', 'LATIN']
    """
    letters: Counter[str] = Counter()
    for piece, count in pieces.items():
        for character in piece:
            script = _find_script(character)
            if script is not None:
                letters[script] += count

    least = _LEAST_SHARE * letters.total()
    return {script for script, count in letters.items() if count >= least}


def find_characters(pieces: Iterable[str], scripts: set[str]) -> set[str]:
    """Return those pieces that are a byte, a digit, a sign, or a letter of some scripts.

    Args:
        pieces: Pieces of a vocabulary.
        scripts: Scripts, as `find_scripts` names them.
    """
    found: set[str] = set()
    for piece in pieces:
        is_character = len(piece) == 1 and _find_script(piece) in {None, *scripts}
        if is_character or _BYTE.fullmatch(piece):
            found.add(piece)
    return found


def _find_script(character: str) -> str | None:
    """Return the script of a letter or of a mark on letters, by its Unicode name; None for any other character."""
    if unicodedata.category(character)[0] not in "LM":
        return None
    script = unicodedata.name(character, "").partition(" ")[0]
    return None if script == "COMBINING" else script  # accents belong to many scripts
