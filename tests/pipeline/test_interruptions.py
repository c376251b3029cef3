"""Commands that are asked to stop: the exit code, what they say, and that what they say is true."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import processes
from tests.command import run_command
from tests.patience import PATIENCE
from tests.processes import Completed

from neuronspec.config.schema import Config
from neuronspec.files import hash_path
from neuronspec.interruption import REQUESTS
from neuronspec.pipeline.layout import Layout
from neuronspec.training.journal import read_log

# Asks the process to stop in the middle of an update of the training, as Ctrl-C, Slurm and others do.
ASKING = """
import os, signal
from neuronspec.training import loop

update, name = os.environ["ASKED"].split(":")
derive = loop._derive_seed

def derive_seed(seed, number, *more):
    if number + 1 == int(update):
        os.kill(os.getpid(), getattr(signal, name))
    return derive(seed, number, *more)

loop._derive_seed = derive_seed
"""
TRAIN = ("train", "toy.yaml", "train.updates=6", "train.validate_every=3")


def call(folder: Path, *arguments: str, asked: str = "0:SIGTERM") -> Completed:
    return processes.call(["-m", "neuronspec", "--import", "asking", *arguments], folder, {"ASKED": asked})


def test_r1_a_training_that_is_interrupted_from_its_first_update_on_ends_with_the_same_bits(
    tmp_path: Path, write_project: Callable[[Path], None]
) -> None:
    write_project(tmp_path)
    (tmp_path / "asking.py").write_text(ASKING, encoding="utf-8")
    assert call(tmp_path, *TRAIN, "--out", "whole").returncode == 0

    for update, name, code in ((1, "SIGINT", 130), (2, "SIGTERM", 143)):
        stopped = call(tmp_path, *TRAIN, asked=f"{update}:{name}")
        assert (stopped.returncode, stopped.stdout) == (code, "")
        said = stopped.stderr.splitlines()
        assert "stopping: this update is finished and saved first; interrupt again to stop at once" in said
        updates = f"{update} of 6 updates"
        assert said[-1] == f"interrupted: saved after {updates} (training: pretrained); the same command resumes there"
        assert "Traceback" not in stopped.stderr

    done = call(tmp_path, *TRAIN)
    assert done.returncode == 0
    assert "resuming after 2 of 6 updates" in done.stderr
    whole, resumed = Layout(tmp_path / "whole"), Layout(tmp_path / "run")
    assert hash_path(resumed.model("pretrained")) == hash_path(whole.model("pretrained"))
    logs = [read_log(layout.training("pretrained") / "log.jsonl") for layout in (whole, resumed)]
    for entries in logs:
        for entry in entries:
            del entry["train"]["target_tokens_per_second"]
    assert logs[0] == logs[1]
    kept = [
        sorted(path.name for path in (layout.training("pretrained") / "checkpoints").iterdir())
        for layout in (whole, resumed)
    ]
    assert kept[0] == kept[1]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a function ask this process to stop when it is called for the given time."""

    def patch(name: str, number: signal.Signals, times: int = 1) -> None:
        module, _, attribute = name.rpartition(".")
        function = getattr(importlib.import_module(module), attribute)
        calls: list[int] = []

        def ask(*arguments: Any, **options: Any) -> Any:
            calls.append(1)
            if len(calls) == times:
                os.kill(os.getpid(), number)
            return function(*arguments, **options)

        monkeypatch.setattr(name, ask)

    return patch


# Stage -> function and call at which it is asked to stop, and what it says then
STAGES = {
    "prepare": (
        "neuronspec.pipeline.stages.prepare.build_store",
        2,
        "the same command resumes prepare with the blocks of text that are missing",
    ),
    "record": (
        "neuronspec.pipeline.stages.record.record_activations",
        2,
        "the same command resumes the recording with the next task",
    ),
    "select": (
        "neuronspec.pipeline.stages.select.select_masks",
        1,
        "select was not finished; the same command keeps the stages that are done and starts select again",
    ),
    "translate": (
        "neuronspec.pipeline.stages.translate.write_text",
        2,
        "the same command resumes the translation with pretrained with the next direction",
    ),
    "score": (
        "neuronspec.evaluation.task_scoring.score_task",
        8,
        "the same command resumes the scoring with the next direction",
    ),
}


def list_temporary(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name.endswith((".tmp", ".old"))]


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_says_what_the_same_command_does_and_leaves_nothing_half_written(
    copied: Config,
    stage: str,
    asked: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(copied.out.parent)
    place, times, message = STAGES[stage]
    before = [signal.getsignal(number) for number in REQUESTS]
    asked(place, signal.SIGTERM, times)
    assert run_command(stage, "toy.yaml", "--force") == 143
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == f"interrupted: {message}"
    assert [signal.getsignal(number) for number in REQUESTS] == before
    assert not list_temporary(copied.out)

    # What it says is true: parts that were finished stay as they are.
    kept = {path: path.stat().st_mtime_ns for path in _list_parts(stage, Layout(copied.out))}
    assert bool(kept) == ("resumes" in message)
    assert run_command(stage, "toy.yaml") == 0
    assert {path: path.stat().st_mtime_ns for path in kept if path.exists()} == {
        path: time for path, time in kept.items() if path.exists()
    }


def _list_parts(stage: str, layout: Layout) -> list[Path]:
    """Return the finished parts of an unfinished stage."""
    places = {
        "prepare": layout.text,
        "record": layout.recording,
        "translate": layout.translations("pretrained"),
        "score": layout.scoring,
    }
    return [path for path in places[stage].rglob("*") if path.is_file()] if stage in places else []


def test_a_command_without_parts_says_that_it_starts_again(
    asked: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = tmp_path / "text.de"
    text.write_text("Ein Haus.\n", encoding="utf-8")
    asked("neuronspec.evaluation.output_scoring.score_file", signal.SIGHUP)
    assert run_command("score", "-t", text, "-r", text, "-l", "de") == 129
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted: the same command starts again"


# A second signal before the end is explained, and another one in the explanation
TWICE = """
import os, signal, sys
from neuronspec.cli import main

first, second = (getattr(signal, name) for name in sys.argv[1:])
explain, complain = main._explain_interruption, main.complain

def explain_later(error):
    os.kill(os.getpid(), second)
    return explain(error)

def complain_later(message):
    os.kill(os.getpid(), second)
    complain(message)

main._explain_interruption, main.complain = explain_later, complain_later
main.app = lambda **_: os.kill(os.getpid(), first)
main.main()
"""


@pytest.mark.parametrize(("first", "second"), [("SIGTERM", "SIGINT"), ("SIGINT", "SIGINT"), ("SIGINT", "SIGTERM")])
def test_a_second_signal_does_not_interrupt_the_explanation(first: str, second: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWICE, first, second],
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    assert done.stderr == "interrupted: the same command starts again\n"
    assert done.returncode == (130 if first == "SIGINT" else 143)
