"""Looking up languages by their codes in every spelling, and comparing what codes mean."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import langcodes

from neuronspec.errors import NeuronspecError
from neuronspec.languages.meaning import FORMER_ROWS, NO_REGION, Meaning, find_macrolanguage, find_row, fold, read_code
from neuronspec.languages.table import UNKNOWN, Language, list_languages

Level = Literal["high", "medium", "low"]

EC30_LEVELS: Mapping[Level, tuple[str, ...]] = {
    "high": ("de", "nl", "fr", "es", "ru", "cs", "hi", "bn", "ar", "he"),
    "medium": ("sv", "da", "it", "pt", "pl", "bg", "kn", "mr", "ha", "mt"),
    "low": ("af", "lb", "ro", "oc", "uk", "sr", "sd", "gu", "ti", "am"),
}
"""The languages of EC30 by training sentences paired with English: 5 million, 1 million (Hausa: 334,000) and
100,000 (the paper's Table 7)."""


@functools.lru_cache(maxsize=4096)
def find_language(code: str) -> Language:
    """Return the language that `code` names in any of the usual spellings, with what the table knows about it.

    The spelling may be ISO 639-1, -2 or -3, with a script or a region, with hyphens or underscores, in any case; a
    former code (`iw`); or a name of NLLB, mBART-50 or M2M-100. An individual language that stands for its
    macrolanguage (`cmn`, `pes`, `swh`) is that language. A script or a region that the table lacks (`srp-Latn`,
    `fra-CA`) keeps the family of its language.

    A language that the table lacks is no error: it has no facts. Its family is `unknown`, and so is its script unless
    the code names one.

    Args:
        code: Any code, including one of your own.

    Raises:
        NeuronspecError: If the text cannot be a code: it is empty, or holds white space, slashes or control
            characters.

    Example:
        >>> find_language("deu_Latn").name, find_language("__de__").family, find_language("srp-Latn").script
        ('German', 'Germanic', 'Latn')
        >>> find_language("hsb").family, find_language("xyz_Cyrl").script
        ('unknown', 'Cyrl')
    """
    meaning = read_code(code)

    # The row of this very code, or of another spelling of the language.
    row = find_row(code) or _rows_by_meaning().get(meaning)
    if row is not None:
        return row

    # Without a row, the family is that of the main form or the macrolanguage, if the table has one.
    nearest = _find_nearest_row(meaning)
    return _describe_variety(nearest, meaning) if nearest else _describe_without_row(code, meaning)


def expect_language(code: str) -> Language:
    """Return the language that `code` names, but refuse what looks like a typing mistake.

    Use it where nothing else would notice the mistake, such as for an option that only chooses a tokenizer.

    Raises:
        NeuronspecError: If the code is unknown and resembles the name or the code of a language, or is a direction.

    Example:
        >>> expect_language("hsb").code, expect_language("gsw-bern").code
        ('hsb', 'gsw-bern')
        >>> expect_language("german")
        Traceback (most recent call last):
        neuronspec.errors.NeuronspecError: unknown language 'german' (did you mean 'de' for German?)
    """
    hint = suggest_language(code)

    # Two known languages are a direction, where one language is expected.
    sides = code.split("-")
    if hint or (not is_known(code) and len(sides) == 2 and all(map(is_known, sides))):
        raise NeuronspecError(f"unknown language {code!r}{hint}")
    return find_language(code)


def is_known(code: str) -> bool:
    """Return whether a code names a language of the table or of ISO 639, in any script and region that exist.

    Example:
        >>> is_known("hsb"), is_known("srp-Latn"), is_known("german"), is_known("x-foo")
        (True, True, False, False)
    """
    return read_code(code).registered


def same_language(first: str, second: str) -> bool:
    """Return whether two codes mean the same written language, however they are spelled.

    A language in another script or region is another one: `zh-Hans` and `zh-Hant`, `sr-Latn` and `sr-Cyrl`, `pt` and
    `pt-BR`, `en-GB` and `en-US` differ. A code without a script means the language's usual one, and a code without a
    region its main form: `en` is `en-US`, `pt` is `pt-PT`, `zh-TW` is `zh-Hant`.

    Example:
        >>> same_language("cmn_Hans", "zh"), same_language("sr", "srp-Cyrl"), same_language("zh_CN", "zh_TW")
        (True, True, False)
    """
    return first == second or read_code(first) == read_code(second)


def names_language(text: str, code: str) -> bool:
    """Return whether a text is a code of the language `code`; a text that cannot be a code is not.

    Use it for names in other people's data, such as those of files and columns; `same_language` compares the codes.

    Example:
        >>> [names_language(text, "de") for text in ("deu_Latn", "nl", "read me", "")]
        [True, False, False, False]
    """
    try:
        return same_language(text, code)
    except NeuronspecError:
        return False


def is_english(code: str) -> bool:
    """Return whether a code means English, of any region.

    Example:
        >>> [is_english(code) for code in ("en", "eng_Latn", "en_XX", "eng-GB", "enm")]
        [True, True, True, True, False]
    """
    return read_code(code).language == "en"


def resource_level(code: str) -> Level | None:
    """Return how much training data EC30 has for a language, the grouping of the paper's result tables.

    Args:
        code: Code in any spelling that `find_language` understands.

    Returns:
        The level of the language, whatever its script and region, or None if the language is not one of EC30's
        thirty. English, which they are all paired with, is not one of them.

    Raises:
        NeuronspecError: If the text cannot be a code.

    Example:
        >>> resource_level("de"), resource_level("amh_Ethi"), resource_level("en")
        ('high', 'low', None)
    """
    language = read_code(code).language
    return next((level for level, codes in EC30_LEVELS.items() if language in codes), None)


def suggest_language(code: str) -> str:
    """Return a hint with the language that a mistyped code or a name may mean, or an empty string.

    Example:
        >>> suggest_language("german"), suggest_language("jp"), suggest_language("srp-Latn")
        (" (did you mean 'de' for German?)", " (did you mean 'ja' for Japanese?)", '')
    """
    if read_code(code).registered:
        return ""
    near = _find_nearest(code)
    hint = " or ".join(f"{language.code!r} for {language.name}" for language in near)
    return f" (did you mean {hint}?)" if hint else ""


def find_named(name: str) -> Language | None:
    """Return the language of an English name such as `German`, in any case; None for any other text.

    Example:
        >>> find_named("german").code, find_named("de")
        ('de', None)
    """
    return _languages_by_name().get(fold(name))


@functools.cache
def _rows_by_meaning() -> dict[Meaning, Language]:
    rows: dict[Meaning, Language] = {}
    for language in list_languages():
        # `sr-Latn` means the same as the former code `sh`, but Serbian's row describes it.
        if language.code not in FORMER_ROWS:
            rows[read_code(language.code)] = language
    return rows


def _find_nearest_row(meaning: Meaning) -> Language | None:
    """Return the row of a language without regard to its region and script, or of its macrolanguage."""
    # From the nearest to the farthest: the language in this script, its main form, its macrolanguage.
    in_script = _rows_by_meaning().get(replace(meaning, region="", variant=""))
    macro = find_macrolanguage(meaning.language)
    return in_script or find_row(meaning.language) or (find_row(macro) if macro else None)


def _describe_variety(row: Language, meaning: Meaning) -> Language:
    """Return a language in a script or region that the table lacks, from the row of its main form."""
    # The row may be that of the macrolanguage: the code then names the language itself.
    is_own = read_code(row.code).language == meaning.language
    base = row.code if is_own else meaning.language
    script = "" if meaning.script == row.script else meaning.script

    parts = [script, meaning.region, meaning.variant]

    # The name in parentheses says in what the language differs from its row.
    details = parts if is_own else [base, *parts]
    return replace(
        row,
        code="-".join(filter(None, [base, *parts])),
        name=f"{row.name} ({', '.join(filter(None, details))})",
        iso3=row.iso3 if is_own else _find_iso3(meaning.language),
        script=meaning.script,
        nllb="",  # the tags of models belong to the main form
        mbart="",
        m2m="",
    )


def _describe_without_row(code: str, meaning: Meaning) -> Language:
    # A script that was only inferred is no fact about a language that the table lacks.
    script = meaning.script if _names_script(code, meaning.script) else UNKNOWN
    return Language(code=code, name=code, iso3=_find_iso3(meaning.language), script=script, family=UNKNOWN)


def _names_script(code: str, script: str) -> bool:
    return bool(script) and script.casefold() in fold(code).split("-")


def _find_iso3(language: str) -> str:
    try:
        return langcodes.Language.get(language).to_alpha3()
    except (LookupError, ValueError):
        return language


def _find_nearest(text: str) -> list[Language]:
    """Return up to two languages that a text may mean: by country, by name, or by a mistyped name or code."""
    folded = fold(text)

    # Two letters are a country's code rather than the beginning of a name.
    if len(folded) == 2:
        return _find_by_country(folded)
    return _find_by_name(folded) or _find_by_typing_mistake(folded)


def _find_by_name(folded: str) -> list[Language]:
    """Return the language of this name, or up to two languages whose names begin with it."""
    names = _languages_by_name()
    if folded in names:
        return [names[folded]]

    # So few letters begin too many names.
    if len(folded) <= 3:
        return []

    starting = [language for name, language in names.items() if name.startswith(folded)]
    return sorted(starting, key=lambda language: len(language.name))[:2]


def _find_by_typing_mistake(folded: str) -> list[Language]:
    """Return the language whose name or long code is nearest, if any is near."""
    # Short codes resemble each other too much to guess from, so only names and long codes are compared.
    labels = _languages_by_name()
    for language in list_languages():
        for code in filter(None, (language.nllb, language.mbart)):
            labels[fold(code)] = language

    near = difflib.get_close_matches(folded, labels, n=1, cutoff=0.8)
    return [labels[label] for label in near]


def _languages_by_name() -> dict[str, Language]:
    return {language.name.casefold(): language for language in list_languages()}


def _find_by_country(code: str) -> list[Language]:
    """Return the main language of a country whose code was used as a language code, such as `jp` or `cz`."""
    row = find_row(find_main_language(code) or "")
    return [row] if row else []


def find_main_language(code: str) -> str | None:
    """Return the code of the language that is most used in a country, by the country's code; None for no country.

    Example:
        >>> find_main_language("br"), find_main_language("fr"), find_main_language("en")
        ('pt', 'fr', None)
    """
    # It is the language that Unicode adds to the code of a country.
    country = langcodes.Language.make(territory=code.upper())
    if code.upper() in NO_REGION or not country.is_valid():
        return None
    return country.maximize().language
