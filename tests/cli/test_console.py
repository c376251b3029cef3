from __future__ import annotations

import io
import math
import re
import sys

import pytest
from rich.cells import cell_len

from neuronspec.cli.console import print_table
from neuronspec.comparison.cells import Cell, CellTest
from neuronspec.comparison.tables import ColumnTitle, Table

TABLE = Table(
    "Scores [a]",
    ["system", ("high", "O2M"), "took"],
    [
        [Cell("base[x]"), Cell(20.0, mark="↑"), Cell(90.5, text="1.5 min")],
        [Cell("ours"), Cell(-1.25, signed=True, shade=-1.0), Cell(math.nan)],
        [Cell("ours"), Cell(3.0, signed=True, shade=0.5, bold=True), Cell(7.0)],
    ],
    ["A note [b]."],
    {0: "From en", 2: "To en"},
)


def test_without_a_terminal_there_is_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(TABLE)
    said = capsys.readouterr().out
    assert "\x1b" not in said
    lines = [re.split("[┃│]", line)[1:-1] for line in said.splitlines()]
    cells = [[cell.strip() for cell in line] for line in lines if line]
    assert cells == [
        ["", "high", ""],
        ["system", "O2M", "took"],
        ["From en", "", ""],
        ["base[x]", "20.0↑", "1.5 min"],
        ["ours", "-1.2", ""],
        ["To en", "", ""],
        ["ours", "+3.0", "7.0"],
    ]
    assert said.splitlines()[0].strip() == "Scores [a]"
    assert said.splitlines()[-1] == "A note [b]."


def test_numbers_are_whole_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    header: list[ColumnTitle] = ["system", *(("from English", f"language {number}") for number in range(20))]
    note = "word " * 60
    print_table(Table("Wide", header, [[Cell("s"), *[Cell(1_234_567.8)] * 20]], [note]))
    lines = capsys.readouterr().out.splitlines()
    assert any(line.count("1,234,567.8") == 20 for line in lines)
    assert all(len(line) <= 120 for line in lines if line.startswith("word"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_the_best_and_shades(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    print_table(TABLE)
    said = terminal.getvalue()
    assert re.search(r"\x1b\[1m\s*From en", said)
    red, blue = (re.search(rf"\x1b\[([0-9;]+)m *{re.escape(text)}", said) for text in ("-1.2", "+3.0"))
    assert red is not None
    assert red[1] == "30;48;2;255;120;120"
    assert blue is not None
    assert blue[1] == "1;30;48;2;187;187;255"
    assert all(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= 80 for line in said.splitlines())


# Names of systems as they may come: long, with spaces, of wide letters, of letters with marks
SYSTEMS = (
    "pretrained",
    "neuron specialization",
    "日本語のとても長いシステムの名前",
    "नमस्ते दुनिया",
    "fine_tune.seed2_" + "x" * 40,
)


def show(table: Table, width: int, monkeypatch: pytest.MonkeyPatch, *, p_values: bool = False) -> list[str]:
    """Return the lines that a terminal of so many cells shows, without colors."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    print_table(table, p_values=p_values)
    return re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("directions", [3, 60])
def test_wide_tables_come_in_parts_that_fit_with_every_number_whole(
    width: int, directions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    header: list[ColumnTitle] = ["system", "Δθ", *(("from English", f"en-{number}") for number in range(directions))]
    test = CellTest(-1.2, None, None, 0.01, 0.0301)
    rows = [
        [Cell(name), *(Cell(1e6 + 100 * row + column, 0, mark="↓", test=test) for column in range(directions + 1))]
        for row, name in enumerate(SYSTEMS)
    ]
    lines = show(Table("A title", header, rows, ["A note."]), width, monkeypatch)

    assert all(cell_len(line) <= width for line in lines)
    assert not any("…" in line for line in lines)
    for row in rows:
        assert all(sum(str(cell) in line for line in lines) == 1 for cell in row[1:])

    # Every part says which it is, and repeats the names of the rows.
    parts = [line for line in lines if line.startswith("A title")]
    assert len(parts) == sum("pretrained" in line for line in lines)
    if len(parts) > 1:
        numbers = [f"A title (part {number} of {len(parts)})" for number in range(1, len(parts) + 1)]
        assert [line.rstrip() for line in parts] == numbers
    assert (len(parts) > 1) == (directions == 60 or width < 80)


def test_p_values_stay_with_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    test = CellTest(-1.2, None, None, 0.01, 0.00001)
    table = Table("T", ["system", "a", "b"], [[Cell("s"), *[Cell(1234.5, mark="↓", test=test)] * 2]])
    lines = show(table, 40, monkeypatch, p_values=True)
    assert sum(str(table.rows[0][1]) + " (p < 0.0001)" in line for line in lines) == 2


def test_on_a_terminal_too_narrow_for_a_row_each_row_is_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[Cell("a" * 19), Cell("b" * 19), Cell(1234567.5), Cell(None)]]
    lines = show(Table("Title", ["one", "two", ("count", "all"), "none"], rows, sections={0: "Part"}), 40, monkeypatch)
    assert lines == ["Title", "Part", f"one: {'a' * 19}", f"two: {'b' * 19}", "count all: 1,234,567.5", ""]
