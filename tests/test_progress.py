from __future__ import annotations

import io
import sys
import time

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress

from neuronspec import progress
from neuronspec.progress import show_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, to be set."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_where_there_is_no_terminal_a_line_tells_the_time_that_is_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with show_progress("training", total=100, done=40) as advance:
        clock[0] += 10
        advance(5, note="loss 3.00")
        assert capsys.readouterr().err == ""  # not yet
        clock[0] += 15
        advance(5)
    printed = capsys.readouterr()
    # 10 steps in 25 seconds: the other 50 take 125; what an earlier run did says nothing about speed
    assert printed.err == "training: 50/100, 2:05 left loss 3.00\n"
    assert printed.out == ""


def test_lines_come_now_and_then(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("scoring", total=1000) as advance:
        for _ in range(1000):
            clock[0] += progress.LINE_EVERY / 100
            advance()
    assert 9 <= len(capsys.readouterr().err.splitlines()) <= 10


def test_a_note_alone_is_no_step(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("reading", total=4) as advance:
        clock[0] += 100
        advance(0, note="en-de")
    assert capsys.readouterr().err == ""


def test_on_a_terminal_a_bar_is_drawn_on_stderr_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with show_progress("training", total=4, done=1) as advance:
        advance(note="loss 2.50")
        advance(2)
    assert "training" in terminal.getvalue()
    assert "4/4" in terminal.getvalue()
    assert "loss 2.50" in terminal.getvalue()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_a_bar_is_one_line_of_a_terminal_with_whole_numbers(width: int) -> None:
    title, total = "training: neuron_specialization of 日本語", 20_000
    bars = Progress(*progress._choose_columns(width, title, total), auto_refresh=False)
    bar = bars.add_task(title, total=total, completed=1200, note="loss 3.21, 12,345 tokens/s")
    bars.advance(bar, 10)

    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(bars.get_renderable())
    (line,) = console.export_text().rstrip("\n").split("\n")
    assert cell_len(line) <= width
    assert "1210/20000" in line
    assert "loss 3.21" in line
    assert ("training" in line) == (width >= 60)
    assert ("tokens/s" in line) == (width >= 80)


def test_of_several_processes_the_first_one_shows_progress(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        with show_progress("scoring", total=10) as advance:
            clock[0] += progress.LINE_EVERY
            advance()
    assert capsys.readouterr().err == "scoring: 1/10, 3:00 left \n"
