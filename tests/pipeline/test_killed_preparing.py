"""A `prepare` that is killed again and again ends with the same bytes, and does nothing twice."""

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import processes
from tests.processes import Completed

from neuronspec.files import hash_path

# Makes blocks small, notes every step of the work in a file, and kills the process in front of one of them.
KILLING = """
import os, signal, threading, time
from pathlib import Path

from neuronspec.data import blocks, encoding, shards, tasks
from neuronspec.pipeline.finished_parts import FinishedParts
from neuronspec.pipeline.stages import prepare

blocks.BLOCK_LINES = 60
tasks.DONE_HERE = int(os.environ["HERE"])
left = int(os.environ["LEFT"])

def step(name, path):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    with Path("steps").open("a") as file:
        file.write(f"{name} {path.name}\\n")

def noted(module, name):
    function = getattr(module, name)
    def call(path, *arguments, **options):
        step(name, path)
        return function(path, *arguments, **options)
    setattr(module, name, call)

noted(shards, "write_shard")
noted(encoding, "write_shard")
learn, note = prepare.learn_vocabulary, FinishedParts.note
prepare.learn_vocabulary = lambda *arguments: [step("learn", Path("vocabulary")), learn(*arguments)][1]
FinishedParts.note = lambda self, output: [step("note", output), note(self, output)][1]

def watch():
    while len(list(Path("run/.prepare/text").glob("*.safetensors"))) < int(os.environ["SHARDS"]):
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)

if "SHARDS" in os.environ:
    threading.Thread(target=watch, daemon=True).start()
"""


def prepare(folder: Path, out: str, *, left: int = 0, here: int = 1 << 30, **variables: str) -> Completed:
    words = ("-m", "neuronspec", "--import", "killing", "prepare", "toy.yaml", "--out", out)
    return processes.call(words, folder, {"LEFT": str(left), "HERE": str(here), **variables})


@pytest.fixture
def project(tmp_path: Path, write_project: Callable[[Path], None]) -> Path:
    write_project(tmp_path)
    (tmp_path / "killing.py").write_text(KILLING, encoding="utf-8")
    return tmp_path


def test_r1_a_prepare_that_is_killed_at_many_steps_ends_with_the_same_bytes_and_repeats_no_step(project: Path) -> None:
    assert prepare(project, "whole").returncode == 0
    steps = (project / "steps").read_text(encoding="utf-8").splitlines()
    assert Counter(line.split()[0] for line in steps) == {"write_shard": 18, "learn": 1, "note": 4}
    (project / "steps").unlink()

    # Every process is killed after a few more steps; of a note that was not written, the part is made again.
    kills = 0
    while (done := prepare(project, "killed", left=7)).returncode == -signal.SIGKILL:
        kills += 1
    assert done.returncode == 0, done.stderr
    assert kills == 3
    assert sorted((project / "steps").read_text(encoding="utf-8").splitlines()) == sorted(steps)

    assert hash_path(project / "killed" / "prepare") == hash_path(project / "whole" / "prepare")
    assert not (project / "killed" / ".prepare").exists()


def test_workers_end_with_the_killed_command_and_leave_work_that_is_used(project: Path) -> None:
    # The first two blocks are cleaned by the command itself, others by its workers.
    killed = prepare(project, "run", here=120, SHARDS="4")
    assert killed.returncode == -signal.SIGKILL
    assert len(list((project / "run" / ".prepare" / "text").glob("*.safetensors"))) >= 4
    (project / "steps").unlink()

    done = prepare(project, "run")
    assert done.returncode == 0, done.stderr
    steps = (project / "steps").read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith("write_shard en") for line in steps) <= 14

    assert prepare(project, "whole").returncode == 0
    assert hash_path(project / "run" / "prepare") == hash_path(project / "whole" / "prepare")
