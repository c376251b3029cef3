"""Tasks: a function of one item each, whose results come in the order of the items and whose messages come along."""

from __future__ import annotations

import contextlib
import copy
import logging
import pickle
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass
from logging.handlers import QueueHandler
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from neuronspec.executors.surroundings import Surroundings
from neuronspec.processes import forget_launcher

Item = TypeVar("Item")
Result = TypeVar("Result")

PER_WORKER = 2  # tasks in flight for each worker: one at work, and one that it can begin at once

_state = threading.local()  # `working` in threads that perform a task for another process
_one_at_a_time = threading.Lock()


class WorkerExecutor(Executor):
    """An executor whose tasks run in other processes."""

    @property
    def workers(self) -> int:
        """Number of tasks that run at the same time."""
        raise NotImplementedError

    @property
    def surroundings(self) -> Surroundings:
        """State of this process that tasks depend on."""
        raise NotImplementedError

    def wait(self, future: Future[Result]) -> Result:
        """Wait for the end of a task and return its result, or raise its error."""
        return future.result()

    def explain(self, error: BaseException) -> BaseException:
        """Return an error for users, if it says that a worker was lost; otherwise the error itself."""
        return error


def in_worker() -> bool:
    """Return whether this thread performs a task for another process, which alone shows progress and messages."""
    return getattr(_state, "working", False)


def has_workers(executor: Executor) -> bool:
    """Return whether tasks run in other processes, be it a single one."""
    return isinstance(executor, WorkerExecutor)


def count_workers(executor: Executor) -> int:
    """Return how many tasks of an executor run at the same time; 1 for this process."""
    return executor.workers if isinstance(executor, WorkerExecutor) else 1


def map_ordered(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int | None = None
) -> Iterator[Result]:
    """Yield what a function returns for each item, in the order of the items, while later ones are being worked on.

    Items are taken only when they are needed, so memory holds few of them and few results, however many there are.
    The first item whose task fails ends the iteration, whichever task failed first; what the tasks logged is logged
    here, also in the order of the items. In this process, a task begins when its result is asked for.

    Args:
        executor: Executor of `open_executor`.
        function: Function of one item. It must be picklable, as a function of a module is, or a `functools.partial`
            of one, and so must items and results.
        items: Items in their order.
        ahead: Number of tasks that may be at work or done before their result is asked for; by default 2 for each
            worker.

    Yields:
        The results.

    Raises:
        NeuronspecError: If a task raises one, or a worker was killed.

    Example:
        >>> from neuronspec.executors import open_executor
        >>> with open_executor(workers=1) as executor:
        ...     list(map_ordered(executor, len, ["ein", "Hund"]))
        [3, 4]
    """
    # In this process: no detour, so that errors keep their traceback.
    if not isinstance(executor, WorkerExecutor):
        yield from map(function, items)
        return

    task = Task(function, executor.surroundings)
    waiting: deque[Future[Outcome[Result]]] = deque()
    try:
        for item in items:
            waiting.append(_submit(executor, task, item))
            if len(waiting) >= (ahead or PER_WORKER * executor.workers):
                yield _take(executor, waiting.popleft())
        while waiting:
            yield _take(executor, waiting.popleft())
    finally:
        # After an error, or if the caller has enough, nothing more begins.
        for future in waiting:
            future.cancel()


def _submit(executor: WorkerExecutor, task: Task[Item, Result], item: Item) -> Future[Outcome[Result]]:
    with _explained(executor):  # the workers may be gone already
        return executor.submit(task, item)


def _take(executor: WorkerExecutor, future: Future[Outcome[Result]]) -> Result:
    """Wait for a task, log what it has logged, and return its result or raise its error."""
    with _explained(executor):
        outcome = executor.wait(future)

    for record in outcome.records:
        logging.getLogger(record.name).handle(record)
    if outcome.error is not None:
        raise outcome.error
    value: Result = outcome.value
    return value


@contextlib.contextmanager
def _explained(executor: WorkerExecutor) -> Iterator[None]:
    """Turn the errors by which an executor reports lost workers into a sentence."""
    try:
        yield
    except (Exception, CancelledError) as error:
        explained = executor.explain(error)
        if explained is error:
            raise
        raise explained from error


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """End of a task, good or bad.

    Attributes:
        value: The result; None if the task failed.
        records: Messages that it logged.
        error: Error that it raised; None if it did not fail.
    """

    value: Any
    records: list[logging.LogRecord]
    error: Exception | None = None


@dataclass(frozen=True)
class Task(Generic[Item, Result]):
    """A function as a worker calls it.

    Attributes:
        function: Function of one item.
        surroundings: State of this process that the function depends on.
    """

    function: Callable[[Item], Result]
    surroundings: Surroundings

    def __call__(self, item: Item) -> Outcome[Result]:
        """Call the function for an item; an error becomes a part of the outcome, so that every kind arrives."""
        # A worker of a cluster may have several threads: tasks change the working directory and other global state.
        with _one_at_a_time, _collected_messages(self.surroundings.level) as messages:
            # A worker belongs to no group of launched processes, even if one of them has started it.
            forget_launcher()
            _state.working = True
            value, error = None, None
            try:
                with self.surroundings.entered():
                    value = self.function(item)
            except Exception as failure:
                error = _make_portable(failure)
            finally:
                _state.working = False
            return Outcome(value, [messages.get() for _ in range(messages.qsize())], error)


@contextlib.contextmanager
def _collected_messages(level: int) -> Iterator[SimpleQueue[logging.LogRecord]]:
    """Collect what is logged within the block, as records that can be pickled: their message has the arguments."""
    records: SimpleQueue[logging.LogRecord] = SimpleQueue()
    handler = QueueHandler(records)
    logger = logging.getLogger("neuronspec")
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield records
    finally:
        logger.removeHandler(handler)


def _make_portable(error: Exception) -> Exception:
    """Return an error that survives pickling, with a note that holds its traceback."""
    text = "".join(traceback.format_exception(error))
    try:
        # Errors with arguments of their own often fail here: a copy is rebuilt as unpickling rebuilds it.
        pickle.dumps(error)
        portable = copy.copy(error)
    except Exception:
        portable = RuntimeError(f"{type(error).__name__}: {error}")
    portable.add_note(f"In a worker:\n{text}")
    return portable
