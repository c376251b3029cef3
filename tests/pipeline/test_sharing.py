"""One run shares the finished stages of another: no result differs, and neither can hurt the other."""

from __future__ import annotations

import functools
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.processes import call

import neuronspec as ns
from neuronspec.errors import NeuronspecError
from neuronspec.files import hash_path, publish_link, write_text
from neuronspec.pipeline import content_hashes, sharing
from neuronspec.pipeline.engine import Stage, run_stages
from neuronspec.pipeline.layout import Layout

WriteProject = Callable[..., None]

SMALL = {
    **{"train.updates": 4, "continued.updates": 2, "analyze.figures": False, "analyze.examples": 0},
    **{"analyze.resamples": 0, "translate.max_tokens": 4},
}
RESULTS = [
    "record",
    "select",
    "translate",
    "score/scores.jsonl",
    "score/comparisons.jsonl",
    "report/tables/averages.csv",
]


class Doubling:
    """A run with one stage over files, which doubles the text of a source."""

    def __init__(self, out: Path, source: Path, times: int = 2) -> None:
        self.layout, self.source, self.times = Layout(out), source, times
        self.made, self.note, self.log = out / "made", out / "made.json", out / "work" / "log"
        self.ran = 0
        write_text(self.layout.config, "name: doubling\n")

    def work(self) -> None:
        self.ran += 1
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("a", encoding="utf-8") as file:
            file.write("a line\n")
        text = self.source.read_text(encoding="utf-8") * self.times
        write_text(self.made / "inner" / "text", text)
        write_text(self.note, json.dumps(len(text)))

    def run(self, *share_from: Path, force: tuple[str, ...] = ()) -> int:
        """Run it, and return how often the stage has run so far."""
        stage = Stage(
            name="double",
            execute=self.work,
            settings={"times": self.times},
            inputs=[self.source],
            outputs=[self.made, self.note],
            workspace=[self.log.parent],
            logs=[self.log],
        )
        run_stages([stage], self.layout, force, share_from=share_from)
        return self.ran


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.txt"
    path.write_text("abc", encoding="utf-8")
    return path


@pytest.fixture
def first(tmp_path: Path, source: Path) -> Doubling:
    done = Doubling(tmp_path / "first", source)
    done.run()
    return done


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Content, permissions and time of every file."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_equal_stages_are_linked_with_their_record_and_the_log_is_copied(
    first: Doubling, source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="neuronspec")
    before = snapshot(first.layout.out)
    second = Doubling(tmp_path / "second", source)
    assert second.run(first.layout.out) == 0
    assert caplog.messages == [f"stage 1 of 1, double: shared from {first.layout.out}"]

    assert (second.made / "inner" / "text").samefile(first.made / "inner" / "text")
    assert second.note.samefile(first.note)
    assert second.log.read_bytes() == first.log.read_bytes()
    assert not second.log.samefile(first.log)
    assert snapshot(first.layout.out) == before
    records = [json.loads(run.layout.record("double").read_text(encoding="utf-8")) for run in (first, second)]
    assert records[1].pop("shared_from") == str(first.layout.out)
    assert records[0] == records[1]
    assert second.run() == 0


