"""Kills at random instants and before chosen disk calls, until a command ends by itself; then its bits are compared."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.attack import evidence
from tests.patience import PATIENCE
from tests.processes import Process, finish

ROOT = Path(__file__).parents[2]
COMMAND = ("-m", "neuronspec", "--import", "tests.attack.extension")


@dataclass
class Chain:
    """A command that was killed again and again until it ended by itself.

    Attributes:
        way: How it was killed: before a disk `call`, or at an `instant`.
        processes: Number of processes of the command.
        kills: Number of kills in each stage.
        files: Number of files that were compared at the end.
        problems: What differs from a run that was not killed.
    """

    way: str
    processes: int
    kills: Counter[str] = field(default_factory=Counter)
    files: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Whole:
    """What a run leaves that nobody kills.

    Attributes:
        files: Hashes of everything that must be equal.
        calls: Number of disk calls in each stage, in order.
        seconds: Time that it took.
    """

    files: dict[str, dict[str, str]]
    calls: Mapping[str, int]
    seconds: float


@dataclass(frozen=True)
class Target:
    """A command under attack, and the directory of the run that it makes.

    Attributes:
        folder: Folder of the recipe; the run is in `run` there.
        words: Words of the command line after `neuronspec`.
        processes: Number of processes.
    """

    folder: Path
    words: tuple[str, ...]
    processes: int = 1

    @property
    def out(self) -> Path:
        """Directory of the run."""
        return self.folder / "run"

    def start(self, stage: str = "", at: int = 0) -> list[Process]:
        """Start the command.

        Args:
            stage: Stage in which the first process is killed.
            at: Number of the disk call of the stage before which it is killed; 0 for none.
        """
        group: dict[str, str] = {}
        if self.processes > 1:
            group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_find_port()), "CUDA_VISIBLE_DEVICES": ""}
            group |= {"WORLD_SIZE": str(self.processes), "LOCAL_WORLD_SIZE": str(self.processes)}

        started = []
        for rank in range(self.processes):
            env = self.environment(rank, stage, at if rank == 0 else 0) | group
            env |= {"RANK": str(rank), "LOCAL_RANK": str(rank)} if group else {}
            started.append(Process([*COMMAND, *self.words], self.folder, env, number=rank))
        return started

    def environment(self, rank: int = 0, stage: str = "", at: int = 0) -> dict[str, str]:
        """Return the variables that `tests.attack.extension` reads."""
        self.stages(rank).unlink(missing_ok=True)
        return {
            "ATTACK_OUT": str(self.out),
            "ATTACK_IN": stage,
            "ATTACK_AT": str(at),
            "ATTACK_STAGE": str(self.stages(rank)),
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        }

    def stages(self, rank: int = 0) -> Path:
        """Return the file in which a process notes its stages."""
        return self.folder / f"stages.{rank}"

    def read_stages(self) -> list[list[str]]:
        """Return what the first process has noted: begun STAGE, ended STAGE CALLS."""
        file = self.stages()
        return [line.split() for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []

    def find_stage(self) -> str:
        """Return the name of the stage at work."""
        noted = self.read_stages()
        return noted[-1][1] if noted else "start"

    def clear(self) -> None:
        """Remove the run."""
        shutil.rmtree(self.out, ignore_errors=True)


def make_whole(target: Target) -> Whole:
    """Run a command that nobody kills."""
    target.clear()
    started = time.monotonic()
    for done in map(finish, target.start()):
        assert done.returncode == 0, done.stderr
    calls = {words[1]: int(words[2]) for words in target.read_stages() if words[0] == "ended"}
    return Whole(evidence.collect(target.out), calls, time.monotonic() - started)


def attack_calls(target: Target, whole: Whole, draw: random.Random, times: int = 1) -> Chain:
    """Kill a command before a random disk call of each of its stages in turn, and compare what it leaves in the end.

    Args:
        target: The command.
        whole: Result of `make_whole`.
        draw: Source of random numbers.
        times: Kills in each stage. A killed stage resumes, so that a later call may never come.
    """
    plan = [(stage, draw.randint(1, calls)) for stage, calls in whole.calls.items() if calls for _ in range(times)]
    return _attack("call", target, whole, ((stage, at, None) for stage, at in plan))


def attack_instants(target: Target, whole: Whole, draw: random.Random, most: int) -> Chain:
    """Kill a command at random instants, one of its processes at a time, and compare what it leaves in the end.

    Args:
        target: The command.
        whole: Result of `make_whole`.
        draw: Source of random numbers.
        most: Number of kills at most.
    """
    # Soon after the start as often as late
    instants = (whole.seconds * 10 ** draw.uniform(-2.0, -0.3) for _ in range(most))
    victims = (draw.randrange(target.processes) for _ in range(most))
    return _attack("instant", target, whole, (("", victim, at) for victim, at in zip(victims, instants, strict=True)))


def _attack(way: str, target: Target, whole: Whole, plan: Iterator[tuple[str, int, float | None]]) -> Chain:
    """Start a command again and again, with a kill each time, and at last without one."""
    chain = Chain(way, target.processes)
    target.clear()
    for stage, number, instant in plan:
        processes = target.start(stage, number) if instant is None else target.start()
        if instant is not None:
            _wait(processes, instant)
            processes[number].kill()
        if _judge(chain, target, processes):
            break

    # Whatever is left to do
    _judge(chain, target, target.start())
    found = evidence.collect(target.out)
    chain.files = sum(map(len, found.values()))
    chain.problems += evidence.compare(found, whole.files)
    return chain


def _judge(chain: Chain, target: Target, processes: Sequence[Process]) -> bool:
    """Wait for the end of a command and note how it ended; return whether it ended by itself."""
    codes, errors = _finish(processes)
    if not any(codes):
        return chain.way == "instant"  # a later stage may still be killed before a call
    if -signal.SIGKILL not in codes:
        chain.problems.append(f"ended by itself with {codes}: {errors[-300:]}")
        return True
    chain.kills[target.find_stage()] += 1
    return False


def _wait(processes: Sequence[Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and None in [process.poll() for process in processes]:
        time.sleep(0.005)


def _finish(processes: Sequence[Process]) -> tuple[list[int], str]:
    """Wait for processes, as a launcher does: when one of them fails, the others are killed."""
    deadline = time.monotonic() + 10 * PATIENCE
    while None in (codes := [process.poll() for process in processes]):
        if any(codes) or time.monotonic() > deadline:
            for process in processes:
                process.kill()
        time.sleep(0.01)
    done = [finish(process) for process in processes]
    return [one.returncode for one in done], "".join(one.stderr for one in done)


def _find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
