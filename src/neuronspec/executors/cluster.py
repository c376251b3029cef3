"""The workers of a Dask cluster, which may be on other machines."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from neuronspec.errors import NeuronspecError, first_line
from neuronspec.executors.surroundings import (
    MAIN,
    Surroundings,
    list_extension_folders,
    list_versions,
    shared_folders,
)
from neuronspec.executors.tasks import WorkerExecutor
from neuronspec.libraries import import_library

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)

NEEDED_FOR, LIBRARY, EXTRA = "--cluster", "distributed", "dask"
SCHEMES = ("tcp", "tls")

# Seconds until a scheduler must answer, its first worker must be there, and every worker must have been checked
CONNECTING, FIRST_WORKER, CHECKING = 10.0, 10.0, 60.0
# Seconds in which lost workers may be replaced
REPLACING = 60.0
_GLANCE = 1.0  # seconds between looks at the workers while waiting for a task


class ClusterExecutor(WorkerExecutor):
    """Does tasks on the workers of a cluster; tasks of a worker that is lost are done by another one.

    Args:
        client: Client of Dask.
        address: Address of the scheduler.
        surroundings: State of this process that tasks depend on.
    """

    def __init__(self, client: Any, address: str, surroundings: Surroundings) -> None:
        self._client, self._address = client, address
        self._surroundings = surroundings
        # Each task is a task of its own, even if function and item are the same.
        self._executor: Executor = client.get_executor(pure=False)

    @property
    def workers(self) -> int:
        """Number of worker processes, each of which does one task at a time."""
        return max(1, self._count())

    @property
    def surroundings(self) -> Surroundings:
        """State of this process that tasks depend on."""
        return self._surroundings

    def submit(
        self, function: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """Hand a task to the scheduler."""
        return self._executor.submit(function, *args, **kwargs)

    def wait(self, future: Future[Result]) -> Result:
        """Wait for a task as long as there are workers.

        Raises:
            NeuronspecError: If the cluster has had no worker for a minute.
        """
        lost_at = None
        while True:
            with contextlib.suppress(FutureTimeoutError):
                return future.result(timeout=_GLANCE)

            # Lost workers come back, where something starts new ones.
            if self._count():
                lost_at = None
                continue
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at >= REPLACING:
                raise NeuronspecError(
                    f"all workers of {self._address} are gone, and none came back in {REPLACING:.0f} seconds: start "
                    "workers, then the same command again"
                )

    def explain(self, error: BaseException) -> BaseException:
        """Return a sentence about lost workers or a lost scheduler, if that is the error."""
        kind = type(error).__name__
        if kind == "KilledWorker":
            number = int(getattr(error, "allowed_failures", 0)) + 1
            return NeuronspecError(
                f"a task ended {number} workers of {self._address} one after the other, perhaps "
                "because their memory was full: look into their logs, and start workers with more memory"
            )
        if isinstance(error, CancelledError) or type(error).__module__.startswith(LIBRARY):
            return NeuronspecError(
                f"the connection to the scheduler {self._address} was lost ({first_line(error)}): start it again, then "
                "the same command"
            )
        return error

    def close(self) -> None:
        """Cancel the tasks that have not begun, and leave the cluster."""
        with contextlib.suppress(Exception):  # whatever happened to the scheduler
            self._executor.shutdown(wait=False)

    def _count(self) -> int:
        return len(self._client.nthreads())


@contextlib.contextmanager
def open_cluster(cluster: str, folders: Sequence[Path]) -> Iterator[ClusterExecutor]:
    """Open the executor of a cluster, after checking that its workers have the same versions and files.

    Args:
        cluster: Address of the scheduler, or name of its file.
        folders: Folders that this process and all workers must share.

    Raises:
        NeuronspecError: If there is no scheduler or no worker, or a worker differs.
    """
    extensions = list_extension_folders()
    if MAIN in dict(extensions):
        raise NeuronspecError(
            f"{NEEDED_FOR}: the main program registers an entry that workers would lack: move it into a module of its "
            "own, and import that"
        )

    address = find_address(cluster)
    with _connected(address) as client, shared_folders(folders) as probes:
        surroundings = Surroundings(
            level=logging.getLogger("neuronspec").getEffectiveLevel(),
            extensions=extensions,
            directory=str(Path.cwd()),
            probes=probes,
            versions=list_versions(),
        )
        _check_workers(client, address, surroundings)
        executor = ClusterExecutor(client, address, surroundings)
        try:
            yield executor
        finally:
            executor.close()


def find_address(cluster: str) -> str:
    """Return the address of a scheduler, from its address or from the file that it has written.

    Args:
        cluster: `tcp://HOST:PORT`, or name of a scheduler file.

    Raises:
        NeuronspecError: If it is neither.

    Example:
        >>> find_address("tcp://127.0.0.1:8786")
        'tcp://127.0.0.1:8786'
    """
    expected = "expected tcp://HOST:8786, or the file that dask scheduler --scheduler-file FILE writes"
    if "://" not in cluster:
        return _read_scheduler_file(Path(cluster), expected)

    parts = urlsplit(cluster)
    try:
        has_port = parts.hostname and parts.port
    except ValueError:  # a port that is no number
        has_port = False
    if parts.scheme not in SCHEMES or not has_port:
        raise NeuronspecError(f"{NEEDED_FOR} {cluster} is not the address of a Dask scheduler: {expected}")
    return cluster


def _read_scheduler_file(path: Path, expected: str) -> str:
    if not path.is_file():
        raise NeuronspecError(f"{NEEDED_FOR} {path}: there is no such file; {expected}")
    try:
        address = json.loads(path.read_text(encoding="utf-8"))["address"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise NeuronspecError(f"{NEEDED_FOR} {path} is not the file of a Dask scheduler; {expected}") from error
    if not isinstance(address, str) or "://" not in address:
        raise NeuronspecError(f"{NEEDED_FOR} {path} names no address of a Dask scheduler; {expected}")
    return find_address(address)


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Connect to a scheduler that has workers."""
    distributed = import_library("distributed", NEEDED_FOR, EXTRA)

    # Dask logs every lost connection; what matters is raised.
    dask_logger = logging.getLogger(LIBRARY)
    before = dask_logger.level
    dask_logger.setLevel(logging.CRITICAL + 1)
    client = None
    try:
        client, problem = _connect(distributed, address)
        if client is None:
            # A client that could not be made ends here: later, it could wait for a lock of the next one.
            gc.collect()
            certificates = " and the certificates in Dask's configuration" if address.startswith("tls") else ""
            raise NeuronspecError(
                f"no Dask scheduler answers at {address} ({problem}): check the address{certificates}, and that the "
                "scheduler runs"
            )
        _await_worker(client, address)
        yield client
    finally:
        if client is not None:
            with contextlib.suppress(Exception):  # the scheduler may be gone
                client.close(timeout=CONNECTING)
        dask_logger.setLevel(before)


