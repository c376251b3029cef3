"""Executors of one machine: this process alone, or processes that it starts."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

from neuronspec.errors import NeuronspecError
from neuronspec.executors.surroundings import MAIN, Surroundings, list_extension_folders
from neuronspec.executors.tasks import WorkerExecutor
from neuronspec.interruption import REQUESTS
from neuronspec.processes import count_cpus
from neuronspec.registry import list_registering_modules

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# Numbers of threads of the libraries that compute in workers, where users have not set them themselves
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
# Seconds in which a signal to all processes, which has ended a worker, arrives here as well
_SAME_SIGNAL = 0.3


class InProcessExecutor(Executor):
    """Does tasks in this process, one after the other, when they are submitted."""

    def submit(
        self, function: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """Do a task and return its result as a future that is done."""
        future: Future[Result] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class ProcessExecutor(ProcessPoolExecutor, WorkerExecutor):
    """Does tasks in processes of this machine, which are started when they are needed.

    They are spawned, because a fork of a process that has threads can hang, and do not import the main program again,
    so that scripts need no `if __name__ == "__main__"`. They leave signals to this process, and end with it.

    Args:
        workers: Largest number of processes.
    """

    def __init__(self, workers: int) -> None:
        threads = max(1, count_cpus() // workers)
        super().__init__(workers, get_context("spawn"), _start_worker, (threads,))
        self._workers = workers
        self._started: dict[int, BaseProcess] = {}

    @property
    def workers(self) -> int:
        """Largest number of processes."""
        return self._workers

    @property
    def surroundings(self) -> Surroundings:
        """Surroundings of a task: a local worker has the same libraries and files, but not the same entries."""
        level = logging.getLogger("neuronspec").getEffectiveLevel()
        return Surroundings(level=level, extensions=list_extension_folders())

    def submit(
        self, function: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """Hand a task to a worker, which is started if all others are busy."""
        # A worker starts with signals blocked, until it has decided what becomes of them.
        with _blocked_signals(), _hidden_main():
            future = super().submit(function, *args, **kwargs)
            self._started.update(self._processes or {})
        return future

    def explain(self, error: BaseException) -> BaseException:
        """Return a sentence about a worker that has ended, if that is the error."""
        if not isinstance(error, BrokenExecutor):
            return error

        # A scheduler's signal goes to all processes: then this process is interrupted here, and says so.
        time.sleep(_SAME_SIGNAL)
        codes = [process.exitcode for process in self._started.values()]
        own = [code for code in codes if code not in (None, 0, -signal.SIGTERM)]
        return NeuronspecError(_describe_end(own[0] if own else None))

    def kill(self) -> None:
        """End the workers at once, whatever they do, and wait until they are gone."""
        self.shutdown(wait=False, cancel_futures=True)
        for process in self._started.values():
            process.kill()
        for process in self._started.values():
            process.join()


@contextlib.contextmanager
def open_local(workers: int) -> Iterator[Executor]:
    """Open an executor of this machine: this process for one worker, processes of their own for more.

    If the block fails or is interrupted, the processes end before the error goes on: nothing writes any longer when
    the caller cleans up.
    """
    # What the main program itself registers, only this process has.
    if workers == 1 or MAIN in list_registering_modules():
        yield InProcessExecutor()
        return

    executor = ProcessExecutor(workers)
    try:
        yield executor
    except BaseException:
        executor.kill()
        raise
    executor.shutdown()


def _describe_end(code: int | None) -> str:
    """Return a sentence about a worker that ended with this exit code, instead of giving a result."""
    cause = "for an unknown reason" if code is None else f"with exit code {code}"
    if code is not None and code < 0:
        cause = f"by the signal {signal.Signals(-code).name}"
    memory = ", perhaps because the memory was full" if code in (None, -signal.SIGKILL) else ""
    return (
        f"a worker process was ended {cause}{memory}: start the same command again, with fewer workers if the memory "
        "does not suffice"
    )


def _start_worker(threads: int) -> None:
    """Prepare a new worker, before it imports what its tasks need."""
    # As many threads as there are cores for each worker; the libraries read this when they are imported.
    for name in _THREADS:
        os.environ.setdefault(name, str(threads))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

    # Ctrl-C in a terminal reaches every process of a command: the first one decides, and ends the others.
    for number in REQUESTS:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait for the end of the process that started this one, and end, too: it may have been killed."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _blocked_signals() -> Iterator[None]:
    """Let signals wait until the end of the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return

    before: Any = signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
    """Let processes that start within the block find no main program that they would have to import."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
