"""One process at a time in a directory of results: races, killed owners, other machines, and what is said."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.patience import PATIENCE
from tests.processes import Completed, Process, finish

from neuronspec import directory_lock, lock_files
from neuronspec.directory_lock import LOCK_FILE, DirectoryLock
from neuronspec.errors import NeuronspecError
from neuronspec.files import write_text
from neuronspec.lock_files import SILENCE
from neuronspec.lock_owner import LockOwner, describe_this_process

# Takes the lock when the file `go` appears, says whose it is, and keeps it until the file `end` appears
HOLDING = """
import os, sys, time
from pathlib import Path
from neuronspec import directory_lock, lock_files
from neuronspec.errors import NeuronspecError

def wait(name):
    while not Path(name).exists():
        time.sleep(0.001)

lock_files.PATIENCE = float(os.environ.get("PATIENCE", "10"))
if "NO_FLOCK" in os.environ:
    lock_files.lock = lambda descriptor: "unknown"
if "NO_LINK" in os.environ:
    lock_files.link = lock_files._claim
with directory_lock.DirectoryLock(Path("run")) as lock:
    wait("go")
    try:
        lock.acquire()
    except NeuronspecError as error:
        sys.exit(str(error))
    if "CHILD" in os.environ and os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    Path(f"{os.getpid()}.mine").touch()
    wait("end")
