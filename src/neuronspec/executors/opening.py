"""Opening an executor: one place decides for a whole command how many workers there are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor
from contextvars import ContextVar
from dataclasses import dataclass

from neuronspec.errors import NeuronspecError
from neuronspec.executors.local import open_local
from neuronspec.executors.tasks import in_worker
from neuronspec.processes import count_cpus


@dataclass(frozen=True)
class Workers:
    """Workers that a command uses.

    Attributes:
        number: Number of processes of this machine; None for one for each CPU that it grants.
    """

    number: int | None = None


_chosen: ContextVar[Workers] = ContextVar("workers", default=Workers())  # noqa: B039 - it is frozen


@contextlib.contextmanager
def use_workers(number: int | None = None) -> Iterator[None]:
    """Let every executor that is opened within the block have such workers, unless it is opened with others.

    Args:
        number: Number of processes of this machine, 1 for this process alone; by default one for each CPU that the
            machine grants.

    Raises:
        NeuronspecError: If the number is less than 1.
    """
    token = _chosen.set(Workers(_check(number)))
    try:
        yield
    finally:
        _chosen.reset(token)


@contextlib.contextmanager
def open_executor(*, workers: int | None = None, most: int | None = None) -> Iterator[Executor]:
    """Open an executor for tasks, to be used with `map_ordered`.

    Args:
        workers: Number of processes of this machine, 1 for this process alone; by default what `use_workers` says,
            otherwise one for each CPU that the machine grants.
        most: Number of tasks, if it is known: more workers would have nothing to do.

    Yields:
        The executor. If the block fails or is interrupted, its workers end before the error goes on.

    Raises:
        NeuronspecError: If the number of workers is less than 1.
    """
    number = _check(workers) or _chosen.get().number or count_cpus()
    if most is not None:
        number = min(number, max(1, most))

    # A worker has workers of its own nowhere: all cores are at work already.
    with open_local(1 if in_worker() else number) as executor:
        yield executor


def _check(number: int | None) -> int | None:
    if number is not None and number < 1:
        raise NeuronspecError(f"{number} workers cannot do anything: give 1 or more")
    return number
