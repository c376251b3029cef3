"""Meanings of codes: the language, script, region and variant behind every spelling that people use."""

from __future__ import annotations

import functools
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import langcodes
from langcodes.data_dicts import ALL_SCRIPTS, MACROLANGUAGES, NORMALIZED_MACROLANGUAGES

from neuronspec.errors import NeuronspecError
from neuronspec.languages.table import Language, list_languages

# Letters, digits and what joins them: nothing that has a meaning in a file name, a glob, a template or a list.
_CODE_PATTERN = re.compile(r"_*[^\W_](?:[\w.+@-]*\w)?")
LONGEST_CODE = 64  # characters: codes are parts of file names

# glibc's and gettext's modifiers that name a script: sr@latin
_MODIFIERS = {
    **{"latin": "Latn", "cyrillic": "Cyrl", "arabic": "Arab", "devanagari": "Deva", "hebrew": "Hebr"},
    **{"hans": "Hans", "hant": "Hant", "tifinagh": "Tfng"},
}
# Scripts that differ in style or in how much they name, not in how a text is written.
_SCRIPT_STYLES = {"Kore": "Hang", "Aran": "Arab", "Hrkt": "Jpan", "Latf": "Latn", "Latg": "Latn"}
# Codes that the columns of the table do not relate: Filipino is standard Tagalog, plain Norwegian is Bokmål, and
# Dinka's standard form has a row, but not Dinka.
_OTHER_CODES = {"fil": "tl", "no": "nb", "nor": "nb", "din": "dik"}
# Serbo-Croatian, a former code, is Serbian in Latin script: its row gives facts, and is no language of its own.
FORMER_ROWS = ("sh",)
# Languages that Unicode writes as another one in a region.
_REGIONAL = {("fa", "AF"): "prs", ("prs", "AF"): "prs"}
# "XX" is mBART-50's "no region", "ZZ" is Unicode's.
NO_REGION = ("XX", "ZZ")
# The main form of Portuguese is the European one: the table and Django have Brazilian Portuguese next to it.
_MAIN_REGIONS = {"pt": "PT"}


@dataclass(frozen=True)
class Meaning:
    """The meaning of a code: two codes with equal meanings name the same written language.

    Attributes:
        language: Shortest code of the language (`de`, `ceb`), or the whole code, folded, if it is not a language
            of ISO 639.
        script: Script that the code names, else the one that the language is usually written in; may be empty.
        region: Region that the code names; empty for the region of the language's main form.
        variant: Registered variants and extensions, joined by hyphens.
        registered: Whether ISO 639 and related standards have every part of the code.
    """

    language: str
    script: str
    region: str = ""
    variant: str = ""
    registered: bool = True


def check_code(code: str) -> str:
    """Return a language code unchanged if it can name files, columns and tasks.

    Raises:
        NeuronspecError: If the code is empty or too long, or holds white space, path separators or the like.
    """
    if not isinstance(code, str) or not _CODE_PATTERN.fullmatch(code) or len(code) > LONGEST_CODE:
        raise NeuronspecError(
            f"{code!r} cannot be a language code; expected letters and digits, joined by - or _, such as "
            "'de', 'deu_Latn', 'pt-BR' or a code of your own"
        )
    return code


@functools.lru_cache(maxsize=4096)
def read_code(code: str) -> Meaning:
    """Return what a code means, whatever its spelling.

    Raises:
        NeuronspecError: If the text cannot be a code.

    Example:
        >>> read_code("cmn_Hans") == read_code("zh-CN") == read_code("zho") == read_code("ZH")
        True
        >>> read_code("zh_TW")
        Meaning(language='zh', script='Hant', region='', variant='', registered=True)
    """
    check_code(code)
    # A code of the table is read by the main code of its row, any other one as a BCP 47 tag.
    row = find_row(code)
    return _read_tag(row.code if row else _undress(code))


def find_row(code: str) -> Language | None:
    """Return the row of the table that has exactly this code in one of its columns, in any case, or None."""
    folded = fold(code)
    return _rows_by_code().get(_strip_underscores(folded))


def fold(code: str) -> str:
    """Return a code in lower case, with hyphens in place of underscores.

    Example:
        >>> fold("zh_Hant"), fold("__de__")
        ('zh-hant', '--de--')
    """
    return code.casefold().replace("_", "-")


def _strip_underscores(folded: str) -> str:
    # The tags of M2M-100, `__de__`, whose underscores are hyphens by now.
    decorated = re.fullmatch(r"--([^-].*[^-])--", folded)
    return decorated[1] if decorated else folded


@functools.cache
def _rows_by_code() -> dict[str, Language]:
    rows: dict[str, Language] = {}
    for language in list_languages():
        codes = {language.code, language.nllb, language.mbart, language.m2m}

        # Variants have the same ISO 639-3 code as their main form, which keeps it.
        if "-" not in language.code:
            codes.add(language.iso3)
        rows |= {fold(code): language for code in codes - {""}}
    return rows


@functools.cache
def _main_codes() -> dict[str, str]:
    """Return the short code of each language of the table by every code of two or three letters that it has."""
    codes: dict[str, str] = {}
    for language in list_languages():
        # A variant has the codes of its main form; a former code is replaced by a current one.
        if "-" in language.code or language.code in FORMER_ROWS:
            continue
        own = {language.code, language.iso3, language.nllb.partition("_")[0], language.m2m} - {""}
        codes |= dict.fromkeys(own, language.code)
    return codes | _OTHER_CODES


