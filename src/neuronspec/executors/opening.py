"""Opening an executor: one place decides for a whole command how many workers there are, and where."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from neuronspec.errors import NeuronspecError
from neuronspec.executors.cluster import open_cluster
from neuronspec.executors.local import open_local
from neuronspec.executors.tasks import in_worker
from neuronspec.processes import count_cpus


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Workers that a command uses.

    Attributes:
        number: Number of processes of this machine; None if the user did not choose one.
        cluster: Address or file of a Dask scheduler; None for this machine.
        folders: Folders that the workers of a cluster must share with this process.
    """

    number: int | None = None
    cluster: str | None = None
    folders: tuple[Path, ...] = ()

    @property
    def are_chosen(self) -> bool:
        """Whether the user asked for other workers than this process."""
        return self.cluster is not None or (self.number or 1) > 1


_current: ContextVar[Workers] = ContextVar("workers", default=Workers())  # noqa: B039 - it is frozen


@contextlib.contextmanager
def use_workers(
    number: int | None = None, *, cluster: str | None = None, folders: Sequence[Path] = ()
) -> Iterator[None]:
    """Let every executor that is opened within the block have such workers, unless it is opened with others.

    A cluster is tried at once, so that a wrong address is no surprise after hours of other work.

    Args:
        number: Number of processes of this machine, 1 for this process alone; by default one for each CPU that the
            machine grants.
        cluster: Address of a Dask scheduler, `tcp://HOST:8786`, or the file that it writes, to use its workers.
        folders: Folders that the workers of a cluster must share with this process: where inputs and results are.

    Raises:
        NeuronspecError: If the number is less than 1, a cluster is given as well, or the cluster cannot be used.
    """
    chosen = _choose(number, cluster, folders)
    if cluster is not None:
        with open_cluster(cluster, folders):
            pass

    # Without a wish, that of an outer block counts.
    token = _current.set(chosen if chosen != Workers(folders=chosen.folders) else _current.get())
    try:
        yield
    finally:
        _current.reset(token)


def _choose(number: int | None, cluster: str | None, folders: Sequence[Path] = ()) -> Workers:
    """Return workers after checking that they can be meant.

    Raises:
        NeuronspecError: If they cannot.
    """
    if number is not None and number < 1:
        raise NeuronspecError(f"{number} workers cannot do anything: give 1 or more")
    if number is not None and cluster is not None:
        raise NeuronspecError("--workers is for this machine, and a cluster has workers of its own: give one of them")
    return Workers(number=number, cluster=cluster, folders=tuple(folders))


def current_workers() -> Workers:
    """Return the workers that the innermost `use_workers` has chosen."""
    return _current.get()


@contextlib.contextmanager
def open_executor(
    *, workers: int | None = None, cluster: str | None = None, most: int | None = None
) -> Iterator[Executor]:
    """Open an executor for tasks, to be used with `map_ordered`.

    Args:
        workers: Number of processes of this machine, 1 for this process alone; by default what `use_workers` says,
            otherwise one for each CPU that the machine grants.
        cluster: Address or file of a Dask scheduler; by default what `use_workers` says, if `workers` is not given.
        most: Number of workers that have enough to do, if it is known; for 1, this process does the tasks, even if a
            cluster was chosen.

    Yields:
        The executor. If the block fails or is interrupted, its workers end before the error goes on; those of a
        cluster finish the tasks that they have begun.

    Raises:
        NeuronspecError: If the number of workers is less than 1, or the cluster cannot be used.
    """
    # A task has no workers of its own: all cores are at work already.
    if in_worker():
        workers, cluster = 1, None

    given = _choose(workers, cluster)
    chosen = _current.get() if given == Workers() else given
    if chosen.cluster is not None and (most is None or most > 1):
        with open_cluster(chosen.cluster, chosen.folders) as remote:
            yield remote
        return

    number = 1 if chosen.cluster is not None else chosen.number or count_cpus()
    with open_local(number if most is None else min(number, max(1, most))) as local:
        yield local
