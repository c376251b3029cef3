"""Choosing among spellings of a language: the tags of a model, the names of files, the columns of a table.

There are five rules, from the most generous to the strictest:

- `match_variant`: the language, its main form or macrolanguage, or any variant of it (files in a corpus).
- `match_language`: the language, its main form or macrolanguage (the tags of a model).
- `spell_as`: the language itself, in the first spelling that means it, else unchanged (the pivot).
- `find_only_spelling`: the language itself, if exactly one text means it (names in other people's data).
- `list_spellings`: every list of texts that means these languages, to choose from or to refuse (names of files).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from neuronspec.errors import NeuronspecError
from neuronspec.languages.lookup import names_language
from neuronspec.languages.meaning import Meaning, check_code, find_macrolanguage, find_row, fold, read_code


def match_language(code: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that means the language `code`, or None.

    These are tried in order: the same spelling; the same except for case, hyphens and underscores; the same written
    language (see `same_language`); the language's main form for a variant or a region that no candidate has (`pt` for
    `pt-BR`); the macrolanguage of which it is a standard form (`aka` for `twi`), or the other way round. A script that
    `code` asks for, or that its language is usually written in, is never replaced by another one. If several
    candidates fit in one of these steps, the shortest is chosen, then the first in alphabetical order.

    Args:
        code: Any code.
        candidates: Codes in any spelling. Texts that cannot be codes match only themselves.

    Raises:
        NeuronspecError: If `code` cannot be a code.

    Example:
        >>> match_language("zh", ["zho_Hans", "zho_Hant"]), match_language("pt-BR", ["por_Latn", "spa_Latn"])
        ('zho_Hans', 'por_Latn')
        >>> match_language("srp-Latn", ["srp_Cyrl"]) is None
        True
    """
    return _match(code, tuple(candidates))


