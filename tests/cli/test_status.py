"""`neuronspec status` and `--dry-run` in processes of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.test_run import write_project
from tests.command import run_command
from tests.processes import Completed

from neuronspec.pipeline.status import StageState

Start = Callable[..., Completed]


@pytest.fixture(scope="module")
def prepared(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    write_project(folder)
    assert start(folder, "prepare", "small.yaml").returncode == 0
    return folder


def list_files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_status_is_a_table_or_json_and_changes_nothing(start: Start, prepared: Path) -> None:
    before = list_files(prepared)
    shown = start(prepared, "status", "run")
    assert shown.returncode == 0, shown.stderr
    assert "1 of 11 stages are done; neuronspec run run runs the others" in shown.stdout
    changed = start(prepared, "status", "small.yaml", "prepare.vocabulary.size=65", "--json")
    [first, second, *_] = json.loads(changed.stdout)
    assert (first["state"], first["reason"]) == ("to be redone", "prepare.vocabulary.size: 64 -> 65")
    assert (second["state"], second["finished"]) == ("not done", None)
    assert list_files(prepared) == before


@pytest.mark.parametrize("verb", ["run", "prepare", "train", "record", "select", "analyze", "translate", "report"])
def test_a_dry_run_says_what_would_run_and_changes_nothing(
    prepared: Path, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = list_files(prepared)
    monkeypatch.chdir(prepared)
    code = run_command(verb, "small.yaml", "prepare.vocabulary.size=66", "--dry-run")
    said = capsys.readouterr()
    [first, *others] = said.out.splitlines()

    # Verbs of single stages would refuse to replace what is finished, and say so.
    assert code == (0 if verb == "run" else 2)
    assert ("would replace finished results" in said.err) == (verb != "run")
    assert first.split(maxsplit=1) == ["prepare", "runs again: prepare.vocabulary.size: 64 -> 66"]
    assert all(line.endswith("  runs") for line in others)
    assert bool(others) == (verb != "prepare")
    assert list_files(prepared) == before


def test_a_run_named_by_its_directory_is_not_changed_without_force(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = list_files(prepared)
    monkeypatch.chdir(prepared)
    assert run_command("run", "run", "prepare.vocabulary.size=66") == 2
    said = capsys.readouterr().err
    assert "prepare.vocabulary.size: 64 -> 66 would replace finished results in run (prepare)" in said
    assert "--out DIR" in said
    assert list_files(prepared) == before


@pytest.mark.parametrize(("runs", "note"), [(False, "2 of 2 stages are done\n"), (True, "; neuronspec run run runs")])
def test_status_names_the_next_command_where_something_is_left(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], runs: bool, note: str
) -> None:
    states = [
        StageState(name=name, state="not done" if runs else "done", reason="", finished=None, seconds=None)
        for name in ("prepare", "train")
    ]
    monkeypatch.setattr("neuronspec.pipeline.plan.examine_run", lambda run: states)
    monkeypatch.chdir(prepared)
    assert run_command("status", "run") == 0
    assert note in capsys.readouterr().out


def test_the_status_of_a_sweep_is_that_of_each_run(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(prepared)
    assert run_command("status", "small.yaml", "select.k=[0.5,0.9]", "--out", "ks", "--json") == 0
    states = json.loads(capsys.readouterr().out)
    assert list(states) == ["select.k=0.5", "select.k=0.9"]
    assert {state["state"] for found in states.values() for state in found} == {"not done"}
    assert not Path("ks").exists()


def test_a_dry_run_needs_a_run(start: Start, prepared: Path) -> None:
    done = start(prepared, "record", "--model", "nowhere", "--text", "de-en=x.tsv", "--dry-run")
    assert done.returncode == 2
    assert "--dry-run is for the stages of a run" in done.stderr
