"""Spaces between words: whether a language is written with them, which decides what metrics of words can count."""

from __future__ import annotations

from typing import Final, Literal

import regex

from neuronspec.languages.meaning import read_code

Writing = Literal["spaced", "chinese", "japanese", "korean", "unspaced"]

_CHINESE: Final = frozenset({"Hans", "Hant", "Hani", "Hanb"})
_JAPANESE: Final = frozenset({"Jpan", "Hira", "Kana"})
# Scripts of South-East Asia and Tibet that have spaces between phrases at most, by their names in Unicode.
_UNSPACED: Final = {
    **{"Thai": "Thai", "Laoo": "Lao", "Khmr": "Khmer", "Mymr": "Myanmar", "Tibt": "Tibetan"},
    **{"Java": "Javanese", "Bali": "Balinese", "Lana": "Tai_Tham"},
    **{"Talu": "New_Tai_Lue", "Tale": "Tai_Le", "Tavt": "Tai_Viet"},
}
# A letter of these scripts, with the combining marks that follow it.
_LETTER: Final = regex.compile("[" + "".join(rf"\p{{{name}}}" for name in _UNSPACED.values()) + r"]\p{M}*")
# A word: a letter of a script without spaces between words; letters and digits with what joins them (don't, 3.5); or
# any other character.
DENSE: Final = "".join(rf"\p{{{name}}}" for name in ("Han", "Hiragana", "Katakana", *_UNSPACED.values()))
"""The scripts without spaces between words, for a set of characters in a pattern of `regex`."""
_JOINED: Final = rf"[[\p{{L}}\p{{M}}\p{{N}}_\u200c\u200d]--[{DENSE}]]+"
_WORD: Final = regex.compile(rf"(?V1)[{DENSE}]\p{{M}}*|{_JOINED}(?:['’.,:\-]{_JOINED})*|\S")
_BREAK: Final = "\u200b"  # the zero-width space, an invisible hint where a line may break


def find_writing(language: str) -> Writing:
    """Return how a language is written, by the script in its code or by its usual script.

    Args:
        language: Code of the language, in any spelling.

    Raises:
        NeuronspecError: If the text cannot be a language code.

    Example:
        >>> [find_writing(code) for code in ("cmn_Hans", "zh-TW", "jpn_Jpan", "kor", "th", "bod_Tibt", "de")]
        ['chinese', 'chinese', 'japanese', 'korean', 'unspaced', 'unspaced', 'spaced']
        >>> find_writing("zh-Latn"), find_writing("my_language")
        ('spaced', 'spaced')
    """
    meaning = read_code(language)
    if meaning.script in _CHINESE:
        return "chinese"
    if meaning.script in _JAPANESE:
        return "japanese"

    # Korean has spaces between words, but BLEU splits the words further (MeCab).
    if meaning.language == "ko" and meaning.script == "Hang":
        return "korean"

    return "unspaced" if meaning.script in _UNSPACED else "spaced"


def split_letters(text: str) -> str:
    """Return a text with spaces around each letter (with its marks) of the scripts that put none between words.

    Letters of other scripts and digits stay together, as words. Zero-width spaces are removed, because only some
    writers use them.

    Example:
        >>> split_letters("ใช้ iPhone 15").split()
        ['ใ', 'ช้', 'iPhone', '15']
    """
    return str(_LETTER.sub(r" \g<0> ", text.replace(_BREAK, "")))


def split_words(text: str) -> list[str]:
    """Return the words of a text in any language, for counting them; metrics have tokenizers of their own.

    A letter of a script without spaces between words is a word, as is each punctuation mark.

    Example:
        >>> split_words("It's 3.5 m, isn't it?")
        ["It's", '3.5', 'm', ',', "isn't", 'it', '?']
        >>> split_words("東京 iPhone 15")
        ['東', '京', 'iPhone', '15']
    """
    return list(_WORD.findall(text.replace(_BREAK, "")))


def find_words(text: str) -> list[tuple[int, int]]:
    """Return where the words of `split_words` begin and end in a text.

    Example:
        >>> find_words("isn't it?")
        [(0, 5), (6, 8), (8, 9)]
    """
    return [found.span() for found in _WORD.finditer(text)]
