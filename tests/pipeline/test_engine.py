from __future__ import annotations

import itertools
import json
import logging
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.stage_lines import read_stages

from neuronspec.config.schema import Config
from neuronspec.errors import NeuronspecError
from neuronspec.files import write_text
from neuronspec.pipeline import records
from neuronspec.pipeline.engine import Stage, run_stages
from neuronspec.pipeline.layout import Layout

Say = Callable[[], list[str]]


class Chain:
    """Two stages over files: `double` writes its input twice over, `count` the length of that."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(folder / "out")
        self.source = folder / "source.txt"
        self.doubled, self.counted = self.layout.out / "doubled.txt", self.layout.out / "counted"
        self.workspace = self.layout.out / "workspace"
        self.settings: dict[str, dict[str, object]] = {"double": {"times": 2, "inner": {"x": 1}}, "count": {}}
        self.fails: BaseException | None = None
        self.ran: list[str] = []
        self.source.write_text("abc", encoding="utf-8")

    def double(self) -> None:
        self.ran.append("double")
        self.workspace.mkdir(parents=True, exist_ok=True)
        (self.workspace / f"part{len(list(self.workspace.iterdir()))}").touch()
        if self.fails is not None:
            raise self.fails
        write_text(self.doubled, self.source.read_text(encoding="utf-8") * 2)

    def count(self) -> None:
        self.ran.append("count")
        write_text(self.counted / "number.txt", str(len(self.doubled.read_text(encoding="utf-8"))))

    def run(self, *force: str) -> list[str]:
        """Run both and return the names of the stages that did anything."""
        self.ran = []
        run_stages(
            [
                Stage(
                    name="double",
                    execute=self.double,
                    settings=self.settings["double"],
                    inputs=[self.source],
                    outputs=[self.doubled],
                    workspace=[self.workspace],
                ),
                Stage(
                    name="count",
                    execute=self.count,
                    settings=self.settings["count"],
                    inputs=[self.doubled],
                    outputs=[self.counted],
                ),
            ],
            self.layout,
            force,
        )
        return self.ran


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(tmp_path)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Say:
    """What was logged since the last call, without the numbers of stages."""
    caplog.set_level(logging.INFO, logger="neuronspec")

    def take() -> list[str]:
        messages = read_stages(caplog.messages)
        caplog.clear()
        return messages

    return take


def test_what_is_done_is_not_done_again(chain: Chain, said: Say) -> None:
    assert chain.run() == ["double", "count"]
    assert said() == ["double: finished", "count: finished"]
    assert chain.run() == []
    assert said() == ["double: done before", "count: done before"]


def test_a_changed_setting_is_named_and_what_follows_runs_only_if_its_input_changed(chain: Chain, said: Say) -> None:
    chain.run()
    said()
    chain.settings["double"] = {"times": 3, "inner": {"x": 2}}
    assert chain.run() == ["double"]  # it wrote the same: nothing changed for `count`
    assert said() == [
        "double again: times: 2 -> 3; inner.x: 1 -> 2",
        "double: finished",
        "count: done before",
    ]


def test_a_changed_input_is_named(chain: Chain, said: Say) -> None:
    chain.run()
    said()
    chain.source.write_text("abcd", encoding="utf-8")
    assert chain.run() == ["double", "count"]
    assert said() == [
        f"double again: {chain.source} has changed",
        "double: finished",
        "count again: doubled.txt has changed",
        "count: finished",
    ]
    assert (chain.counted / "number.txt").read_text(encoding="utf-8") == "8"


def test_a_file_that_is_only_touched_has_not_changed(chain: Chain) -> None:
    chain.run()
    for path in (chain.source, chain.doubled, chain.counted / "number.txt"):
        os.utime(path, (1, 1))
    assert chain.run() == []


@pytest.mark.parametrize("change", ["edited", "deleted", "added to"])
def test_an_output_that_is_not_as_it_was_left_is_made_again(chain: Chain, said: Say, change: str) -> None:
    chain.run()
    said()
    number = chain.counted / "number.txt"
    if change == "edited":
        number.write_text("7", encoding="utf-8")
    elif change == "deleted":
        number.unlink()
    else:
        (chain.counted / "more.txt").touch()
    assert chain.run() == ["count"]
    assert said() == ["double: done before", f"count again: {chain.counted} was changed", "count: finished"]
    assert [(file.name, file.read_text(encoding="utf-8")) for file in chain.counted.iterdir()] == [("number.txt", "6")]


def test_an_output_that_is_gone_is_made_again(chain: Chain, said: Say) -> None:
    chain.run()
    said()
    chain.doubled.unlink()
    assert chain.run() == ["double"]
    assert said()[0] == f"double again: {chain.doubled} is missing"


def test_another_version_does_everything_again(chain: Chain, said: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.run()
    said()
    monkeypatch.setattr(records, "__version__", "9.9")
    assert chain.run() == ["double", "count"]
    assert said()[0].endswith("-> 9.9")


def test_force_does_what_is_named_again(chain: Chain, said: Say) -> None:
    chain.run()
    said()
    assert chain.run("double") == ["double"]
    assert said() == ["double again: asked to", "double: finished", "count: done before"]


@pytest.mark.parametrize("failure", [RuntimeError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_unfinished_work_is_gone_on_with(chain: Chain, failure: BaseException) -> None:
    chain.fails = failure
    for _ in range(2):
        with pytest.raises(type(failure)):
            chain.run()
        assert not chain.doubled.exists()
    chain.fails = None
    assert chain.run() == ["double", "count"]
    assert len(list(chain.workspace.iterdir())) == 3  # nothing of the first two attempts was thrown away


@pytest.mark.parametrize("how", ["setting", "input", "force"])
def test_unfinished_work_of_something_else_is_thrown_away(chain: Chain, how: str) -> None:
    chain.fails = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        chain.run()
    chain.fails = None
    if how == "setting":
        chain.settings["double"] = {"times": 4}
    elif how == "input":
        chain.source.write_text("xyz", encoding="utf-8")
    chain.run(*(["double"] if how == "force" else []))
    assert len(list(chain.workspace.iterdir())) == 1


def test_finished_parts_of_unfinished_work_stay_and_changed_outputs_do_not(tmp_path: Path) -> None:
    """As when translating: every part is a file, and a file that is there is not made again."""
    layout, made = Layout(tmp_path), []
    output = tmp_path / "parts"
    stop = True

    def work() -> None:
        for name in ("a", "b"):
            if not (output / name).is_file():
                made.append(name)
                write_text(output / name, name)
            if stop:
                raise KeyboardInterrupt

    stage = Stage(name="work", execute=work, settings={}, inputs=[], outputs=[output])
    with pytest.raises(KeyboardInterrupt):
        run_stages([stage], layout)
    stop = False
    run_stages([stage], layout)
    assert made == ["a", "b"]
    (output / "a").write_text("broken", encoding="utf-8")
    run_stages([stage], layout)
    assert (output / "a").read_text(encoding="utf-8") == "a"


def test_the_seconds_of_interrupted_attempts_count(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(step=10)

    def tick() -> float:
        return next(clock)

    monkeypatch.setattr(time, "monotonic", tick)
    chain.fails = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        chain.run()
    chain.fails = None
    chain.run()
    record = json.loads(chain.layout.record("double").read_text(encoding="utf-8"))
    assert record["seconds"] == 20


@settings(max_examples=12)
@given(st.lists(st.sampled_from(["source", "setting", "doubled", "counted", "run"]), max_size=6))
def test_after_any_changes_one_run_makes_everything_right_and_a_second_has_nothing_to_do(
    tmp_path_factory: pytest.TempPathFactory, changes: list[str]
) -> None:
    chain = Chain(tmp_path_factory.mktemp("chain"))
    chain.run()
    for number, change in enumerate(changes, start=4):
        if change == "source":
            chain.source.write_text("x" * number, encoding="utf-8")
        elif change == "setting":
            chain.settings["double"] = {"times": number}
        elif change == "run":
            chain.run()
        else:
            path = chain.doubled if change == "doubled" else chain.counted / "number.txt"
            path.write_text("?" * number, encoding="utf-8")
    chain.run()
    text = chain.source.read_text(encoding="utf-8")
    assert chain.doubled.read_text(encoding="utf-8") == text * 2
    assert (chain.counted / "number.txt").read_text(encoding="utf-8") == str(len(text) * 2)
    assert chain.run() == []


STOPPED = r"interrupted: saved after (\d+) of 16 updates \(training: pretrained\); the same command resumes there"


@pytest.mark.slow
def test_ctrl_c_says_so_and_exits_with_130(
    interrupted: tuple[Config, list[subprocess.CompletedProcess[str]]],
) -> None:
    stopped = interrupted[1][0]
    assert stopped.returncode == 130
    last = stopped.stderr.splitlines()[-1]
    assert re.fullmatch(STOPPED, last)
    assert "Traceback" not in stopped.stderr
    assert stopped.stdout == ""


@pytest.mark.slow
def test_the_same_command_goes_on_and_leaves_what_is_done(
    interrupted: tuple[Config, list[subprocess.CompletedProcess[str]]],
) -> None:
    _, (stopped, killed, finished) = interrupted
    assert killed.returncode == -9
    resumed = read_stages(killed.stderr.splitlines())
    saved = re.fullmatch(STOPPED, stopped.stderr.splitlines()[-1])
    assert saved
    assert resumed[:3] == ["prepare: done before", f"resuming after {saved[1]} of 16 updates", "train: finished"]
    first, *last = read_stages(finished.stderr.splitlines())
    assert re.fullmatch(r"taking over .*, which has ended", first)
    done = ("prepare", "train", "record", "select", "examples", "analyze")
    assert last[:6] == [f"{stage}: done before" for stage in done]
    assert last[6:8] == ["resuming after 4 of 8 updates", "train.fine_tune: finished"]
    assert not any("again" in line for line in last)


@pytest.mark.slow
def test_r1_a_run_that_was_interrupted_and_killed_ends_with_the_same_bits(
    finished: Config, interrupted: tuple[Config, list[subprocess.CompletedProcess[str]]]
) -> None:
    resumed = interrupted[0]
    names = [
        *(f"train/{system}/model/model.safetensors" for system in ("pretrained", "fine_tune", "neuron_specialization")),
        *("record/activation_counts.safetensors", "select/neuron_masks.safetensors"),
        *(
            "score/scores.jsonl",
            "score/comparisons.jsonl",
            "report/tables/directions.csv",
            "analyze/figures/iou.encoder.0.png",
        ),
    ]
    for name in names:
        assert (Layout(resumed.out).out / name).read_bytes() == (Layout(finished.out).out / name).read_bytes(), name


@pytest.mark.slow
def test_two_runs_with_the_same_seed_have_the_same_averages(
    finished: Config, interrupted: tuple[Config, list[subprocess.CompletedProcess[str]]]
) -> None:
    for suffix in ("csv", "json"):
        tables = [
            (Layout(run.out).report / "tables" / f"averages.{suffix}").read_bytes()
            for run in (finished, interrupted[0])
        ]
        assert tables[0] == tables[1]


def test_what_no_stage_has_made_is_never_deleted(tmp_path: Path) -> None:
    mine = tmp_path / "figures" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("a year of work")
    stage = Stage(name="analyze", execute=lambda: None, settings={}, inputs=[], outputs=[mine.parent])
    with pytest.raises(NeuronspecError, match="was not made by this run: choose another --out"):
        run_stages([stage], Layout(tmp_path))
    assert mine.read_text() == "a year of work"


def test_a_damaged_record_means_that_the_stage_is_done_again(tmp_path: Path) -> None:
    made = tmp_path / "made"
    runs: list[int] = []
    stage = Stage(
        name="make", execute=lambda: runs.append(made.write_text("x")), settings={}, inputs=[], outputs=[made]
    )
    for damage in (None, "garbage", '{"a": 1}', "[]"):
        if damage is not None:
            Layout(tmp_path).record("make").write_text(damage)
        run_stages([stage], Layout(tmp_path))
    assert len(runs) == 4
