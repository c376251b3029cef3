from __future__ import annotations

import logging
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.command import run_command
from tests.patience import PATIENCE

import neuronspec
from neuronspec.errors import NeuronspecError
from neuronspec.interruption import Interrupted

VERBS = (
    "demo",
    "init",
    "run",
    "prepare",
    "train",
    "record",
    "select",
    "analyze",
    "translate",
    "score",
    "compare",
    "report",
)


@pytest.fixture(autouse=True)
def _keep_level() -> Any:
    logger = logging.getLogger("neuronspec")
    level = logger.level
    yield
    logger.setLevel(level)


def test_the_version_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("--version") == 0
    assert capsys.readouterr() == (f"neuronspec {neuronspec.__version__}\n", "")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_the_help_names_every_verb(capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert run_command(option) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert run_command(verb, "--help") == 0
    assert f"neuronspec {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["trian"], ["run"], ["run", "demo", "--sede", "3"], ["run", "demo", "--seed", "many"]]
)
def test_a_wrong_command_line_exits_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run_command(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Usage" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("failure", "code", "found"),
    [
        (NeuronspecError("the file is gone; fetch it"), 2, "error: the file is gone; fetch it\n"),
        (KeyboardInterrupt(), 130, "interrupted: the same command starts again\n"),
        (Interrupted("all of it is kept", signal.SIGTERM), 143, "interrupted: all of it is kept\n"),
        (ZeroDivisionError("oh"), 1, "error: this is a bug in neuronspec; please report it with the lines above\n"),
    ],
)
def test_what_goes_wrong_decides_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failure: BaseException, code: int, found: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("neuronspec.config.loading.load_config", fail)
    assert run_command("run", "demo") == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith(found)
    assert ("Traceback" in said.err) == (code == 1)


@pytest.mark.parametrize(("options", "level"), [([], logging.INFO), (["-q"], logging.WARNING)])
def test_quiet_keeps_the_logs_away(options: list[str], level: int) -> None:
    assert run_command(*options, "run", "no-such-recipe") == 2
    assert logging.getLogger("neuronspec").level == level


LIGHT = {
    "help": ["--help"],
    "version": ["--version"],
    "no such verb": ["nosuch"],
    "no such option": ["run", "demo", "--sede", "3"],
    "run, no configuration": ["run", "nosuch.yaml"],
    "run, wrong configuration": ["run", "wrong.yaml"],
    "prepare, no configuration": ["prepare", "nosuch.yaml"],
    "train, no configuration": ["train", "nosuch.yaml"],
    "report, no configuration": ["report", "nosuch.yaml"],
    "record, nothing": ["record"],
    "record, no configuration": ["record", "nosuch.yaml"],
    "record, no text": ["record", "--model", "nosuch"],
    "record, no model": ["record", "--model", "./nosuch", "--text", "de-en=nosuch.tsv"],
    "select, no configuration": ["select", "nosuch"],
    "select, two ways": ["select", "nosuch", "--random", "--compare", "masks"],
    "analyze, no configuration": ["analyze", "nosuch"],
    "translate, nothing": ["translate"],
    "translate, no engine": ["translate", "--model", "m", "en-de", "--engine", "nosuch", "Hello"],
    "translate, no model": ["translate", "--model", "./nosuch", "en-de", "Hello"],
    "score, a file": ["score", "-t", "text.de", "-r", "text.de", "-l", "de"],
    "score, a grid": ["score", "-t", "{task}.txt", "-r", "{task}.txt"],
    "compare, no results": ["compare", "nosuch"],
}


LIGHT |= {f"help of {verb}": [verb, "--help"] for verb in VERBS}


@pytest.mark.parametrize("arguments", LIGHT.values(), ids=LIGHT)
def test_torch_is_not_imported_before_it_is_needed(arguments: list[str], tmp_path: Path) -> None:
    for name in ("text.de", "de-en.txt", "en-de.txt"):
        (tmp_path / name).write_text("Ein Haus am See.\n", encoding="utf-8")
    (tmp_path / "wrong.yaml").write_text("nosuch: 1\n", encoding="utf-8")
    program = (
        "import sys\nfrom neuronspec.cli.main import main\n"
        "try:\n    main()\nfinally:\n"
        "    print(*sorted({'torch', 'accelerate', 'transformers'} & {*sys.modules}), 'loaded')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode in (0, 2), done.stderr
    assert done.stdout.splitlines()[-1] == "loaded"


def test_the_package_runs_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["neuronspec", "--version"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("neuronspec", run_name="__main__")
    assert left.value.code == 0
    assert capsys.readouterr().out == f"neuronspec {neuronspec.__version__}\n"


@pytest.mark.parametrize(("shell", "script"), [("bash", "complete "), ("zsh", "compdef"), ("fish", "complete ")])
def test_shells_can_complete_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shell: str, script: str
) -> None:
    monkeypatch.setenv("_NEURONSPEC_COMPLETE", f"source_{shell}")
    assert run_command() == 0
    assert script in capsys.readouterr().out


def test_a_completion_names_the_verbs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {
        "_NEURONSPEC_COMPLETE": "complete_bash",
        "COMP_WORDS": "neuronspec tr",
        "COMP_CWORD": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert run_command() == 0
    assert capsys.readouterr().out.split() == ["train", "translate"]