def match_variant(code: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `match_language` chooses, else the first one of which `code` is the main form, or None.

    Args:
        code: Any code.
        candidates: Codes as files write them; texts that cannot be codes are passed over.

    Example:
        >>> match_variant("en", ["DE-DE", "EN-GB"]), match_variant("en", ["EN-GB", "EN-US"])
        ('EN-GB', 'EN-US')
    """
    names = tuple(candidates)
    found = match_language(code, names)
    if found is not None:
        return found

    # A file in a variant serves its main form, such as EN-GB for `en`.
    return next((name for name in names if _is_variant(name, code)), None)


def _is_variant(name: str, code: str) -> bool:
    try:
        return match_language(name, (code,)) is not None
    except NeuronspecError:  # not a code at all
        return False


def spell_as(code: str, codes: Iterable[str]) -> str:
    """Return the first of `codes` that means the language `code`, or `code` itself if none of them does.

    Example:
        >>> spell_as("en", ["deu_Latn", "eng_Latn"]), spell_as("fr", ["deu_Latn"])
        ('eng_Latn', 'fr')
    """
    return Spellings(codes).find(code)


class Spellings:
    """Codes, to find among them how a language is spelled.

    Args:
        codes: Codes; what cannot be one is found only as it is written.

    Example:
        >>> spellings = Spellings(["deu_Latn", "eng_Latn"])
        >>> spellings.find("en"), spellings.find("fr")
        ('eng_Latn', 'fr')
    """

    def __init__(self, codes: Iterable[str]) -> None:
        self._codes: set[str] = set()
        self._by_meaning: dict[Meaning, str] = {}
        for code in codes:
            self._codes.add(code)
            try:
                self._by_meaning.setdefault(read_code(code), code)
            except NeuronspecError:  # not a code at all
                continue

    def find(self, code: str) -> str:
        """Return the first code that means the language `code`, or `code` itself if none of them does."""
        # The code itself comes first, even if another spelling stands before it.
        if check_code(code) in self._codes:
            return code
        return self._by_meaning.get(read_code(code), code)


def find_only_spelling(code: str, texts: Iterable[str]) -> str | None:
    """Return the only text that means the same language as `code`, or None if there is none or there are several.

    Example:
        >>> find_only_spelling("de", ["deu_Latn", "read me"]), find_only_spelling("de", ["deu", "DE"])
        ('deu_Latn', None)
    """
    same = [text for text in dict.fromkeys(texts) if names_language(text, code)]
    return same[0] if len(same) == 1 else None


def list_spellings(codes: Sequence[str], names: Iterable[Sequence[str]]) -> list[int]:
    """Return which names mean the languages `codes`: more than one if it is not clear which of them is meant.

    Where a code names no script and files in several scripts are there, none of them is the obvious one.

    Args:
        codes: Codes, one for each part of a name.
        names: Parts of each name that stand in the places of the codes.

    Returns:
        Indices of the names that may be meant, in their order; none if no name means the languages.

    Example:
        >>> list_spellings(["de", "en"], [["deu_Latn", "eng"], ["fra", "eng"]])
        [0]
        >>> list_spellings(["zh"], [["zho_Hans"], ["zho_Hant"]]), list_spellings(["zh"], [["zho_Hant"]])
        ([0, 1], [])
    """
    parts = list(names)
    exact = {index for index, texts in enumerate(parts) if _all_fit(names_language, texts, codes)}

    # Another script never stands for a language; next to the usual one it makes a code without a script unclear.
    if not exact:
        return []
    return [index for index, texts in enumerate(parts) if index in exact or _all_fit(_may_mean, texts, codes)]


def _all_fit(fits: Callable[[str, str], bool], texts: Sequence[str], codes: Sequence[str]) -> bool:
    return all(fits(text, code) for text, code in zip(texts, codes, strict=True))


def _may_mean(text: str, code: str) -> bool:
    """Return whether a text means a language, in any script where the code names none."""
    if names_language(text, code):
        return True

    # Letters and digits only: neither a script nor a region.
    if not code.strip("_").isalnum():
        return False
    try:
        found, wanted = read_code(text), read_code(code)
    except NeuronspecError:  # not a code at all
        return False
    return found == replace(wanted, script=found.script)


@functools.lru_cache(maxsize=4096)
def _match(code: str, candidates: tuple[str, ...]) -> str | None:
    # The same text, whatever it means, or another spelling of it
    meaning = read_code(code)
    if code in candidates:
        return code

    spellings, meanings = _index_candidates(candidates)
    if fold(code) in spellings:
        return spellings[fold(code)]

    # From the language itself to ever more general forms of it.
    wanted = [meaning, replace(meaning, variant=""), replace(meaning, variant="", region="")]
    main = wanted[-1]
    macro = find_macrolanguage(main.language)
    if macro:
        wanted.append(replace(main, language=macro))

    # Only if all of these fail: a part of the macrolanguage, or a code without a script.
    found = next((meanings[one] for one in wanted if one in meanings), None)
    return found or _match_part(main, meanings) or _match_without_script(code, main, meanings)


def _match_part(main: Meaning, meanings: dict[Meaning, str]) -> str | None:
    """Return the only candidate that is a standard form of this macrolanguage, or None."""
    parts = []
    for one, name in meanings.items():
        # A standard form of the macrolanguage, in the script and region that are wanted.
        is_part = find_macrolanguage(one.language) == main.language
        if is_part and replace(one, language=main.language) == main:
            parts.append(name)
    return parts[0] if len(parts) == 1 else None  # of several, none is the obvious one


def _match_without_script(code: str, main: Meaning, meanings: dict[Meaning, str]) -> str | None:
    """Return the only candidate for a language whose script is unknown, if the code names none; else None."""
    if main.registered or main.script:
        return None

    # A made-up code: nothing says how the language is usually written.
    same = [name for one, name in meanings.items() if one.language == main.language]
    return same[0] if len(same) == 1 and find_row(code) is None else None


@functools.lru_cache(maxsize=256)
def _index_candidates(candidates: tuple[str, ...]) -> tuple[dict[str, str], dict[Meaning, str]]:
    """Return the best candidate of each folded spelling and of each meaning."""
    spellings: dict[str, str] = {}
    meanings: dict[Meaning, str] = {}

    # The shortest name first: of several with one meaning, it is the best.
    for name in sorted(set(candidates), key=lambda name: (len(name), name)):
        try:
            meaning = read_code(name)
        except NeuronspecError:  # it matches by its very spelling only
            continue
        spellings.setdefault(fold(name), name)
        meanings.setdefault(meaning, name)
    return spellings, meanings