"""


def start(folder: Path, **env: str) -> Process:
    return Process(["-c", HOLDING], folder, env, warm=("neuronspec.directory_lock",))


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def hold(folder: Path, **env: str) -> Process:
    """Return a process that holds the lock."""
    (folder / "go").touch()
    process = start(folder, **env)
    wait_for(lambda: (folder / f"{process.pid}.mine").exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    return process


def kill(process: Process) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def end(folder: Path, processes: list[Process]) -> list[Completed]:
    (folder / "end").touch()
    return [finish(process) for process in processes]


WAYS: dict[str, dict[str, str]] = {"flock": {}, "no flock": {"NO_FLOCK": "1"}, "no links": {"NO_LINK": "1"}}


@pytest.mark.parametrize("left", ["nothing", "lock of a killed process"])
@pytest.mark.parametrize("way", WAYS)
def test_of_eight_starts_exactly_one_has_the_directory(tmp_path: Path, way: str, left: str) -> None:
    if left != "nothing":
        kill(hold(tmp_path))
        (tmp_path / "go").unlink()

    processes = [start(tmp_path, **WAYS[way]) for _ in range(8)]
    (tmp_path / "go").touch()
    wait_for(lambda: sum(process.poll() is not None for process in processes) == 7)
    (winner,) = [process for process in processes if process.poll() is None]
    done = end(tmp_path, processes)

    assert (tmp_path / f"{winner.pid}.mine").exists()
    assert sorted(one.returncode for one in done) == [0, *[1] * 7]

    # Without the system's lock, several may have taken over for a moment before the last of them stays.
    owners = [winner.pid] if way != "no flock" else [process.pid for process in processes]
    sentence = rf"run is in use by process (\d+) on {socket.gethostname()} since 20\S+ \S+ \(-c\): "
    sentence += "wait for its end, stop it, or choose another --out\n"
    for one in done:
        if one.returncode:
            found = re.fullmatch(sentence, one.stderr)
            assert found is not None, one.stderr
            assert int(found[1]) in owners
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("way", WAYS)
def test_after_a_kill_the_next_start_has_the_directory_at_once(tmp_path: Path, way: str) -> None:
    for _ in range(3):
        kill(hold(tmp_path, **WAYS[way]))
        assert (tmp_path / "run" / LOCK_FILE).exists()
    last = hold(tmp_path, **WAYS[way])
    assert [done.returncode for done in end(tmp_path, [last])] == [0]


def test_a_child_that_outlives_a_killed_owner_does_not_keep_the_lock(tmp_path: Path) -> None:
    kill(hold(tmp_path, CHILD="1"))
    assert end(tmp_path, [hold(tmp_path, PATIENCE="0")])[0].returncode == 0


def test_a_process_that_is_still_ending_is_waited_for(tmp_path: Path) -> None:
    # Killed, but nobody has collected its exit code yet: it is a zombie
    owner = hold(tmp_path)
    os.kill(owner.pid, signal.SIGKILL)
    assert end(tmp_path, [hold(tmp_path)])[0].returncode == 0


def leave(directory: Path, *, age: float = 0.0, **changes: Any) -> LockOwner:
    """Write the lock of a process that is gone without giving it back."""
    directory.mkdir(exist_ok=True)
    owner = replace(describe_this_process(), **changes)
    path = directory / LOCK_FILE
    path.write_text(json.dumps(owner.to_json()), encoding="utf-8")
    os.utime(path, (time.time() - age, time.time() - age))
    return owner


def take(directory: Path) -> None:
    with DirectoryLock(directory) as lock:
        lock.acquire()
        assert json.loads(lock.path.read_text(encoding="utf-8"))["pid"] == os.getpid()


@pytest.mark.parametrize(
    "changes",
    [
        {"pid": 2**22 + 1},
        {"started": 1},
        {"boot": "of last week"},
        {"namespace": "pid:[1]", "pid": 1},
    ],
    ids=["pid unused", "pid used again", "host started again", "container on this kernel"],
)
def test_a_lock_whose_process_is_gone_is_taken_over(tmp_path: Path, changes: dict[str, Any]) -> None:
    leave(tmp_path / "run", **changes)
    take(tmp_path / "run")


@pytest.mark.parametrize("flock", [True, False])
def test_a_living_process_is_not_taken_over_even_where_the_system_locks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flock: bool
) -> None:
    if not flock:
        monkeypatch.setattr(lock_files, "lock", lambda _: "unknown")
    leave(tmp_path / "run", age=10 * SILENCE)
    with pytest.raises(NeuronspecError, match=f"in use by process {os.getpid()} on"):
        take(tmp_path / "run")


@pytest.mark.parametrize("flock", [True, False])
def test_a_process_of_another_machine_counts_as_gone_when_it_was_silent_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flock: bool
) -> None:
    if not flock:
        monkeypatch.setattr(lock_files, "lock", lambda _: "unknown")
        monkeypatch.setattr(directory_lock, "_CONTEST", 0.0)
    other: dict[str, Any] = {"host": "gpu7", "boot": "another", "pid": 7}
    leave(tmp_path / "run", **other)
    with pytest.raises(NeuronspecError) as refused:
        take(tmp_path / "run")
    message = str(refused.value)
    assert "is in use by process 7 on gpu7 since 20" in message
    assert f"if it has ended without giving {tmp_path}/run/.lock back, remove that file" in message
    assert "after 10 minutes without a sign of life" in message

    leave(tmp_path / "run", age=SILENCE + 1, **other)
    take(tmp_path / "run")


def test_an_owner_shows_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_lock, "HEARTBEAT", 0.01)
    with DirectoryLock(tmp_path) as lock:
        lock.acquire()
        os.utime(lock.path, (0, 0))
        wait_for(lambda: lock.path.stat().st_mtime > 0)


def test_the_lock_is_taken_once_and_given_back(tmp_path: Path) -> None:
    for _ in range(2):
        with DirectoryLock(tmp_path / "run") as lock:
            assert lock.acquire()
            assert not lock.acquire()
            with pytest.raises(NeuronspecError, match="is in use by process"):
                DirectoryLock(tmp_path / "run").acquire()
        assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("loss", ["removed", "taken over"])
def test_a_process_that_has_lost_its_lock_publishes_nothing_more(tmp_path: Path, loss: str) -> None:
    with DirectoryLock(tmp_path / "run") as lock:
        lock.acquire()
        write_text(tmp_path / "run" / "file", "before")
        lock.path.unlink()
        if loss == "taken over":
            leave(tmp_path / "run")
        with pytest.raises(NeuronspecError, match="was removed or taken over while this process worked"):
            write_text(tmp_path / "run" / "file", "after")
        write_text(tmp_path / "other", "elsewhere")
    assert (tmp_path / "run" / "file").read_text(encoding="utf-8") == "before"
    assert (tmp_path / "run" / LOCK_FILE).exists() == (loss == "taken over")  # the other's is left alone


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff", b"[" * 50_000, b'{"host": 5}'], ids=range(7)
)
def test_a_damaged_lock_that_nobody_holds_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LOCK_FILE).write_bytes(content)
    take(tmp_path)


def test_what_is_no_file_of_a_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).symlink_to("elsewhere")
    with pytest.raises(NeuronspecError, match="is no file of a lock, but would be its place: remove it"):
        take(tmp_path)
    (tmp_path / LOCK_FILE).unlink()
    (tmp_path / LOCK_FILE).mkdir()
    with pytest.raises(NeuronspecError, match="is no file of a lock"):
        take(tmp_path)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="without /proc, nothing is such a place")
@pytest.mark.parametrize("place", ["/proc", "/proc/none/run"])
def test_a_place_where_the_system_makes_nothing_is_refused(place: str) -> None:
    with pytest.raises(NeuronspecError, match=f"cannot write {place}: nothing can be made there; choose another"):
        take(Path(place))


def test_a_lock_file_cannot_forge_a_message_or_fill_the_terminal(tmp_path: Path) -> None:
    leave(tmp_path, host="a\x1b[2J\nerror: forged", boot="another", command="x" * 5000)
    with pytest.raises(NeuronspecError) as refused:
        take(tmp_path)
    assert "\x1b" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 800


def test_files_of_starts_that_were_killed_early_are_cleared(tmp_path: Path) -> None:
    for name, age, changes in (
        ("killed", 0.0, {"started": 1}),
        ("silent", SILENCE + 5, {"host": "gpu7", "boot": "another"}),
        ("elsewhere", 0.0, {"host": "gpu7", "boot": "another"}),
        ("running", 0.0, {}),
    ):
        leave(tmp_path, age=age, **changes)
        (tmp_path / LOCK_FILE).rename(tmp_path / f"{LOCK_FILE}.{name}")
    for name, age in (("empty", 0.0), ("abandoned", 60.0)):
        (tmp_path / f"{LOCK_FILE}.{name}").touch()
        os.utime(tmp_path / f"{LOCK_FILE}.{name}", (time.time() - age, time.time() - age))
    take(tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".elsewhere", ".empty", ".running"]
