"""Language codes, names, scripts, families and resource levels: one table, looked up strictly.

The table, `languages.tsv`, covers every language of FLORES-200, NLLB-200, M2M-100, mBART-50 and OPUS-100.
It says what is true of a language, which is not always what the paper's Table 7 prints:

- Kannada is Dravidian; EC30 groups it under Indo-Aryan.
- Kannada and Gujarati have scripts of their own; Table 7 gives both Devanagari.
- Serbian is Cyrillic here, as in FLORES-200; EC30's Serbian is in Latin script.

A code is the ISO 639-1 code where there is one, else the ISO 639-3 code. A second script or region of a
language is a BCP-47 variant (`zh-Hant`, `pt-BR`). Three FLORES-200 names need care: no released NLLB model
knows `arb_Latn` or `min_Arab`, and Santali, written in Ol Chiki, is `sat_Beng` to NLLB (`sat_Olck` is
understood too).
"""

from __future__ import annotations

import csv
import difflib
import functools
import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from neuronspec.errors import NeuronspecError

Level = Literal["high", "medium", "low"]

EC30_LEVELS: Mapping[Level, tuple[str, ...]] = {
    "high": ("de", "nl", "fr", "es", "ru", "cs", "hi", "bn", "ar", "he"),
    "medium": ("sv", "da", "it", "pt", "pl", "bg", "kn", "mr", "ha", "mt"),
    "low": ("af", "lb", "ro", "oc", "uk", "sr", "sd", "gu", "ti", "am"),
}
"""The languages of EC30 by training sentences paired with English: 5 million, 1 million (Hausa: 334,000) and
100,000 (the paper's Table 7)."""

INDO_EUROPEAN = frozenset(
    {"Albanian", "Armenian", "Baltic", "Celtic", "Germanic"}
    | {"Hellenic", "Indo-Aryan", "Iranian", "Romance", "Slavic"}
)
"""The branches that stand for Indo-European in the column `family`."""
UNRELATED = frozenset({"Isolate", "Constructed", "Creole"})
"""What that column says of languages that have no family: two of them are not related."""


@dataclass(frozen=True)
class Language:
    """One row of the table: a language in one script or regional variety.

    Attributes:
        code: the canonical short code (`de`, `ceb`, `zh-Hant`).
        name: the English name.
        iso3: the ISO 639-3 code, the macrolanguage's where `code` is one (`ara`, not `arb`).
        script: the ISO 15924 code of the script it is written in.
        family: the branch for Indo-European languages (`Germanic`), else the family (`Uralic`).
        nllb: the FLORES-200 and NLLB-200 code (`deu_Latn`), or an empty string.
        mbart: the mBART-50 code (`de_DE`), or an empty string.
        m2m: the M2M-100 code (`de`), or an empty string.
    """

    code: str
    name: str
    iso3: str
    script: str
    family: str
    nllb: str
    mbart: str
    m2m: str

    @property
    def lineage(self) -> tuple[str, ...]:
        """The family and, for Indo-European, the branch; empty for a language without relatives.

        Example:
            >>> [find_language(code).lineage for code in ("de", "fi", "eu")]
            [('Indo-European', 'Germanic'), ('Uralic',), ()]
        """
        if self.family in UNRELATED:
            return ()
        return ("Indo-European", self.family) if self.family in INDO_EUROPEAN else (self.family,)


