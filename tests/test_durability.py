"""Names on the disk: no instant without a directory that is replaced, and nothing half of which has a name."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from neuronspec import durability
from neuronspec.durability import exchange, make_folder, recover, remove
from neuronspec.files import publish, write_text

# Renames at which a process is killed where two directories cannot be exchanged
STEPS = ("put aside", "in place")


class KilledError(BaseException):
    """The end of a process by SIGKILL, after which it does nothing any more."""


def write(place: Path, text: str) -> None:
    place.mkdir()
    (place / "file").write_text(text, encoding="utf-8")


def replace(place: Path, text: str) -> None:
    with publish(place) as temporary:
        write(temporary, text)


def test_r3_a_directory_that_is_replaced_is_there_at_every_instant(tmp_path: Path) -> None:
    place = tmp_path / "thing"
    replace(place, "0")
    if not exchange(place, place):
        pytest.skip("this file system cannot exchange two names")

    missing: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            if not place.is_dir():
                missing.append(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(60):
        replace(place, str(number))
    ended.set()
    watcher.join()
    assert not missing
    assert (place / "file").read_text(encoding="utf-8") == "59"
    assert list(tmp_path.iterdir()) == [place]


@pytest.fixture
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no two names be exchanged, as on NFS and on systems other than Linux."""
    monkeypatch.setattr(durability, "_find_renameat2", lambda: None)


@pytest.mark.usefixtures("no_exchange")
def test_where_names_cannot_be_exchanged_a_directory_is_replaced_as_well(tmp_path: Path) -> None:
    for text in ("old", "new"):
        replace(tmp_path / "thing", text)
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]
    assert (tmp_path / "thing" / "file").read_text(encoding="utf-8") == "new"


def test_a_file_system_that_refuses_an_exchange_is_asked_and_then_renamed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durability, "_RENAME_EXCHANGE", 1 << 30)  # a flag that no file system knows
    for text in ("old", "new"):
        replace(tmp_path / "thing", text)
    assert (tmp_path / "thing" / "file").read_text(encoding="utf-8") == "new"


def test_an_exchange_of_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "one", tmp_path / "other")


def kill_at_rename(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let this process do nothing any more from its n-th rename of a path on."""
    rename, calls = Path.rename, []

    def die(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) < number:
            return rename(self, target)
        for name in ("remove", "replace"):  # what follows in `finally`
            monkeypatch.setattr(f"neuronspec.files.{name}", lambda *_: None)
        raise KilledError

    monkeypatch.setattr(Path, "rename", die)


@pytest.mark.usefixtures("no_exchange")
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("call", ["recover", "publish"])
def test_r3_a_directory_that_a_killed_process_put_aside_comes_back(tmp_path: Path, step: str, call: str) -> None:
    place = tmp_path / "run" / "thing"
    replace(place, "old")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):  # noqa: PT012
        kill_at_rename(patch, STEPS.index(step) + 1)
        replace(place, "new")
    assert place.is_dir() == (step == "put aside")

    if call == "recover":
        recover(tmp_path)
    else:
        with pytest.raises(RuntimeError), publish(place):
            raise RuntimeError
    assert (place / "file").read_text(encoding="utf-8") == "old"
    replace(place, "newer")
    assert {path.name for path in place.parent.iterdir()} == {"thing"}


def test_recovering_keeps_what_is_new_and_deletes_what_was_being_deleted(tmp_path: Path) -> None:
    replace(tmp_path / "thing", "new")
    for name in (".thing.old", ".thing.del", ".gone.del"):
        write(tmp_path / name, "old")
    (tmp_path / ".users.old").write_text("a file", encoding="utf-8")
    recover(tmp_path)
    recover(tmp_path / "missing")
    assert {path.name for path in tmp_path.iterdir()} == {"thing", ".users.old"}
    assert (tmp_path / "thing" / "file").read_text(encoding="utf-8") == "new"


def test_what_is_removed_has_no_name_before_its_first_file_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    monkeypatch.setattr("shutil.rmtree", lambda path: events.append(f"delete {path.name}"))
    monkeypatch.setattr(durability, "sync_entry", lambda path: events.append(f"sync {path.name}"))
    write(tmp_path / "thing", "text")
    remove(tmp_path / "thing")
    assert events == [f"sync {tmp_path.name}", "delete .thing.del"]
    assert not (tmp_path / "thing").exists()


def test_removing_a_link_keeps_what_it_points_to(tmp_path: Path) -> None:
    write(tmp_path / "thing", "text")
    (tmp_path / "link").symlink_to("thing")
    for name in ("link", "missing"):
        remove(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]


def test_every_level_of_a_new_folder_reaches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    sync = durability.sync_entry

    def watch(path: Path) -> None:
        synced.append(path)
        sync(path)

    monkeypatch.setattr(durability, "sync_entry", watch)
    make_folder(tmp_path / "a" / "b" / "c")
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]

    # The same where a file is published into folders that are new
    synced.clear()
    write_text(tmp_path / "d" / "e" / "file", "text")
    assert synced[:2] == [tmp_path, tmp_path / "d"]
    assert synced[-1] == tmp_path / "d" / "e"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_is_made_where_names_cannot_be_listed(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o300)
    make_folder(tmp_path / "closed" / "new")
    assert (tmp_path / "closed" / "new").is_dir()
