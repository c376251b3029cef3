"""Markdown, YAML and Python that names of any kind are written into."""

from __future__ import annotations

import ast
import re

import yaml
from hypothesis import given
from hypothesis import strategies as st

from neuronspec.artifacts.cards import (
    escape_cell,
    escape_code,
    escape_text,
    make_front_matter,
    make_table,
    quote_python,
)
from neuronspec.terminal import CONTROL

TEXT = st.text(max_size=40)
HOSTILE = "](http://x) <script>|`` `a` **b** # \n---\n\x1b[2J \u202e \\"


@given(TEXT)
def test_any_text_is_one_string_of_python_on_one_line(text: str) -> None:
    quoted = quote_python(text)
    assert ast.literal_eval(quoted) == text
    assert len(quoted.splitlines()) == 1
    assert not CONTROL.search(quoted)


@given(TEXT)
def test_any_text_stays_in_its_span_and_in_its_cell(text: str) -> None:
    span = escape_code(text)
    fence = re.match("`+", span)
    assert fence is not None
    assert span.endswith(fence[0])
    # No run of as many backticks ends the span before its end.
    assert fence[0] not in re.findall("`+", span[len(fence[0]) : -len(fence[0])])
    for escaped in (span, escape_cell(text), escape_text(text)):
        assert not CONTROL.search(escaped)
        (row,) = make_table([escaped], [])[:1]
        assert len(re.findall(r"(?<!\\)\|", row)) == 2


@given(TEXT)
def test_no_markup_is_left_in_text(text: str) -> None:
    assert not re.search(r"(?<!\\)[`*_\[\]<>#|~&!]", escape_text(text).replace("\\\\", ""))


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,9}", fullmatch=True), TEXT | st.lists(TEXT)))
def test_front_matter_holds_what_was_put_in(values: dict[str, str | list[str]]) -> None:
    lines = make_front_matter(values)
    assert lines[0] == lines[-1] == "---"
    assert "---" not in lines[1:-1]
    known = {key: value for key, value in values.items() if value}
    assert (yaml.safe_load("\n".join(lines[1:-1])) or {}) == known


def test_a_hostile_name_has_no_effect() -> None:
    assert escape_text(HOSTILE).startswith(r"\](http://x) \<script\>\|")
    assert "\x1b" not in escape_text(HOSTILE) + escape_code(HOSTILE)
    assert "no" in make_front_matter({"language": ["no"]})[1]
    assert yaml.safe_load(make_front_matter({"language": ["no"]})[1]) == {"language": ["no"]}
