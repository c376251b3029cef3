"""A guard that sees what reading a file does: it must run no program, open no connection, and write nowhere else."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_FORBIDDEN = (
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn"),
    *("socket.connect", "socket.bind", "socket.getaddrinfo", "urllib.Request", "ftplib.connect", "smtplib.connect"),
    *("pickle.find_class", "ctypes.dlopen", "code.__new__", "marshal.loads", "webbrowser.open"),
)
_WRITING = ("w", "a", "x", "+")
_CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.link", "os.symlink", "os.truncate")


# Modules that generate the methods of classes, or read annotations
_GENERATORS = ("dataclasses.py", "collections/__init__.py", "attr/_make.py", "/typing.py", "_typing_extra.py")


def _list_callers() -> list[str]:
    """Return the files of the functions that are running, the innermost first."""
    names: list[str] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        names.append(frame.f_code.co_filename)
        frame = frame.f_back
    return names


class Guard:
    """Records what is forbidden while it is armed; an audit hook stays for as long as the process.

    Args:
        places: Directories in which files may be written.
    """

    def __init__(self, *places: Path) -> None:
        self.places = tuple(str(place) for place in places)
        self.armed = False
        self.seen: list[str] = []
        # Modules of libraries are imported, and so executed, when they are first needed.
        libraries = [sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")]
        self._code = (*libraries, str(Path(__file__).parents[2]), "<frozen ")
        sys.addaudithook(self._look)

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.armed:
            return
        if event in _FORBIDDEN and not self._is_import(event):
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event == "exec":
            self._look_at_code(arguments[0])
        elif event == "open":
            self._look_at_open(*arguments)
        elif event in _CHANGES and not str(arguments[0]).startswith(self.places):
            self.seen.append(f"{event} {arguments!r:.200}")

    @staticmethod
    def _is_import(event: str) -> bool:
        """Return whether compiled modules are loaded, which libraries do when they are first needed."""
        if event not in ("marshal.loads", "code.__new__", "ctypes.dlopen"):
            return False
        return any(name.startswith("<frozen importlib") for name in _list_callers())

    def _look_at_code(self, code: object) -> None:
        name = code.co_filename if isinstance(code, CodeType) else str(code)
        generated = name in ("<string>",) and self._is_generated_by_library()
        if not name.startswith(self._code) and not generated:
            self.seen.append(f"exec of {name:.200}")

    @staticmethod
    def _is_generated_by_library() -> bool:
        """Return whether the standard library generates the methods of a class, or reads its annotations."""
        return any(name.endswith(_GENERATORS) for name in _list_callers())

    def _look_at_open(self, path: object, mode: object, flags: object) -> None:
        writes = isinstance(mode, str) and any(sign in mode for sign in _WRITING)
        writes = writes or (mode is None and isinstance(flags, int) and bool(flags & 3))
        if writes and isinstance(path, str | bytes) and not str(path).startswith((*self.places, "/dev/null")):
            self.seen.append(f"open for writing of {path!r:.200}")
