"""Tasks give the same on every executor: results in order, messages, and errors as one sentence."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import psutil
import pytest
from tests.patience import PATIENCE

from neuronspec.errors import NeuronspecError
from neuronspec.executors import count_workers, in_worker, map_ordered, open_executor, use_workers

logger = logging.getLogger("neuronspec.tests")

# A script without a guard: workers must not run it again. It says who its workers are and waits for its end.
SCRIPT = """
import sys, time
from tests.test_executors import wait_long
from neuronspec.executors import map_ordered, open_executor
print("started", flush=True)
with open_executor(workers=2) as executor:
    list(map_ordered(executor, wait_long, [sys.argv[1] + "/a", sys.argv[1] + "/b"]))
"""


def square(number: int) -> int:
    if number < 0:
        raise NeuronspecError(f"{number} is negative; expected a positive number")
    logger.warning("squaring %d", number)
    return number * number


def wait_first(number: int) -> int:
    time.sleep(0.2 if number == 0 else 0)
    return square(number)


def describe(_: object) -> tuple[int, bool, str]:
    return os.getpid(), in_worker(), os.environ["OMP_NUM_THREADS"]


def die(number: int) -> None:
    if number:
        os.kill(os.getpid(), number)


def raise_own(_: object) -> None:
    raise TwoArgumentsError("one", "two")


def wait_long(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(PATIENCE)


class TwoArgumentsError(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


@pytest.fixture(scope="module", params=[1, 2])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """This process and two others, in turn."""
    with open_executor(workers=request.param) as executor:
        yield executor


def test_results_and_messages_come_in_the_order_of_the_items(
    executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    assert list(map_ordered(executor, wait_first, range(7))) == [0, 1, 4, 9, 16, 25, 36]
    assert caplog.messages == [f"squaring {number}" for number in range(7)]


def test_the_first_item_that_fails_ends_the_work(executor: Executor) -> None:
    results = map_ordered(executor, square, [1, 2, -3, -4])
    assert [next(results), next(results)] == [1, 4]
    with pytest.raises(NeuronspecError, match="-3 is negative; expected a positive number"):
        next(results)


def test_few_items_are_taken_before_they_are_needed(executor: Executor) -> None:
    taken: list[int] = []

    def take() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    assert next(map_ordered(executor, square, take(), ahead=3)) == 0
    assert len(taken) == (3 if count_workers(executor) > 1 else 1)


def test_errors_of_every_kind_arrive(executor: Executor) -> None:
    with pytest.raises(Exception, match="one and two"):
        list(map_ordered(executor, raise_own, [None]))


def test_workers_compute_with_their_share_of_the_cores(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    pid, works, threads = next(map_ordered(executor, describe, [None]))
    several = count_workers(executor) > 1
    assert (pid != os.getpid(), works, threads) == (several, several, "1")


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
def test_a_killed_worker_is_one_sentence(name: str) -> None:
    with (
        open_executor(workers=2) as pool,
        pytest.raises(NeuronspecError, match=f"was ended by the signal {name}.*fewer"),
    ):
        list(map_ordered(pool, die, [0, getattr(signal, name), 0, 0, 0, 0, 0, 0]))


def test_the_number_of_workers_is_said_once() -> None:
    with use_workers(1), open_executor() as outer, open_executor(workers=2, most=1) as few:
        assert (count_workers(outer), count_workers(few)) == (1, 1)
    with pytest.raises(NeuronspecError, match="0 workers cannot do anything: give 1 or more"), use_workers(0):
        pass


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_workers_end_with_the_process_that_started_them(tmp_path: Path, name: str) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    root = Path(__file__).parents[1]
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path)]
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    script = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    workers = [psutil.Process(_await_number(tmp_path / which)) for which in "ab"]
    script.send_signal(getattr(signal, name))
    output, errors = script.communicate(timeout=PATIENCE)
    assert output == "started\n"
    assert ("KeyboardInterrupt" in errors) == (name == "SIGINT")
    gone, alive = psutil.wait_procs(workers, timeout=10)
    assert (len(gone), alive) == (2, [])


def _await_number(path: Path) -> int:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if path.is_file() and (text := path.read_text()):
            return int(text)
        time.sleep(0.01)
    raise TimeoutError(path)
