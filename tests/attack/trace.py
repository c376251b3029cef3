"""System calls of a command as strace records them, replayed on the model of a disk."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.attack.disk import Disk, Node, is_below

CALLS = (
    *("open", "openat", "creat", "close", "write", "writev", "pwrite64", "pwritev", "pwritev2", "lseek"),
    *("ftruncate", "truncate", "fallocate", "sendfile", "copy_file_range", "mmap"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat", "rmdir"),
    *("mkdir", "mkdirat", "fsync", "fdatasync", "sync_file_range", "dup", "dup2", "dup3", "fcntl"),
    *("clone", "clone3", "fork", "vfork"),
)
STARTS = {"clone", "clone3", "fork", "vfork"}
LONGEST = 2**27  # bytes of a string that are recorded

# `PID name(arguments) = result`, and strings, all of whose bytes are written as \x..
LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+)")
HALF = re.compile(r"^(\d+) +(.*) <unfinished \.\.\.>$")
REST = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
FILE = re.compile(r"(-?\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2}|[^>])*)>")


def command(words: Sequence[str], output: Path) -> list[str]:
    """Return the command line that records the system calls of a program."""
    options = ["-f", "--seccomp-bpf", "-y", "-xx", "-s", str(LONGEST), "-e", "signal=none", "-e", "status=successful"]
    return ["strace", *options, "-e", f"trace={','.join(CALLS)}", "-o", str(output), *words]


@dataclass(frozen=True)
class Call:
    """A system call that succeeded.

    Attributes:
        process: Number of the thread.
        name: Name of the call.
        arguments: Arguments as they are written.
        result: What it returned.
    """

    process: int
    name: str
    arguments: str
    result: int

    def strings(self) -> list[bytes]:
        """Return the strings among the arguments."""
        return [_decode(text) for text in STRING.findall(self.arguments)]

    def files(self) -> list[tuple[str, str]]:
        """Return the open files among the arguments: number, or AT_FDCWD, and path."""
        return [(number, os.fsdecode(_decode(path))) for number, path in FILE.findall(self.arguments)]

    def paths(self) -> list[str]:
        """Return the paths among the arguments as absolute ones."""
        folders = [path for number, path in self.files() if number == "AT_FDCWD"]
        others = [path for number, path in self.files() if number != "AT_FDCWD"]
        base = (folders + others)[:1]
        return [os.path.normpath(os.path.join(*base, os.fsdecode(text))) for text in self.strings()]  # noqa: PTH118


def _decode(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", "")) if text.startswith("\\x") else os.fsencode(text)


def read_calls(path: Path) -> Iterator[Call]:
    """Yield the system calls of a program and its threads, without its children, in the order in which they ended."""
    calls = list(_read_all(path))
    children = {call.result for call in calls if call.name in STARTS and "CLONE_THREAD" not in call.arguments}
    yield from (call for call in calls if call.process not in children)


def _read_all(path: Path) -> Iterator[Call]:
    halves: dict[str, str] = {}
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            text = line.rstrip("\n")
            if half := HALF.match(text):
                halves[half[1]] = half[2]
                continue
            if rest := REST.match(text):
                text = f"{rest[1]} {halves.pop(rest[1])}{rest[2]}"
            if found := LINE.match(text):
                yield Call(int(found[1]), found[2], found[3], int(found[4], 0))


@dataclass
class OpenFile:
    """An open file and the position in it."""

    node: Node
    position: int = 0
    appends: bool = False


@dataclass
class Replay:
    """The disk after some of the calls of one program.

    Attributes:
        directory: Directory whose content is replayed.
        cwd: Directory in which the program was started.
        disk: The disk.
        names: Names that the disk had of the files that are open, by number; threads of one program share them.
    """

    directory: Path
    cwd: Path
    disk: Disk = field(default_factory=Disk)
    files: dict[int, OpenFile] = field(default_factory=dict)

    def apply(self, call: Call) -> bool:
        """Make the change of a call; return whether it changed or flushed something in the directory."""
        handler = getattr(self, f"_{call.name}", None)
        return bool(handler(call)) if handler is not None else False

    def _inside(self, path: str) -> str | None:
        """Return a path relative to the directory, None if it lies elsewhere."""
        absolute = os.path.normpath(os.path.join(self.cwd, path))  # noqa: PTH118
        return os.path.relpath(absolute, self.directory) if is_below(absolute, self.directory) else None

    def _file(self, call: Call, number: int = 0) -> OpenFile | None:
        """Return the open file that is the first argument of a call, or another one."""
        files = call.files()
        return self.files.get(int(files[number][0])) if len(files) > number else None

    # Files

    def _openat(self, call: Call) -> bool:
        self.files.pop(call.result, None)
        path = self._inside(call.paths()[0])
        if path is None:
            return False
        makes, truncates = "O_CREAT" in call.arguments, "O_TRUNC" in call.arguments
        before = None if not makes else len(self.disk.open(path, truncates=False).content)
        node = self.disk.open(path, truncates=truncates) if makes or truncates else self.disk.find(path)
        self.files[call.result] = OpenFile(node, appends="O_APPEND" in call.arguments)
        return makes and (before == 0 or truncates)

    _open = _creat = _openat

    def _close(self, call: Call) -> bool:
        files = call.files()
        if files:
            self.files.pop(int(files[0][0]), None)
        return False

    def _dup(self, call: Call) -> bool:
        if file := self._file(call):
            self.files[call.result] = file
        return False

    _dup2 = _dup3 = _dup

    def _fcntl(self, call: Call) -> bool:
        return self._dup(call) if "F_DUPFD" in call.arguments else False

    def _lseek(self, call: Call) -> bool:
        if file := self._file(call):
            file.position = call.result
        return False

    def _write(self, call: Call) -> bool:
        file = self._file(call)
        if file is None:
            return False
        if file.appends:
            file.position = len(file.node.content)
        data = b"".join(call.strings())[: call.result]
        assert len(data) == call.result, "a string was recorded in part"
        self.disk.write(file.node, file.position, data)
        file.position += call.result
        return True

    _writev = _write

    def _pwrite64(self, call: Call) -> bool:
        file = self._file(call)
        if file is None:
            return False
        self.disk.write(file.node, int(call.arguments.rpartition(",")[2]), call.strings()[0][: call.result])
        return True

    def _pwritev(self, call: Call) -> bool:
        return self._refuse(call)

    _pwritev2 = _copy_file_range = _fallocate = _pwritev

    def _sendfile(self, call: Call) -> bool:
        target = self._file(call)
        if target is None or not call.result:
            return False
        source = self._file(call, 1)
        offset = re.search(r"\[(\d+)\]", call.arguments)
        assert source is not None, "a file from elsewhere was copied"
        start = source.position if offset is None else int(offset[1])
        self.disk.write(target.node, target.position, bytes(source.node.content[start : start + call.result]))
        target.position += call.result
        source.position += call.result if offset is None else 0
        return True

    def _ftruncate(self, call: Call) -> bool:
        file = self._file(call)
        if file is not None:
            self.disk.truncate(file.node, int(call.arguments.rpartition(",")[2]))
        return file is not None

    def _mmap(self, call: Call) -> bool:
        writes = "PROT_WRITE" in call.arguments and "MAP_SHARED" in call.arguments
        return self._refuse(call) if writes else False

    def _refuse(self, call: Call) -> bool:
        """Stop at a change of a file that this replay does not know."""
        assert self._file(call) is None, f"{call.name} changes a file in a way that is not replayed"
        return False

    def _fsync(self, call: Call) -> bool:
        file = self._file(call)
        if file is not None:
            self.disk.flush(file.node)
        return file is not None

    _fdatasync = _fsync

    # Names

    def _mkdir(self, call: Call) -> bool:
        path = self._inside(call.paths()[0])
        if path is None or path == ".":  # the directory itself is there from the beginning
            return False
        self.disk.make_folder(path)
        return True

    _mkdirat = _mkdir

    def _rename(self, call: Call) -> bool:
        one, other = (self._inside(path) for path in call.paths())
        if one is None or other is None:
            assert one is other, "a file was renamed into the directory or out of it"
            return False
        if "RENAME_EXCHANGE" in call.arguments:
            self.disk.exchange(one, other)
        else:
            self.disk.rename(one, other)
        return True

    _renameat = _renameat2 = _rename

    def _link(self, call: Call) -> bool:
        one, other = (self._inside(path) for path in call.paths())
        if other is None:
            return False
        assert one is not None, "a file from elsewhere was linked"
        self.disk.link(one, other)
        return True

    _linkat = _link

    def _unlink(self, call: Call) -> bool:
        path = self._inside(call.paths()[0])
        if path is not None:
            self.disk.remove(path)
        return path is not None

    _unlinkat = _rmdir = _unlink
