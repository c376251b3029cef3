"""The attack: mutations of every kind of file, with a fixed seed, within limits of time and memory.

Each mutation must be read, or be refused with one sentence: nothing else may be raised, nothing may be executed, and no
mutation may take long or fill the memory. It runs in a process of its own, whose limits the system enforces.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import multiprocessing
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tests.fuzzing.guard import Guard
from tests.fuzzing.kinds import KINDS, Kind
from tests.fuzzing.mutations import PLACES, clear, mutate

from neuronspec.errors import NeuronspecError

MEMORY = 3 << 30  # bytes that the process may take in addition to what it has
SECONDS = 5.0  # of computing, for one mutation
PATIENCE = 20.0  # seconds of any kind, for one mutation
LONGEST_MESSAGE = 5_000  # characters
REPEATED = 3  # findings of one kind and place that are shown


class TooSlow(BaseException):
    """A mutation takes too long; no reader may catch it."""


@dataclass
class Report:
    """What happened.

    Attributes:
        counts: Number of mutations by kind and outcome.
        findings: Descriptions of what went wrong, by kind.
        slowest: Seconds and name of the slowest mutation.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: dict[str, list[str]] = field(default_factory=dict)
    slowest: tuple[float, str] = (0.0, "")

    def add(self, kind: str, finding: str) -> None:
        self.findings.setdefault(kind, []).append(finding)


def attack(count: int, seed: int, kinds: Mapping[str, Kind] = KINDS, progress: Path | None = None) -> Report:
    """Read mutated files of every kind, and return what happened.

    Args:
        count: Number of mutations.
        seed: Seed of the mutations: each depends on it, the kind and its number alone.
        kinds: Kinds of files.
        progress: File that names the mutation that is read, for whoever finds the process killed.
    """
    report = Report()
    total = sum(kind.weight for kind in kinds.values())
    with tempfile.TemporaryDirectory() as temporary:
        # All kinds are made and read once, so that everything that is needed is imported.
        guard = Guard(Path(temporary))
        folders: dict[str, Path] = {}
        for name, kind in kinds.items():
            folder = folders[name] = Path(tempfile.mkdtemp(dir=temporary))
            kind.make(folder)
            kind.read(folder)

        for name, folder in folders.items():
            share = max(1, round(count * kinds[name].weight / total))
            _attack_kind(name, kinds[name], folder, share, seed=seed, report=report, guard=guard, progress=progress)
    return report


def _attack_kind(
    name: str, kind: Kind, folder: Path, count: int, *, seed: int, report: Report, guard: Guard, progress: Path | None
) -> None:
    clear(folder)
    folder.mkdir()
    kind.make(folder)
    originals = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for number in range(count):
        rng = random.Random(f"{seed} {name} {number}")
        path = folder / rng.choice(kind.files)
        what = f"{name} #{number} ({path.relative_to(folder)})"
        if progress is not None:
            progress.write_text(what)

        _restore(folder, originals)
        _place_mutation(rng, path, originals[path])
        outcome, seconds = _read(kind, folder, name, what, report=report, guard=guard)
        report.counts[name, outcome] += 1
        report.slowest = max(report.slowest, (seconds, what))


