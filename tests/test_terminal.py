"""Control characters of strangers do nothing on a terminal, and ordinary text of every script stays as it is."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronspec.terminal import CONTROL, escape, escape_json, escape_lines, escape_text

HOSTILE = {
    "clear screen": "\x1b[2J",
    "title": "\x1b]0;owned\x07",
    "C1 sequence": "\x9b2J",
    "backspaces": "error\x08\x08\x08\x08\x08done ",
    "carriage return": "bad\rgood",
    "line feed": "a\nerror: forged",
    "next line": "a\x85error: forged",
    "line separator": "a\u2028error: forged",
    "paragraph separator": "a\u2029error: forged",
    "override": "txt.\u202egpj",
    "isolate": "a\u2066b\u2069",
    "null": "a\x00b",
    "delete": "a\x7fb",
    "surrogate": "a\udcffb",
    "vertical": "a\x0b\x0cb",
}
ORDINARY = (
    "می‌خواهم",
    "क्‍ष",
    "עברית\u200f",
    "العربية",
    "日本語 ・",
    "e\u0301",
    "👩‍👩‍👧",
    "a\u00a0b",
    "soft\u00adhyphen",
    "↑ Δθ",
)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_a_terminal_would_obey_is_shown_instead(text: str) -> None:
    for show in (escape, escape_lines, escape_text, escape_json):
        shown = show(text)
        shown.encode()  # a surrogate could not be printed
        assert not CONTROL.search(shown.replace("\n", ""))
    assert "\n" not in escape(text)
    assert escape(text) != text


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_of_every_script_stays(text: str) -> None:
    assert escape(text) == escape_lines(text) == escape_text(text) == escape_json(text) == text


@given(st.text())
def test_no_line_of_a_message_passes_for_another(name: str) -> None:
    first, *others = re.split("[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", escape_lines(f"no file {name} here"))
    assert first.startswith("no file ")
    assert all(line.startswith("  ") for line in others)


@given(st.recursive(st.text(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)))
def test_json_means_the_same_with_its_control_characters_escaped(value: object) -> None:
    text = escape_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(text) == value
    assert not CONTROL.search(text.replace("\n", ""))