@pytest.mark.parametrize("change", ["setting", "input", "output", "unfinished", "version", "forced"])
def test_what_differs_is_made_anew(
    first: Doubling, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    second = Doubling(tmp_path / "second", source, times=3 if change == "setting" else 2)
    record = first.layout.record("double")
    if change == "input":
        source.write_text("xyz", encoding="utf-8")
    elif change == "output":
        (first.made / "inner" / "text").write_text("edited", encoding="utf-8")
    elif change == "unfinished":
        record.write_text(json.dumps(json.loads(record.read_text()) | {"outputs": None}), encoding="utf-8")
    elif change == "version":
        record.write_text(record.read_text().replace('"version": "', '"version": "0'), encoding="utf-8")
    assert second.run(first.layout.out, force=("double",) if change == "forced" else ()) == 1


def test_of_several_runs_the_first_that_has_done_it_shares(first: Doubling, source: Path, tmp_path: Path) -> None:
    other = Doubling(tmp_path / "other", source, times=5)
    other.run()
    second = Doubling(tmp_path / "second", source)
    assert second.run(other.layout.out, first.layout.out) == 0
    assert (second.made / "inner" / "text").read_text(encoding="utf-8") == "abcabc"


@pytest.mark.parametrize("redone", ["first", "second"])
@pytest.mark.parametrize("how", ["setting", "force", "input"])
def test_redoing_in_one_run_leaves_the_other_as_it_was(
    first: Doubling, source: Path, tmp_path: Path, redone: str, how: str
) -> None:
    second = Doubling(tmp_path / "second", source)
    second.run(first.layout.out)
    runs = {"first": first, "second": second}
    changed, kept = runs.pop(redone), next(iter(runs.values()))
    before = snapshot(kept.layout.out)

    if how == "setting":
        changed.times = 7
    elif how == "input":
        changed.source = tmp_path / "other.txt"
        changed.source.write_text("xyz", encoding="utf-8")
    changed.run(force=("double",) if how == "force" else ())
    assert snapshot(kept.layout.out) == before
    assert kept.run() == (1 if kept is first else 0)


def test_deleting_one_run_leaves_the_other_whole(first: Doubling, source: Path, tmp_path: Path) -> None:
    second = Doubling(tmp_path / "second", source)
    second.run(first.layout.out)
    for path in sorted(first.layout.out.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert second.run() == 0


def test_what_is_shared_is_not_hashed_again(
    first: Doubling, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(doubling: Doubling) -> Stage:
        out = doubling.layout.out
        work = functools.partial(write_text, out / "count", "6")
        return Stage(name="count", execute=work, settings={}, inputs=[doubling.made], outputs=[out / "count"])

    # What was just written is read once more by the next command.
    run_stages([count(first)], first.layout)
    time.sleep(1.5 * content_hashes._TICK / 1e9)
    first.run()
    run_stages([count(first)], first.layout)
    monkeypatch.setattr(content_hashes, "hash_path", lambda path: pytest.fail(f"{path} is hashed"))
    second = Doubling(tmp_path / "second", source)
    assert second.run(first.layout.out) == 0
    run_stages([count(second)], second.layout, share_from=[first.layout.out])
    assert (second.layout.out / "count").samefile(first.layout.out / "count")


def test_a_file_like_that_of_the_other_run_is_hashed(first: Doubling, source: Path, tmp_path: Path) -> None:
    """Equal names, sizes and times say nothing about two files: times can be coarse."""
    stages = []
    for out, text in ((first.layout.out, "old"), (tmp_path / "second", "new")):
        write_text(out / "input", text)
        os.utime(out / "input", (1, 1))
        work = functools.partial(write_text, out / "output", text)
        stage = Stage(name="copy", execute=work, settings={}, inputs=[out / "input"], outputs=[out / "output"])
        stages.append((stage, Layout(out)))
    run_stages([stages[0][0]], stages[0][1])
    run_stages([stages[1][0]], stages[1][1], share_from=[first.layout.out])
    assert (tmp_path / "second" / "output").read_text(encoding="utf-8") == "new"


def test_where_links_are_not_possible_files_are_copied_and_it_is_said(
    first: Doubling,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    caplog.set_level("INFO", logger="neuronspec")
    second = Doubling(tmp_path / "second", source)
    assert second.run(first.layout.out) == 0
    assert caplog.messages[-1].endswith("(copied: they cannot be linked here)")
    assert not second.note.samefile(first.note)
    assert hash_path(second.made) == hash_path(first.made)


def test_a_symbolic_link_in_the_other_run_becomes_a_file(first: Doubling, source: Path, tmp_path: Path) -> None:
    text = first.made / "inner" / "text"
    text.rename(tmp_path / "elsewhere")
    text.symlink_to(tmp_path / "elsewhere")
    second = Doubling(tmp_path / "second", source)
    assert second.run(first.layout.out) == 0
    assert not (second.made / "inner" / "text").is_symlink()
    assert not (second.made / "inner" / "text").samefile(tmp_path / "elsewhere")


def test_permissions_of_a_shared_file_stay(first: Doubling, tmp_path: Path) -> None:
    first.note.chmod(0o400)
    assert publish_link(first.note, tmp_path / "other.json")
    assert first.note.stat().st_mode & 0o777 == 0o400


def test_what_people_edit_is_copied(tmp_path: Path) -> None:
    model, other = tmp_path / "model", tmp_path / "other"
    for name in ("README.md", "generation_config.json", "model.safetensors"):
        write_text(model / name, "text")
    assert publish_link(model, other, copied=sharing._EDITED)
    assert [path.name for path in sorted(model.iterdir()) if path.samefile(other / path.name)] == ["model.safetensors"]
    assert all((other / path.name).stat().st_mtime_ns == path.stat().st_mtime_ns for path in model.iterdir())


def test_a_run_that_is_changed_meanwhile_is_not_shared(
    first: Doubling, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def publish_edited(place: Path, path: Path, **options: Any) -> bool:
        linked = publish_link(place, path, **options)
        if place.is_file():
            first.note.write_text("99999", encoding="utf-8")
        return linked

    monkeypatch.setattr(sharing, "publish_link", publish_edited)
    second = Doubling(tmp_path / "second", source)
    assert second.run(first.layout.out) == 1
    assert second.note.read_text(encoding="utf-8") == "6"


KILLED = """
import os, signal, sys
from pathlib import Path
from neuronspec.pipeline import records, sharing
from tests.pipeline.test_sharing import Doubling

first, out, source, after = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
publish_link, count = sharing.publish_link, 0

def publish_and_die(*paths, **options):
    global count
    publish_link(*paths, **options)
    count += 1
    if count == after:
        os.kill(os.getpid(), signal.SIGKILL)

sharing.publish_link = publish_and_die
Doubling(out, source).run(first)
"""


@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.parametrize("again", ["shares", "works"])
def test_r1_sharing_that_was_killed_leaves_nothing_half(
    first: Doubling, source: Path, tmp_path: Path, after: int, again: str
) -> None:
    out = tmp_path / "second"
    killed = call(["-c", KILLED, first.layout.out, out, source, after], Path(__file__).parents[2])
    assert killed.returncode == -signal.SIGKILL
    before = snapshot(first.layout.out)

    second = Doubling(out, source)
    assert second.run(*([first.layout.out] if again == "shares" else [])) == (0 if again == "shares" else 1)
    assert hash_path(second.made) == hash_path(first.made)
    assert snapshot(first.layout.out) == before
    assert not list(out.rglob(".*"))


def test_what_is_no_run_or_the_run_itself_cannot_share(write_project: WriteProject, tmp_path: Path) -> None:
    write_project(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NeuronspecError, match="empty holds no run to share from"):
        ns.run(tmp_path / "toy.yaml", SMALL, out=tmp_path / "run", share_from=tmp_path / "empty")
    ns.run(tmp_path / "toy.yaml", SMALL, out=tmp_path / "run", until="prepare")
    with pytest.raises(NeuronspecError, match="cannot share from itself: choose another --out"):
        ns.run(tmp_path / "toy.yaml", SMALL, out=tmp_path / "run", share_from=[tmp_path / "run"])


@pytest.fixture(scope="module")
def runs(write_project: WriteProject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of k = 0.9, one of 0.6 that shares with it, and one of 0.6 from scratch."""
    folder = tmp_path_factory.mktemp("runs")
    write_project(folder)
    ns.run(folder / "toy.yaml", SMALL, out=folder / "first")
    ns.run(folder / "first", {"select.k": 0.6}, out=folder / "shared")
    ns.run(folder / "toy.yaml", {**SMALL, "select.k": 0.6}, out=folder / "scratch")
    return folder


def test_a_run_that_shares_has_the_bits_of_a_run_from_scratch(runs: Path) -> None:
    systems = ("pretrained", "fine_tune", "neuron_specialization")
    for name in (*RESULTS, *(f"train/{system}/model" for system in systems)):
        assert hash_path(runs / "shared" / name) == hash_path(runs / "scratch" / name), name
    assert hash_path(runs / "shared" / "select") != hash_path(runs / "first" / "select")


def test_another_k_repeats_only_what_depends_on_it(runs: Path) -> None:
    records = {path.stem: json.loads(path.read_text()) for path in (runs / "shared" / "stages").glob("*.json")}
    made = {stage for stage, record in records.items() if "shared_from" not in record}
    masked = {"train.neuron_specialization", "translate.neuron_specialization"}
    masks = {"select", "analyze", "translate.pretrained+masks", "translate.pretrained+random"}
    assert made == masked | masks | {"score", "report"}
    weights = Layout(runs / "shared").model("pretrained") / "model.safetensors"
    assert weights.samefile(Layout(runs / "first").model("pretrained") / "model.safetensors")
    logs = [Layout(runs / run).training("pretrained") / "log.jsonl" for run in ("first", "shared")]
    assert logs[0].read_bytes() == logs[1].read_bytes()
    assert not logs[0].samefile(logs[1])
