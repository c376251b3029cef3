"""The process that holds a lock: which one it is, and whether it still runs."""

from __future__ import annotations

import os
import shlex
import socket
import sys
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from neuronspec.terminal import escape

_PACKAGE = Path(__file__).parent
_PROC = Path("/proc")
_LONGEST_COMMAND = 200  # characters of it that a message shows

# In the line of /proc/PID/stat after the name of the program: state, flags, and start in ticks since the boot
_STATE, _FLAGS, _STARTED = 0, 6, 19
_ENDING = 0x4  # flag of a process that has begun to end, which can take seconds with much memory


@dataclass(frozen=True, kw_only=True)
class LockOwner:
    """A process that holds a lock, as its lock file describes it.

    Attributes:
        host: Name of the machine.
        boot: Identity of the machine's present boot; empty where the system has none.
        namespace: Name space of process numbers, which differs between containers; empty where there is none.
        pid: Number of the process.
        started: Start of the process in ticks since the boot, since numbers are used again; 0 where it is not known.
        command: Command line.
        since: Time at which the lock was taken.
        token: Random identity of the lock.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: int
    command: str
    since: str
    token: str

    def describe(self) -> str:
        """Return the command, process and host in words."""
        command = escape(self.command)
        if len(command) > _LONGEST_COMMAND:
            command = f"{command[:_LONGEST_COMMAND]} ..."
        return f"process {self.pid} on {escape(self.host)} since {escape(self.since)} ({command})"

    def is_of_this_boot(self) -> bool:
        """Return whether the process belongs to the present boot of this machine, perhaps to another container."""
        return self.boot == _read_boot() if self.boot else self.host == socket.gethostname()

    def is_visible(self) -> bool:
        """Return whether a look at the process table of this machine can show whether the process still runs."""
        return self.is_of_this_boot() and self.namespace == _read_namespace()

    def has_ended(self) -> bool:
        """Return whether the process is known to have ended: its number is unused, or used by another process.

        Of a machine that has started again, no process is left. Of other machines nothing is known.
        """
        if self.is_visible():
            return not _runs(self.pid, self.started)
        return self.host == socket.gethostname() and bool(self.boot) and not self.is_of_this_boot()

    def to_json(self) -> dict[str, Any]:
        """Return the content of the lock file."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> LockOwner | None:
        """Return the owner that a lock file describes, None if it describes none."""
        if not isinstance(value, Mapping):
            return None

        # All fields, each of its type: a file of another origin decides nothing.
        kinds = {"pid": int, "started": int}
        for field in fields(cls):
            if type(value.get(field.name)) is not kinds.get(field.name, str):
                return None
        return cls(**{field.name: value[field.name] for field in fields(cls)})


def describe_this_process() -> LockOwner:
    """Return this process as the owner of a new lock."""
    program = Path(sys.argv[0] if sys.argv else "")
    name = "neuronspec" if program.is_relative_to(_PACKAGE) else program.name  # started as `python -m neuronspec`
    return LockOwner(
        host=socket.gethostname(),
        boot=_read_boot(),
        namespace=_read_namespace(),
        pid=os.getpid(),
        started=_read_stat(os.getpid())[1],
        command=shlex.join([name, *sys.argv[1:]]).encode("utf-8", "backslashreplace").decode("utf-8"),
        since=datetime.now().astimezone().isoformat(" ", "seconds"),
        token=uuid.uuid4().hex,
    )


def _runs(pid: int, started: int) -> bool:
    """Return whether a process runs that started at this time, and has not begun to end."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # of another user
        pass

    is_running, begun = _read_stat(pid)
    return is_running and started in (0, begun)


def _read_stat(pid: int) -> tuple[bool, int]:
    """Return whether a process runs, and its start in ticks since the boot; 0 where the system does not say."""
    if not (_PROC / "self").exists():
        return True, 0
    try:
        line = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return False, 0

    # The name of the program comes second, in parentheses, and may hold any character.
    values = line[line.rindex(b")") + 2 :].split()
    is_ending = values[_STATE] in (b"Z", b"X") or bool(int(values[_FLAGS]) & _ENDING)
    return not is_ending, int(values[_STARTED])


def _read_boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _read_namespace() -> str:
    try:
        return str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return ""
