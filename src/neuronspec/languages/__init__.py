"""Language codes in every spelling, what is known about the languages, and directions between them."""

from neuronspec.languages.directions import (
    find_sides,
    join_direction,
    match_direction,
    spell_pivot,
    split_direction,
    suggest_direction,
)
from neuronspec.languages.lookup import (
    EC30_LEVELS,
    Level,
    expect_language,
    find_language,
    is_english,
    is_known,
    names_language,
    resource_level,
    same_language,
    suggest_language,
)
from neuronspec.languages.matching import (
    Spellings,
    find_only_spelling,
    list_spellings,
    match_language,
    match_variant,
    spell_as,
)
from neuronspec.languages.meaning import Meaning, check_code, read_code
from neuronspec.languages.table import INDO_EUROPEAN, UNKNOWN, UNRELATED, Language, list_languages

__all__ = [
    "EC30_LEVELS",
    "INDO_EUROPEAN",
    "UNKNOWN",
    "UNRELATED",
    "Language",
    "Level",
    "Meaning",
    "Spellings",
    "check_code",
    "expect_language",
    "find_language",
    "find_only_spelling",
    "find_sides",
    "is_english",
    "is_known",
    "join_direction",
    "list_languages",
    "list_spellings",
    "match_direction",
    "match_language",
    "match_variant",
    "names_language",
    "read_code",
    "resource_level",
    "same_language",
    "spell_as",
    "spell_pivot",
    "split_direction",
    "suggest_direction",
    "suggest_language",
]