def _connect(distributed: Any, address: str) -> tuple[Any, str]:
    """Return a client of a scheduler; None and the problem if there is no client."""
    try:
        # A socket finds out at once what Dask would try again and again.
        parts = urlsplit(address)
        socket.create_connection((parts.hostname, parts.port), timeout=CONNECTING).close()

        # Dask's client would wait for ever for something that listens and never answers. In a thread, since notebooks
        # have an event loop in this one.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(lambda: asyncio.run(_greet(distributed, address))).result()
        return distributed.Client(address, timeout=CONNECTING, set_as_default=False), ""
    except TimeoutError:
        return None, f"no answer in {CONNECTING:.0f} seconds"
    except Exception as error:  # sockets, TLS and Dask raise errors of many kinds
        return None, first_line(error)


async def _greet(distributed: Any, address: str) -> None:
    """Ask a scheduler who it is, for a limited time."""
    arguments = distributed.Security().get_connection_args("client")

    async def ask() -> None:
        comm = await distributed.comm.connect(address, timeout=CONNECTING, **arguments)
        await comm.write({"op": "identity", "reply": True})
        await comm.read()
        comm.abort()

    await asyncio.wait_for(ask(), CONNECTING)


def _await_worker(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=FIRST_WORKER)
    except Exception as error:
        raise NeuronspecError(
            f"the scheduler {address} has no workers: start some with dask worker {address} --nthreads 1"
        ) from error


def _check_workers(client: Any, address: str, surroundings: Surroundings) -> None:
    """Refuse workers that differ from this process; those that come later are checked when they get a task."""
    found = client.run(_check_worker, surroundings, on_error="return")
    for worker, problem in found.items():
        if isinstance(problem, NeuronspecError):
            raise problem
        if problem is not None:
            raise NeuronspecError(
                f"the worker {worker} of {address} cannot work for this command ({first_line(problem)}): start workers "
                "from the same environment"
            )


def _check_worker(surroundings: Surroundings) -> NeuronspecError | None:
    """Return what is wrong with this worker."""
    try:
        surroundings.check()
    except NeuronspecError as error:
        return error
    return None
