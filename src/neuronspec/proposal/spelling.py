"""One spelling for the languages of a run, chosen from those that its files use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from neuronspec.languages import Language, find_language, read_code, same_language

_STYLES = ("code", "iso3", "nllb", "mbart")  # columns of the table of languages; ties go to the first


def choose_spellings(codes: Mapping[str, int]) -> dict[str, str]:
    """Return one spelling for each language, by every code that files use.

    The style that most files have is used for all languages: two letters, three letters, or a language with its script.
    Codes of no such style stay as they are written: `no`, `sr_Latn`, a dialect's.

    Args:
        codes: Number of files of each code.

    Example:
        >>> choose_spellings({"de": 1, "en": 3, "swe_Latn": 1})
        {'de': 'de', 'en': 'en', 'swe_Latn': 'sv'}
        >>> choose_spellings({"no": 1, "sr_Latn": 1, "deu_Latn": 1, "en": 3})
        {'no': 'no', 'sr_Latn': 'sr_Latn', 'deu_Latn': 'de', 'en': 'en'}
    """
    styles: Counter[str] = Counter()
    for code, count in codes.items():
        for style in _find_styles(code):
            styles[style] += count
    best = max(_STYLES, key=lambda style: (styles[style], -_STYLES.index(style)))

    spelled: dict[str, str] = {}
    for code in sorted(codes, key=lambda code: (-codes[code], len(code), code)):
        known = next((spelled[other] for other in spelled if same_language(code, other)), None)
        spelled[code] = known or _spell(code, best, codes)
    return {code: spelled[code] for code in codes}


def _find_styles(code: str) -> list[str]:
    """Return the styles in which a code is written."""
    row = find_language(code)
    return [style for style in _STYLES if getattr(row, style) == code]


def _spell(code: str, style: str, codes: Iterable[str]) -> str:
    """Return a language in a style, or as the files write it where the table lacks such a code for it."""
    row: Language = find_language(code)
    candidate: str = getattr(row, style) or row.code
    if not same_language(candidate, code):
        return code

    # A spelling of no style, such as `no`, or one that differs in the separator only, such as `sr_Latn`
    is_plain_word = code.isalpha() and not _find_styles(code)
    if is_plain_word or candidate.replace("-", "_") == code.replace("-", "_"):
        return code

    # Next to the same language in another script, a code without a script would not be clear.
    language = read_code(code).language
    scripts = {read_code(other).script for other in codes if read_code(other).language == language}
    return code if len(scripts) > 1 and candidate.isalnum() else candidate