def _undress(code: str) -> str:
    """Return a code as a BCP 47 tag: `__de__`, `de_DE.UTF-8` and `sr_RS@latin` without their decoration."""
    # The parts of a POSIX locale: language, encoding, modifier
    tag = _strip_underscores(code.replace("_", "-"))
    tag, _, modifier = tag.partition("@")
    tag = tag.partition(".")[0]
    if not modifier:
        return tag

    # A modifier can name a script, which a tag has after the language.
    script = _MODIFIERS.get(modifier.casefold())
    if script is None:
        return f"{tag}-{modifier}"

    language, hyphen, rest = tag.partition("-")
    return f"{language}-{script}{hyphen}{rest}"


def _read_tag(tag: str) -> Meaning:
    # A code that no standard knows means itself.
    parsed = _parse(tag)
    if parsed is None:
        return _read_unregistered(tag)

    # The language, and the region where it makes a difference
    language = _shorten(parsed.language, _find_written(tag))
    region = parsed.territory or ""
    if (language, region) in _REGIONAL:
        language, region = _REGIONAL[language, region], ""
    if region in NO_REGION:
        region = ""

    # The script that is written, or else the usual one; a region that both imply says nothing more.
    script = _SCRIPT_STYLES.get(parsed.script, parsed.script) or _find_usual_script(language, region)
    if region == _find_main_region(language, script):
        region = ""

    # What else the code names: a variant such as `valencia`, an extension.
    further = [*(parsed.variants or ()), *(parsed.extensions or ())]
    return Meaning(language=language, script=script, region=region, variant="-".join(further))


def _parse(tag: str) -> Any:
    """Return the parts of a BCP 47 tag, or None if it is not a valid one."""
    try:
        parsed = langcodes.Language.get(tag)
    except ValueError:
        return None

    # Private use (`x-foo`) says nothing about a language.
    is_private = parsed.private or tag[:2].casefold() == "x-"
    if not parsed.language or is_private or not parsed.is_valid():
        return None

    extended = parsed.extlangs or ()
    if not extended:
        return parsed

    # zh-yue is yue; but de-lat and en-deu, which have the same shape, are no languages
    if len(extended) > 1 or MACROLANGUAGES.get(extended[0]) != parsed.language:
        return None
    return parsed.update_dict({"language": extended[0], "extlangs": None})


def _find_written(tag: str) -> str:
    """Return the part of a tag that names the language: the second one of `zh-yue`."""
    parts = tag.casefold().split("-")
    extended = len(parts) > 1 and MACROLANGUAGES.get(parts[1]) == parts[0]
    return parts[1] if extended else parts[0]


def _read_unregistered(tag: str) -> Meaning:
    """Return the meaning of a code that somebody made up: the code itself, and the script that it may name."""
    # `xx-Latn`: a language, and a script of Unicode
    parts = re.fullmatch(r"([A-Za-z]{2,8})-([A-Za-z]{4})", tag)
    script = parts[2].title() if parts else ""
    if parts and script in ALL_SCRIPTS:
        return Meaning(parts[1].casefold(), script, registered=False)
    return Meaning(fold(tag), "", registered=False)


def _shorten(language: str, written: str) -> str:
    """Return the shortest code of a language: its macrolanguage's if it is the only standard form of that."""
    # The code as written comes first, since langcodes may have replaced it by another one.
    codes = _main_codes()
    main = codes.get(written) or codes.get(language)
    return main or _standard_forms().get(language, language)


@functools.cache
def _standard_forms() -> dict[str, str]:
    """Return the macrolanguage of each language that is its only standard form, where the table does not say so."""
    rows = {language.code: language for language in list_languages()}
    # Of each macrolanguage, the number of its standard forms.
    forms = Counter(NORMALIZED_MACROLANGUAGES.values())
    found = {}
    for individual, macro in NORMALIZED_MACROLANGUAGES.items():
        row = rows.get(macro)
        # ff is Nigerian Fulfulde in the table and Pulaar in Unicode's, ps Southern and Northern Pashto
        is_other = row is not None and row.nllb.partition("_")[0] not in ("", row.iso3, individual)

        # A macrolanguage stands for its standard form only if it has no other one.
        if forms[macro] == 1 and not is_other:
            found[individual] = macro
    return found


def find_macrolanguage(language: str) -> str:
    """Return the macrolanguage that a language is a standard form of, or an empty string.

    Example:
        >>> find_macrolanguage("tw"), find_macrolanguage("fuc"), find_macrolanguage("arz")
        ('ak', 'ff', '')
    """
    macro = NORMALIZED_MACROLANGUAGES.get(language, "")
    return _main_codes().get(macro, macro)


def _find_usual_script(language: str, region: str) -> str:
    """Return the script that a language is usually written in: in Montenegro, Serbian is written in Latin script."""
    row = _rows_by_code().get(language)
    # The script in general, and in this region if Unicode knows the language
    usual = _expand(language)
    local = _expand(f"{language}-{region}") if region and _is_in_cldr(language) else usual

    # The table decides, unless the region has a script of its own.
    if row and local.script == usual.script:
        return row.script
    return str(_SCRIPT_STYLES.get(local.script, local.script))


def _find_main_region(language: str, script: str) -> str:
    if language in _MAIN_REGIONS:
        return _MAIN_REGIONS[language]

    # The likeliest region of the language in this script.
    return str(_expand(f"{language}-{script}").territory) if _is_in_cldr(language) else ""


def _is_in_cldr(language: str) -> bool:
    """Return whether Unicode's data have the language: others get the script and the region of English."""
    found = _expand(language)
    return language == "en" or (found.script, found.territory) != ("Latn", "US")


def _expand(tag: str) -> Any:
    # Without normalization, which replaces some codes of the table by others.
    return langcodes.Language.get(tag, normalize=False).maximize()
