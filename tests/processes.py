"""Commands in processes of their own, forked by a warm interpreter: importing torch and transformers takes seconds.

A fork is a whole process, with a directory, environment, streams, signals and an exit code of its own. Only the start
of the interpreter is missing, and that it takes its modules apart in the end: tests of imports, locales and variables
such as PYTHONUTF8 start a new one instead.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.patience import PATIENCE

COMMAND = ("-m", "neuronspec.cli.main")
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}

# What a warm interpreter has imported: the libraries alone, for programs that do without this package, or everything
LIBRARIES = (
    *("torch.distributed", "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto"),
    *("transformers.models.m2m_100.modeling_m2m_100", "transformers.generation"),
)
EVERYTHING = (
    *(*LIBRARIES, "typer", "neuronspec.pipeline.plan", "neuronspec.pipeline.run_results", "neuronspec.pipeline.sweeps"),
    *("neuronspec.translation.beam_search", "neuronspec.training.loop", "neuronspec.cli.main"),
    *("sacrebleu", "matplotlib.backends.backend_pdf", "matplotlib.backends.backend_svg"),
)

Completed = subprocess.CompletedProcess[str]


class Process:
    """`python WORDS` in a fork of a warm interpreter, with the methods of `subprocess.Popen`.

    Args:
        words: What follows `python` on the command line: `-m MODULE`, `-c CODE` or a file, and its arguments.
        cwd: Directory of the process.
        env: Variables of the environment, in addition to those of this process.
        warm: Modules that the warm interpreter has imported.
        number: Number of the warm interpreter. Sets have another order in each.
    """

    def __init__(
        self,
        words: Iterable[object],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        warm: tuple[str, ...] = EVERYTHING,
        number: int = 0,
    ) -> None:
        self.args = [str(word) for word in words]
        self.returncode: int | None = None
        self._written: tuple[str, str] | None = None
        self._files = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed when they are read

        # The server gets the other end of a connection and the files; what to do is sent over the connection.
        self._connection, theirs = socket.socketpair()
        with theirs:
            streams = [theirs.fileno(), *(file.fileno() for file in self._files)]
            socket.send_fds(_start_server(warm, number), [b"+"], streams)
        environment = {**os.environ, **ENVIRONMENT, **(env or {})}
        request = {"words": self.args, "cwd": str(cwd or Path.cwd()), "env": environment}
        self._connection.sendall(json.dumps(request).encode())
        self._connection.shutdown(socket.SHUT_WR)

        self._answers = self._connection.makefile("r", encoding="ascii")
        self.pid = int(self._answers.readline())

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        return self.wait() if self.returncode is not None or self._has_ended(0) else None

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for the end and return the exit code, which is negative after a signal; kill what runs for too long."""
        if self.returncode is None:
            if not self._has_ended(timeout):
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError(f"{self.args} ran for more than {timeout} seconds")
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self._connection.close()
        return self.returncode

    def communicate(self, timeout: float = PATIENCE) -> tuple[str, str]:
        """Wait for the end and return what the process wrote to its output and its errors."""
        self.wait(timeout)
        if self._written is None:
            output, errors = (_read(file) for file in self._files)
            self._written = output, errors
        return self._written

    def read_output(self) -> str:
        """Return what the process has written to its output so far."""
        return os.pread(self._files[0].fileno(), 2**20, 0).decode("utf-8", "replace")

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # ended in this moment
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process, if it still runs."""
        self.send_signal(signal.SIGKILL)

    def _has_ended(self, timeout: float) -> bool:
        return bool(select.select([self._connection], [], [], timeout)[0])


def finish(process: Process) -> Completed:
    """Wait for a process and return what came of it."""
    output, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.wait(), output, errors)


def call(
    words: Iterable[object],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    warm: tuple[str, ...] = EVERYTHING,
) -> Completed:
    """Do what `subprocess.run` does with `python WORDS`, and return what came of it."""
    return finish(Process(words, cwd, env, warm))


def finish_together(processes: Sequence[Process]) -> list[Completed]:
    """Wait for processes that wait for each other, and return what came of each; if one fails, end the others."""
    deadline = time.monotonic() + PATIENCE
    while None in (codes := [process.poll() for process in processes]):
        if any(codes) or time.monotonic() > deadline:
            for process in processes:
                process.kill()
        time.sleep(0.005)
    return [finish(process) for process in processes]


def call_together(
    words: Sequence[object], cwd: Path | None = None, env: Mapping[str, str] | None = None, processes: int = 2
) -> list[Completed]:
    """Run one program as several processes, as `torchrun` does, or alone, and return what came of each."""
    if processes == 1:
        return [call(words, cwd, env)]
    return finish_together(start_together(words, cwd, env, processes))


def start_together(
    words: Sequence[object], cwd: Path | None = None, env: Mapping[str, str] | None = None, processes: int = 2
) -> list[Process]:
    """Start one program as several processes, as `torchrun` does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    group |= {"LOCAL_WORLD_SIZE": str(processes), **(env or {})}
    return [
        Process(words, cwd, {**group, "RANK": str(rank), "LOCAL_RANK": str(rank)}, number=rank)
        for rank in range(processes)
    ]


@functools.cache
def _start_server(modules: tuple[str, ...], number: int) -> socket.socket:
    """Start a warm interpreter, which ends when this process does, and return the connection to it."""
    ours, theirs = socket.socketpair()
    with theirs:
        subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("warm_server.py")), str(theirs.fileno()), *modules],
            env=os.environ | ENVIRONMENT,
            pass_fds=[theirs.fileno()],
        )
    return ours


def _read(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode("utf-8")
