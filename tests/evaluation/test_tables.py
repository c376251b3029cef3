from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronspec.evaluation.tables import Cell, Table

TABLE = Table(
    "Scores",
    ["system", "BLEU", "bytes"],
    [
        [Cell("a|b"), Cell(27.649, mark="↑"), Cell(1234567, 0)],
        [Cell("c"), Cell(-0.05, 2), Cell(None)],
    ],
    ["↑: better.", "Another note."],
)


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (Cell(27.649), "27.6"),
        (Cell(27.65, 2, "↓"), "27.65↓"),
        (Cell(1234567, 0), "1,234,567"),
        (Cell(-3.0), "-3.0"),
        (Cell("text", 3), "text"),
        (Cell(None, mark="↑"), ""),
        (Cell(0.0), "0.0"),
    ],
)
def test_a_cell_shows_its_value_as_people_read_it(cell: Cell, shown: str) -> None:
    assert str(cell) == shown


def test_markdown_is_github_flavoured() -> None:
    assert TABLE.to_markdown().splitlines() == [
        "**Scores**",
        "",
        "| system | BLEU | bytes |",
        "|---|---:|---:|",
        "| a\\|b | 27.6↑ | 1,234,567 |",
        "| c | -0.05 |  |",
        "",
        "↑: better.",
        "",
        "Another note.",
    ]


def test_csv_holds_unrounded_values_and_a_column_for_marks_where_there_are_any() -> None:
    rows = list(csv.DictReader(io.StringIO(TABLE.to_csv())))
    assert rows == [
        {"system": "a|b", "BLEU": "27.649", "BLEU mark": "↑", "bytes": "1234567"},
        {"system": "c", "BLEU": "-0.05", "BLEU mark": "", "bytes": ""},
    ]


def test_json_holds_unrounded_values() -> None:
    assert TABLE.to_json() == [
        {"system": "a|b", "BLEU": 27.649, "bytes": 1234567},
        {"system": "c", "BLEU": -0.05, "bytes": None},
    ]


def test_a_row_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Table("", ["a", "b"], [[Cell(1)]]).to_json()


def test_columns_of_text_are_aligned_left() -> None:
    assert [TABLE.is_text(column) for column in range(3)] == [True, False, False]
    assert not Table("", ["empty"], []).is_text(0)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_characters="\r\n\x00", codec="utf-8")),
            st.floats(allow_nan=False),
            st.sampled_from(["", "↑", "↓"]),
        ),
        max_size=6,
    )
)
def test_csv_and_markdown_keep_every_row(rows: list[tuple[str, float, str]]) -> None:
    table = Table("t", ["name", "value"], [[Cell(name), Cell(value, mark=mark)] for name, value, mark in rows])
    read = list(csv.reader(io.StringIO(table.to_csv(), newline="")))
    assert len(read) == len(rows) + 1
    assert [float(line[1]) for line in read[1:]] == [value for _, value, _ in rows]
    assert all(len(line) == len(read[0]) == (3 if any(mark for _, _, mark in rows) else 2) for line in read)
