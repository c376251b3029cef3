"""The table of languages: names, families, scripts, and the codes of NLLB, mBART-50 and M2M-100.

The table, `languages.tsv`, covers every language of FLORES-200, NLLB-200, M2M-100, mBART-50 and OPUS-100.
It states facts, which do not always agree with the paper's Table 7:

- Kannada is Dravidian; EC30 groups it under Indo-Aryan.
- Kannada and Gujarati have scripts of their own; Table 7 gives both Devanagari.
- Serbian is Cyrillic here, as in FLORES-200; EC30's Serbian is in Latin script.

A code is the ISO 639-1 code where there is one, else the ISO 639-3 code. A second script or region of a
language is a BCP-47 variant (`zh-Hant`, `pt-BR`). Three FLORES-200 names need care: no released NLLB model
knows `arb_Latn` or `min_Arab`, and Santali, written in Ol Chiki, is `sat_Beng` to NLLB (`sat_Olck` is
understood too).

The table describes languages; it does not decide which ones may be used. A language that it lacks has no facts.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
from dataclasses import dataclass

INDO_EUROPEAN = frozenset(
    {"Albanian", "Armenian", "Baltic", "Celtic", "Germanic"}
    | {"Hellenic", "Indo-Aryan", "Iranian", "Romance", "Slavic"}
)
"""The branches that stand for Indo-European in the column `family`."""
UNRELATED = frozenset({"Isolate", "Constructed", "Creole"})
"""Values of that column for languages without a family: two of them are not related."""
UNKNOWN = "unknown"
"""Family or script of a language that is not in the table."""


@dataclass(frozen=True)
class Language:
    """A language in one script or regional variety: a row of the table, or one without facts.

    Attributes:
        code: Canonical short code (`de`, `ceb`, `zh-Hant`), or the code as written if the language is not in the
            table.
        name: English name, or the code as written if the language is not in the table.
        iso3: ISO 639-3 code; that of the macrolanguage if `code` is one (`ara`, not `arb`).
        script: ISO 15924 code of the script, or `unknown`.
        family: Branch of an Indo-European language (`Germanic`), else the family (`Uralic`), or `unknown`.
        nllb: FLORES-200 and NLLB-200 code (`deu_Latn`), or an empty string.
        mbart: Code of mBART-50 (`de_DE`), or an empty string.
        m2m: M2M-100 code (`de`), or an empty string.
    """

    code: str
    name: str
    iso3: str
    script: str
    family: str
    nllb: str = ""
    mbart: str = ""
    m2m: str = ""

    @property
    def lineage(self) -> tuple[str, ...]:
        """The family and, for Indo-European, the branch; empty for a language without relatives, or of unknown family.

        Example:
            >>> from neuronspec.languages import find_language
            >>> [find_language(code).lineage for code in ("de", "fi", "eu", "hsb")]
            [('Indo-European', 'Germanic'), ('Uralic',), (), ()]
        """
        # Two such languages must share nothing, or they would count as relatives.
        if self.family in UNRELATED or self.family == UNKNOWN:
            return ()
        return ("Indo-European", self.family) if self.family in INDO_EUROPEAN else (self.family,)


@functools.cache
def list_languages() -> tuple[Language, ...]:
    """Return every language of the table, sorted by code.

    Example:
        >>> [language.code for language in list_languages() if language.family == "Celtic"]
        ['br', 'cy', 'ga', 'gd']
    """
    table = importlib.resources.files("neuronspec.languages").joinpath("languages.tsv")
    lines = table.read_text(encoding="utf-8").splitlines()

    # A quotation mark in the table is a character like any other.
    return tuple(Language(**row) for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
