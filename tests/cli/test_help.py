"""The help of every verb: examples that can be typed, flags without a value, options under the heading of their use."""

from __future__ import annotations

import importlib
import re
import shlex

import pytest
import typer
from tests.command import run_command

from neuronspec.cli.main import app
from neuronspec.cli.modes import Mode

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
MODULES = {verb: importlib.import_module(command.callback.__module__) for verb, command in COMMANDS.items()}
EXAMPLES = [(verb, line) for verb, module in MODULES.items() for _, line in getattr(module, "EXAMPLES", ())]


@pytest.mark.parametrize("verb", COMMANDS)
def test_help_ends_with_an_example_and_shows_flags_without_a_value(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert run_command(verb, "--help") == 0
    shown = capsys.readouterr().out
    assert "<bool>" not in shown
    for example in (line for name, line in EXAMPLES if name == verb):
        assert f"     {example}\n" in shown  # unbroken, so that it can be copied
    assert f"neuronspec {verb} " in shown.partition("─╯")[2] or "Examples" in shown


@pytest.mark.parametrize(("verb", "line"), EXAMPLES)
def test_examples_can_be_typed(verb: str, line: str) -> None:
    name, word, *arguments = shlex.split(line)
    assert (name, word) == ("neuronspec", verb)
    context = COMMANDS[verb].make_context(verb, arguments)

    # One way to use the verb reads every option of the example.
    given = {one for one in context.params if context.get_parameter_source(one).name != "DEFAULT"}
    modes = [value for value in vars(MODULES[verb]).values() if isinstance(value, Mode)]
    assert len(modes) < 2 or any(given <= mode.reads for mode in modes)


def test_options_are_under_the_heading_of_their_use(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert run_command("record", "--help") == 0
    panels = dict(re.findall(r"╭─ ([\w ]+?) ─+╮\n(.*?)╰", capsys.readouterr().out, re.DOTALL))
    assert "--seed" in panels["For a run"]
    assert "--text" in panels["For any other model"]
    assert "--out" in panels["Options"]


def test_the_home_directory_is_found_where_a_shell_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    context = COMMANDS["record"].make_context("record", ["--model=~/nllb", "--text", "de-en=~/dev.tsv", "a~/b"])
    assert context.params["model"] == "/home/me/nllb"
    assert list(context.params["text"]) == ["de-en=/home/me/dev.tsv"]
    assert context.params["config"] == "a~/b"
