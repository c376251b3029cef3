"""`warm_server.py SOCKET MODULE...`: imports the modules, then forks a process for every command that it is sent.

`tests.processes` starts it and says why. This file is run, not imported.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import importlib.util
import json
import os
import random
import signal
import socket
import sys
import threading
import types
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TypedDict


class Request(TypedDict):
    """What a process is started with."""

    words: list[str]
    cwd: str
    env: dict[str, str]


def serve(control: socket.socket) -> list[str]:
    """Fork for every command that arrives; return in the new process, with the words of its command."""
    while True:
        message, streams, _, _ = socket.recv_fds(control, 1, 3)
        if not message:  # the tests have ended
            sys.exit(0)
        _reap()

        if os.fork() == 0:
            control.close()
            return _watch(*streams)
        for stream in streams:
            os.close(stream)


def _reap() -> None:
    """Take leave of what has ended, so that its processor time counts as this process's: nobody waits for it."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _watch(reply: int, output: int, errors: int) -> list[str]:
    """Fork the process of one command, and report its number and its end; return in the new process."""
    connection = socket.socket(fileno=reply)
    with connection.makefile("rb") as reader:
        request: Request = json.load(reader)

    # Python forgets the signals that arrive while it forks, so the new process gets Ctrl-C a moment later.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    process = os.fork()
    if process == 0:
        connection.close()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _take_on(request, output, errors)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return request["words"]

    connection.sendall(f"{process}\n".encode())
    status = os.waitpid(process, 0)[1]
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _take_on(request: Request, output: int, errors: int) -> None:
    """Give this process the directory, environment and streams of its command."""
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.close(output)
    os.close(errors)

    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])

    random.seed()


def execute(words: list[str]) -> None:
    """Do what `python WORDS` does."""
    kind, *others = words
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [path for path in paths if path and path not in sys.path]

    # The program's module stays until the interpreter ends: what it holds may need the order of a real end.
    program = sys.modules["__main__"] = types.ModuleType("__main__")
    if kind == "-m":
        sys.path[0] = str(Path.cwd())
        code, program.__spec__ = _find_module(others[0])
        program.__file__ = code.co_filename
        sys.argv = [program.__file__, *others[1:]]
    elif kind == "-c":
        sys.path[0] = ""
        code = compile(others[0], "<string>", "exec")
        sys.argv = ["-c", *others[1:]]
    else:
        sys.path[0] = str(Path(kind).resolve().parent)
        code = compile(Path(kind).read_text(encoding="utf-8"), kind, "exec")
        program.__file__ = kind
        sys.argv = words
    exec(code, program.__dict__)


def _find_module(name: str) -> tuple[types.CodeType, ModuleSpec]:
    """Return the code of a module, or of the `__main__` of a package."""
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{name}.__main__")
    assert spec is not None
    assert isinstance(spec.loader, InspectLoader)
    code = spec.loader.get_code(spec.name)
    assert code is not None
    return code, spec


def leave(code: int) -> None:
    """End this process as an interpreter ends, but leave its memory to the system.

    Taking modules and objects apart copies the memory that a fork shares: a third of a second for each command.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except OSError:
        sys.exit(code)  # the interpreter says what it could not write
    os._exit(code & 0xFF)


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)

    # Ctrl-C is for the commands.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()

    # A command is executed out here, so that what it raises ends its process as it ends any other.
    try:
        execute(serve(socket.socket(fileno=int(sys.argv[1]))))
    except SystemExit as left:
        if left.code is not None and not isinstance(left.code, int):
            raise
        leave(left.code or 0)
    else:
        leave(0)
