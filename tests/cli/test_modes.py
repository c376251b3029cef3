"""No option is ignored in silence: every verb, in every way to use it, with every option that would change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from tests.command import run_command

from neuronspec.cli import analyze, analyze_lape, check, compare, init, record, score, select, translate
from neuronspec.cli.main import app
from neuronspec.cli.modes import Mode

# Verb -> each way to use it, and a command line that uses it so
WAYS: dict[str, list[tuple[Mode, list[str]]]] = {
    "record": [
        (record.OF_A_RUN, ["my.yaml"]),
        (record.OF_A_MODEL, ["--model", "./model", "--text", "de-en=text"]),
    ],
    "check": [
        (check.OF_A_RUN, ["my.yaml"]),
        (check.OF_A_MODEL, ["./model"]),
        (check.OF_NEURONS, ["counts.safetensors"]),
        (check.OF_TEXT, ["text"]),
    ],
    "select": [(select.OF_A_RUN, ["my.yaml"]), (select.OF_FILES, ["counts"])],
    "analyze": [
        (analyze.OF_A_RUN, ["my.yaml"]),
        (analyze.OF_FILES, ["counts"]),
        (analyze_lape.OF_LAPE, ["--lape", "--model", "./model", "--text", "de=text"]),
    ],
    "translate": [
        (translate.OF_A_RUN, ["my.yaml"]),
        (translate.OF_LINES, ["--model", "./model", "de-en", "Hallo"]),
        (translate.OF_A_FILE, ["--model", "./model", "de-en", "Hallo", "--to", "out"]),
        (translate.OF_A_GRID, ["--model", "./model", "de-en", "--input", "text.{src}", "--to", "{task}"]),
    ],
    "compare": [(compare.OF_A_STUDY, ["run"]), (compare.OF_MODELS, ["a=run", "b=run", "--models"])],
    "score": [
        (score.OF_A_RUN, ["my.yaml"]),
        (score.OF_A_FILE, ["-t", "text", "-r", "text", "-l", "de"]),
        (score.OF_A_GRID, ["-t", "{task}", "-r", "{task}"]),
    ],
}
# Parameter -> a value that it accepts; `text` for all others
VALUES = {
    "neuron": "decoder.0:1",
    "text": "de-en=text",
    "columns": "1,2",
    "format": "tsv",
    "beams": "2",
    "workers": "2",
    "seed": "2",
    "sample": "2",
    "seconds": "2",
    "too_long": "skip",
    "engine": "ctranslate2",
    "dtype": "bfloat16",
    "device_map": "auto",
    "quantize": "4bit",
    "trials": "9",
    "significance": "0.1",
}
PARAMETERS = {
    verb: {one.name: one for one in command.params}
    for verb, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
}


def give(verb: str, name: str) -> list[str]:
    """Return the words that give an option, with a value that it accepts."""
    option = PARAMETERS[verb][name]
    flag = max(option.opts, key=len)
    if option.is_flag:
        return [flag]
    return [flag, VALUES.get(name, "text")]


def is_option(verb: str, name: str) -> bool:
    return PARAMETERS[verb][name].opts[0].startswith("-") and name != "help"


def list_unread() -> Iterator[tuple[str, list[str], str]]:
    for verb, ways in WAYS.items():
        for mode, words in ways:
            for name in PARAMETERS[verb]:
                if is_option(verb, name) and name not in mode.reads:
                    # In place of the mode's own option, another mode would be meant.
                    if name in ("model", "models") or (verb, name) in (
                        ("score", "hypotheses"),
                        ("translate", "target"),
                    ):
                        continue
                    yield verb, words, name


def test_a_recipe_that_is_copied_takes_no_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"files", "recipe"} <= init.OF_A_RECIPE.reads
    for option in ("--minutes", "--pivot", "--languages", "--model"):
        assert run_command("init", "--recipe", "iwslt", option, "5") == 2
        assert capsys.readouterr().err.startswith(f"error: {option}: a recipe is copied as it is")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "counts").mkdir()
    (tmp_path / "text").write_text("Hallo\tHello\n", encoding="utf-8")
    (tmp_path / "de-en").write_text("Hello\n", encoding="utf-8")


@pytest.mark.parametrize("verb", WAYS)
def test_every_option_has_an_effect_in_some_way(verb: str) -> None:
    read = set().union(*(mode.reads for mode, _ in WAYS[verb]))
    assert {name for name in PARAMETERS[verb] if is_option(verb, name)} <= read


@pytest.mark.parametrize(("verb", "words", "name"), list(list_unread()))
def test_an_option_that_changes_nothing_is_refused(
    capsys: pytest.CaptureFixture[str], verb: str, words: list[str], name: str
) -> None:
    assert run_command(verb, *words, *give(verb, name)) == 2
    said = capsys.readouterr()
    [line] = said.err.splitlines()
    flag = max(PARAMETERS[verb][name].opts, key=len)
    assert flag in line or (verb, name) in {("record", "columns"), ("record", "format")}, line
    assert line.startswith("error: ")


@pytest.mark.parametrize(
    ("verb", "words", "name", "needed"),
    [
        (verb, words, name, needed)
        for verb, ways in WAYS.items()
        for mode, words in ways
        for name, needed in mode.needs.items()
    ],
)
def test_an_option_without_the_one_that_it_belongs_to_is_refused(
    capsys: pytest.CaptureFixture[str], verb: str, words: list[str], name: str, needed: str
) -> None:
    assert run_command(verb, *words, *give(verb, name)) == 2
    flags = [max(PARAMETERS[verb][one].opts, key=len) for one in (name, needed)]
    assert capsys.readouterr().err == f"error: {flags[0]} changes nothing without {flags[1]}\n"