def _restore(folder: Path, originals: Mapping[Path, bytes]) -> None:
    """Put back everything that a mutation or a reader has changed."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path not in originals and (path.is_symlink() or not path.is_dir() or not any(path.iterdir())):
            clear(path)
    for path, content in originals.items():
        if path.is_symlink() or not path.is_file():
            clear(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _place_mutation(rng: random.Random, path: Path, content: bytes) -> None:
    if rng.random() < 0.03:
        path.unlink()
        PLACES[rng.choice(list(PLACES))](path)
    else:
        path.write_bytes(mutate(rng, content, path.suffix))


def _read(kind: Kind, folder: Path, name: str, what: str, *, report: Report, guard: Guard) -> tuple[str, float]:
    """Read a mutated file; return the outcome and the time that it took."""
    start = time.process_time()
    guard.seen.clear()
    outcome = "read"
    try:
        with _limited_time(), _quiet():
            guard.armed = True
            kind.read(folder)
    except NeuronspecError as error:
        outcome = "refused"
        guard.armed = False
        if kind.tolerant:
            report.add(name, f"{what}: refused, though the work can go on: {error}")
        if not str(error).strip() or len(str(error)) > LONGEST_MESSAGE:
            report.add(name, f"{what}: a message of {len(str(error))} characters: {str(error)[:200]!r}")
    except TooSlow:
        outcome = "slow"
        report.add(name, f"{what}: takes more than {SECONDS} seconds of computing, or waits")
    except BaseException as error:
        outcome = "crashed"
        guard.armed = False
        place = traceback.extract_tb(error.__traceback__)[-4:]
        where = " < ".join(f"{frame.filename.rpartition('neuronspec/')[2]}:{frame.lineno}" for frame in reversed(place))
        report.add(name, f"{what}: {type(error).__name__}: {str(error)[:200]!r} at {where}")
    finally:
        guard.armed = False
    for event in guard.seen:
        report.add(name, f"{what}: it did {event}")
    return outcome, time.process_time() - start


@contextlib.contextmanager
def _limited_time() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    # Of computing, and of waiting for a pipe
    timers = {signal.SIGVTALRM: (signal.ITIMER_VIRTUAL, SECONDS), signal.SIGALRM: (signal.ITIMER_REAL, PATIENCE)}
    for number, (timer, seconds) in timers.items():
        signal.signal(number, stop)
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(action="ignore"):
        yield


def limit_process(seconds: int) -> None:
    """Set limits that the system enforces: memory beyond what the process has, and computing time."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    used = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, used + seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> int:
    """Attack in a process of its own; where the system ends it, say with which mutation."""
    parser = argparse.ArgumentParser(description="Read mutations of every kind of file.")
    parser.add_argument("--count", type=int, default=10_000, help="number of mutations")
    parser.add_argument("--seed", type=int, default=1, help="seed of the mutations")
    parser.add_argument("--only", default="", help="text in the names of the kinds to attack")
    options = parser.parse_args()
    chosen = {name: kind for name, kind in KINDS.items() if options.only in name}

    with tempfile.TemporaryDirectory() as folder:
        progress = Path(folder, "progress")
        attacker = multiprocessing.get_context("fork").Process(
            target=_attack_and_print, args=(chosen, options.count, options.seed, progress)
        )
        attacker.start()
        attacker.join()
        if attacker.exitcode not in (0, 1):
            print(f"the process ended with {attacker.exitcode} while it read {progress.read_text()}")
    return attacker.exitcode or 0


def _attack_and_print(chosen: Mapping[str, Kind], count: int, seed: int, progress: Path) -> None:
    logging.disable(logging.CRITICAL)
    limit_process(seconds=60 + count // 20)
    start = time.process_time()
    report = attack(count, seed, chosen, progress)
    seconds = time.process_time() - start

    for name in chosen:
        outcomes = {outcome: number for (kind, outcome), number in sorted(report.counts.items()) if kind == name}
        print(f"{name}: {json.dumps(outcomes)}")
    for name, findings in report.findings.items():
        print(f"\n{name}: {len(findings)} findings")
        print("\n".join(f"  {finding}" for finding in findings[:REPEATED]))

    total, wrong = sum(report.counts.values()), sum(map(len, report.findings.values()))
    done = f"{total:,} mutations of {len(chosen)} kinds of files in {seconds:.1f} s of computing, seed {seed}"
    print(f"\n{done}: {wrong} findings; slowest {report.slowest[0]:.2f} s ({report.slowest[1]})", flush=True)
    sys.exit(int(wrong > 0))


if __name__ == "__main__":
    sys.exit(main())
