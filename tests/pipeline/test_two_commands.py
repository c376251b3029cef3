"""Two commands on one directory: who writes waits for nobody and is refused, who reads is not."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.command import run_command
from tests.patience import PATIENCE
from tests.processes import COMMAND, Process, call, call_together, finish

from neuronspec.config.schema import Config
from neuronspec.directory_lock import LOCK_FILE, DirectoryLock
from neuronspec.files import hash_files
from neuronspec.pipeline.layout import Layout

# Commands that write, with a change where they would find everything done
WRITING = [
    ("run", "toy.yaml"),
    ("run", "run"),
    ("prepare", "toy.yaml", "--force"),
    ("train", "toy.yaml", "train.updates=17", "--force"),
    ("record", "run", "--force"),
    ("select", "run", "select.k=0.5", "--force"),
    ("translate", "toy.yaml", "translate.max_tokens=9", "--force"),
    ("score", "toy.yaml", "score.trials=101", "--force"),
    ("report", "run", "--force"),
]
READING = [
    ("status", "run"),
    ("check", "toy.yaml"),
    ("report", "run"),
    ("select", "run"),
    ("select", "run", "select.k=0.5"),
    ("record", "run"),
    ("run", "toy.yaml", "--dry-run"),
    ("compare", "run"),
]


def hash_results(out: Path) -> str:
    """Return the hash of a run without its memory of hashes, which readers complete as well."""
    return hash_files(out, (path for path in out.rglob("*") if path.is_file() and path != Layout(out).hashes))


def test_a_command_that_writes_is_refused_with_the_name_of_the_other(
    copied: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copied.out.parent)
    before = hash_results(copied.out)
    for words in WRITING:
        with DirectoryLock(copied.out) as lock:
            lock.acquire()
            assert run_command(*words) == 2, words
        said = capsys.readouterr().err.splitlines()[-1]
        assert re.match(rf"error: \S*run is in use by process {os.getpid()} on \S+ since .*: wait for its end", said)
    assert hash_results(copied.out) == before


def test_a_command_that_only_reads_is_not(
    copied: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copied.out.parent)
    before = hash_results(copied.out)
    for words in READING:
        with DirectoryLock(copied.out) as lock:
            lock.acquire()
            assert run_command(*words) == 0, (words, capsys.readouterr().err)
    assert hash_results(copied.out) == before
    assert not list(copied.out.glob(f"{LOCK_FILE}*"))


def test_a_sweep_has_its_directory_and_each_point_its_own(
    tmp_path: Path,
    write_project: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    sweep = ("run", "toy.yaml", "select.k=[0.7,0.8]", "--out", "ks")
    with DirectoryLock(Path("ks")) as lock:
        lock.acquire()
        assert run_command(*sweep) == 2
    assert "error: ks is in use by process" in capsys.readouterr().err
    assert not list(Path("ks").iterdir())


def test_all_processes_of_one_command_are_one_owner(tmp_path: Path, write_project: Callable[[Path], None]) -> None:
    write_project(tmp_path)
    words = [*COMMAND, "prepare", "toy.yaml"]
    with DirectoryLock(tmp_path / "run") as lock:
        lock.acquire()
        refused = call_together(words, tmp_path)
    # The launcher kills what still runs when the first one ends.
    said = [one.stderr for one in refused if one.returncode == 2]
    assert said
    assert all(f"error: run is in use by process {os.getpid()}" in one for one in said)
    assert {one.returncode for one in refused} <= {2, -signal.SIGKILL}


def test_after_a_kill_the_same_command_goes_on_at_once(tmp_path: Path, write_project: Callable[[Path], None]) -> None:
    write_project(tmp_path)
    words = [*COMMAND, "train", "toy.yaml", "train.updates=4", "train.validate_every=2"]
    process = Process(words, tmp_path)
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "run" / "train" / "pretrained" / "log.jsonl").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)

    # A second command meanwhile, and one right after the kill
    meanwhile = call(words, tmp_path)
    if process.poll() is None:
        assert meanwhile.returncode == 2
        assert f"in use by process {process.pid}" in meanwhile.stderr
    process.send_signal(signal.SIGKILL)
    again = call(words, tmp_path)
    assert again.returncode == 0, again.stderr
    finish(process)
    assert Layout(tmp_path / "run").model("pretrained").is_dir()
