"""Contents are compared by hashes, and a file is read again where its size, a time or its inode has changed."""

from __future__ import annotations

import functools
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from neuronspec.files import hash_path, write_text
from neuronspec.pipeline import content_hashes
from neuronspec.pipeline.content_hashes import ContentHashes
from neuronspec.pipeline.engine import Stage, run_stages
from neuronspec.pipeline.layout import Layout

Read = list[str]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    """The names of the files that are read, in order."""
    names: Read = []

    def note(path: Path) -> str:
        names.append(path.name)
        return hash_path(path)

    monkeypatch.setattr(content_hashes, "hash_path", note)
    return names


def write(path: Path, text: str) -> Path:
    """Write a file whose size and time are those of every other one with a text of this length."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (1, 1))
    return path


def settle() -> None:
    """Wait until what was written before could no longer change within the same instant."""
    time.sleep(1.5 * content_hashes._TICK / 1e9)


def keep(layout: Layout, *paths: Path) -> list[str | None]:
    """Return the hashes of some paths, after one command kept them for the next."""
    settle()
    hashes = ContentHashes(layout)
    found = [hashes.hash(path) for path in paths]
    hashes.save()
    return found


def rename_over(path: Path) -> None:
    write(path.with_name("new"), "new").rename(path)


def rewrite(path: Path) -> None:
    write(path, "new")


def write_bytes_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"new")
    os.utime(path, (1, 1))


def copy_over(path: Path) -> None:
    """As `cp -p` and `rsync --times --inplace`."""
    shutil.copy2(write(path.with_name("new"), "new"), path)


def link_to_another(path: Path) -> None:
    path.unlink()
    path.symlink_to(write(path.with_name("new"), "new"))


CHANGES: list[Callable[[Path], None]] = [rename_over, rewrite, write_bytes_in_place, copy_over, link_to_another]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_of_the_same_size_and_time_is_noticed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    layout, corpus = Layout(tmp_path / "run"), write(tmp_path / "corpora" / "train.tsv", "old")
    (before,) = keep(layout, corpus)
    change(corpus)
    assert (corpus.stat().st_size, corpus.stat().st_mtime) == (3, 1)
    assert ContentHashes(layout).hash(corpus) == hash_path(corpus) != before


@pytest.mark.parametrize("change", CHANGES)
def test_so_is_one_in_a_directory(tmp_path: Path, change: Callable[[Path], None], read: Read) -> None:
    layout, folder = Layout(tmp_path / "run"), tmp_path / "corpora"
    write(folder / "other.tsv", "old")
    (before,) = keep(layout, write(folder / "train.tsv", "old").parent)
    read.clear()

    # Nothing but the changed file is read.
    change(folder / "train.tsv")
    found = ContentHashes(layout).hash(folder)
    assert sorted(read) == [*(["new"] if (folder / "new").exists() else []), "train.tsv"]
    assert found == hash_path(folder) != before


def test_a_link_that_leads_elsewhere_is_noticed_where_both_files_stay(tmp_path: Path) -> None:
    layout, link = Layout(tmp_path / "run"), tmp_path / "corpus"
    link.symlink_to(write(tmp_path / "old.tsv", "old"))
    (before,) = keep(layout, link)
    link.unlink()
    link.symlink_to(write(tmp_path / "new.tsv", "new"))
    assert ContentHashes(layout).hash(link) == hash_path(tmp_path / "new.tsv") != before


def test_what_has_not_changed_is_read_once_by_any_number_of_stages_and_commands(tmp_path: Path, read: Read) -> None:
    layout, corpus = Layout(tmp_path / "run"), write(tmp_path / "train.tsv", "text")
    settle()

    def make_stage(name: str) -> Stage:
        output = layout.out / name
        work = functools.partial(write_text, output, name)
        return Stage(name=name, execute=work, settings={}, inputs=[corpus], outputs=[output])

    stages = [make_stage(name) for name in ("one", "two", "three")]
    run_stages(stages, layout)
    assert read.count("train.tsv") == 1

    # The outputs had just been written, so that the next command reads them again, and the one after it does not.
    settle()
    run_stages(stages, layout)
    read.clear()
    run_stages(stages, layout)
    assert read == []


def test_a_touched_file_is_read_once_and_no_stage_is_done_again(tmp_path: Path, read: Read) -> None:
    layout, corpus = Layout(tmp_path / "run"), write(tmp_path / "train.tsv", "text")
    ran = []

    def work() -> None:
        ran.append("one")
        write_text(layout.out / "one", "x")

    stage = Stage(name="one", execute=work, settings={}, inputs=[corpus], outputs=[layout.out / "one"])
    run_stages([stage], layout)
    corpus.touch()
    settle()
    read.clear()
    for _ in range(2):
        run_stages([stage], layout)
    assert ran == ["one"]
    assert read.count("train.tsv") == 1


def test_a_run_that_was_moved_is_not_read_again_and_a_copy_once(tmp_path: Path, read: Read) -> None:
    before, moved, copied = (Layout(tmp_path / name) for name in ("before", "moved", "copied"))
    write(before.out / "train" / "model", "weights")
    (known,) = keep(before, before.out / "train")
    read.clear()
    before.out.rename(moved.out)
    assert ContentHashes(moved).hash(moved.out / "train") == known
    assert read == []

    shutil.copytree(moved.out, copied.out)
    for _ in range(2):
        assert keep(copied, copied.out / "train") == [known]
    assert read == ["model"]


def test_a_file_that_was_just_written_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two changes within a tick of the clock can leave the same times."""
    layout, corpus = Layout(tmp_path / "run"), write(tmp_path / "train.tsv", "old")
    monkeypatch.setattr(content_hashes, "_TICK", 60 * 10**9)
    hashes = ContentHashes(layout)
    before = hashes.hash(corpus)
    state = content_hashes.read_state(corpus)
    monkeypatch.setattr(content_hashes, "read_state", lambda path: state)
    write_bytes_in_place(corpus)
    assert hashes.hash(corpus) == hash_path(corpus) != before


def test_a_file_of_the_run_and_one_outside_of_the_same_name_are_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path / "run")
    keep(layout, write(layout.out / "masks", "old"))
    write(tmp_path / "masks", "new")
    monkeypatch.chdir(tmp_path)
    assert ContentHashes(layout).hash(Path("masks")) == hash_path(tmp_path / "masks")


def test_a_path_that_is_gone_is_not_taken_for_an_empty_directory(tmp_path: Path) -> None:
    layout, empty = Layout(tmp_path / "run"), tmp_path / "empty"
    empty.mkdir()
    assert keep(layout, empty) != [None]
    empty.rmdir()
    assert ContentHashes(layout).hash(empty) is None


DAMAGED = [b"", b"[]", b"{", b"\xff", b'{"train.tsv": 3}', b'{"train.tsv": [[1], "x"]}', b'{"train.tsv": [["a"], 3]}']


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_hashes_cost_reading_and_nothing_else(tmp_path: Path, content: bytes, read: Read) -> None:
    layout, corpus = Layout(tmp_path / "run"), write(tmp_path / "run" / "train.tsv", "text")
    known = keep(layout, corpus)
    assert json.loads(layout.hashes.read_bytes()).keys() == {"train.tsv"}
    layout.hashes.write_bytes(content)
    assert keep(layout, corpus) == known
    assert read == ["train.tsv", "train.tsv"]


def test_a_run_that_cannot_be_written_to_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, corpus = Layout(tmp_path / "run"), write(tmp_path / "train.tsv", "text")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(content_hashes, "write_json", refuse)
    assert keep(layout, corpus) == [hash_path(corpus)]
