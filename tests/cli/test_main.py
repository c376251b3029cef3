from __future__ import annotations

import logging
import sys
from typing import Any

import pytest

import neuronspec
from neuronspec.cli import main as entry
from neuronspec.errors import NeuronspecError

VERBS = ("demo", "run", "prepare", "train", "record", "select", "analyze", "evaluate", "translate", "score")


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["neuronspec", *arguments])
    with pytest.raises(SystemExit) as left:
        entry.main()
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.fixture(autouse=True)
def _keep_level() -> Any:
    logger = logging.getLogger("neuronspec")
    level = logger.level
    yield
    logger.setLevel(level)


def test_the_version_is_on_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr() == (f"neuronspec {neuronspec.__version__}\n", "")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_the_help_names_every_verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert call(monkeypatch, option) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert call(monkeypatch, verb, "--help") == 0
    assert f"neuronspec {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["trian"], ["run"], ["run", "demo", "--sede", "3"], ["run", "demo", "--seed", "many"]]
)
def test_a_wrong_command_line_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert call(monkeypatch, *arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Usage" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("failure", "code", "found"),
    [
        (NeuronspecError("the file is gone; fetch it"), 2, "error: the file is gone; fetch it\n"),
        (KeyboardInterrupt(), 130, "interrupted: the same command goes on from here\n"),
        (ZeroDivisionError("oh"), 1, "error: this is a bug in neuronspec; please report it with the lines above\n"),
    ],
)
def test_what_goes_wrong_decides_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failure: BaseException, code: int, found: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("neuronspec.recipe.load_config", fail)
    assert call(monkeypatch, "run", "demo") == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith(found)
    assert ("Traceback" in said.err) == (code == 1)


@pytest.mark.parametrize(("options", "level"), [([], logging.INFO), (["-q"], logging.WARNING)])
def test_quiet_keeps_the_logs_away(monkeypatch: pytest.MonkeyPatch, options: list[str], level: int) -> None:
    assert call(monkeypatch, *options, "run", "no-such-recipe") == 2
    assert logging.getLogger("neuronspec").level == level
