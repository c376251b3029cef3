"""Tasks give the same on the workers of a real cluster, one of which is killed; what cannot work is one sentence."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.dask_cluster import Cluster, start_cluster
from tests.patience import PATIENCE
from tests.test_executors import square

from neuronspec.errors import NeuronspecError
from neuronspec.executors import cluster as cluster_module
from neuronspec.executors import count_workers, in_worker, keep_open, map_ordered, open_executor, use_workers
from neuronspec.executors.surroundings import Surroundings, list_versions

ANNOUNCED = "expected tcp://HOST:8786, or the file that dask scheduler --scheduler-file FILE writes"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler with two workers, which gives a task up when it has ended both."""
    folder = tmp_path_factory.mktemp("cluster")
    with start_cluster(folder, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1") as cluster:
        yield cluster


def die_once(marker: Path, number: int) -> int:
    if number == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)


def die(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_until_known(marker: Path, _: object) -> None:
    marker.touch()
    time.sleep(PATIENCE)


def look(name: str) -> tuple[bool, str, str]:
    return in_worker(), str(Path.cwd()), Path(name).read_text()


def open_again(number: int) -> tuple[int, int]:
    from contextlib import nullcontext

    opened = keep_open("thing", lambda: nullcontext([]))
    opened.append(number)
    return os.getpid(), len(opened)


def test_results_and_messages_come_in_the_order_of_the_items(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    with open_executor(cluster=str(cluster.file)) as executor:
        assert count_workers(executor) == 2
        assert list(map_ordered(executor, square, range(9))) == [number * number for number in range(9)]
        assert caplog.messages == [f"squaring {number}" for number in range(9)]
        with pytest.raises(NeuronspecError, match="-3 is negative; expected a positive number"):
            list(map_ordered(executor, square, [1, -3, 2]))

        # What is opened for one task stays open for the next one.
        counts = dict(map_ordered(executor, open_again, range(6)))
        assert sum(counts.values()) == 6


def test_workers_find_relative_files(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text").write_text("found")
    monkeypatch.chdir(tmp_path)
    with use_workers(cluster=str(cluster.file), folders=[Path("new/run")]), open_executor() as executor:
        assert list(map_ordered(executor, look, ["text"])) == [(True, str(tmp_path), "found")]
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_worker_that_differs_is_refused(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = list_versions()
    other = [(name, "0.0.1" if name == "torch" else version) for name, version in own]
    monkeypatch.setattr(cluster_module, "list_versions", lambda: tuple(other))
    torch = re.escape(dict(own)["torch"])
    expected = rf"the worker on \S+ \(process \d+\) has torch {torch} instead of 0\.0\.1: results could differ"
    with pytest.raises(NeuronspecError, match=expected), use_workers(cluster=str(cluster.file)):
        pass
    monkeypatch.undo()

    # A folder that only this process has, as far as its workers can see
    def list_probes(_: object) -> Iterator[tuple[str, ...]]:
        yield (str(tmp_path / "elsewhere" / ".probe"),)

    monkeypatch.setattr(cluster_module, "shared_folders", contextmanager_of(list_probes))
    expected = rf"the worker on \S+ \(process \d+\) does not see the files in {tmp_path}/elsewhere: start workers where"
    with pytest.raises(NeuronspecError, match=expected), use_workers(cluster=str(cluster.file)):
        pass


def contextmanager_of(function: Callable[..., Iterator[tuple[str, ...]]]) -> Callable[..., object]:
    from contextlib import contextmanager

    return contextmanager(function)


def test_a_late_worker_is_checked_as_well(tmp_path: Path) -> None:
    surroundings = Surroundings(level=30, directory=str(tmp_path / "missing"))
    with pytest.raises(NeuronspecError, match=r"does not see the files in .*missing"), surroundings.entered():
        pass


def test_what_the_main_program_registers_cannot_be_sent(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "list_extension_folders", lambda: (("__main__", ""),))
    expected = "the main program registers an entry that workers would lack: move it into a module"
    with pytest.raises(NeuronspecError, match=expected), open_executor(cluster=str(cluster.file)):
        pass


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.0.0.1:8786", f"is not the address of a Dask scheduler: {ANNOUNCED}"),
        ("tcp://127.0.0.1", "is not the address of a Dask scheduler"),
        ("tcp://:8786", "is not the address of a Dask scheduler"),
        ("tcp://127.0.0.1:port", "is not the address of a Dask scheduler"),
        ("missing.json", f"there is no such file; {ANNOUNCED}"),
        ("broken.json", "is not the file of a Dask scheduler"),
        ("list.json", "is not the file of a Dask scheduler"),
        ("number.json", "names no address of a Dask scheduler"),
        ("other.json", "ucx://a:1 is not the address of a Dask scheduler"),
    ],
)
def test_what_is_no_scheduler_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text('{"address')
    Path("list.json").write_text("[1]")
    Path("number.json").write_text('{"address": 1}')
    Path("other.json").write_text('{"address": "ucx://a:1"}')
    with pytest.raises(NeuronspecError, match=expected), open_executor(cluster=address):
        pass


@pytest.mark.parametrize(("scheme", "listens"), [("tcp", False), ("tcp", True), ("tls", True)])
def test_a_scheduler_that_does_not_answer_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, scheme: str, listens: bool
) -> None:
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    monkeypatch.setattr(cluster_module, "CONNECTING", 0.5)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        if listens:  # and says nothing
            probe.listen()
        address = f"{scheme}://127.0.0.1:{probe.getsockname()[1]}"
        expected = f"no Dask scheduler answers at {address} .*: check the address"
        started = time.monotonic()
        with pytest.raises(NeuronspecError, match=expected), open_executor(cluster=address):
            pass
        assert time.monotonic() - started < PATIENCE / 2


def test_workers_of_both_kinds_contradict_each_other() -> None:
    with pytest.raises(NeuronspecError, match="give one of them"), use_workers(2, cluster="tcp://127.0.0.1:1"):
        pass


def test_lost_workers_are_replaced_or_named(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_executor(cluster=str(cluster.file)) as executor:
        # One worker is killed in the middle: the other one does its task again.
        work = partial(die_once, tmp_path / "died")
        assert list(map_ordered(executor, work, range(6))) == [0, 1, 4, 9, 16, 25]
        assert [worker.poll() for worker in cluster.workers].count(-signal.SIGKILL) == 1

        # A task that ends every worker is given up.
        cluster.add_worker()
        cluster.await_workers(2)
        with pytest.raises(NeuronspecError, match=r"a task ended 2 workers of .* one after the other, perhaps because"):
            list(map_ordered(executor, die, [None]))

        # Without workers, nobody waits for ever.
        monkeypatch.setattr(cluster_module, "REPLACING", 0.5)
        with pytest.raises(NeuronspecError, match=r"all workers of .* are gone, and none came back in"):
            list(map_ordered(executor, square, [1]))

    monkeypatch.setattr(cluster_module, "FIRST_WORKER", 0.5)
    expected = "has no workers: start some with dask worker tcp://.* --nthreads 1"
    with pytest.raises(NeuronspecError, match=expected), open_executor(cluster=str(cluster.file)):
        pass

    # The scheduler is killed while a task is at work.
    cluster.add_worker()
    cluster.await_workers(1)
    with open_executor(cluster=str(cluster.file)) as executor:
        results = map_ordered(executor, partial(kill_and_wait, cluster.scheduler.pid), [None])
        with pytest.raises(NeuronspecError, match=r"the connection to the scheduler .* was lost"):
            next(results)


def kill_and_wait(pid: int, _: object) -> None:
    os.kill(pid, signal.SIGKILL)
    time.sleep(5)
