"""The state of a run's stages, without running them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.pipeline.running import run
from tests.stage_lines import read_stages

from neuronspec.config.schema import Config
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.plan import examine_run
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.status import StageState


def states_of(config: Config, **options: object) -> dict[str, StageState]:
    return {state.name: state for state in examine_run(Run(config), **options)}  # type: ignore[arg-type]


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def change(config: Config, section: str, **values: object) -> Config:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


def test_a_finished_run_is_done_and_says_since_when(finished: Config) -> None:
    before = snapshot(finished.out)
    states = states_of(finished)
    assert {state.state for state in states.values()} == {"done"}
    assert not any(state.runs or state.reason for state in states.values())
    for state in states.values():
        age = datetime.now(UTC) - datetime.fromisoformat(str(state.finished))
        assert timedelta(0) <= age + timedelta(seconds=1) < timedelta(hours=12)
        assert state.seconds is not None
    assert snapshot(finished.out) == before


def test_a_change_shows_what_would_be_redone_and_why(finished: Config) -> None:
    states = states_of(change(finished, "select", k=0.5))
    assert (states["select"].state, states["select"].reason) == ("to be redone", "select.k: 0.9 -> 0.5")
    assert states["train"].state == "done"
    assert states["train.fine_tune"].state == "done"
    # What is made from the masks depends on them.
    assert states["train.neuron_specialization"].reason == "depends on select"
    assert "train.neuron_specialization" in states["translate.neuron_specialization"].reason
    assert states["report"].state == "to be redone"


def test_what_status_says_is_what_runs(copied: Config, caplog: pytest.LogCaptureFixture) -> None:
    changed = change(copied, "translate", max_tokens=5)
    expected = [name for name, state in states_of(changed).items() if state.runs]
    caplog.set_level("INFO", logger="neuronspec")
    run(changed)
    ran = [line.partition(" again")[0] for line in read_stages(caplog.messages) if " again: " in line]
    assert ran == expected
    assert {state.state for state in states_of(changed).values()} == {"done"}


def test_states_of_what_was_interrupted_deleted_or_never_made(copied: Config) -> None:
    layout = Layout(copied.out)
    record = json.loads(layout.record("score").read_text(encoding="utf-8"))
    layout.record("score").write_text(json.dumps(record | {"outputs": None}), encoding="utf-8")
    layout.record("report").unlink()
    (layout.translations("fine_tune") / "en-de.txt").unlink()
    states = states_of(copied)
    assert (states["score"].state, states["score"].finished) == ("unfinished", None)
    assert states["score"].reason == "translate/fine_tune has changed"
    assert (states["report"].state, states["report"].seconds) == ("not done", None)
    assert states["translate.fine_tune"].reason.endswith("was changed")


def test_a_record_without_a_time_has_that_of_its_file(copied: Config) -> None:
    place = Layout(copied.out).record("train")
    record = json.loads(place.read_text(encoding="utf-8"))
    del record["finished"]
    place.write_text(json.dumps(record), encoding="utf-8")
    written = datetime.fromtimestamp(place.stat().st_mtime, tz=UTC)
    assert states_of(copied)["train"].finished == written.isoformat(timespec="seconds")


def test_stages_that_are_asked_for_again_would_run(finished: Config) -> None:
    states = states_of(finished, until="select", force=True)
    assert list(states) == ["prepare", "train", "record", "select"]
    assert [state.name for state in states.values() if state.runs] == ["select"]
    assert states["select"].reason == "asked to"


def test_what_another_run_has_done_is_shown_as_shared_and_then_is(finished: Config, tmp_path: Path) -> None:
    other = change(finished, "select", k=0.5).model_copy(update={"out": tmp_path / "other"})
    states = states_of(other, share_from=[finished.out])
    shared = [name for name, state in states.items() if state.state == "to be shared"]
    first = ["prepare", "train", "record", "examples"]
    assert shared == [*first, "train.fine_tune", "translate.pretrained", "translate.fine_tune"]
    assert {states[name].reason for name in shared} == {f"from {finished.out}"}
    assert states["select"].state == "not done"
    assert not other.out.exists()
    layout = run(other, share_from=[finished.out], until="record")
    assert (layout.masks).exists() is False
    after = states_of(other, until="record")
    assert {state.state for state in after.values()} == {"done"}
    assert after["train"].finished == states_of(finished)["train"].finished
