"""Shared code of the benchmarks: contenders that take turns, ratios of their times, and the committed table."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from neuronspec.files import write_json, write_text

RESULTS = Path(__file__).parent / "results"
Times = dict[str, list[float]]  # contender -> seconds, one per round


def take_turns(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    prepare: Mapping[str, Callable[[], object]] | None = None,
    clock: Callable[[], float] | None = None,
) -> Times:
    """Return the CPU seconds (on a GPU: seconds) of each contender in each round; the first round is discarded.

    Args:
        contenders: Functions to time, by name.
        rounds: Number of rounds that are kept.
        prepare: Functions that run before some of the contenders and are not timed.
        clock: Another clock, in seconds.
    """
    now = clock or _now
    times: Times = {name: [] for name in contenders}
    for number in range(rounds + 1):
        # Every second round goes backwards, so that no contender always follows the same one.
        for name, run in list(contenders.items())[:: 1 if number % 2 == 0 else -1]:
            if prepare and name in prepare:
                prepare[name]()
            started = now()
            run()
            seconds = now() - started
            if number:
                times[name].append(seconds)
    return times


def ratios(times: Times, base: str) -> Times:
    """Return the time of each contender relative to that of `base`, round by round."""
    return {name: [one / other for one, other in zip(mine, times[base], strict=True)] for name, mine in times.items()}


def tabulate(title: str, found: Times, rounds: int) -> list[str]:
    """Return a Markdown table of ratios."""
    lines = [f"| {title} | median of {rounds} rounds | range |", "|---|---:|---:|"]
    lines += [f"| {n} | {statistics.median(r):.3f} | {min(r):.3f} .. {max(r):.3f} |" for n, r in found.items()]
    return [*lines, ""]


def describe_machine(threads: Sequence[int] = ()) -> dict[str, str]:
    """Return the processor and the versions that the numbers depend on.

    Args:
        threads: Numbers of threads that were compared; by default the number that torch uses now.
    """
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    packages = {name: version(name) for name in ("neuronspec", "torch", "transformers", "accelerate")}
    used = describe_threads(*threads or [torch.get_num_threads()])
    cpu = f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {used}"
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return {"cpu": cpu, **gpu, "python": platform.python_version(), **packages}


def describe_threads(*numbers: int) -> str:
    """Return how many threads were used, for the line about the machine.

    Args:
        *numbers: Number of threads, or the numbers that were compared.

    Example:
        >>> describe_threads(1), describe_threads(1, 2)
        ('1 thread used', '1 and 2 threads used')
    """
    listed = " and ".join(map(str, dict.fromkeys(numbers)))
    return f"{listed} thread{'s' * (numbers != (1,))} used"


def publish(name: str, lines: Sequence[str], figures: object, write: bool, *, threads: Sequence[int] = ()) -> None:
    """Print a report, and write it to results/ if asked to."""
    machine = describe_machine(threads)
    report = "\n".join([*lines, "; ".join(f"{key} {value}" for key, value in machine.items())]) + "\n"
    print(report)
    if write:
        write_text(RESULTS / f"{name}.md", report)
        write_json(RESULTS / f"{name}.json", {"machine": machine, "ratios": figures})


def say(text: str) -> None:
    """Print a progress message to stderr."""
    print(text, file=sys.stderr)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()
