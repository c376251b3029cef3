"""Regular expressions of users: all that Python reads are read, and none takes forever."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from neuronspec.data.cleaning import clean_pairs
from neuronspec.data.corpus_formats import Pair
from neuronspec.errors import NeuronspecError
from neuronspec.reading_limits import SECONDS
from neuronspec.text_patterns import LONGEST, TextPattern


@pytest.mark.parametrize(
    "pattern", [r"https?://", r"[{}\[\]<>%|_]|://", r"(?<=a)b", r"(\w+) \1", r"(?i)straße\b", r"\d{5,}", "", "(?s).x"]
)
@pytest.mark.parametrize("text", ["see http://example.org", "ab", "again again", "STRASSE Straße!", "1234567", "\nx"])
def test_a_pattern_of_python_finds_the_same(pattern: str, text: str) -> None:
    assert TextPattern(pattern).is_in(text) == (re.search(pattern, text) is not None)


@pytest.mark.parametrize("pattern", ["[", "(", "*", "(?P<a>x", "a{2,1}", "\\", "(" * 5000, "(?<=a*)b(?P=none)"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="not a regular expression"):
        TextPattern(pattern)


def test_a_pattern_of_any_length_is_none() -> None:
    with pytest.raises(ValueError, match="not a regular expression of a usual length"):
        TextPattern("a" * (LONGEST + 1))


def test_no_pattern_takes_longer_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECONDS.variable, "1")
    pairs = [Pair("x", "y", "a:1"), Pair("a" * 200 + "!", "b", "a:2")]
    cleaned = clean_pairs(pairs, drop_matching="(a|aa)+$", counts=Counter())
    assert next(cleaned) == ("x", "y")
    with pytest.raises(
        NeuronspecError, match=r"the pattern '\(a\|aa\)\+\$' searches a text \('aaa.*'\) for more than 1 sec"
    ):
        next(cleaned)
