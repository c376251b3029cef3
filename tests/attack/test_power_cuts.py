"""What a power cut leaves of what was published, at every moment of a recorded program."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from safetensors import safe_open
from tests.attack import power_cuts, trace
from tests.attack.disk import Disk, Loss, State, build, cut_power, list_losses, sign

from neuronspec.directory_lock import DirectoryLock
from neuronspec.files import read_json, write_json

PROGRAM = Path(__file__).with_name("publishing.py")
ROUNDS = 2
LOSSES = 6  # ways of losing what was not flushed, for each moment
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed (make strace)")


# The model of a disk


def make_disk() -> Disk:
    disk = Disk()
    disk.make_folder("folder")
    file = disk.open("folder/file", truncates=True)
    disk.write(file, 0, b"content")
    return disk


def test_nothing_is_on_the_disk_that_was_not_flushed() -> None:
    disk = make_disk()
    assert cut_power(disk, Loss()) == {}
    disk.flush(disk.find("folder/file"))
    disk.flush(disk.find("folder"))
    assert cut_power(disk, Loss()) == {}  # the folder's own name is missing
    disk.flush(disk.root)
    assert cut_power(disk, Loss()) == {"folder": None, "folder/file": b"content"}


def test_a_name_may_be_on_the_disk_before_its_content() -> None:
    disk = make_disk()
    disk.flush(disk.find("folder"))
    disk.flush(disk.root)
    assert cut_power(disk, Loss()) == {"folder": None, "folder/file": b""}
    draw = random.Random(0)
    left = {cut_power(disk, Loss(draw))["folder/file"] for _ in range(200)}
    assert {b"", b"content", bytes(7)} < left
    assert any(content is not None and 0 < len(content) < 7 for content in left)


def test_a_rename_that_was_not_flushed_happened_or_not() -> None:
    disk = make_disk()
    for path in ("folder/file", "folder", ""):
        disk.flush(disk.find(path))
    disk.rename("folder/file", "folder/new")
    draw = random.Random(0)
    states: list[State] = [cut_power(disk, Loss(draw)) for _ in range(50)]
    assert {tuple(sorted(state)) for state in states} == {("folder", "folder/file"), ("folder", "folder/new")}
    assert cut_power(disk, Loss(keeps_all=True)) == {"folder": None, "folder/new": b"content"}


# A recorded program


@pytest.fixture(scope="module", params=["exchange", "no exchange"])
def record(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The system calls of a program, next to its directory."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "run").mkdir()
    env = {"NO_EXCHANGE": "1"} if request.param == "no exchange" else {}
    power_cuts.record([str(PROGRAM), str(folder / "run"), str(ROUNDS)], folder, folder / "calls", env)
    return folder / "calls"


def follow(record: Path) -> list[tuple[int, set[str], State]]:
    """Return what power cuts may leave at every moment, with what the program had finished until then."""
    replay = trace.Replay(record.parent / "run", record.parent)
    draw, number = random.Random(0), 0
    said: set[str] = set()
    found = []
    for call in trace.read_calls(record):
        if call.name == "write" and call.files()[0][0] == "1":
            said.add(call.strings()[0].decode().strip())
        elif replay.apply(call):
            number += 1
            found += [(number, set(said), cut_power(replay.disk, loss)) for loss in list_losses(draw, LOSSES - 2)]
    return found


@needs_strace
def test_the_replay_ends_with_what_is_on_the_disk(record: Path) -> None:
    last = [state for _, _, state in follow(record)][-LOSSES]  # nothing is lost
    directory = record.parent / "run"
    there = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*")}
    assert sorted(last) == sorted(there)
    assert all(last[name] == (None if path.is_dir() else path.read_bytes()) for name, path in there.items())


@needs_strace
def test_r3_what_was_published_survives_a_power_cut_whole_and_nothing_half_has_a_name(
    record: Path, tmp_path: Path
) -> None:
    seen = set[int]()
    moments = follow(record)
    for number, said, state in moments:
        if (found := hash((frozenset(said), sign(state)))) in seen:
            continue
        seen.add(found)
        place = tmp_path / str(len(seen))
        build(state, place)
        check(place, said, f"after call {number}")
        shutil.rmtree(place)
    assert len(seen) > 50
    assert len({number for number, _, _ in moments}) > 80


def check(directory: Path, said: set[str], moment: str) -> None:
    """Look at what is left as the next command does, which takes the lock first."""
    with DirectoryLock(directory) as lock:
        lock.acquire()

    # The version that was said to be there, or the next one, whole
    for kind, path in (("thing", directory / "deep" / "thing" / "number.json"), ("file", directory / "file.json")):
        finished = max((int(line.split()[1]) for line in said if line.startswith(kind)), default=0)
        assert path.exists() or not finished, (moment, kind)
        if path.exists():
            assert read_json(path) in (finished, finished + 1), (moment, kind)

    thing = directory / "deep" / "thing"
    if thing.exists():
        with safe_open(thing / "inner" / "numbers.safetensors", framework="np") as file:
            numbers = file.get_tensor("numbers")
        assert numbers.tolist() == [read_json(thing / "number.json")] * 100, moment

    # What comes and goes is there whole or not at all.
    for number in range(1, ROUNDS + 1):
        old = directory / f"old-{number}"
        assert not old.exists() or sorted(path.name for path in old.iterdir()) == ["one.json", "two.json"], moment
        assert not old.exists() or f"removed {number}" not in said, moment
        if old.exists():
            assert [read_json(old / f"{name}.json") for name in ("one", "two")] == [1, 2], moment

    # The next command can write everything anew.
    write_json(directory / "file.json", 0)
    hidden = [path.name for path in directory.rglob(".*") if path.name.endswith((".old", ".del", ".lock"))]
    assert not hidden, moment
