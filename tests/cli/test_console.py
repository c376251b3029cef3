from __future__ import annotations

import io
import math
import re
import sys

import pytest

from neuronspec.cli.console import print_table
from neuronspec.comparison.cells import Cell
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