@functools.cache
def list_languages() -> tuple[Language, ...]:
    """Return every known language, sorted by code.

    Example:
        >>> [language.code for language in list_languages() if language.family == "Celtic"]
        ['br', 'cy', 'ga', 'gd']
    """
    table = importlib.resources.files("neuronspec").joinpath("languages.tsv")
    lines = table.read_text(encoding="utf-8").splitlines()
    return tuple(Language(**row) for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def find_language(code: str) -> Language:
    """Return the language that `code` names in any of the usual notations.

    Use it wherever a code comes from outside: a file name, a configuration, a tokenizer. The code is taken as
    written first, then without regard to case. A bare ISO 639-3 code (`zho`) means the language's main row,
    never a variant of it such as `zh-Hant`.

    Args:
        code: a short code (`de`), ISO 639-3 (`deu`), NLLB (`deu_Latn`), mBART-50 (`de_DE`), M2M-100
            (`__de__`) or a code with its script (`zh-Hans`).

    Raises:
        NeuronspecError: no language is written so; the message names the nearest by code or by English name.

    Example:
        >>> find_language("deu_Latn").name, find_language("__de__").family
        ('German', 'Germanic')
        >>> find_language("german")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        neuronspec.errors.NeuronspecError: unknown language 'german' (did you mean 'de' for German?); ...
    """
    language = _forms().get(code) or _folded_forms().get(code.lower())
    if language is not None:
        return language
    near = _find_nearest(code, cutoff=1.0) or _find_nearest(code, cutoff=0.6)
    hint = " or ".join(f"{candidate.code!r} for {candidate.name}" for candidate in near)
    raise NeuronspecError(
        f"unknown language {code!r}{f' (did you mean {hint}?)' if hint else ''}; "
        "expected a code such as 'de', 'deu', 'deu_Latn' or 'de_DE'"
    )


def resource_level(code: str) -> Level | None:
    """Return how much training data EC30 has for a language, the grouping of the paper's result tables.

    Args:
        code: any notation that `find_language` understands.

    Returns:
        The level, or None for a language that is not one of EC30's thirty (English, their common pair, too).

    Raises:
        NeuronspecError: the language is unknown.

    Example:
        >>> resource_level("de"), resource_level("amh_Ethi"), resource_level("en")
        ('high', 'low', None)
    """
    language = find_language(code)
    return next((level for level, codes in EC30_LEVELS.items() if language.code in codes), None)


def split_direction(task: str) -> tuple[str, str]:
    """Return the source and target language of a translation direction, each as it is written there.

    Codes may hold hyphens of their own, so the hyphen that counts is the one with a known language on either
    side. A direction is a key, of masks and files, so letter case matters.

    Args:
        task: `src-tgt`, each side in any notation of `find_language`.

    Raises:
        NeuronspecError: no hyphen, or more than one, separates two known languages.

    Example:
        >>> split_direction("de-en"), split_direction("zh-Hant-pt-BR")
        (('de', 'en'), ('zh-Hant', 'pt-BR'))
    """
    known = _forms()
    readings = [(source, target) for source, target in _splits(task) if source in known and target in known]
    if len(readings) == 1:
        return readings[0]
    if readings:
        listed = " or ".join(f"{source!r} to {target!r}" for source, target in readings)
        raise NeuronspecError(f"the direction {task!r} is ambiguous: {listed}; write other codes for its sides")
    if task in known:
        found = f"{task!r} is one language, {known[task].name}, not a direction"
    else:
        found = f"unknown direction {task!r}{_suggest_direction(task)}"
    raise NeuronspecError(f"{found}; expected two known languages joined by a hyphen, such as 'de-en'")


def join_direction(source: str, target: str) -> str:
    """Return the direction `source-target`, which `split_direction` takes apart again.

    Raises:
        NeuronspecError: a side is unknown, or the direction would not read back as these two.

    Example:
        >>> join_direction("zh-Hant", "en")
        'zh-Hant-en'
    """
    task = f"{source}-{target}"
    if (found := split_direction(task)) != (source, target):
        raise NeuronspecError(
            f"{source!r} and {target!r} join to {task!r}, which reads as {found[0]!r} to {found[1]!r}"
        )
    return task


@functools.cache
def _forms() -> dict[str, Language]:
    forms: dict[str, Language] = {}
    for language in list_languages():
        names = {language.code, language.nllb, language.mbart, language.m2m}
        if language.m2m:
            names.add(f"__{language.m2m}__")
        if "-" not in language.code:  # the main row of its language, not a variant
            names |= {language.iso3, language.nllb.partition("_")[0]}
            names |= {f"{language.iso3}_{language.script}", f"{language.code}-{language.script}"}
        forms |= dict.fromkeys(names - {""}, language)
    return forms


@functools.cache
def _folded_forms() -> dict[str, Language]:
    return {form.lower(): language for form, language in _forms().items()}


def _find_nearest(text: str, cutoff: float) -> list[Language]:
    """Return up to two languages with a code or an English name `cutoff` (0..1) or more similar to `text`."""
    labels = {language.name.lower(): language for language in list_languages()} | _folded_forms()
    near = difflib.get_close_matches(text.lower(), labels, n=6, cutoff=cutoff)
    return list(dict.fromkeys(labels[label] for label in near))[:2]


def _splits(task: str) -> list[tuple[str, str]]:
    return [(task[:i], task[i + 1 :]) for i, letter in enumerate(task) if letter == "-"]


def _suggest_direction(task: str) -> str:
    for cutoff in (1.0, 0.6):
        for sides in _splits(task):
            near = [language.code for side in sides for language in _find_nearest(side, cutoff)[:1]]
            if len(near) == 2:
                return f" (did you mean {'-'.join(near)!r}?)"
    return ""
