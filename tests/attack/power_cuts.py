"""Power cuts: what a disk may hold at every moment of a recorded run, and a new start from each of it."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.attack import evidence, trace
from tests.attack.disk import State, build, cut_power, list_losses, sign
from tests.attack.kills import COMMAND, Target
from tests.patience import PATIENCE
from tests.processes import ENVIRONMENT, finish

RECORD = re.compile(r"stages/\.(.+)\.json\.tmp$")


@dataclass
class Cuts:
    """Starts from what a power cut may leave.

    Attributes:
        calls: Number of system calls that changed or flushed something.
        states: Number of different states that were started from, by stage at work.
        repeated: Number of states that were the same as an earlier one.
        problems: What differs from a run without a power cut.
    """

    calls: int = 0
    states: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    problems: list[str] = field(default_factory=list)


def record(words: list[str], folder: Path, output: Path, env: dict[str, str]) -> None:
    """Run a program to its end and record its system calls."""
    subprocess.run(
        trace.command([sys.executable, *words], output),
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, **env},
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=10 * PATIENCE,
    )


def record_run(target: Target, output: Path) -> dict[str, dict[str, str]]:
    """Record a whole run, and return what it leaves."""
    target.clear()
    record([*COMMAND, *target.words], target.folder, output, target.environment())
    return evidence.collect(target.out)


@dataclass(frozen=True)
class Moment:
    """A moment right after a system call.

    Attributes:
        number: Number of calls that have changed or flushed something.
        stage: Stage at work.
        replay: The disk, which changes with the next moment.
    """

    number: int
    stage: str
    replay: trace.Replay


def list_moments(record: Path, directory: Path, cwd: Path) -> Iterator[Moment]:
    """Yield every moment of a recorded program at which its disk has changed."""
    replay, number, stage = trace.Replay(directory, cwd), 0, "start"
    for call in trace.read_calls(record):
        if not replay.apply(call):
            continue
        number += 1

        # The record of a stage is written before and after its work.
        if call.name.startswith("rename") and (found := RECORD.search(call.paths()[0])):
            stage = found[1]
        yield Moment(number, stage, replay)


def attack(
    target: Target,
    record: Path,
    expected: dict[str, dict[str, str]],
    *,
    draw: random.Random,
    seconds: float,
    losses: int = 2,
) -> Cuts:
    """Start again from what power cuts at random moments may leave, as long as there is time.

    Args:
        target: The command that was recorded.
        record: System calls of a whole run.
        expected: What a whole run leaves.
        draw: Source of random numbers.
        seconds: Time after which no new start is made.
        losses: Number of random ways of losing what was not flushed, in addition to losing all of it and nothing.
    """
    cuts, seen = Cuts(), set[int]()
    ends = time.monotonic() + seconds
    cuts.calls = sum(1 for _ in list_moments(record, target.out, target.folder))
    left = list(range(1, cuts.calls + 1))
    draw.shuffle(left)

    # The record is replayed from its beginning for a few moments at a time.
    while left and time.monotonic() < ends:
        chosen, left = set(left[:8]), left[8:]
        for moment in list_moments(record, target.out, target.folder):
            if moment.number not in chosen or time.monotonic() > ends:
                continue
            for loss in list_losses(draw, losses):
                state = cut_power(moment.replay.disk, loss)
                if sign(state) in seen:
                    cuts.repeated += 1
                    continue
                seen.add(sign(state))
                cuts.states[moment.stage] += 1
                cuts.problems += [f"call {moment.number}: {line}" for line in _start_from(target, state, expected)]
    return cuts


def _start_from(target: Target, state: State, expected: dict[str, dict[str, str]]) -> list[str]:
    """Start the command from a state of the disk, and return what differs at its end."""
    target.clear()
    build(state, target.out)
    for done in map(finish, target.start()):
        if done.returncode:
            return [f"ended with {done.returncode}: {done.stderr[-300:]}"]
    return evidence.compare(evidence.collect(target.out), expected)
