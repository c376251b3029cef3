"""A real Dask cluster on this machine: a scheduler and workers, each a process of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.patience import PATIENCE
from tests.processes import Process

ROOT = Path(__file__).parents[1]


class Cluster:
    """A scheduler and its workers.

    Args:
        folder: Folder of the scheduler file and of what workers keep.
        environment: Variables of their environment.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.file = folder, folder / "scheduler.json"
        self._environment = environment | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        self.workers: list[Process] = []
        self.scheduler = self._start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-show")
        deadline = time.monotonic() + PATIENCE
        while not (self.file.is_file() and self.file.read_text().endswith("}")):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def add_worker(self, folder: Path | None = None) -> Process:
        """Start a worker and return its process; it may not be there yet."""
        directory = ("--local-directory", str(folder or self.folder))
        self.workers.append(self._start("dask_worker", "--no-nanny", "--nthreads", "1", *directory, folder=folder))
        return self.workers[-1]

    def await_workers(self, number: int) -> None:
        """Wait until so many workers are there."""
        import distributed

        with distributed.Client(scheduler_file=str(self.file), set_as_default=False) as client:
            client.wait_for_workers(number, timeout=PATIENCE)

    def stop(self) -> None:
        """Kill every process."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()

    def _start(self, program: str, *options: str, folder: Path | None = None) -> Process:
        words = ["-m", f"distributed.cli.{program}", "--scheduler-file", str(self.file), "--no-dashboard", *options]
        return Process(words, folder or self.folder, self._environment)


@contextmanager
def start_cluster(folder: Path, workers: int = 2, **environment: str) -> Iterator[Cluster]:
    """Start a scheduler with workers; skip the test where Dask is not installed."""
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    cluster = Cluster(folder, environment)
    try:
        for _ in range(workers):
            cluster.add_worker()
        cluster.await_workers(workers)
        yield cluster
    finally:
        cluster.stop()
