"""Patterns of file names: the same matches as a regular expression, in a time that no pattern makes long."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronspec.name_patterns import ANY, NamePattern, Wildcard

CODE = Wildcard(unit="[^/]", fewest=1, greedy=False, name="lang")
PIECES: list[str | Wildcard] = [
    *("a", "b", "/", "ab", "a/"),
    *(ANY, CODE, Wildcard(unit="[^/]", fewest=1, name="task"), Wildcard(unit="[^/]", fewest=1, once=True)),
    *(Wildcard(unit="[^/]+/"), Wildcard(unit="."), Wildcard(unit="[ab]", fewest=1, once=True)),
]


@given(st.lists(st.sampled_from(PIECES), max_size=9), st.text("ab/", max_size=9))
def test_a_pattern_finds_what_a_regular_expression_finds(pieces: list[str | Wildcard], text: str) -> None:
    pattern = NamePattern(pieces)
    expected = pattern._regex.fullmatch(text)
    assert pattern._search(text) == (None if expected is None else expected.groups())
    assert pattern.match(text) == (None if expected is None else expected.groups())
    assert len(pattern.names) == pattern._regex.groups


@pytest.mark.parametrize("repeated", [ANY, CODE, Wildcard(unit="."), Wildcard(unit="[^/]", greedy=False)])
def test_no_number_of_wildcards_takes_long(repeated: Wildcard) -> None:
    pieces: list[str | Wildcard] = [repeated, "a"] * 25
    start = time.process_time()
    assert NamePattern([*pieces, "b"]).match("a" * 200) is None
    assert NamePattern(["text/", *pieces]).match("text/" + "a" * 50) is not None
    assert time.process_time() - start < 5


def test_a_placeholder_stands_for_the_same_text_everywhere() -> None:
    pattern = NamePattern([CODE, "/", ANY, "a", ANY, "a", ANY, ".", CODE])
    assert pattern.names == ["lang", "", "", ""]
    assert pattern.match("de/xaya.de") == ("de", "x", "y", "")
    assert pattern.match("de/xaya.fr") is None
    assert pattern.match("de/xaya.de\n") is None
    assert re.fullmatch(pattern._regex, "de/xaya.de") is not None
