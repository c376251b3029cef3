from __future__ import annotations

import os
from pathlib import Path

import pytest

from neuronspec.pipeline import records
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.records import fingerprint


def write(path: Path, text: str) -> Path:
    """Write a file whose size and times are those of every other one with a text of this length."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (1, 1))
    return path


def recorded(path: Path, layout: Layout) -> records.Record:
    """The record of a stage that left this path."""
    return {"made_from": {"inputs": {}}, "outputs": {"x": fingerprint(path, layout, None)}, "seconds": 0.0}


def test_a_run_that_was_moved_is_not_hashed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = Layout(tmp_path / "before"), Layout(tmp_path / "after")
    write(before.out / "train" / "model", "weights")
    record = recorded(before.out / "train", before)
    before.out.rename(after.out)

    monkeypatch.setattr(records, "hash_path", lambda path: pytest.fail(f"{path} is hashed"))
    assert fingerprint(after.out / "train", after, record) == record["outputs"]["x"]


@pytest.mark.parametrize("other", ["a/other", "b/name", "name"])
def test_files_of_equal_size_and_time_are_told_apart_by_their_names(tmp_path: Path, other: str) -> None:
    layout = Layout(tmp_path)
    record = recorded(write(tmp_path / "a" / "name", "old"), layout)
    found = fingerprint(write(tmp_path / other, "new"), layout, record)
    assert found != record["outputs"]["x"]
    assert found["hash"] == fingerprint(tmp_path / other, layout, None)["hash"]


def test_a_file_outside_of_the_run_is_not_taken_for_one_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path / "run")
    record = recorded(write(layout.out / "masks", "old"), layout)
    write(tmp_path / "masks", "new")
    monkeypatch.chdir(tmp_path)
    assert fingerprint(Path("masks"), layout, record)["hash"] != record["outputs"]["x"]["hash"]


def test_a_path_that_is_gone_is_not_taken_for_an_empty_directory(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    record = recorded(empty, layout)
    empty.rmdir()
    assert fingerprint(empty, layout, record)["hash"] is None
