"""Which of several spellings means a language: the tags of a model, the names of files, the columns of a table."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import replace

from neuronspec.errors import NeuronspecError
from neuronspec.languages.spelling import Meaning, find_macrolanguage, find_row, fold, read_code


def match_language(code: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that means the language `code`, or None.

    What counts, in this order: the same spelling; the same but for case, hyphens and underscores; the same written
    language (see `same_language`); the language's main form for a variant or a region that no candidate has (`pt` for
    `pt-BR`); the macrolanguage of which it is a standard form (`aka` for `twi`), or the other way round. A script that
    `code` asks for, or that its language is usually written in, is never replaced by another one. Of several
    candidates in one of these steps, the shortest is taken, then the first in alphabetical order.

    Args:
        code: any code.
        candidates: codes in any spelling. Texts that cannot be codes match only themselves.

    Raises:
        NeuronspecError: `code` cannot be a code.

    Example:
        >>> match_language("zh", ["zho_Hans", "zho_Hant"]), match_language("pt-BR", ["por_Latn", "spa_Latn"])
        ('zho_Hans', 'por_Latn')
        >>> match_language("srp-Latn", ["srp_Cyrl"]) is None
        True
    """
    return _match(code, tuple(candidates))


@functools.lru_cache(maxsize=4096)
def _match(code: str, candidates: tuple[str, ...]) -> str | None:
    meaning = read_code(code)
    if code in candidates:
        return code

    spellings, meanings = _index(candidates)
    if fold(code) in spellings:
        return spellings[fold(code)]

    wanted = [meaning, replace(meaning, variant=""), replace(meaning, variant="", region="")]
    main = wanted[-1]
    macro = find_macrolanguage(main.language)
    if macro:
        wanted.append(replace(main, language=macro))

    found = next((meanings[one] for one in wanted if one in meanings), None)
    return found or _match_part(main, meanings) or _match_without_script(code, main, meanings)


def _match_part(main: Meaning, meanings: dict[Meaning, str]) -> str | None:
    """Return the only candidate that is a standard form of the macrolanguage that is asked for."""
    parts = [
        name
        for one, name in meanings.items()
        if find_macrolanguage(one.language) == main.language and replace(one, language=main.language) == main
    ]
    return parts[0] if len(parts) == 1 else None


def _match_without_script(code: str, main: Meaning, meanings: dict[Meaning, str]) -> str | None:
    """Return the only candidate of a language that nobody knows the script of, where the code names none."""
    if main.registered or main.script:
        return None
    same = [name for one, name in meanings.items() if one.language == main.language]
    return same[0] if len(same) == 1 and find_row(code) is None else None


@functools.lru_cache(maxsize=256)
def _index(candidates: tuple[str, ...]) -> tuple[dict[str, str], dict[Meaning, str]]:
    """Return the best candidate of each folded spelling and of each meaning."""
    spellings: dict[str, str] = {}
    meanings: dict[Meaning, str] = {}
    for name in sorted(set(candidates), key=lambda name: (len(name), name)):
        try:
            meaning = read_code(name)
        except NeuronspecError:
            continue
        spellings.setdefault(fold(name), name)
        meanings.setdefault(meaning, name)
    return spellings, meanings
